"""Shelves: folders beside the models in which people keep upscalers and control models.

The folders have the names that ComfyUI gives them, and a file is named by its stem. A name is a
key of what was found, never a path.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from engine.errors import BrokenModel, UnknownPart
from engine.sources import LANCZOS, LATENT

# Pickles can run code when they are read, and the known guards have known holes.
PICKLES: Final = (".pth", ".pt", ".ckpt", ".bin")
SAFE: Final = ".safetensors"


class Shelf:
    """Hold what one folder offers: safetensors files and folders in diffusers' layout, by name.

    `kind` says in messages what lies there; `built_in` names need no file.
    """

    def __init__(self, folder: Path | None, kind: str, built_in: Iterable[str] = ()) -> None:
        self.kind = kind
        self._built_in = tuple(built_in)
        self._paths = _find(folder) if folder else {}

    def names(self) -> list[str]:
        """Return all names, those that need no file first."""
        return [*self._built_in, *sorted(self._paths)]

    def get(self, name: str) -> Path | None:
        """Return where a name's file or folder lies, None if it needs none.

        Raises `UnknownPart`, or `BrokenModel` for a pickled file.
        """
        if name in self._built_in:
            return None
        if name not in self._paths:
            raise UnknownPart(self.kind, name, self.names())
        path = self._paths[name]
        if path.suffix in PICKLES:
            raise BrokenModel(
                name, f"{path.name} is a pickle, which can run code; convert it to safetensors."
            )
        return path


def upscalers(models_dir: Path | None) -> Shelf:
    """Return the upscalers of a models folder, and the two that need no model."""
    return Shelf(models_dir and models_dir / "upscale_models", "upscaler", [LANCZOS, LATENT])


def controls(models_dir: Path | None) -> Shelf:
    """Return the control models of a models folder."""
    return Shelf(models_dir and models_dir / "controlnet", "control model")


def _find(folder: Path) -> dict[str, Path]:
    """Return name → path; of two with one name the safe one, then the first one, is taken."""
    whole = [config.parent for config in folder.rglob("config.json")]
    inside = set(whole)
    files = [
        path
        for path in folder.rglob("*")
        if path.suffix in (SAFE, *PICKLES) and path.parent not in inside and path.is_file()
    ]
    found: dict[str, Path] = {}
    for path in sorted([*whole, *files], key=lambda path: (path.suffix in PICKLES, path)):
        name = path.stem if path.is_file() else path.name
        found.setdefault(name, path)
    return found
