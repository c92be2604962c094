"""Which runtimes compute what PyTorch computes, in which precisions, of which models."""
