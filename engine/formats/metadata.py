"""Write a recipe into a picture's texts, and read what anybody's texts say of a picture.

Every picture carries four texts: `marble` (the recipe as it is), `prompt` and `workflow` (ComfyUI's
two JSON forms, see `engine.formats.comfy`) and `parameters` (see `engine.formats.a1111`). JSON is
escaped to ASCII and goes into tEXt, which even the oldest reader takes; a line with letters beyond
ASCII goes into iTXt, which is UTF-8: tEXt is Latin-1 by the standard, yet ComfyUI's canvas reads it
as UTF-8, so that an "é" would reach one of the two readers broken. JPEG and WebP files carry the
same texts in their EXIF, see `engine.formats.exif`; which texts of other files are read,
`engine.formats.file_texts` tells.

Whose a text is, its content tells: several programs write under one key.
"""

import io
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from engine.errors import MetadataError, UserError, shorten
from engine.formats import exif
from engine.formats.a1111.reader import from_a1111, is_a1111
from engine.formats.a1111.writer import no_line_reasons, to_a1111
from engine.formats.comfy.layout import to_workflow
from engine.formats.comfy.limits import no_graph_reasons
from engine.formats.comfy.writer import to_graph
from engine.formats.file_texts import TEXT_FILE, read_texts
from engine.formats.graphs.graph import Graph
from engine.formats.graphs.node_values import LoadedPicture
from engine.formats.graphs.recipe import bounded, from_graph, parse
from engine.formats.hidden import hidden_texts
from engine.formats.marble import read_marble
from engine.formats.png_texts import READ, SIGNATURE, WRITTEN, XMP, damaged_texts
from engine.formats.reading import Reading
from engine.formats.texts import parse_json
from engine.formats.tools import comments_in_xmp, owner_of, read_dream, read_json
from engine.models.catalogue import Checkpoint
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence

LEVEL: Final = 4  # of PNGs' compression: half of the usual level's time, for as few bytes
GRAPHS: Final = ("prompt", "workflow")  # keys of ComfyUI's graphs
COMMENTS: Final = ("parameters", "Comment", "Description")  # where people write, too

Pictures = Mapping[str, LoadedPicture] | None


@dataclass(frozen=True, slots=True)
class _Graphs:
    """What is asked of ComfyUI's graphs, as of `read_recipe`; parsed: by texts, those seen."""

    pictures: Pictures = None
    result: str | None = None
    parsed: dict[str, Graph] = field(default_factory=dict)

    def read(self, text: str, texts: Mapping[str, str]) -> Reading:
        """Read JSON, whoever's it is, as `read_object` does; texts: those beside it."""
        if text not in self.parsed:
            data = _object(text)
            if found := read_json(data, texts):
                return found
            self.parsed[text] = _graph(data)
        return from_graph(self.parsed[text], self.pictures, self.result)


def write_png(
    pixels: npt.NDArray[np.uint8] | Image.Image,
    recipe: Recipe,
    picture: int,
    checkpoint: Checkpoint | None = None,
    second: Checkpoint | None = None,
) -> bytes:
    """Encode picture number `picture` of a recipe as PNG, with all that remakes it in its text.

    `pixels` is uint8 [height, width, 3]. checkpoint, second: the recipe's models, by which others'
    texts name their parts. The same input gives the same bytes: there is no timestamp in them.
    """
    one = replace(recipe, picture=picture) if recipe.count > 1 else recipe
    text = PngImagePlugin.PngInfo()
    for key, value in _texts(one, checkpoint, second).items():
        if value.isascii():
            text.add_text(key, value)
        else:
            text.add_itxt(key, value.encode("utf-8", "replace"))
    array = np.asarray(pixels.convert("RGB") if isinstance(pixels, Image.Image) else pixels)
    file = io.BytesIO()
    # From the array, without an image's own metadata.
    Image.fromarray(array).save(file, "PNG", pnginfo=text, compress_level=LEVEL)
    return file.getvalue()


def write_as(png: bytes, kind: Literal["JPEG", "WEBP"]) -> bytes:
    """Turn one of our PNGs into a JPEG or WebP file that carries the same texts, in its EXIF."""
    with Image.open(io.BytesIO(png)) as image:
        texts = {name: str(image.info[name]) for name in WRITTEN if name in image.info}
        file = io.BytesIO()
        image.convert("RGB").save(file, kind, quality=95, exif=exif.write_texts(texts))
    return file.getvalue()


def read_recipe(data: bytes, pictures: Pictures = None, result: str | None = None) -> Reading:
    """Read what a picture or text file says of how it was made, Marble's own text first.

    pictures: what ComfyUI's graph loads, by name; result: the node of it that is meant, where it
    saves several. Raises `UserError` in one sentence where there is nothing to read.
    """
    return _read(data, cache(lambda: hidden_texts(data)), _Graphs(pictures, result))


