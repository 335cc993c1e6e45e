"""`python -m bots`: the same as `marble`."""

import sys

from bots.cli import main

sys.exit(main())
