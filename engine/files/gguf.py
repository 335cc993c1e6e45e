"""Read the header of a GGUF file: which tensors it holds, and how each is quantised.

A file is a magic number, a version, counts, metadata (key, type, value), the tensors' names, sides
(the fastest first: the reverse of safetensors'), types and offsets, and then their bytes, each at a
multiple of the alignment. All of it is checked, so that a truncated file is known before anything
is loaded. Standard library only.

Format: "GGUF" in the documents of https://github.com/ggml-org/ggml
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

from engine.errors import shorten
from engine.files.safetensors import (
    LONGEST,
    BadFile,
    Header,
    Tensor,
    quantised,
    quoted,
    read_header,
)

ENDING: Final = ".gguf"
MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
DEEPEST: Final = 8  # sides of a tensor
ALIGNMENT: Final = "general.alignment"
# ComfyUI-GGUF keeps the shape of what it reshaped to whole blocks so.
SHAPE: Final = "comfy.gguf.orig_shape."

# ggml's types by number: values of a block, and its bytes.
TYPES: Final[Mapping[int, tuple[str, int, int]]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    20: ("IQ4_NL", 32, 18),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    30: ("BF16", 1, 2),
}
# Those that are only named.
OTHERS: Final[Mapping[int, str]] = {
    9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 21: "IQ3_S",
    22: "IQ2_S", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
}  # fmt: skip
# Of those that are quantised: values of a block, and its bytes.
BLOCKS: Final[Mapping[str, tuple[int, int]]] = {
    title: (values, length) for title, values, length in TYPES.values() if values > 1
}
# Metadata's types by number, as `struct` reads them; and those that have a length.
VALUES: Final[Mapping[int, str]] = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
TEXT: Final = 8
LIST: Final = 9


def read_weights(path: Path) -> Header:
    """Read the header of a file of weights, safetensors or GGUF, quantised or not.

    Raises `BadFile` for one that is damaged, or quantised in a way that Marble cannot read.
    """
    return read_gguf(path) if path.suffix.lower() == ENDING else read_header(path, fp8=True)


def read_gguf(path: Path) -> Header:
    """Read and check a file's header, or raise `BadFile`; an unchanged file is read once.

    Shapes are as in safetensors, dtypes are ggml's names of types (`Q4_K`); of the metadata only
    texts are kept.
    """
    try:
        stat = path.stat()
        return _read(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise BadFile(f"it cannot be read ({error.strerror})") from None


@dataclass(slots=True)
class _Reader:
    """Take values from the front of a file, which has `left` bytes more."""

    file: BinaryIO
    left: int

    def take(self, length: int) -> bytes:
        if length > min(self.left, LONGEST):  # before so much is asked for
            raise BadFile("it is cut short in its header, or that is damaged")
        self.left -= length
        return self.file.read(length)

    def value(self, letter: str) -> Any:
        letter = f"<{letter}"
        return struct.unpack(letter, self.take(struct.calcsize(letter)))[0]

    def text(self) -> str:
        return self.take(self.value("Q")).decode("utf-8", "replace")

    def typed(self, kind: int) -> Any:
        if kind == TEXT:
            return self.text()
        if kind == LIST:
            inner, count = self.value("I"), self.value("Q")
            if inner in VALUES:
                data = self.take(count * struct.calcsize(f"<{VALUES[inner]}"))
                return struct.unpack(f"<{count}{VALUES[inner]}", data)
            return [self.typed(inner) for _ in range(count)]
        if kind not in VALUES:
            raise BadFile(f"its header is damaged: it has a value of the unknown type {kind}")
        return self.value(VALUES[kind])


@lru_cache(maxsize=256)
def _read(path: Path, changed: int, size: int) -> Header:
    if size == 0:
        raise BadFile("it is empty")
    with path.open("rb") as file:
        reader = _Reader(file, size)
        if reader.take(min(size, len(MAGIC))) != MAGIC:
            raise BadFile("it is no GGUF file")
        if (version := reader.value("I")) not in VERSIONS:
            raise BadFile(f"it is of GGUF's version {version}, where {VERSIONS[-1]} is due")
        count, entries = reader.value("Q"), reader.value("Q")
        facts: dict[str, Any] = {}
        places: dict[str, tuple[tuple[int, ...], int, int]] = {}
        try:
            for _ in range(entries):
                key = _new(reader.text(), facts)
                facts[key] = reader.typed(reader.value("I"))
        except RecursionError:
            raise BadFile("its header is damaged: its lists nest too deeply") from None
        for _ in range(count):
            name = _new(reader.text(), places)
            places[name] = _sides(name, reader), reader.value("I"), reader.value("Q")
        alignment = facts.get(ALIGNMENT, 32)
        if not (isinstance(alignment, int) and alignment > 0):
            raise BadFile(f"its header is damaged: it has {shorten(alignment)} for {ALIGNMENT}")
        data = -(-file.tell() // alignment) * alignment
    tensors = {
        name: _tensor(name, sides, kind, data + offset, facts.get(f"{SHAPE}{name}"))
        for name, (sides, kind, offset) in places.items()
    }
    _check_places(tensors, size)
    texts = {key: value for key, value in facts.items() if isinstance(value, str)}
    return Header(path, tensors, texts)


def _new(name: str, known: Mapping[str, object]) -> str:
    if name in known:  # and so a file of zeros ends here
        raise BadFile(f"its header is damaged: it has {quoted(name)} twice")
    return name


def _sides(name: str, reader: _Reader) -> tuple[int, ...]:
    depth = reader.value("I")
    if depth > DEEPEST:
        raise BadFile(f"its header is damaged: {quoted(name)} has {depth} sides")
    return struct.unpack(f"<{depth}Q", reader.take(8 * depth))


def _tensor(name: str, sides: tuple[int, ...], kind: int, start: int, own: object) -> Tensor:
    """Return where a tensor lies; own: the shape that it had before it was reshaped, if it was."""
    if kind in OTHERS:
        raise BadFile(quantised(OTHERS[kind]))
    if kind not in TYPES:
        raise BadFile(
            f"{quoted(name)} is quantised in a way that Marble does not know (type {kind})"
        )
    title, values, length = TYPES[kind]
    if sides and sides[0] % values:
        raise BadFile(
            f"its header is damaged: {quoted(name)} is no whole number of blocks of {title}"
        )
    shape, size = sides[::-1], prod(sides)
    if own is not None:
        if not (isinstance(own, tuple) and prod(own) == size):
            raise BadFile(
                f"its header is damaged: {quoted(name)} cannot have the shape {shorten(own)}"
            )
        shape = own
    return Tensor(title, shape, start, start + size // values * length)


def _check_places(tensors: Mapping[str, Tensor], size: int) -> None:
    at = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start < at:
            raise BadFile(f"its header is damaged: {quoted(name)} lies in the tensor before it")
        at = tensor.end
    if size < at:
        raise BadFile(f"it is cut short: {size:,} of {at:,} bytes are there")
