"""`python -m parallax`: the command line, where the script `parallax` is not on the path."""

import sys

from parallax.cli import main

if __name__ == "__main__":
    sys.exit(main())
