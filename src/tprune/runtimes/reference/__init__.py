"""PyTorch as a reference: checkpoints timed as they are, by the same protocol as exported models."""
