"""Which sizes a runtime likes on this machine: small graphs timed in turns, and the multiples that follow."""
