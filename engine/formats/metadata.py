"""Write a recipe into a PNG's text, and read it back from Marble's, ComfyUI's or A1111's text.

Every picture carries four texts: `marble` (the recipe as it is), `prompt` and `workflow` (ComfyUI's
two JSON forms, see `engine.formats.comfy`) and `parameters` (see `engine.formats.a1111`). JSON is
escaped to ASCII and goes into tEXt, which even the oldest reader takes; a line with letters beyond
ASCII goes into iTXt, which is UTF-8: tEXt is Latin-1 by the standard, yet ComfyUI's canvas reads it
as UTF-8, so that an "é" would reach one of the two readers broken. JPEG and WebP files carry the
same texts in their EXIF, see `engine.formats.exif`.

PNG: https://www.w3.org/TR/png-3/#11textinfo
"""

import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from engine.errors import MetadataError, UserError
from engine.formats import exif
from engine.formats.a1111.reader import from_a1111
from engine.formats.a1111.writer import no_line_reasons, to_a1111
from engine.formats.comfy.layout import to_workflow
from engine.formats.comfy.limits import no_graph_reasons
from engine.formats.comfy.writer import to_graph
from engine.formats.graphs.node_values import LoadedPicture
from engine.formats.graphs.recipe import from_graph
from engine.models.catalogue import Checkpoint
from engine.recipe.prompt_tags import mend_surrogates
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
TEXT_LIMIT: Final = 4 * 2**20  # bytes of one text once decompressed; ComfyUI's largest are below
WRITTEN: Final[tuple[str, ...]] = ("marble", "prompt", "parameters", "workflow")
# Where other programs leave a recipe of their own.
STRANGERS: Final = {
    "Comment": "NovelAI or the like",
    "invokeai_metadata": "InvokeAI",
    "sd-metadata": "InvokeAI",
    "Dream": "InvokeAI",
    "fooocus_scheme": "Fooocus",
    "generation_data": "TensorArt",
}
READ: Final = (*WRITTEN, *STRANGERS)

Source = Literal["Marble", "ComfyUI", "A1111"]
Pictures = Mapping[str, LoadedPicture] | None
Found = tuple[Recipe, tuple[str, ...]]  # and the parts that Marble ignores


@dataclass(frozen=True, slots=True)
class Reading:
    """A recipe found in a picture, who wrote it, and the parts of it that Marble ignores."""

    recipe: Recipe
    source: Source
    ignored: tuple[str, ...] = ()


def write_png(
    pixels: npt.NDArray[np.uint8] | Image.Image,
    recipe: Recipe,
    picture: int,
    checkpoint: Checkpoint | None = None,
) -> bytes:
    """Encode picture number `picture` of a recipe as PNG, with all that remakes it in its text.

    `pixels` is uint8 [height, width, 3]. checkpoint: the recipe's model, by which others' texts
    name its parts. The same input gives the same bytes: there is no timestamp in them.
    """
    one = replace(recipe, picture=picture) if recipe.count > 1 else recipe
    text = PngImagePlugin.PngInfo()
    for key, value in _texts(one, checkpoint).items():
        if value.isascii():
            text.add_text(key, value)
        else:
            text.add_itxt(key, value.encode("utf-8", "replace"))
    array = np.asarray(pixels.convert("RGB") if isinstance(pixels, Image.Image) else pixels)
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", pnginfo=text)  # without an image's own metadata
    return file.getvalue()


def write_as(png: bytes, kind: Literal["JPEG", "WEBP"]) -> bytes:
    """Turn one of our PNGs into a JPEG or WebP file that carries the same texts, in its EXIF."""
    with Image.open(io.BytesIO(png)) as image:
        texts = {name: str(image.info[name]) for name in WRITTEN if name in image.info}
        file = io.BytesIO()
        image.convert("RGB").save(file, kind, quality=95, exif=exif.write_texts(texts))
    return file.getvalue()


