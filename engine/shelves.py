"""Shelves: folders beside the models in which people keep LoRAs, VAEs, upscalers and the like.

Where the folders are is `engine.places`'s matter; a file is named by its stem. A name is a key of
what was found, never a path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from engine.errors import BrokenModel, UnknownPart
from engine.places import PICKLES, SAFE, Kind, folders
from engine.sources import LANCZOS, LATENT

ENDINGS: Final = (*SAFE, *PICKLES)


class Shelf:
    """Hold what folders of one kind offer: safetensors files and diffusers folders, by name.

    `kind` says in messages what lies there; `built_in` names need no file. What is put there later
    is found when it is asked for.
    """

    def __init__(self, models_dir: Path | None, kind: Kind, built_in: Iterable[str] = ()) -> None:
        self.kind = kind
        self._models_dir = models_dir
        self._built_in = tuple(built_in)
        self._paths = self._look()

    def names(self) -> list[str]:
        """Return all names, those that need no file first."""
        self._paths = self._look()
        return [*self._built_in, *sorted(self._paths)]

    def named(self, name: str) -> str:
        """Return the name that is meant: with an ending or a folder, or in another case.

        Raises `UnknownPart`.
        """
        if name in self._built_in or name in self._paths:
            return name
        stem = PurePosixPath(name.replace("\\", "/")).name
        stem = stem.rpartition(".")[0] if stem.lower().endswith(ENDINGS) else stem
        known = self.names()
        meant = [each for each in known if each.lower() == stem.lower()]
        if len(meant) != 1:
            raise UnknownPart(self.kind, name, known)
        return meant[0]

    def files(self) -> Mapping[str, Path]:
        """Return the names that need a file or a folder, in order, and where it lies."""
        self._paths = self._look()
        return dict(sorted(self._paths.items()))

    def get(self, name: str) -> Path | None:
        """Return where a name's file or folder lies, None if it needs none.

        Raises `UnknownPart`, or `BrokenModel` for a pickled file.
        """
        name = self.named(name)
        if name in self._built_in:
            return None
        path = self._paths[name]
        if path.suffix in PICKLES:
            raise BrokenModel(
                name, f"{path.name} is a pickle, which can run code; convert it to safetensors."
            )
        return path

    def _look(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for kind in (self.kind, *ALSO.get(self.kind, ())):
            for folder in folders(self._models_dir, kind) if self._models_dir else []:
                offered = _find(folder)
                offered = decoders(offered) if kind == Kind.TINY_VAE else offered
                for name, path in offered.items():
                    found.setdefault(name, path)
        return found


# What else lies on a shelf than its own kind, after it.
ALSO: Final = {Kind.VAE: (Kind.TINY_VAE,)}
DECODER: Final = "_decoder"
ENCODER: Final = "_encoder"


def upscalers(models_dir: Path | None) -> Shelf:
    """Return the upscalers of a models folder, and the two that need no model."""
    return Shelf(models_dir, Kind.UPSCALER, [LANCZOS, LATENT])


def controls(models_dir: Path | None) -> Shelf:
    """Return the control models of a models folder."""
    return Shelf(models_dir, Kind.CONTROLNET)


def loras(models_dir: Path | None) -> Shelf:
    """Return the LoRAs of a models folder."""
    return Shelf(models_dir, Kind.LORA)


def embeddings(models_dir: Path | None) -> Shelf:
    """Return the embeddings of a models folder."""
    return Shelf(models_dir, Kind.EMBEDDING)


def vaes(models_dir: Path | None) -> Shelf:
    """Return the VAEs of a models folder, tiny ones among them."""
    return Shelf(models_dir, Kind.VAE)


SHELVES: Final[Mapping[Kind, Callable[[Path | None], Shelf]]] = {
    Kind.LORA: loras,
    Kind.VAE: vaes,
    Kind.EMBEDDING: embeddings,
    Kind.CONTROLNET: controls,
    Kind.UPSCALER: upscalers,
}


def list_parts(models_dir: Path | None) -> list[tuple[Kind, str]]:
    """Return kind and name of all that lies on a folder's shelves."""
    shelves = ((kind, shelf(models_dir).files()) for kind, shelf in SHELVES.items())
    return [(kind, name) for kind, files in shelves for name in files]


def decoders(found: Mapping[str, Path]) -> dict[str, Path]:
    """Return tiny VAEs by ComfyUI's names for them: `taesd` for `taesd_decoder.safetensors`.

    Of the other files beside them only whole ones count: encoders and A1111's linear maps do not.
    """
    return {
        name.removesuffix(DECODER): path
        for name, path in found.items()
        if name.endswith(DECODER) or path.is_dir() or (path.suffix in SAFE and ENCODER not in name)
    }


def _find(folder: Path) -> dict[str, Path]:
    """Return name → path; of two with one name the safe one, then the first one, is taken."""
    whole = [config.parent for config in folder.rglob("config.json")]
    inside = set(whole)
    files = [
        path
        for path in folder.rglob("*")
        if path.suffix in ENDINGS and path.parent not in inside and path.is_file()
    ]
    found: dict[str, Path] = {}
    for path in sorted([*whole, *files], key=lambda path: (path.suffix in PICKLES, path)):
        name = path.stem if path.is_file() else path.name
        found.setdefault(name, path)
    return found
