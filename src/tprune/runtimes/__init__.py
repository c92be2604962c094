"""Where a model runs for real. Importing this package imports nothing else."""
