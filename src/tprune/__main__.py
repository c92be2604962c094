"""`python -m tprune`."""

from tprune.cli import main

if __name__ == "__main__":
    main()
