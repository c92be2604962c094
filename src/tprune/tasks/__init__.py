"""Tasks: what a model is for."""
