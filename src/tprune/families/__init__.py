"""Model families: a table of couplings each. `registry` finds the family of a model."""
