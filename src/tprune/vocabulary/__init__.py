"""Fewer tokens: trimmed models, tokenisers and output layers."""
