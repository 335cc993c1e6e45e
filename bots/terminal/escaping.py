"""What strangers wrote, made fit for a terminal: no markup of rich's, no orders to the screen.

A prompt may come from somebody's PNG: an escape sequence in it could set the window's title or
clear the screen.
"""

from __future__ import annotations

import re
from typing import Final

from rich import markup

# C0 without tab and line feed, delete, and C1: ECMA-48's control functions begin with these. Halves
# of surrogate pairs cannot be printed at all.
CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def escape(text: str) -> str:
    """Return a text whose every letter is shown as it is; what would be obeyed shows as \ufffd."""
    return markup.escape(CONTROLS.sub("\ufffd", text))
