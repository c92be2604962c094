"""Reports: the results table for a terminal, and a self-contained page."""
