"""`python -m earshot`, where the command `earshot` is not on the path."""

from earshot.cli import main

if __name__ == "__main__":
    main()
