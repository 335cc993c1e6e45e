"""Texts in EXIF, where the tools of JPEG, WebP and AVIF files look for them.

A1111 keeps its line in UserComment, as others do their JSON, ComfyUI its graphs in Make and Model
as `workflow:{…}` and `prompt:{…}`; Marble's own text stands in ImageDescription as `marble:{…}`.

EXIF 2.32: UserComment begins with its encoding in eight bytes; UNICODE is UTF-16.
"""

from collections.abc import Mapping
from typing import Final

from PIL import Image

from engine.formats.texts import eight_bits
from engine.pictures.exif_tags import read_tags

DESCRIPTION, MAKE, MODEL, EXIF_IFD, COMMENT = 0x010E, 0x010F, 0x0110, 0x8769, 0x9286
TAGS: Final = {"marble": DESCRIPTION, "workflow": MAKE, "prompt": MODEL}
UNICODE: Final = b"UNICODE\0"
ASCII: Final = b"ASCII\0\0\0"
LARGEST: Final = 65_000  # bytes of EXIF in a JPEG; a little is the segment's own


def write_texts(texts: Mapping[str, str]) -> Image.Exif:
    """Return EXIF that holds texts; graphs are left out where all would be too much for a JPEG."""
    kept = dict(texts)
    for name in (None, "workflow", "prompt"):
        kept.pop(name or "", None)
        exif = _exif(kept)
        if len(exif.tobytes()) <= LARGEST:
            break
    return exif


def _exif(texts: Mapping[str, str]) -> Image.Exif:
    exif = Image.Exif()
    for name, tag in TAGS.items():
        if name in texts:
            exif[tag] = f"{name}:{texts[name]}"
    if "parameters" in texts:
        comment = UNICODE + texts["parameters"].encode("utf-16-be", "replace")
        exif.get_ifd(EXIF_IFD)[COMMENT] = comment
    return exif


def read_texts(exif: bytes) -> dict[str, str]:
    """Return the texts in EXIF, by the keys under which PNG files hold them.

    Raises `ValueError` or `struct.error` where it is damaged.
    """
    texts: dict[str, str] = {}
    for tag, value in read_tags(exif, TAGS.values()).items():
        found = eight_bits(value).strip("\0 ")
        name, colon, text = found.partition(":")
        if colon and name.lower() in TAGS:  # some scripts write "Prompt:" and "Workflow:"
            texts[name.lower()] = text
        elif tag == DESCRIPTION and found:
            texts["Description"] = found
    comment = read_tags(exif, [COMMENT], EXIF_IFD).get(COMMENT)
    if comment and (line := _comment(comment)):
        texts["parameters"] = line
    return texts


def _comment(data: bytes) -> str:
    """Read a UserComment: UTF-16 of either order, or ASCII (which some fill with UTF-8)."""
    kind, body = data[:8], data[8:]
    if kind == UNICODE:
        # Letters of Latin scripts, as in the settings, tell the order: their upper byte is 0.
        order = "utf-16-be" if body[::2].count(0) > body[1::2].count(0) else "utf-16-le"
        return body.decode(order, "replace").strip("\0\ufeff")
    return (body if kind == ASCII else data).decode("utf-8", "replace").strip("\0")
