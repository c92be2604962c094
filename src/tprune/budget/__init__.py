"""Who fills in a plan: sizes, times and memory shared over couplings."""
