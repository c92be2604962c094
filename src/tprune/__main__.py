"""`python -m tprune`."""

from tprune.cli.app import main

if __name__ == "__main__":
    main()
