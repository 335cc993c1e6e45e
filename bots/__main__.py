"""`python -m bots`: the same as `marble`."""

import sys

from bots.terminal.cli import main

sys.exit(main())
