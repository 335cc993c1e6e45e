"""The texts of any file, by the keys under which PNG files hold them."""

import struct
from typing import Final

from engine.errors import MetadataError
from engine.formats import exif, png_texts
from engine.formats.beside_pixels import is_picture, read_beside
from engine.formats.png_texts import SIGNATURE, XMP
from engine.formats.texts import decode_text, eight_bits, texts_within
from engine.sentences import Sentence

LONGEST: Final = 4 * 2**20  # characters of a text that is read
BEFORE: Final = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"  # marks of encodings, and blanks
TEXT_FILE: Final = ""  # the key of the text that a file consists of


def text_file(data: bytes) -> str | None:
    """Return the text of which a file consists; None for pictures and all else."""
    if data.startswith(SIGNATURE) or is_picture(data):
        return None
    text = decode_text(data)
    return text if text and text.strip() else None


def holds_json(data: bytes) -> bool:
    """Return whether a file begins as JSON with values in it does, in any encoding."""
    return data[:256].lstrip(BEFORE)[:1] in (b"{", b"[")


def read_texts(data: bytes) -> dict[str, str]:
    """Return the texts of a picture or text file; raises `MetadataError`. No pixel is decoded."""
    if data.startswith(SIGNATURE):
        texts = png_texts.read_texts(data)
    elif is_picture(data):
        texts = _beside(data)
    elif text := text_file(data):
        texts = {TEXT_FILE: text}
    else:
        raise MetadataError(Sentence("not_a_picture_file"))
    if any(len(text) > LONGEST for text in texts.values()):
        raise MetadataError(Sentence("text_long", most=LONGEST))
    return texts


def _beside(data: bytes) -> dict[str, str]:
    """Return the texts in EXIF, XMP and comments; EXIF that is damaged hides no other."""
    texts: dict[str, str] = {}
    failed = None
    try:
        beside = read_beside(data)
        try:
            texts = exif.read_texts(beside.exif) if beside.exif else {}
        except (ValueError, struct.error) as error:
            failed = error
    except (ValueError, IndexError, struct.error) as error:
        raise MetadataError(Sentence("metadata_damaged")) from error
    if beside.comment:
        texts["Comment"] = eight_bits(beside.comment)
    if beside.xmp:
        texts[XMP] = beside.xmp.decode("utf-8", "replace")
    if failed and not texts:
        raise MetadataError(Sentence("metadata_damaged")) from failed
    if "parameters" in texts:
        texts |= texts_within(texts.pop("parameters"))
    return texts
