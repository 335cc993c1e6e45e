"""Shelves: folders beside the models in which people keep LoRAs, VAEs, upscalers and the like.

Where the folders are, and which file a name means, is `engine.places`'s matter. A file is told by
its bare name where no other bears it, and by its path where one does. A name is a key of what was
found, never a path of the file system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from engine.errors import BrokenModel, UnknownPart
from engine.naming import Names, without_ending, without_twins
from engine.places import PICKLES, SAFE, Kind, folders, is_diffusers
from engine.sources import LANCZOS, LATENT
from engine.weights import variant

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
        self._look()

    def names(self) -> list[str]:
        """Return all names, those that need no file first."""
        self._look()
        return [*self._built_in, *self._listed()]

    def named(self, name: str) -> str:
        """Return the name that is meant: with an ending or a folder, or in another case.

        Raises `UnknownPart`, or `WhichOne` where it is unclear.
        """
        if built_in := self._find_built_in(name):
            return built_in
        return self.named_file(name)

    def named_file(self, name: str) -> str:
        """Return the name of the file or folder that is meant; raises as `named` does."""
        return self._short[self._find(name)]

    def files(self) -> Mapping[str, Path]:
        """Return the names that need a file or a folder, in order, and where it lies."""
        self._look()
        return {short: self._files[path] for short, path in self._listed().items()}

    def get(self, name: str) -> Path | None:
        """Return where a name's file or folder lies, None if it needs none.

        Raises `UnknownPart`, `WhichOne`, or `BrokenModel` for a pickled file.
        """
        if self._find_built_in(name):
            return None
        full = self._find(name)
        path = self._files[full]
        if path.suffix.lower() in PICKLES and path.is_file():
            raise BrokenModel(
                self._short[full],
                f"{path.name} is a pickle, which can run code; convert it to safetensors.",
            )
        return path

    def _find_built_in(self, name: str) -> str | None:
        return next((each for each in self._built_in if each.casefold() == name.casefold()), None)

    def _find(self, name: str) -> str:
        """Return the full name of the file that is meant, or raise as `named` does."""
        if name not in self._files:
            self._look()
        for spelling in spellings(self.kind, name):
            if found := self._names.choose(self.kind, spelling):
                return found
        raise UnknownPart(self.kind, name, [*self._built_in, *self._listed()])

    def _listed(self) -> dict[str, str]:
        """Return short name → full name of all but pickles beside their converted selves."""
        return dict(sorted((self._short[path], path) for path in without_twins(self._files)))

    def _look(self) -> None:
        found: dict[str, Path] = {}
        for kind in (self.kind, *ALSO.get(self.kind, ())):
            for folder in folders(self._models_dir, kind) if self._models_dir else []:
                offered = find(folder)
                offered = decoders(offered) if kind == Kind.TINY_VAE else offered
                for name, path in offered.items():
                    found.setdefault(name, path)
        self._files = found  # by their full names
        self._names = Names(found)
        self._short = self._names.shortest(self._built_in)


def spellings(kind: Kind, name: str) -> list[str]:
    """Return how files of a kind may be spelled that a name means: as it is, first.

    ComfyUI names the one file of a diffusers folder, and a tiny VAE by what it is a part of.
    """
    found, plain = [name], without_ending(name.replace("\\", "/"))
    folder, _, last = plain.rpartition("/")
    if folder and variant(f"{last}{SAFE[0]}") is not None:
        found.append(folder)
    if kind == Kind.VAE and plain.endswith(DECODER):
        found.append(plain.removesuffix(DECODER))
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


def find_parts(models_dir: Path | None, name: str) -> list[tuple[Kind, str]]:
    """Return kind and name of what a name means on each shelf; raises `WhichOne`."""
    found = []
    for kind, shelf in SHELVES.items():
        with suppress(UnknownPart):
            found.append((kind, shelf(models_dir).named_file(name)))
    return found


def decoders(found: Mapping[str, Path]) -> dict[str, Path]:
    """Return tiny VAEs by ComfyUI's names for them: `taesd` for `taesd_decoder.safetensors`.

    Of the other files beside them only whole ones count: encoders and A1111's linear maps do not.
    """
    kept = {}
    for name, path in found.items():
        plain = without_ending(name)
        if plain.endswith(DECODER):
            kept[plain.removesuffix(DECODER) + name.removeprefix(plain)] = path
        elif path.is_dir() or (path.suffix.lower() in SAFE and ENCODER not in plain):
            kept[name] = path
    return kept


def find(folder: Path) -> dict[str, Path]:
    """Return path below a folder → file or diffusers folder, in order.

    A diffusers folder has its weights beside its `config.json`; other files are files of their own.
    """
    files = [path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS]
    files = [path for path in files if path.is_file()]
    weights = [path for path in files if is_diffusers(path)]
    whole = {path.parent for path in weights if (path.parent / "config.json").is_file()} - {folder}
    single = [path for path in files if path.parent not in whole or not is_diffusers(path)]
    return {path.relative_to(folder).as_posix(): path for path in sorted([*whole, *single])}
