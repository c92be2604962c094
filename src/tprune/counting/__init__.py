"""Parameters, multiplications and bytes."""