def read_results(data: bytes, results: Iterable[str], most: int) -> dict[str, Reading]:
    """Read several results of ComfyUI's graph in a file, each as `read_recipe` does.

    What cannot be read is left out; most: how many are wanted.
    """
    hidden, parsed = cache(lambda: hidden_texts(data)), dict[str, Graph]()
    found: dict[str, Reading] = {}
    for result in results:
        if len(found) < most:
            with suppress(UserError):
                found[result] = _read(data, hidden, _Graphs(None, result, parsed))
    return found


def _read(data: bytes, hidden: Callable[[], Mapping[str, str]], graphs: _Graphs) -> Reading:
    """Read a file as `read_recipe` does; hidden: tells the texts that hide in its pixels."""
    failures: list[UserError] = []
    texts: dict[str, str] = {}
    try:
        texts = read_texts(data)
    except MetadataError as error:
        failures.append(error)
    found = _first_readable(texts, graphs, failures)
    if found is None or found.refused:
        found = _first_readable(hidden(), graphs, failures) or found
    if found is None and data.startswith(SIGNATURE):
        found = _first_readable(damaged_texts(data), graphs, [])
        if found is not None:
            note = Sentence("reading_damaged")
            found = replace(found, ignored=tuple(dict.fromkeys((note, *found.ignored))))
    if found is not None:
        return found
    if failures:
        raise failures[0]
    if TEXT_FILE in texts:
        raise MetadataError(Sentence("not_a_picture_file"))
    comment = next((texts[key].strip() for key in COMMENTS if texts.get(key, "").strip()), None)
    if comment is None:
        raise MetadataError(Sentence("no_recipe"))
    raise MetadataError(Sentence("only_comment", comment=shorten(comment)))


def read_object(data: object, pictures: Pictures = None, result: str | None = None) -> Reading:
    """Read JSON, whoever's it is; raises `UserError`."""
    return read_json(data, {}) or from_graph(_graph(data), pictures, result)


def graph_in(data: bytes) -> dict[str, Any] | None:
    """Return ComfyUI's graph in a picture file that Marble did not write, or raise `UserError`."""
    texts = read_texts(data)
    found = next((key for key in GRAPHS if key in texts), None)
    return _object(texts[found]) if found and "marble" not in texts else None


def _first_readable(
    texts: Mapping[str, str], graphs: _Graphs, failures: list[UserError]
) -> Reading | None:
    """Return the first reading from which a picture can be drawn, or else the first one.

    Beside a ComfyUI graph too wide for Marble there may be a plain line. failures: why texts
    cannot be read is added to it.
    """
    first = None
    for key in sorted(texts, key=lambda key: (*READ, key).index(key)):
        try:
            found = _read_text(key, texts[key], texts, graphs)
        except UserError as error:
            failures.append(error)
            continue
        if found is not None and found.refused is None and not (key == "marble" and found.missing):
            return found
        first = first or found
    return first


def _read_text(key: str, text: str, texts: Mapping[str, str], graphs: _Graphs) -> Reading | None:
    """Read a text by whose it is; None where it says nothing of a picture."""
    text = text.strip("\0 \t\r\n\ufeff")
    if key == "marble":
        return read_marble(text)
    if key in GRAPHS:
        return graphs.read(text, texts)
    if key == TEXT_FILE and text[:1] in ("{", "["):
        try:
            return graphs.read(text, texts)
        except MetadataError:
            if found := _read_line(key, text):
                return found
            raise
    if key == XMP:
        said = (_read_text("", each, texts, _Graphs()) for each in comments_in_xmp(text))
        return next((found for found in said if found), None)
    if text.startswith("{"):
        try:
            return read_json(_object(text), texts)
        except MetadataError:
            return _read_line(key, text)
    return read_dream(text) or _read_line(key, text)


def _read_line(key: str, text: str) -> Reading | None:
    """Read A1111's text, whose prompt may begin as JSON does; None where it is none."""
    return from_a1111(text) if is_a1111(text, comment=key != "parameters") else None


def _graph(data: object) -> Graph:
    """Parse ComfyUI's graph, or raise `UserError`."""
    if isinstance(data, Mapping) and (wrote := owner_of(data)):
        raise MetadataError(Sentence("strange_recipe", wrote=wrote))
    with bounded():
        return parse(data)


def _texts(
    recipe: Recipe, checkpoint: Checkpoint | None, second: Checkpoint | None
) -> dict[str, str]:
    """Return what a picture carries; what others could say only wrongly is left out."""
    texts = {"marble": json.dumps(recipe.to_dict())}
    if not no_line_reasons(recipe):
        texts["parameters"] = to_a1111(recipe, checkpoint)
    if not no_graph_reasons(recipe, checkpoint, second):
        texts["prompt"] = json.dumps(to_graph(recipe, checkpoint, second))
        texts["workflow"] = json.dumps(to_workflow(recipe, checkpoint, second))
    return texts


def _object(text: str) -> dict[str, Any]:
    try:
        data = parse_json(text)
    except ValueError as error:
        raise MetadataError(Sentence("text_not_json")) from error
    if not isinstance(data, dict):
        raise MetadataError(Sentence("text_no_object"))
    return data
