"""Read the header of a safetensors file: which tensors it holds, without reading one.

A file is eight bytes with the header's length, the header (JSON: name → dtype, shape and place),
and then the tensors' bytes, one after another and without a gap. All of it is checked, so that a
truncated or renamed file is known before anything is loaded. Standard library only.

Format: https://github.com/huggingface/safetensors#format
"""

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, Final

from engine.errors import BrokenModel, shorten
from engine.files.json_parse import parse

LONGEST: Final = 100_000_000  # bytes of a header, as the format allows
TENSORS: Final = 100_000  # and braces in their metadata; the largest models have some thousands
# How `struct` reads a value of the dtypes that weights come in; BF16 is the upper half of a value
# of F32.
LETTERS: Final = {
    "F64": "d", "F32": "f", "F16": "e", "BF16": "f",
    "I64": "q", "I32": "i", "I16": "h", "I8": "b", "U64": "Q", "U32": "I", "U16": "H", "U8": "B",
    "BOOL": "?",
}  # fmt: skip
FP8: Final = ("F8_E4M3", "F8_E5M2")  # which some readers take
SIZES: Final = (
    {each: struct.calcsize(f"<{LETTERS[each]}") for each in LETTERS}
    | {"BF16": 2}
    | dict.fromkeys(FP8, 1)
)
QUANTISED: Final = ("F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4")
PICKLED: Final = (b"PK\3\4", b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5")  # zipped or bare


class BadFile(Exception):
    """Name a file's fault, as the rest of a sentence that begins with the file."""


def quoted(name: str) -> str:
    """Return a tensor's name for a message: networks' are shorter, strangers' need not be."""
    return shorten(name, 120)


@contextmanager
def as_broken_model(name: str, where: str = "") -> Iterator[None]:
    """Raise `BrokenModel` with a model's name for a `BadFile`; where: begins its reason."""
    try:
        yield
    except BadFile as error:
        raise BrokenModel(name, f"{where}{error}.") from None


@dataclass(frozen=True, slots=True)
class Tensor:
    """Describe a tensor: its dtype as the format names it, its shape, its place in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a file."""

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, () where there is none by that name."""
        found = self.tensors.get(name)
        return found.shape if found else ()

    def values(self, name: str) -> list[float]:
        """Read a small tensor, each value by the tensor's dtype; raises `BadFile`."""
        data, dtype = self.contents(name), self.tensors[name].dtype
        if dtype == "BF16":
            data = b"".join(b"\0\0" + data[i : i + 2] for i in range(0, len(data), 2))
        return [float(v) for (v,) in struct.iter_unpack(f"<{LETTERS[dtype]}", data)]

    def contents(self, name: str) -> bytes:
        """Read the bytes of a small tensor; raises `BadFile`."""
        tensor = self.tensors[name]
        try:
            with self.path.open("rb") as file:
                file.seek(tensor.start)
                data = file.read(tensor.end - tensor.start)
        except OSError as error:
            raise BadFile(f"it cannot be read ({error.strerror})") from None
        if len(data) < tensor.end - tensor.start:
            raise BadFile("it changed while it was read")
        return data


def read_header(path: Path, *, fp8: bool = False) -> Header:
    """Read and check a file's header, or raise `BadFile`; an unchanged file is read once.

    fp8: it may hold weights of 8 bits.
    """
    try:
        stat = path.stat()
        header = _read(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise BadFile(f"it cannot be read ({error.strerror})") from None
    if not fp8 and (found := {tensor.dtype for tensor in header.tensors.values()} & {*FP8}):
        raise BadFile(quantised(min(found)))
    return header


def quantised(how: str) -> str:
    """Return the fault of a file whose weights are quantised in a way that is not read."""
    return f"its weights are quantised ({how}), which Marble cannot run yet"


@lru_cache(maxsize=256)
def _read(path: Path, changed: int, size: int) -> Header:
    with path.open("rb") as file:
        length, text = _read_text(file.read(8), file, size)
    try:
        if text.count(b"{") > TENSORS:
            raise ValueError
        entries = parse(text)
        metadata = dict(entries.pop("__metadata__", None) or {})
        if not all(isinstance(value, str) for value in metadata.values()):
            raise TypeError
        tensors = dict(_tensors(entries, 8 + length))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadFile("its header is damaged") from None
    _check_offsets(tensors, 8 + length, size)
    return Header(path, tensors, metadata)


def _read_text(first: bytes, file: Any, size: int) -> tuple[int, bytes]:
    if size == 0:
        raise BadFile("it is empty")
    length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
    text = file.read(length) if 2 <= length <= LONGEST else b""
    if not text.startswith(b"{"):
        if first.startswith(PICKLED):  # as the lengths of some headers do
            raise BadFile("it is a pickle under another name, which can run code")
        raise BadFile("it is no safetensors file")
    if len(text) < length:
        raise BadFile("it is cut short in its header")
    return length, text


def _tensors(entries: Mapping[str, Any], data: int) -> Iterator[tuple[str, Tensor]]:
    for name, entry in entries.items():
        dtype, shape = str(entry["dtype"]), tuple(map(_whole, entry["shape"]))
        start, end = map(_whole, entry["data_offsets"])
        if dtype in QUANTISED:
            raise BadFile(quantised(dtype))
        if dtype not in SIZES:
            raise BadFile(
                f"{quoted(name)} holds values of the kind {shorten(dtype)}, "
                "which Marble cannot read"
            )
        if prod(shape) * SIZES[dtype] != end - start:
            raise BadFile(f"its header is damaged: {quoted(name)} is not as long as its shape says")
        yield name, Tensor(dtype, shape, data + start, data + end)


def _whole(value: object) -> int:
    """Return a side or an offset, or raise `ValueError` for a value that the format forbids."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError
    return value


def _check_offsets(tensors: Mapping[str, Tensor], data: int, size: int) -> None:
    at = data
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start != at or tensor.end < at:
            raise BadFile(
                f"its header is damaged: {quoted(name)} does not follow the tensor before it"
            )
        at = tensor.end
    if size < at:
        raise BadFile(f"it is cut short: {size:,} of {at:,} bytes are there")
    if size > at:
        raise BadFile(f"it goes on after its last tensor: {size:,} bytes instead of {at:,}")
