"""What a network needs beside it, its text encoders, VAE and tokenizers: which files these are.

    found = PartFiles(models_dir).find(family.parts, header, file)
    found.parts["text_encoder"]      # models/text_encoders/qwen_3_4b.safetensors

Each file's header tells what it is (`engine.models.part_kinds`). Where several files would do, the
more precise is taken. Standard library only.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Final, TypeVar

from engine.errors import BrokenModel, UserError
from engine.files.atomic import read_object
from engine.files.gguf import read_weights
from engine.files.safetensors import BadFile, Header, Tensor
from engine.models.downloads import command_for, plain
from engine.models.folders import FOLDERS, ModelKind, folders
from engine.models.llama_names import REORDERED, by_transformers
from engine.models.model_files import ModelFiles
from engine.models.name_matching import stem
from engine.models.part_kinds import (
    CLASSES,
    FETCHED,
    KINDS,
    TOKENIZER,
    TOKENIZERS,
    VAE,
    PartKind,
    instead,
    told,
)
from engine.models.quantised import check_quantised
from engine.models.supported import LATER
from engine.models.weights import component_files, state

NETWORK: Final = "network"  # the part that denoises
ENCODER: Final = "text_encoder"
# What names begin with in a file that holds several parts.
NETWORKS: Final = ("model.diffusion_model.", "diffusion_model.", "net.")
INSIDE: Final = re.compile(r"text_encoders\.[^.]+\.(?:transformer\.)?|first_stage_model\.|vae\.")
MANY: Final = 5  # ComfyUI's: more names than these begin so, where it is a prefix
VOCABULARIES: Final = (("tokenizer.json",), ("vocab.json", "merges.txt"))  # a tokenizer's files
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FoundParts:
    """Say where parts lie: files or folders of those that lie apart, and what names begin with.

    prefixes: of the tensors of a part in a file that holds more, or under longer names.
    """

    parts: dict[str, Path] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)


def prefix_of_network(names: Iterable[str]) -> str:
    """Return what the names of a network's tensors begin with in a file, "" for nothing."""
    names = list(names)
    counts = {start: sum(name.startswith(start) for name in names) for start in NETWORKS}
    return next((start for start, count in counts.items() if count > MANY), "")


def network_tensors(header: Header) -> dict[str, Tensor]:
    """Return a network's tensors by their own names, without the other parts of its file."""
    return tensors_of(header.tensors, prefix_of_network(header.tensors))


def tensors_of(tensors: Mapping[str, T], prefix: str) -> dict[str, T]:
    """Return the tensors of a part by their own names, without the other parts of its file.

    prefix: what the names of the part's tensors begin with, "" for nothing.
    """
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix) and (prefix or not INSIDE.match(name))
    }


def bits(header: Header) -> float:
    """Return how many bits a file spends on a value, in the mean."""
    values = sum(prod(tensor.shape) for tensor in header.tensors.values())
    return 8 * sum(t.end - t.start for t in header.tensors.values()) / max(values, 1)


def read_part(path: Path) -> Header:
    """Read the headers of a file, or of the files of a folder's weights; raises `BadFile`.

    Text encoders in GGUF have the names of transformers.
    """
    if not path.is_dir():
        header = read_weights(path)
        if (kind := header.metadata.get("general.architecture")) in REORDERED:
            raise BadFile(f"its rows are in llama.cpp's order for {kind}, {LATER}")
        check_quantised(header)
        return replace(header, tensors=by_transformers(header.tensors))
    headers = [_read_named(file) for file in component_files(path)]
    if not headers:
        raise BadFile(f"{path.name}/ holds no safetensors file")
    check_quantised(*headers)
    tensors: dict[str, Tensor] = {}
    for header in headers:
        tensors |= header.tensors
    return Header(headers[0].path, tensors, {})


def _read_named(file: Path) -> Header:
    """Return the header of one of several files, which its errors name."""
    try:
        return read_weights(file)
    except BadFile as error:
        raise BadFile(f"{error} ({file.name})") from None


def read_folder_part(folder: Path, part: str) -> Header:
    """Return a part's header as `read_part` does; errors begin with its name."""
    try:
        return read_part(folder / part)
    except BadFile as error:
        raise BadFile(f"{part}: {error}") from None


@lru_cache(maxsize=256)
def _look_at(part: str, path: Path, stamp: tuple[int, ...]) -> tuple[PartKind | None, float]:
    """Return the kind of a part's file or folder, and its bits per value; raises `BadFile`.

    What did not change since is not looked at again: every request asks.
    """
    header = read_part(path)
    return told(part, header.tensors), bits(header)


