"""Structures, couplings, plans, selection and cuts, and the protocols that the rooms above keep.

Torch and einops only.
"""
