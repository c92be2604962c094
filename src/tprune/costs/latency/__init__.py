"""Latency tables: what each sublayer, and the residual width, costs on this machine."""