class PartFiles:
    """Find the parts of networks among the files of a folder of models."""

    def __init__(self, models_dir: Path | None) -> None:
        self._models_dir = models_dir
        self._files = {
            part: ModelFiles(models_dir, kind)
            for part, kind in ((ENCODER, ModelKind.TEXT_ENCODER), (VAE, ModelKind.VAE))
        }

    def of_file(
        self,
        needs: Mapping[str, PartKind],
        readers: Mapping[str, str],
        header: Header,
        named: Mapping[str, Path],
        diffusers: Iterable[Path] = (),
    ) -> FoundParts:
        """Return the parts of a network's file: those in it, and those that lie apart.

        needs: text encoders and VAE by their parts; readers: tokenizers likewise; named: those that
        the model's owner names; diffusers: folders in diffusers' layout, whose tokenizers may do.
        Raises `BadFile` for a part that there is not.
        """
        inside = _inside(header)
        found = FoundParts({}, {NETWORK: prefix_of_network(header.tensors)})
        if not inside:
            found.parts[NETWORK] = header.path
        for part, kind in needs.items():
            within = next((begin for begin, its in inside.items() if its.is_a(kind)), None)
            if part in named:
                found.parts[part] = named[part]
            elif within:
                found.prefixes[part] = within
            else:
                found.parts[part] = self._look_for(part, kind)
        diffusers = list(diffusers)
        for part, kind_of_words in readers.items():
            encoder = found.parts.get(part.replace(TOKENIZER, ENCODER), header.path)
            found.parts[part] = named.get(part) or self._tokenizer(
                kind_of_words, encoder, diffusers
            )
        return found

    def of_folder(
        self,
        needs: Mapping[str, PartKind],
        readers: Iterable[str],
        folder: Path,
        named: Mapping[str, Path],
    ) -> FoundParts:
        """Return those parts of a folder in diffusers' layout that its owner names elsewhere.

        The others are held to what its network needs. Arguments and errors: as of `of_file`.
        """
        for part, kind in needs.items():
            if part not in named:
                its = told(part, read_folder_part(folder, part).tensors)
                if its is None or not its.is_a(kind):
                    raise BadFile(f"{part}/ {instead(its, kind)}")
        for part in readers:
            if part not in named and not is_tokenizer(folder / part):
                raise BadFile(f"{part}/ holds no tokenizer (tokenizer.json)")
        return FoundParts({**named})

    def named(self, own: Mapping[str, str], needs: Mapping[str, PartKind]) -> dict[str, Path]:
        """Return the files and folders of parts that a model's owner names; raises `BadFile`.

        own: their names; needs: as of `of_file`; what is not among them are tokenizers.
        """
        return {
            part: self._named(part, needs[part], given)
            if part in needs
            else self._named_tokenizer(part, given)
            for part, given in own.items()
        }

    def _named(self, part: str, kind: PartKind, given: str) -> Path:
        try:
            path = self._of(part).path(given)
            its = told(part, read_part(path).tensors)
        except BrokenModel as error:
            raise BadFile(f"parts.{part}: {error.reason.removesuffix('.')}") from None
        except UserError as error:
            raise BadFile(f"parts.{part}: {str(error).removesuffix('.')}") from None
        except BadFile as error:
            raise BadFile(f"parts.{part}: {given}: {error}") from None
        if its is None or not its.is_a(kind):
            raise BadFile(f"parts.{part}: {given} {instead(its, kind)}")
        return path

    def _of(self, part: str) -> ModelFiles:
        return self._files[VAE if part == VAE else ENCODER]

    def _look_for(self, part: str, kind: PartKind) -> Path:
        """Return the best of the files that are of a kind."""
        fitting: list[tuple[tuple[float, bool, float, str], Path]] = []
        others, broken = [], []
        for name in self._of(part).files():
            try:
                path = self._of(part).path(name)
                its, mean = _look_at(part, path, state(path))
            except BrokenModel:  # a pickle
                continue
            except BadFile as error:
                broken.append((name, error))
                continue
            if its and its.is_a(kind) and _fits_name(kind, path):
                order = -min(mean, 16), path.name != kind.file, mean, name
                fitting.append((order, path))
            elif its:
                others.append((name, its))
        if fitting:
            return min(fitting)[1]
        raise BadFile(_missing(part, kind, self._homes(part), others, broken))

    def _homes(self, part: str) -> list[str]:
        """Return the folders in which a part is looked for, the usual ones where there are none."""
        kind = self._of(part).kind
        there = folders(self._models_dir, kind) if self._models_dir else []
        names = dict.fromkeys(f"{home.name}/" for home in there)
        return [*names] or [f"{name}/" for name in FOLDERS[kind][0]]

    def _named_tokenizer(self, part: str, given: str) -> Path:
        if not self._models_dir or Path(given).anchor or ".." in Path(given).parts:
            raise BadFile(f"parts.{part}: {given} is no folder inside the folder of models")
        path = self._models_dir / given
        if not is_tokenizer(path):
            raise BadFile(f"parts.{part}: {given} is no folder with a tokenizer (tokenizer.json)")
        return path

    def _tokenizer(self, kind: str, encoder: Path, diffusers: Iterable[Path]) -> Path:
        """Return the folder of a tokenizer, or the file of an encoder that holds one.

        It is looked for in the encoder's file, in a folder beside that of its name, in
        `tokenizers/KIND/`, and in folders in diffusers' layout.
        """
        inside = next((each.inside for each in KINDS.values() if each.tokenizer == kind), "")
        if inside and any(name.endswith(inside) for name in read_part(encoder).tensors):
            return encoder
        places = [encoder if encoder.is_dir() else encoder.with_suffix("")]
        if self._models_dir:
            homes = folders(self._models_dir, ModelKind.TOKENIZER)
            places += [home / kind for home in homes]
        places += [place for folder in diffusers for place in _tokenizers_of(folder, kind)]
        if found := next(filter(is_tokenizer, places), None):
            return found
        fetch = f"`marble models get tokenizer-{kind}` fetches it, or " if kind in FETCHED else ""
        raise BadFile(
            f"the tokenizer of {TOKENIZERS[kind]} is missing: {fetch}put its tokenizer.json into "
            f"tokenizers/{kind}/"
        )


