"""Shelves: folders beside the models in which people keep LoRAs, VAEs, upscalers and the like.

Where the folders are, and which file a name means, is `engine.models.folders`'s matter. A file is
told by its bare name where no other bears it, and by its path where one does. A name is a key of
what was found, never a path of the file system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import Final

from engine.errors import BrokenModel, UnknownPart
from engine.models.folders import PICKLES, SAFE, Kind, below, folders, is_diffusers
from engine.models.name_matching import Names, without_ending, without_twins
from engine.models.weights import variant
from engine.recipe.parts import LANCZOS, LATENT

ENDINGS: Final = (*SAFE, *PICKLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Hold what a look at a shelf's folders found.

    files: full name → where it lies; short: full name → the shortest one; stamps: when each folder
    was last changed, in ns; unsure: one of them changed so lately that another change might bear
    the same time.
    """

    homes: tuple[tuple[Kind, Path], ...]
    files: Mapping[str, Path]
    names: Names
    short: Mapping[str, str]
    stamps: Mapping[Path, int]
    unsure: bool

    def listed(self) -> dict[str, str]:
        """Return short name → full name of all but pickles beside their converted selves."""
        return dict(sorted((self.short[path], path) for path in without_twins(self.files)))


class Shelf:
    """Hold what folders of one kind offer: safetensors files and diffusers folders, by name.

    `kind` says in messages what lies there; `built_in` names need no file. What is put there later
    is found when it is asked for.
    """

    def __init__(self, models_dir: Path | None, kind: Kind, built_in: Iterable[str] = ()) -> None:
        self.kind = kind
        self._models_dir = models_dir
        self._built_in = tuple(built_in)
        self._seen = self._look()

    def names(self) -> list[str]:
        """Return all names, those that need no file first."""
        return [*self._built_in, *self._now().listed()]

    def named(self, name: str) -> str:
        """Return the name that is meant: with an ending or a folder, or in another case.

        Raises `UnknownPart`, or `WhichOne` where it is unclear.
        """
        return self._find_built_in(name) or self.named_file(name)

    def named_file(self, name: str) -> str:
        """Return the name of the file or folder that is meant; raises as `named` does."""
        seen, full = self._find(name)
        return seen.short[full]

    def files(self) -> Mapping[str, Path]:
        """Return the names that need a file or a folder, in order, and where it lies."""
        seen = self._now()
        return {short: seen.files[full] for short, full in seen.listed().items()}

    def get(self, name: str) -> Path | None:
        """Return where a name's file or folder lies, None if it needs none.

        Raises `UnknownPart`, `WhichOne`, or `BrokenModel` for a pickled file.
        """
        if self._find_built_in(name):
            return None
        seen, full = self._find(name)
        path = seen.files[full]
        if path.suffix.lower() in PICKLES and path.is_file():
            raise BrokenModel(
                seen.short[full],
                f"{path.name} is a pickle, which can run code; convert it to safetensors.",
            )
        return path

    def _find_built_in(self, name: str) -> str | None:
        return next((each for each in self._built_in if each.casefold() == name.casefold()), None)

    def _find(self, name: str) -> tuple[Seen, str]:
        """Return the full name of the file that is meant, or raise as `named` does."""
        seen = self._now()
        for spelling in spellings(self.kind, name):
            if found := seen.names.choose(self.kind, spelling):
                return seen, found
        raise UnknownPart(self.kind, name, [*self._built_in, *seen.listed()])

    def _now(self) -> Seen:
        """Return what lies there; folders are walked again where one has changed."""
        seen = self._seen
        if seen.unsure or _stamps(seen.stamps) != seen.stamps or self._homes() != seen.homes:
            self._seen = seen = self._look()
        return seen

    def _homes(self) -> tuple[tuple[Kind, Path], ...]:
        kinds = (self.kind, *ALSO.get(self.kind, ())) if self._models_dir else ()
        root = self._models_dir or Path()
        return tuple((kind, folder) for kind in kinds for folder in folders(root, kind))

    def _look(self) -> Seen:
        begun, homes = time_ns(), self._homes()
        found: dict[str, Path] = {}
        inside: list[Path] = []
        for kind, folder in homes:
            everything = below(folder)
            offered = find(folder, everything)
            offered = decoders(offered) if kind == Kind.TINY_VAE else offered
            for name, path in offered.items():
                found.setdefault(name, path)
            inside += [folder, *(path for path in everything if path.is_dir())]
        names, stamps = Names(found), _stamps(inside)
        return Seen(
            homes=homes,
            files=found,
            names=names,
            short=names.shortest(self._built_in),
            stamps=stamps,
            unsure=any(stamp > begun - MOMENT for stamp in stamps.values()),
        )


MOMENT: Final = 10**9  # ns; file systems tell times to between a nanosecond and a second


def _stamps(inside: Iterable[Path]) -> dict[Path, int]:
    """Return when each folder was last changed, in ns; 0 where it is gone."""
    found = {}
    for folder in inside:
        try:
            found[folder] = folder.stat().st_mtime_ns
        except OSError:
            found[folder] = 0
    return found


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


def find(folder: Path, everything: Iterable[Path]) -> dict[str, Path]:
    """Return path below a folder → file or diffusers folder, in order.

    everything: what lies in it, however deep. A diffusers folder has its weights beside its
    `config.json`; other files are files of their own.
    """
    files = [path for path in everything if path.suffix.lower() in ENDINGS and path.is_file()]
    weights = [path for path in files if is_diffusers(path)]
    whole = {path.parent for path in weights if (path.parent / "config.json").is_file()} - {folder}
    single = [path for path in files if path.parent not in whole or not is_diffusers(path)]
    return {path.relative_to(folder).as_posix(): path for path in sorted([*whole, *single])}
