"""What JPEG, WebP, AVIF and GIF files hold beside pixels: EXIF, XMP and comments.

No pixel is decoded, and no library makes objects of what is there.

JPEG: ITU-T T.81, annex B; XMP, part 3 · WEBP:
https://developers.google.com/speed/webp/docs/riff_container · AVIF: ISO/IEC 23008-12, of whose
boxes `meta`, `iinf` and `iloc` are read · GIF: https://www.w3.org/Graphics/GIF/spec-gif89a.txt
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from engine.pictures.exif_tags import ALONE, APP1, END, MARK, MARKER, SCAN
from engine.pictures.image_header import CHUNKS

XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
COMMENT: Final = 0xFE  # a JPEG's segment
LARGEST: Final = 8 * 2**20  # bytes of one kind that are kept
BESIDE: Final = (b"EXIF", b"XMP ")  # chunks of a WebP file
GIF_COMMENT, GIF_EXTENSION, GIF_PICTURE = 0xFE, 0x21, 0x2C
BRANDS: Final = (b"avif", b"avis", b"mif1", b"heic", b"heix", b"msf1")
MIME: Final = b"application/rdf+xml"


class Beside(NamedTuple):
    """EXIF, a TIFF file of its own; XMP, which is XML; a comment. Nothing where there is none."""

    exif: bytes = b""
    xmp: bytes = b""
    comment: bytes = b""


def is_picture(data: bytes) -> bool:
    """Return whether a file is of one of these kinds."""
    return _reader(data) is not None


def read_beside(data: bytes) -> Beside:
    """Read a picture file of one of these kinds.

    Raises `ValueError`, `IndexError` or `struct.error` for a damaged file.
    """
    read = _reader(data)
    if read is None:
        raise ValueError("no picture of a kind that is known")
    return read(data)


def _reader(data: bytes) -> Callable[[bytes], Beside] | None:
    if data[4:8] == b"ftyp" and data[8:12] in BRANDS:
        return _avif
    return next((read for begins, read in READERS.items() if data.startswith(begins)), None)


def _jpeg(data: bytes) -> Beside:
    """Read all segments before the pixels; those of EXIF are joined."""
    exif: list[bytes] = []
    xmp = comment = b""
    for kind, body in _segments(data):
        if kind == COMMENT:
            comment = comment or body
        elif body.startswith(MARK):
            exif.append(body.removeprefix(MARK))
        elif body.startswith(XMP) and not xmp:
            xmp = body.removeprefix(XMP)
    return Beside(b"".join(exif)[:LARGEST], xmp, comment)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the segments of EXIF, XMP and comments, those among the first `CHUNKS` of all."""
    at = 2
    for _ in range(CHUNKS):
        if (marker := MARKER.match(data, at)) is None:
            raise ValueError("no pixels")
        kind, at = marker[1][0], marker.end()
        if kind in (SCAN, END):
            return
        if kind not in ALONE:
            (length,) = struct.unpack_from(">H", data, at)
            if kind in (APP1, COMMENT):
                yield kind, data[at + 2 : at + length]
            at += length


def _webp(data: bytes) -> Beside:
    found: dict[bytes, bytes] = {}
    for kind, chunk in _chunks(data):
        if kind in BESIDE and len(chunk) <= LARGEST:
            found.setdefault(kind, chunk[8 : 8 + int.from_bytes(chunk[4:8], "little")])
    exif, xmp = (found.get(kind, b"") for kind in BESIDE)
    return Beside(exif.removeprefix(MARK), xmp)


def bare_webp(data: bytes) -> bytes:
    """Return a WebP file without EXIF and XMP, of which libraries make objects.

    Raises `ValueError` for another file.
    """
    kept = b"".join(chunk for kind, chunk in _chunks(data) if kind not in BESIDE)
    return b"RIFF" + struct.pack("<I", 4 + len(kept)) + b"WEBP" + kept


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind of each chunk of a WebP file, and all of it."""
    if data[8:12] != b"WEBP":
        raise ValueError("no WEBP")
    at = 12
    for _ in range(CHUNKS):
        if at + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        yield kind, data[at:end]
        at = end


def _gif(data: bytes) -> Beside:
    """Read the first comment; those of a moving picture may stand behind it."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
    for _ in range(CHUNKS):
        kind = data[at] if at < len(data) else 0
        if kind == GIF_EXTENSION:
            label, at = data[at + 1], at + 2
        elif kind == GIF_PICTURE:
            colours = data[at + 9]
            label, at = 0, at + 11 + (3 << (colours & 7) + 1 if colours & 128 else 0)
        else:
            break
        parts, at = _gif_parts(data, at, kept=label == GIF_COMMENT)
        if parts:
            return Beside(comment=b"".join(parts))
    return Beside()


