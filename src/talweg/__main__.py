"""`python -m talweg`: the same as the command `talweg`."""

import sys

from talweg.cli import main

if __name__ == "__main__":
    sys.exit(main())
