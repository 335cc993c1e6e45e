"""Files of flow models at their full size, of which only the headers are written.

Names and shapes are those of `signatures.json` (`tests/conftest.py:SHARED_FLOW`); the bytes of the
tensors are a hole in the file, which takes no room on the disk.
"""

import json
import os
import re
import struct
from collections.abc import Mapping
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, Final

import pytest

from engine.files.safetensors import SIZES, Header, Tensor
from tests.conftest import SHARED_FLOW

Shapes = Mapping[str, tuple[int, ...]]
PREFIX: Final = "model.diffusion_model."
FILE: Final = SHARED_FLOW / "signatures.json"
NEEDED: Final = pytest.mark.skipif(not FILE.is_file(), reason="no shared reference numbers")


@cache
def signatures() -> dict[str, Any]:
    """Return names and shapes of the families' files."""
    return dict(json.loads(FILE.read_text("utf-8")))


def network(name: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's tensors, all blocks included."""
    found = signatures()["diffusion_models"][name]
    shapes = _repeated(found["tensors"], found["blocks"])
    if "cap_embedder.0.weight" in shapes:  # whose second layer is left out there
        width, dim = shapes["cap_embedder.0.weight"][0], shapes["x_embedder.bias"][0]
        shapes |= {"cap_embedder.1.weight": (dim, width), "cap_embedder.1.bias": (dim,)}
    return shapes


def encoder(name: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a text encoder's tensors."""
    found = signatures()["text_encoders"][name]
    stem = "encoder.block" if name == "t5xxl" else "layers"
    shapes = _repeated(found["tensors"], {stem: found["layers"]})
    if name == "t5xxl":  # in its first block alone
        bias = ".layer.0.SelfAttention.relative_attention_bias.weight"
        shapes = {n: s for n, s in shapes.items() if not n.endswith(bias) or ".block.0." in n}
    return shapes


def vae(name: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a VAE's tensors that tell it."""
    return {n: tuple(shape) for n, shape in signatures()["vaes"][name]["tensors"].items()}


def _repeated(
    tensors: Mapping[str, list[int]], blocks: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    shapes = {name: tuple(shape) for name, shape in tensors.items()}
    for name in list(shapes):
        for block, count in blocks.items():
            if found := re.fullmatch(rf"((?:.*\.)?{re.escape(block)})\.0\.(.*)", name):
                for number in range(1, count):
                    shapes.setdefault(f"{found[1]}.{number}.{found[2]}", shapes[name])
    return shapes


def prefixed(shapes: Shapes, prefix: str = PREFIX) -> dict[str, tuple[int, ...]]:
    """Return shapes under names that begin otherwise."""
    return {f"{prefix}{name}": shape for name, shape in shapes.items()}


def header(
    shapes: Shapes, metadata: Mapping[str, str] | None = None, dtype: str = "BF16"
) -> Header:
    """Return a header that was read from no file."""
    tensors = {name: Tensor(dtype, tuple(shape), 0, 0) for name, shape in shapes.items()}
    return Header(Path("it.safetensors"), tensors, metadata or {})


def write(
    path: Path,
    shapes: Shapes,
    *,
    dtype: str = "BF16",
    dtypes: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    contents: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a safetensors file whose tensors are a hole; return its path.

    dtypes: of tensors that are not of `dtype`; contents: tensors of bytes.
    """
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at, written = 0, []
    for name, data in (contents or {}).items():
        entries[name] = _entry("U8", (len(data),), at)
        written.append(data)
        at += len(data)
    for name, shape in shapes.items():
        entries[name] = _entry((dtypes or {}).get(name, dtype), tuple(shape), at)
        at = entries[name]["data_offsets"][1]
    text = json.dumps(entries).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(written))
    os.truncate(path, 8 + len(text) + at)
    return path


def _entry(dtype: str, shape: tuple[int, ...], at: int) -> dict[str, Any]:
    end = at + prod(shape) * SIZES[dtype]
    return {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
