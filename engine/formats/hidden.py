"""Texts among the pixels of a PNG or WebP file, where programs hide what sites remove.

A1111's extension and NovelAI write them into the lowest bits of all alphas, or of red, green and
blue, column by column: a name that says where, and whether the rest is packed; the number of its
bits in 32; and the text, which is A1111's or a JSON object of texts by their keys.

By https://github.com/NovelAI/novelai-image-metadata, and the A1111 extension `stealth-pnginfo`.
"""

import zlib
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.errors import ImageError
from engine.formats.beside_pixels import bare_webp
from engine.formats.png_texts import SIGNATURE
from engine.formats.texts import texts_within
from engine.pictures.images import read_image

ALPHA: Final = (b"stealth_pnginfo", b"stealth_pngcomp")  # plain, packed
COLOURS: Final = (b"stealth_rgbinfo", b"stealth_rgbcomp")
NAME: Final = len(ALPHA[0])
HEAD: Final = NAME + 4  # bytes before the text
KINDS: Final = (b"\2", b"\4", b"\6")  # colour types of PNG that have colours or alpha
COLOUR_TYPE: Final = 25  # where the type stands in the file
LARGEST: Final = 4 * 2**20  # bytes of a text
GZIP: Final = 16 + zlib.MAX_WBITS


def hidden_texts(data: bytes) -> Mapping[str, str]:
    """Return the texts hidden among a picture's pixels by their keys; pixels are decoded."""
    is_png = data.startswith(SIGNATURE) and data[COLOUR_TYPE : COLOUR_TYPE + 1] in KINDS
    if not (is_png or data.startswith(b"RIFF")):
        return {}
    try:
        image = read_image(data if is_png else bare_webp(data))
    except (ImageError, ValueError):
        return {}
    for names, channels in ((ALPHA, "A"), (COLOURS, "RGB")):
        if set(channels) <= set(image.getbands()):
            pixels = np.stack([np.asarray(image.getchannel(each)) for each in channels], axis=-1)
            if texts := _read(pixels, names):
                return texts
    return {}


def _read(pixels: npt.NDArray[np.uint8], names: tuple[bytes, bytes]) -> dict[str, str]:
    """Return the texts hidden in pixels, uint8 [height, width, channels]."""
    head = _bytes(pixels, 0, HEAD)
    if len(head) < HEAD or head[:NAME] not in names:
        return {}
    length = int.from_bytes(head[NAME:], "big") // 8
    return _texts(_bytes(pixels, HEAD, min(length, LARGEST)), packed=head[:NAME] == names[1])


def _bytes(pixels: npt.NDArray[np.uint8], start: int, length: int) -> bytes:
    """Return `length` bytes of the lowest bits, from byte `start` on; no column beyond is read."""
    height, _, channels = pixels.shape
    bits = 8 * (start + length)
    columns = pixels[:, : -(-bits // (height * channels))]
    found = columns.transpose(1, 0, 2).reshape(-1)[8 * start : bits] & 1
    return np.packbits(found).tobytes()


def _texts(data: bytes, *, packed: bool) -> dict[str, str]:
    try:
        if packed:
            data = zlib.decompressobj(GZIP).decompress(data, LARGEST)
        text = data.decode("utf-8")
    except (ValueError, zlib.error):
        return {}
    return texts_within(text)
