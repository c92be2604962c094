"""Constraints: sets that weights are projected onto, of few groups or of a given pattern. One file each."""
