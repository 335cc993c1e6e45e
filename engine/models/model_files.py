"""LoRAs, VAEs, upscalers, embeddings and ControlNets: files that people keep beside checkpoints.

Where the folders are, and which file a name means, is decided in `engine.models.folders` and
`engine.models.name_matching`. A file is called by its bare name where no other has it, and by its
path where one does. A name is a key of what was found, never a path of the file system.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import Final

from engine.errors import BrokenModel, UnknownPart
from engine.models.folders import PICKLES, SAFE, ModelKind, below, folders, is_diffusers, is_weights
from engine.models.name_matching import Names, without_ending, without_twins
from engine.models.weights import state, variant
from engine.recipe.parts import LANCZOS, LATENT

MOMENT: Final = 10**9  # ns; file systems tell times to between a nanosecond and a second
KINDS: Final = (
    ModelKind.LORA,
    ModelKind.VAE,
    ModelKind.EMBEDDING,
    ModelKind.CONTROLNET,
    ModelKind.UPSCALER,
)
BUILT_IN: Final = {ModelKind.UPSCALER: (LANCZOS, LATENT)}  # names that need no file
ALSO: Final = {ModelKind.VAE: (ModelKind.TINY_VAE,)}  # kinds that are offered after a kind itself
DECODER: Final = "_decoder"
ENCODER: Final = "_encoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the folders of a kind held when they were read.

    files: full name → path; short: full name → the shortest one; listed: short names in order,
    without pickles that were also converted; stamps: when each folder was last changed, in ns;
    unsure: one of them changed so lately that another change might bear the same time.
    """

    homes: tuple[tuple[ModelKind, Path], ...]
    files: Mapping[str, Path]
    names: Names
    short: Mapping[str, str]
    listed: Sequence[str]
    stamps: Mapping[Path, int]
    unsure: bool


class ModelFiles:
    """Find the safetensors files and diffusers folders of one kind by name.

    What is added later is found when it is asked for.
    """

    def __init__(self, models_dir: Path | None, kind: ModelKind) -> None:
        self.kind = kind
        self._models_dir = models_dir
        self._built_in = BUILT_IN.get(kind, ())
        self._snapshot = self._look()

    def names(self) -> list[str]:
        """Return all names, those that need no file first."""
        return [*self._built_in, *self.files()]

    def files(self) -> Sequence[str]:
        """Return the names of all that need a file or folder, in order."""
        return self._now().listed

    def resolve(self, name: str) -> str:
        """Return the name that is meant: with an ending or a folder, or in another case.

        Raises `UnknownPart`, or `UserError` where it is unclear.
        """
        return self._find_built_in(name) or self.resolve_file(name)

    def resolve_file(self, name: str) -> str:
        """Return the name of the file or folder that is meant; raises as `resolve` does."""
        now, full = self._find(name)
        return now.short[full]

    def get(self, name: str) -> Path | None:
        """Return as `path` does, None for a name that needs no file."""
        return None if self._find_built_in(name) else self.path(name)

    def path(self, name: str) -> Path:
        """Return the path of a name's file or folder.

        Raises `UnknownPart`, `UserError`, or `BrokenModel` for a pickled file.
        """
        now, full = self._find(name)
        path = now.files[full]
        if path.suffix.lower() in PICKLES and path.is_file():
            raise BrokenModel(
                now.short[full],
                f"{path.name} is a pickle, which can run code; convert it to safetensors.",
                self.kind,
            )
        return path

    def _find_built_in(self, name: str) -> str | None:
        return next((each for each in self._built_in if each.casefold() == name.casefold()), None)

    def _find(self, name: str) -> tuple[Snapshot, str]:
        now = self._now()
        for spelling in spellings(self.kind, name):
            if found := now.names.choose(self.kind, spelling):
                return now, found
        raise UnknownPart(self.kind, name, [*self._built_in, *now.listed])

    def _now(self) -> Snapshot:
        """Return the folders' files; they are read again where one has changed."""
        last = self._snapshot
        if last.unsure or _stamps(last.stamps) != last.stamps or self._homes() != last.homes:
            self._snapshot = self._look()
        return self._snapshot

    def _homes(self) -> tuple[tuple[ModelKind, Path], ...]:
        kinds = (self.kind, *ALSO.get(self.kind, ())) if self._models_dir else ()
        root = self._models_dir or Path()
        return tuple((kind, folder) for kind in kinds for folder in folders(root, kind))

    def _look(self) -> Snapshot:
        begun, homes = time_ns(), self._homes()
        found: dict[str, Path] = {}
        inside: list[Path] = []
        for kind, folder in homes:
            everything = below(folder)
            offered = find(folder, everything)
            offered = decoders(offered) if kind == ModelKind.TINY_VAE else offered
            for name, path in offered.items():
                found.setdefault(name, path)
            inside += [folder, *(path for path in everything if path.is_dir())]
        names, stamps = Names(found), _stamps(inside)
        short = names.shortest(self._built_in)
        return Snapshot(
            homes=homes,
            files=found,
            names=names,
            short=short,
            listed=sorted(short[path] for path in without_twins(found)),
            stamps=stamps,
            unsure=any(stamp > begun - MOMENT for stamp in stamps.values()),
        )


class WatchedFiles(ModelFiles):
    """As `ModelFiles`; each file's state is remembered from when its path is first asked for."""

    def __init__(self, models_dir: Path | None, kind: ModelKind) -> None:
        super().__init__(models_dir, kind)
        self._states: dict[Path, tuple[int, ...]] = {}

    def path(self, name: str) -> Path:
        """Return the path of a name's file or folder; raises as `ModelFiles.path` does."""
        path = super().path(name)
        self._states.setdefault(path, state(path))
        return path

    @property
    def changed(self) -> bool:
        """Return whether one of them has changed since, or is gone."""
        return any(state(path) != was for path, was in self._states.items())


def _stamps(inside: Iterable[Path]) -> dict[Path, int]:
    """Return when each folder was last changed, in ns; 0 where it is gone."""
    found = {}
    for folder in inside:
        try:
            found[folder] = folder.stat().st_mtime_ns
        except OSError:
            found[folder] = 0
    return found


def spellings(kind: ModelKind, name: str) -> list[str]:
    """Return the file names of a kind that a name may mean: as it is, first.

    ComfyUI names the one file of a diffusers folder, and a tiny VAE by what it is a part of.
    """
    found, plain = [name], without_ending(name.replace("\\", "/"))
    folder, _, last = plain.rpartition("/")
    if folder and variant(f"{last}{SAFE[0]}") is not None:
        found.append(folder)
    if kind == ModelKind.VAE and plain.endswith(DECODER):
        found.append(plain.removesuffix(DECODER))
    return found


def list_parts(models_dir: Path | None) -> list[tuple[ModelKind, str]]:
    """Return kind and name of every file beside the checkpoints."""
    return [(kind, name) for kind in KINDS for name in ModelFiles(models_dir, kind).files()]


def find_parts(models_dir: Path | None, name: str) -> list[tuple[ModelKind, str]]:
    """Return kind and full name of each file that a name means; raises `UserError`."""
    found = []
    for kind in KINDS:
        with suppress(UnknownPart):
            found.append((kind, ModelFiles(models_dir, kind).resolve_file(name)))
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
    files = [path for path in everything if is_weights(path)]
    weights = [path for path in files if is_diffusers(path)]
    whole = {path.parent for path in weights if (path.parent / "config.json").is_file()} - {folder}
    single = [path for path in files if path.parent not in whole or not is_diffusers(path)]
    return {path.relative_to(folder).as_posix(): path for path in sorted([*whole, *single])}