def tokenizers(parts: Mapping[str, str]) -> dict[str, str]:
    """Return the tokenizers that are needed, part → kind: those of text encoders, and others."""
    found = {part: kind for part, kind in parts.items() if part.startswith(TOKENIZER)}
    for part, kind in parts.items():
        if part.startswith(ENCODER) and KINDS[kind].tokenizer:
            found[part.replace(ENCODER, TOKENIZER)] = KINDS[kind].tokenizer
    return found


def is_tokenizer(folder: Path) -> bool:
    """Return whether a folder holds a tokenizer."""
    return any(all((folder / name).is_file() for name in names) for names in VOCABULARIES)


def _tokenizers_of(folder: Path, kind: str) -> Iterator[Path]:
    """Yield where a diffusers folder has tokenizers of a kind, by the classes of its encoders."""
    for part, entry in read_object(folder / "model_index.json").items():
        its = CLASSES.get(str(entry[-1])) if isinstance(entry, list) and entry else None
        if part.startswith(ENCODER) and its == kind:
            yield folder / part.replace(ENCODER, TOKENIZER)


def _inside(header: Header) -> dict[str, PartKind]:
    """Return the parts in a file beside its network: what their names begin with → kind."""
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in header.tensors.items():
        if start := INSIDE.match(name):
            parts[start[0]][name.removeprefix(start[0])] = tensor
    kinds = {
        start: told(ENCODER if start.startswith("text") else VAE, tensors)
        for start, tensors in parts.items()
    }
    return {start: kind for start, kind in kinds.items() if kind}


def _fits_name(kind: PartKind, path: Path) -> bool:
    name = f"{path.parent.name}/{path.name}".lower()
    return bool(re.search(kind.named, name)) and not (kind.unlike and re.search(kind.unlike, name))


def _missing(
    part: str,
    kind: PartKind,
    homes: Sequence[str],
    others: Sequence[tuple[str, PartKind]],
    broken: Sequence[tuple[str, BadFile]],
) -> str:
    """Say which part is missing, which file it is and where that goes, and what is there instead.

    homes: the folders that were searched; others, broken: names of files, and their kinds or
    faults.
    """
    home = "vae/" if part == VAE else "text_encoders/"
    what = f"put {kind.title}{f' ({kind.file})' if kind.file else ''} into {home}"
    if command := command_for(kind.file):
        what = f"{what}, or `{command}` fetches it"
    usual = plain(stem(kind.file))
    for name, error in broken:
        if usual and plain(stem(name)).startswith(usual):
            return f"its {_called(part)} {name} cannot be used: {error}; {what}"
    missing = f"its {_called(part)} is missing from {' and '.join(homes)}"
    alike = [(name, its) for name, its in others if its.architecture == kind.architecture]
    if alike and part == VAE:
        hint = f"only its name tells it, so that must hold sd3, or name it as parts.{part}"
        what = f"{what}; {hint}" if kind.named else what
    elif alike and kind.architecture != "CLIP":  # of which models need two sizes
        name, its = alike[0]
        missing = f"{missing} ({name} is {its.title}, of another size)"
    return f"{missing}: {what}"


def _called(part: str) -> str:
    return "VAE" if part == VAE else "text encoder"
