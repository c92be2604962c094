"""Translation: encoded pairs, batches, lines that are too long."""
