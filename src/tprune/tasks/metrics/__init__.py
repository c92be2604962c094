"""Scores of outputs, with signatures and intervals."""
