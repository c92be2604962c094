"""Code that travels beside the weights of pruned models."""
