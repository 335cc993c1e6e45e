"""What devices were measured at, as a file of a folder keeps it. Machines of a cluster share it.

It does not need torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from engine.files.atomic import alone_in, read_object, replace_text

NAME: Final = "measured.json"

Figures = Mapping[str, Any]  # by device, software, form of model and size


def figures_in(folder: Path | None) -> dict[str, Any]:
    """Return what a folder keeps; nothing without one."""
    return read_object(folder / NAME) if folder else {}


def add_figures(folder: Path, given: Figures, *, keep: bool) -> bool:
    """Add figures to what a folder keeps, and return whether that changed it.

    keep: whether what the folder has stands, where both have it; else what is given does.
    Raises `OSError`.
    """
    with alone_in(folder):
        own = figures_in(folder)
        both = {**given, **own} if keep else {**own, **given}
        if both == own:
            return False
        replace_text(folder / NAME, json.dumps(both, indent=1, sort_keys=True))
        return True
