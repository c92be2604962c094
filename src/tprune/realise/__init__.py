"""Realisations: what a plan's kept groups make of the model; checkpoints and certificates."""
