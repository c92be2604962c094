"""The units of what may be asked for."""

SIZES, TIMES, MEMORY = ("macs", "params", "bytes"), ("speedup", "latency_ms"), ("memory_mb",)
LEAST_SIZE = 1000  # between 1 and this, a size is neither a fraction nor a sensible number
