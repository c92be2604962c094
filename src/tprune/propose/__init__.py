"""First tables for architectures that no family knows: traced, verified, and written as Python files."""
