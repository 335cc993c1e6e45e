"""What others wrote, made safe for a terminal: no control characters reach the screen.

A prompt may come from somebody's PNG: an escape sequence in it could set the window's title or
clear the screen.
"""

from __future__ import annotations

import re
import sys
from typing import Final

# C0 without tab and line feed, delete, and C1: ECMA-48's control functions begin with these. Halves
# of surrogate pairs cannot be printed at all.
CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """Return a text with U+FFFD in the place of everything that a terminal would obey."""
    return CONTROLS.sub("\ufffd", text)


def complain(sentence: str) -> None:
    """Print an error on standard error."""
    sys.stderr.write(f"marble: {printable(sentence)}\n")
