"""The texts of a PNG file, without a look at its pixels.

PNG: https://www.w3.org/TR/png-3/#11textinfo
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from engine.errors import MetadataError
from engine.formats.texts import eight_bits
from engine.pictures.image_header import CHUNKS
from engine.sentences import Sentence

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
TEXT_LIMIT: Final = 4 * 2**20  # bytes of one text once decompressed; ComfyUI's largest are below
MOST: Final = 10_000  # texts; behind them a file is taken as cut
XMP: Final = "XML:com.adobe.xmp"
# Keys under which programs that draw leave what they drew from, those of Marble first.
WRITTEN: Final[tuple[str, ...]] = ("marble", "prompt", "parameters", "workflow")
READ: Final = (
    *WRITTEN, "Comment", "invokeai_metadata", "sd-metadata", "Dream", "generation_data", XMP,
    "UserComment", "Description", "Source",
)  # fmt: skip


def read_texts(png: bytes) -> dict[str, str]:
    """Return the texts of `READ` in a PNG; `MetadataError` if all of them are damaged or bloated.

    Pixels are not decoded, and no text grows beyond `TEXT_LIMIT`.
    """
    failures: list[MetadataError] = []
    chunks = [(kind, body) for kind, body, sound in _text_chunks(png, failures) if sound]
    found = _decoded(chunks, failures)
    if failures and not found:
        raise failures[0]
    return found


def damaged_texts(png: bytes) -> dict[str, str]:
    """Return what is left of texts of `READ` whose checksum is wrong, or behind whose begin a file
    ends.
    """
    chunks = [(kind, body) for kind, body, sound in _text_chunks(png, []) if not sound]
    return _decoded(chunks, [])


def _decoded(
    chunks: Iterable[tuple[bytes, bytes]], failures: list[MetadataError]
) -> dict[str, str]:
    """Return the texts of `READ` in chunks; what is wrong with others is added to `failures`."""
    # As with other readers, the last text of a name counts.
    named = {body.partition(b"\0")[0]: (kind, body) for kind, body in chunks}
    found: dict[str, str] = {}
    for key in READ:
        if key.encode() in named:
            try:
                found[key] = _decode(key, *named[key.encode()])
            except MetadataError as error:
                failures.append(error)
    return found


def _text_chunks(png: bytes, failures: list[MetadataError]) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield the kind and body of each text chunk, and whether its checksum is right.

    What is wrong with those of `READ`, or with the file's end, is added to `failures`.
    """
    at, kind, texts = len(SIGNATURE), b"", 0
    for _ in range(CHUNKS):
        if kind == b"IEND":
            return
        if at + 8 > len(png):
            break
        length, kind = struct.unpack_from(">I4s", png, at)
        end = at + 8 + length
        if kind in DECODERS:
            texts += 1
            if texts > MOST:
                break
            body = png[at + 8 : end]
            sound = png[end : end + 4] == struct.pack(">I", zlib.crc32(kind + body))
            if not sound and not failures and body.partition(b"\0")[0].decode("latin-1") in READ:
                failures.append(MetadataError(Sentence("png_text")))
            yield kind, body, sound
        at = end + 4
    failures.append(MetadataError(Sentence("png_cut_short")))


def _decode(key: str, kind: bytes, body: bytes) -> str:
    try:
        text = DECODERS[kind](body[len(key) + 1 :])
    except (ValueError, IndexError, zlib.error) as error:
        raise MetadataError(Sentence("png_text_damaged", key=key)) from error
    if len(text) > TEXT_LIMIT:
        raise MetadataError(Sentence("png_text_long", key=key, most=TEXT_LIMIT))
    return text


def _inflate(data: bytes) -> bytes:
    # One byte more than allowed is enough to know that there are too many.
    return zlib.decompressobj().decompress(data, TEXT_LIMIT + 1)


def _international(rest: bytes) -> str:
    packed, text = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[2]
    return (_inflate(text) if packed else text).decode("utf-8")


# What follows the keyword and its NUL, for each kind of text chunk.
DECODERS: Final[Mapping[bytes, Callable[[bytes], str]]] = {
    b"tEXt": eight_bits,
    b"zTXt": lambda rest: eight_bits(_inflate(rest[1:])),
    b"iTXt": _international,
}
