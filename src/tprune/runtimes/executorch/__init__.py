"""ExecuTorch, with kernels of XNNPACK."""
