"""A run: its stages, its directory, its results; `tprune.compress` takes the same steps in memory."""
