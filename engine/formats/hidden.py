"""Texts in a PNG's alpha channel, where A1111's extension and NovelAI hide what sites remove.

The lowest bits of all alphas, column by column: a name that says whether the rest is packed, the
number of its bits in 32, and the text, which is A1111's or a JSON object of texts by their keys.
"""

import zlib
from collections.abc import Mapping
from typing import Final

import numpy as np

from engine.errors import ImageError
from engine.formats.json_texts import parse_json
from engine.pictures.images import read_image

PLAIN, PACKED = b"stealth_pnginfo", b"stealth_pngcomp"
HEAD: Final = len(PLAIN) + 4  # bytes before the text
WITH_ALPHA: Final = (4, 6)  # colour types of PNG
COLOUR_TYPE: Final = 25  # where the type stands in the file
LARGEST: Final = 4 * 2**20  # bytes of a text
GZIP: Final = 16 + zlib.MAX_WBITS


def hidden_texts(png: bytes) -> Mapping[str, str]:
    """Return the texts hidden in a PNG's alpha channel by their keys; pixels are decoded."""
    if len(png) <= COLOUR_TYPE or png[COLOUR_TYPE] not in WITH_ALPHA:
        return {}
    try:
        image = read_image(png)
    except ImageError:
        return {}
    if image.mode != "RGBA":
        return {}
    bits = np.asarray(image.getchannel("A")).T.reshape(-1) & 1
    head = np.packbits(bits[: HEAD * 8]).tobytes()
    if head[: len(PLAIN)] not in (PLAIN, PACKED):
        return {}
    length = int.from_bytes(head[len(PLAIN) :], "big") // 8
    data = np.packbits(bits[HEAD * 8 : (HEAD + min(length, LARGEST)) * 8]).tobytes()
    return _texts(data, packed=head.startswith(PACKED))


def _texts(data: bytes, *, packed: bool) -> dict[str, str]:
    try:
        if packed:
            data = zlib.decompressobj(GZIP).decompress(data, LARGEST)
        text = data.decode("utf-8")
    except (ValueError, zlib.error):
        return {}
    try:
        found = parse_json(text)
    except ValueError:
        return {"parameters": text}
    if not isinstance(found, dict):
        return {}
    texts = {str(key): value for key, value in found.items() if isinstance(value, str)}
    return texts if "Comment" in texts else {"parameters": text}