def read_recipe(data: bytes, pictures: Pictures = None) -> Reading:
    """Read the recipe in a PNG, JPEG or WebP file, Marble's own text first.

    pictures: what ComfyUI's graph loads, by name. Raises `UserError` in one sentence.
    """
    texts = _texts_in(data)
    if "marble" in texts:
        return Reading(Recipe.from_dict(_object(texts["marble"])), "Marble")
    failures: list[UserError] = []
    for key, (source, read) in FOREIGN.items():
        if key in texts:
            try:
                recipe, ignored = read(texts[key], pictures)
                return Reading(recipe, source, ignored)
            except UserError as error:
                # Beside a ComfyUI graph too wide for Marble there may be a plain A1111 line.
                failures.append(error)
    if failures:
        raise failures[0]
    wrote = next((name for key, name in STRANGERS.items() if key in texts), None)
    raise MetadataError(Sentence("strange_recipe", wrote=wrote) if wrote else Sentence("no_recipe"))


def read_texts(png: bytes) -> dict[str, str]:
    """Return the texts of `READ` in a PNG; `MetadataError` if all of them are damaged or bloated.

    Pixels are not decoded, and no text grows beyond `TEXT_LIMIT`.
    """
    found: dict[str, str] = {}
    failures: list[MetadataError] = []
    # As with other readers, the last text of a name counts.
    chunks = {body.partition(b"\0")[0]: (kind, body) for kind, body in _text_chunks(png, failures)}
    for key in READ:
        if key.encode() in chunks:
            try:
                found[key] = _decode(key, *chunks[key.encode()])
            except MetadataError as error:
                failures.append(error)
    if failures and not found:
        raise failures[0]
    return found


def graph_in(data: bytes) -> dict[str, Any] | None:
    """Return ComfyUI's graph in a picture file that Marble did not write, or raise `UserError`."""
    texts = _texts_in(data)
    found = next((key for key in ("prompt", "workflow") if key in texts), None)
    return _object(texts[found]) if found and "marble" not in texts else None


def _texts_in(data: bytes) -> dict[str, str]:
    if data.startswith(SIGNATURE):
        return read_texts(data)
    if data.startswith((b"\xff\xd8\xff", b"RIFF")):
        return exif.read_texts(data)
    raise MetadataError(Sentence("not_a_picture_file"))


def _texts(recipe: Recipe, checkpoint: Checkpoint | None) -> dict[str, str]:
    """Return what a picture carries; what others could say only wrongly is left out."""
    texts = {"marble": json.dumps(recipe.to_dict())}
    if not no_line_reasons(recipe):
        texts["parameters"] = to_a1111(recipe, checkpoint)
    if not no_graph_reasons(recipe, checkpoint):
        texts["prompt"] = json.dumps(to_graph(recipe, checkpoint))
        texts["workflow"] = json.dumps(to_workflow(recipe, checkpoint))
    return texts


def _object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
        if "\\ud" in text.lower():
            data = json.loads(mend_surrogates(json.dumps(data, ensure_ascii=False)))
    except (ValueError, RecursionError) as error:
        raise MetadataError(Sentence("text_not_json")) from error
    if not isinstance(data, dict):
        raise MetadataError(Sentence("text_no_object"))
    return data


def _text_chunks(png: bytes, failures: list[MetadataError]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and body of each text chunk whose checksum is right.

    What is wrong with others of `READ`, or with the file's end, is added to `failures`.
    """
    at, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        if at + 12 > len(png):
            failures.append(MetadataError(Sentence("png_cut_short")))
            return
        length, kind = struct.unpack_from(">I4s", png, at)
        end = at + 8 + length
        if kind in DECODERS:
            body = png[at + 8 : end]
            if png[end : end + 4] == struct.pack(">I", zlib.crc32(kind + body)):
                yield kind, body
            elif body.partition(b"\0")[0].decode("latin-1") in READ:
                failures.append(MetadataError(Sentence("png_text")))
        at = end + 4


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


# Texts of others by their names: who writes them, and how they are read.
FOREIGN: Final[Mapping[str, tuple[Source, Callable[[str, Pictures], Found]]]] = {
    "prompt": ("ComfyUI", lambda text, pictures: from_graph(_object(text), pictures)),
    "parameters": ("A1111", lambda text, _: from_a1111(text)),
    "workflow": ("ComfyUI", lambda text, pictures: from_graph(_object(text), pictures)),
}
# What follows the keyword and its NUL, for each kind of text chunk.
DECODERS: Final[Mapping[bytes, Callable[[bytes], str]]] = {
    b"tEXt": lambda rest: rest.decode("latin-1"),
    b"zTXt": lambda rest: _inflate(rest[1:]).decode("latin-1"),
    b"iTXt": _international,
}
