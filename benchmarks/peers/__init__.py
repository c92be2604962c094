"""Pruning methods against each other: same dense model, data, training compute, predicted speed and runtime.

See `run.py`.
"""
