"""EXIF, tag by tag: read are those that are wanted, and nothing else.

A library makes objects of all that a tag holds, of whatever type: a hostile file of 16 MB costs it
seconds and half a gigabyte. Here a tag is a slice of the file.

The table of tags: TIFF 6.0, section 2 · a JPEG's markers: ITU-T T.81, annex B
"""

import re
import struct
from collections.abc import Collection
from typing import Final

MARK: Final = b"Exif\0\0"
ORDERS: Final = {b"II": "<", b"MM": ">"}
BYTES: Final = (1, 2, 7)  # types of tags that hold bytes: BYTE, ASCII, UNDEFINED
ENTRY: Final = 12  # bytes of a table's entry
# What leads to a JPEG's next marker, and it: decoders skip what is none, and bytes that fill.
MARKER: Final = re.compile(rb"[^\xff]*+\xff++(.)", re.DOTALL)
APP1, SCAN, END = 0xE1, 0xDA, 0xD9
ALONE: Final = (0x00, 0x01, *range(0xD0, 0xD9))  # markers without a segment


def read_tags(exif: bytes, wanted: Collection[int], below: int | None = None) -> dict[int, bytes]:
    """Return the bytes of tags of the first table, or of one to which its tag `below` points.

    Raises `ValueError` or `struct.error` where there is no table.
    """
    if exif[:2] not in ORDERS:
        raise ValueError("no TIFF")
    order = ORDERS[exif[:2]]
    (at,) = struct.unpack_from(f"{order}I", exif, 4)
    found = _read_table(exif, order, at, wanted if below is None else [below])
    if below is None:
        return found
    if len(place := found.get(below, b"")) != 4:
        return {}
    return _read_table(exif, order, struct.unpack(f"{order}I", place)[0], wanted)


def _read_table(exif: bytes, order: str, at: int, wanted: Collection[int]) -> dict[int, bytes]:
    (count,) = struct.unpack_from(f"{order}H", exif, at)
    found: dict[int, bytes] = {}
    for start in range(at + 2, min(at + 2 + count * ENTRY, len(exif) - ENTRY + 1), ENTRY):
        tag, kind, length, place = struct.unpack_from(f"{order}HHI4s", exif, start)
        if tag not in wanted or tag in found:
            continue
        if kind not in BYTES:
            found[tag] = place  # a number, or where there are many
        elif length <= len(place):
            found[tag] = place[:length]
        else:
            (begin,) = struct.unpack(f"{order}I", place)
            if begin + length <= len(exif):
                found[tag] = exif[begin : begin + length]
    return found