def _gif_parts(data: bytes, at: int, *, kept: bool) -> tuple[list[bytes], int]:
    """Return the parts of a block of which each begins with its length, and where they end."""
    parts: list[bytes] = []
    while at < len(data) and (length := data[at]):
        if kept:
            parts.append(data[at + 1 : at + 1 + length])
        at += 1 + length
    return parts, at + 1


def _avif(data: bytes) -> Beside:
    """Read the items of which the file says that they are EXIF or XMP."""
    meta = next((body for kind, body in _boxes(data) if kind == b"meta"), b"")[4:]
    inner = dict(_boxes(meta))
    kinds = _kinds(inner.get(b"iinf", b""))
    places = _places(inner.get(b"iloc", b""), kinds)
    found: dict[bytes, bytes] = {}
    for item, (begin, length) in places.items():
        found.setdefault(kinds[item], data[begin : begin + min(length, LARGEST)])
    exif = found.get(b"Exif", b"")
    # Four bytes say how many stand before the TIFF header.
    skip = 4 + struct.unpack_from(">I", exif)[0] if exif else 0
    return Beside(exif[skip:], found.get(MIME, b""))


def _boxes(data: bytes, at: int = 0) -> Iterator[tuple[bytes, bytes]]:
    for _ in range(CHUNKS):
        if at + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            (length,), head = struct.unpack_from(">Q", data, at + 8), 16
        end = at + length if length else len(data)
        if end < at + head:
            raise ValueError("a box without an end")
        yield kind, data[at + head : end]
        at = end


def _kinds(iinf: bytes) -> dict[int, bytes]:
    """Return of which kind items are, those that are EXIF or XMP."""
    found: dict[int, bytes] = {}
    for kind, body in _boxes(iinf, 4 + (4 if iinf[:1] > b"\0" else 2)):
        if kind != b"infe" or body[:1] not in (b"\2", b"\3"):
            continue
        wide = body[0] == 3
        (item,) = struct.unpack_from(">I" if wide else ">H", body, 4)
        rest = body[10 if wide else 8 :]  # behind its number and how it is protected
        if rest[:4] == b"Exif":
            found[item] = b"Exif"
        elif rest[:4] == b"mime" and MIME in rest[4:].split(b"\0", 2)[1:2]:
            found[item] = MIME
    return found


def _places(iloc: bytes, wanted: Mapping[int, bytes]) -> dict[int, tuple[int, int]]:
    """Return where items stand in the file: begin and length of those in one piece."""
    if not wanted:
        return {}
    version, sizes, more = iloc[0], iloc[4], iloc[5]
    offset, length = sizes >> 4, sizes & 15
    base, index = more >> 4, more & 15 if version else 0
    at, number = 6, 4 if version == 2 else 2
    count, at = _whole(iloc, at, number), at + number
    found: dict[int, tuple[int, int]] = {}
    for _ in range(min(count, CHUNKS)):
        item, at = _whole(iloc, at, number), at + number
        how = _whole(iloc, at, 2) & 15 if version else 0
        at += 4 if version else 2
        start, at = _whole(iloc, at, base), at + base
        pieces, at = _whole(iloc, at, 2), at + 2
        first = at + index
        if item in wanted and pieces == 1 and how == 0:
            begin = start + _whole(iloc, first, offset)
            found[item] = (begin, _whole(iloc, first + offset, length))
        at += pieces * (index + offset + length)
    return found


def _whole(data: bytes, at: int, size: int) -> int:
    """Return a whole number of `size` bytes."""
    if at + size > len(data):
        raise ValueError("cut short")
    return int.from_bytes(data[at : at + size], "big")


READERS: Final[Mapping[bytes, Callable[[bytes], Beside]]] = {
    b"\xff\xd8\xff": _jpeg,
    b"RIFF": _webp,
    b"GIF8": _gif,
}
