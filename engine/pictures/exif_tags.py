"""The EXIF of a picture file, tag by tag: read are those that are wanted, and nothing else.

A library makes objects of all that a tag holds, of whatever type: a hostile file of 16 MB costs it
seconds and half a gigabyte. Here a tag is a slice of the file.

JPEG: ITU-T T.81, annex B · WEBP: https://developers.google.com/speed/webp/docs/riff_container ·
the table of tags: TIFF 6.0, section 2
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


def find_exif(data: bytes) -> bytes:
    """Return the EXIF in a JPEG or WEBP file, a TIFF file of its own; nothing where there is none.

    Raises `ValueError` or `struct.error` for a damaged file.
    """
    found = _in_webp(data) if data.startswith(b"RIFF") else _in_jpeg(data)
    return found.removeprefix(MARK)


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


def _in_jpeg(data: bytes) -> bytes:
    """Return all segments of EXIF before the pixels, joined."""
    found: list[bytes] = []
    at = 2
    while marker := MARKER.match(data, at):
        kind, at = marker[1][0], marker.end()
        if kind in (SCAN, END):
            return b"".join(found)
        if kind not in ALONE:
            (length,) = struct.unpack_from(">H", data, at)
            body = data[at + 2 : at + length] if kind == APP1 else b""
            if body.startswith(MARK):
                found.append(body.removeprefix(MARK))
            at += length
    raise ValueError("no pixels")


def _in_webp(data: bytes) -> bytes:
    if data[8:12] != b"WEBP":
        raise ValueError("no WEBP")
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            return data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return b""
