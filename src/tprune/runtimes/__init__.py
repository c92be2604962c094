"""Where a model runs for real: one file per runtime. Importing this package imports nothing else."""
