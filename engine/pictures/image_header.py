"""The header of a picture file: its kind and size, before a pixel is decoded.

A file of 11 KB can hold 89 million pixels, so its size is checked before any library makes room
for it. Pillow's lazy open does not serve: above 179 million pixels it raises without the size, and
it makes objects of all EXIF of a JPEG and all texts of a PNG first (15 MB: 0.2 s and 37 MB).

PNG: https://www.w3.org/TR/png-3/ · JPEG: ITU-T T.81, annex B ·
WEBP: https://developers.google.com/speed/webp/docs/riff_container
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from engine.errors import ImageError
from engine.sentences import Sentence

DAMAGED: Final = Sentence("damaged_picture")

# Segments and marks of a JPEG outside its pixels, and chunks of a PNG: pictures have some dozens,
# and of chunks of pixels some thousands. Each costs a step, and as little as two bytes.
MARKS: Final = 5_000
CHUNKS: Final = 50_000

# What else people send, by its first bytes.
OTHERS: Final[Mapping[bytes, str]] = {
    b"GIF8": "a GIF",
    b"BM": "a BMP picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF",
    b"\0\0\0\x0cjP": "a JPEG 2000 picture",
    b"\0\0\1\0": "an icon",
    b"PK\3\4": "an archive",
}
BRANDS: Final = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"avif": "AVIF"}


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """A file's kind (as Pillow calls it), its size in pixels, and whether it moves."""

    kind: str
    width: int
    height: int
    moving: bool = False


def read_image_header(data: bytes) -> ImageHeader:
    """Read the header of a PNG, JPEG or WEBP file, or raise `ImageError`."""
    for signature, read in READERS.items():
        if data.startswith(signature):
            try:
                return read(data)
            except (IndexError, struct.error):
                raise ImageError(DAMAGED) from None
    raise ImageError(Sentence("no_such_picture", name=_name(data)))


def _name(data: bytes) -> str:
    for signature, name in OTHERS.items():
        if data.startswith(signature):
            return name
    if data[4:8] == b"ftyp":
        return f"a picture or film of the kind {BRANDS.get(data[8:12], 'MP4')}"
    return "an SVG drawing" if b"<svg" in data[:1024].lower() else "not a picture"


def _png(data: bytes) -> ImageHeader:
    at, moving = 8, False
    if data[12:16] != b"IHDR":
        raise ImageError(DAMAGED)
    for _ in range(CHUNKS):
        if (kind := data[at + 4 : at + 8]) == b"IDAT":
            break
        (length,) = struct.unpack_from(">I", data, at)
        moving = moving or kind == b"acTL"
        at += 12 + length
    else:
        raise ImageError(DAMAGED)
    width, height = struct.unpack_from(">II", data, 16)
    return ImageHeader("PNG", width, height, moving)


def _jpeg(data: bytes) -> ImageHeader:
    at = 2
    for _ in range(MARKS):
        while data[at] == 0xFF == data[at + 1]:  # fill bytes
            at += 1
        marker = data[at + 1]
        if data[at] != 0xFF or marker in (0xD9, 0xDA):  # no size before the pixels, or at all
            raise ImageError(DAMAGED)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return ImageHeader("JPEG", width, height)
        (length,) = struct.unpack_from(">H", data, at + 2)
        at += 2 + length
    raise ImageError(DAMAGED)


def _webp(data: bytes) -> ImageHeader:
    if data[8:12] != b"WEBP":
        raise ImageError(Sentence("no_picture"))
    kind = data[12:16]
    if kind == b"VP8X":
        (sides,) = struct.unpack_from("<Q", data[:30] + b"\0\0", 24)
        moving = bool(data[20] & 2)
        return ImageHeader("WEBP", (sides & 0xFFFFFF) + 1, (sides >> 24 & 0xFFFFFF) + 1, moving)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return ImageHeader("WEBP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return ImageHeader("WEBP", width & 0x3FFF, height & 0x3FFF)
    raise ImageError(DAMAGED)


READERS: Final[Mapping[bytes, Callable[[bytes], ImageHeader]]] = {
    b"\x89PNG\r\n\x1a\n": _png,
    b"\xff\xd8\xff": _jpeg,
    b"RIFF": _webp,
}
