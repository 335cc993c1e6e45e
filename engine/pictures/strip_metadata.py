"""Strip a picture's file of all that its pixels do not depend on.

What else is in files (bytes after the end, texts, other programs' chunks, checksums of those) does
not matter to a picture whose pixels are whole: it is dropped before a library sees it. What is
kept is bounded. A missing end is added where no pixel is missing.

PNG: https://www.w3.org/TR/png-3/ · JPEG: ITU-T T.81, annexes B and G
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from PIL import Image

from engine.errors import ImageError
from engine.pictures.exif_tags import ALONE, APP1, END, MARK, MARKER, SCAN
from engine.pictures.image_header import CHUNKS, DAMAGED, MARKS

PROFILE: Final = 8 * 2**20  # bytes of a colour profile; a printer's largest have four
EXIF: Final = 2**20  # bytes that are read; cameras write some thousands and a small picture
SEGMENT: Final = 2**16  # of which one of a JPEG's segments holds so many at most
# A progressive JPEG has about ten scans. Each costs a walk over all pixels but only some bytes.
SCANS: Final = 100

PNG_START: Final = b"\x89PNG\r\n\x1a\n"
PIXELS: Final = b"IDAT"
LAST: Final = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
ANCILLARY: Final = (b"tRNS", b"eXIf")  # of those that may be missing, the ones that are looked at

# A scan's pixels: stuffed bytes and restart marks are among them.
IN_SCAN: Final = re.compile(rb"(?:[^\xff]++|\xff[\x00\xd0-\xd7])*+", re.DOTALL)
JFIF, APP2, ADOBE, COMMENT, RESTART = 0xE0, 0xE2, 0xEE, 0xFE, 0xDD
ICC: Final = b"ICC_PROFILE\0"
# Segments that are kept where they begin so; those of other programs are not kept.
STARTS: Final = {JFIF: b"JFIF\0", APP1: MARK, APP2: ICC, ADOBE: b"Adobe"}
FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
ALL: Final = range(64)  # coefficients of a block
# What stands for pixels that are not there: where all are, none of these is read.
PADS: Final = (b"", *(bytes([each]) * 256 for each in (0x5A, 0x99, 0xC7, 0xE3, 0xF1, 0xFE)))


def strip_png(data: bytes) -> tuple[bytes, bytes | None]:
    """Return a PNG file with its pixels' chunks alone, and its colour profile."""
    kept, profile = [PNG_START], None
    at = len(PNG_START)
    for _ in range(CHUNKS):
        if at + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        crc = struct.pack(">I", zlib.crc32(kind + body))
        sound = crc == data[at + 8 + length : at + 12 + length]
        if kind == b"IEND":
            break
        if kind == PIXELS:  # zlib's own sum tells whether they are whole
            kept += struct.pack(">I4s", len(body), kind), body, crc
        # The others that may not be missing begin with a capital.
        elif kind[:1].isupper() or (sound and kind in ANCILLARY and len(body) <= EXIF):
            kept.append(data[at : at + 12 + length])
        elif sound and kind == b"iCCP" and profile is None:
            profile = _inflate(body.partition(b"\0")[2][1:])
        at += 12 + length
    else:
        raise ImageError(DAMAGED)
    return b"".join((*kept, LAST)), profile


def strip_jpeg(data: bytes) -> bytes:
    """Return a JPEG file with its pixels' segments, its colour profile and its Exif alone.

    Raises `ImageError` where it holds more Exif or scans than any camera's, or too few pixels.
    """
    parts = list(_segments(data))
    scans = sum(part.kind == SCAN for part in parts)
    exif = sum(part.body.startswith(MARK) for part in parts)
    if scans > SCANS or exif > EXIF // SEGMENT:
        raise ImageError(DAMAGED)
    bare = b"\xff\xd8" + b"".join(part.whole for part in parts if part.kind != END)
    if not parts or parts[-1].kind != END:
        _check_whole(bare, parts)
    return bare + b"\xff\xd9"


def _inflate(packed: bytes) -> bytes | None:
    """Return a profile, or None where it is damaged or larger than any."""
    try:
        found = zlib.decompressobj().decompress(packed, PROFILE + 1)
    except zlib.error:
        return None
    return found if len(found) <= PROFILE else None


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment of a JPEG: its marker, its body, and all of it with a scan's pixels."""

    kind: int
    body: bytes = b""
    pixels: bytes = b""

    @property
    def whole(self) -> bytes:
        length = struct.pack(">H", len(self.body) + 2)
        return b"\xff" + bytes([self.kind]) + length + self.body + self.pixels


def _segments(data: bytes) -> Iterator[_Segment]:
    """Yield the segments that are kept, up to the end of the pixels."""
    at, begun = 2, False
    for _ in range(MARKS):
        if not (marker := MARKER.match(data, at)):
            return
        kind, at = marker[1][0], marker.end()
        if kind == END and begun:
            yield _Segment(END)
            return
        if kind in ALONE or kind == END or at + 2 > len(data):
            continue
        (length,) = struct.unpack_from(">H", data, at)
        body = data[at + 2 : at + length]
        at += max(2, length)
        if kind == SCAN:
            begun = True
            found = IN_SCAN.match(data, at)
            assert found is not None  # it may be empty
            yield _Segment(kind, body, found[0])
            at = found.end()
        elif _is_kept(kind, body):
            yield _Segment(kind, body)
    raise ImageError(DAMAGED)


def _is_kept(kind: int, body: bytes) -> bool:
    if kind in STARTS:
        return body.startswith(STARTS[kind])
    return not (JFIF <= kind <= 0xEF or kind == COMMENT)


def _check_whole(bare: bytes, parts: list[_Segment]) -> None:
    """Raise `ImageError` where a JPEG without an end lacks pixels.

    Its scans must have said all of every block, and bytes after the last one must not matter. With
    restart marks the second could not be seen: an interval that is missing reads no byte.
    """
    restarts = any(part.kind == RESTART and any(part.body) for part in parts)
    if restarts or not _is_complete(parts):
        raise ImageError(DAMAGED)
    found = (_pixels(bare + pad + b"\xff\xd9") for pad in PADS)
    first = next(found, None)
    if any(other != first for other in found):
        raise ImageError(DAMAGED)


def _is_complete(parts: list[_Segment]) -> bool:
    """Return whether the scans hold every coefficient of every component, to its last bit."""
    frame = next((part.body for part in parts if part.kind in FRAMES), b"")
    components = set(frame[6::3][: frame[5]]) if len(frame) > 5 else set[int]()
    said: set[tuple[int, int]] = set()
    for part in parts:
        if part.kind == SCAN and len(part.body) >= 4 and part.body[-1] & 15 == 0:
            first, last = part.body[-3], part.body[-2]
            names = part.body[1 : 1 + 2 * part.body[0] : 2]
            said |= {(name, place) for name in names for place in range(first, last + 1)}
    return bool(components) and all((name, place) in said for name in components for place in ALL)


def _pixels(data: bytes) -> bytes:
    """Return the hash of a JPEG's pixels."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return sha256(image.tobytes()).digest()
