"""What a control model is made for, told by its shapes before a weight is read.

A ControlNet steers models of the family it was trained beside, and no other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from engine.checkpoints import Checkpoint
from engine.errors import BrokenModel, WrongFamily
from engine.families import FAMILIES
from engine.shelves import Shelf
from engine.tensorfile import BadFile, read_header

CONTEXT: Final = "attn2.to_k.weight"  # [inner, width of the text embeddings]
CLASS: Final = "ControlNetModel"


def find_control(shelf: Shelf, name: str, checkpoint: Checkpoint) -> str:
    """Return the full name of a control model that is there and made for a model.

    Raises `UnknownPart`, `WrongFamily` or `BrokenModel`.
    """
    name = shelf.named(name)
    path = shelf.get(name)
    assert path is not None  # no control model is built in
    check_family(name, path, checkpoint)
    return name


def check_family(name: str, path: Path, checkpoint: Checkpoint) -> None:
    """Raise `WrongFamily` where a control model is made for others, or `BrokenModel`."""
    width, wanted = context_width(name, path), checkpoint.family.context_width
    if width is not None and wanted is not None and width != wanted:
        raise WrongFamily(name, title_of(width), checkpoint.name, checkpoint.family.title)


def context_width(name: str, path: Path) -> int | None:
    """Return the width of the text embeddings that it takes, None if it does not tell."""
    if path.is_dir():
        return _of_folder(name, path)
    try:
        header = read_header(path)
    except BadFile as error:
        raise BrokenModel(name, f"{error}.") from None
    found = [tensor.shape for key, tensor in header.tensors.items() if key.endswith(CONTEXT)]
    if not found or not any("zero_convs" in k or "controlnet_down" in k for k in header.tensors):
        raise BrokenModel(name, "it is no ControlNet.")
    return found[0][1]


def _of_folder(name: str, path: Path) -> int | None:
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        kind, width = config.get("_class_name"), config.get("cross_attention_dim")
    except (OSError, ValueError, AttributeError):
        raise BrokenModel(name, "its config.json cannot be read.") from None
    if kind != CLASS:
        raise BrokenModel(name, f"it is a {kind}, not a {CLASS}.")
    return width if isinstance(width, int) else None


def title_of(width: int) -> str:
    """Return the family of models whose text embeddings are so wide."""
    titles = [family.title for family in FAMILIES if family.context_width == width]
    return titles[0] if titles else f"models with text embeddings {width:,} wide"
