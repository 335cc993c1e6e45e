"""Write GGUF files by the format's description, for tests."""

import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from engine.files.gguf import TYPES


def write_gguf(
    path: Path,
    tensors: Mapping[str, tuple[tuple[int, ...], int]],
    facts: Mapping[str, Any] | None = None,
    data: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a file of tensors, by name: shape (the fastest side last), and number of the type.

    facts: texts, whole numbers (uint32) and lists of them; data: the bytes of tensors, else zeros.
    """
    head, body = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(facts or {})), b""
    for key, value in (facts or {}).items():
        head += text(key) + fact(value)
    for name, (shape, kind) in tensors.items():
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        head += struct.pack("<IQ", kind, len(body))
        _, values, length = TYPES.get(kind, ("", 1, 1))
        size = prod(shape) // values * length
        body += (data or {}).get(name, bytes(size)) + bytes(-size % 32)
    path.write_bytes(head + bytes(-len(head) % 32) + body)
    return path


def text(value: str) -> bytes:
    """Return a text as the format has it."""
    return struct.pack("<Q", len(value.encode())) + value.encode()


def fact(value: Any) -> bytes:
    """Return a value of metadata with its type."""
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if value and isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
    return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
