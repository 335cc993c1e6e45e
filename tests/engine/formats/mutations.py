"""Files of every form that Marble reads, changed at random as strangers may change them.

A case is a number: with the seed it decides the form and all changes, so that a case is made again
by `read_case(seed, number)`. Its file is read as the terminal reads it, and what comes of it is a
reading, or an error of one sentence; everything else is a fault.
"""

from __future__ import annotations

import gzip
import html
import io
import json
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

import numpy as np
from PIL import Image, PngImagePlugin

from engine.errors import MetadataError, UserError
from engine.files.gguf import read_weights
from engine.files.safetensors import Header, as_broken_model
from engine.formats.comfy.layout import to_workflow
from engine.formats.comfy.writer import to_graph
from engine.formats.file_texts import text_file
from engine.formats.graphs.node_values import LoadedPicture
from engine.formats.graphs.recipe import RULES, pictures_of
from engine.formats.metadata import graph_in, read_object, read_recipe, write_as, write_png
from engine.formats.reading import NECESSARY, Reading
from engine.formats.texts import parse_json
from engine.models.signatures import identify_file
from engine.recipe.parts import Control, Lora, Margins, Upscale, Variation
from engine.recipe.recipe import DEFAULTS
from tests.engine.formats import flow_graphs
from tests.engine.formats.others import DRAW_THINGS, TEXTS, hidden, in_xmp, jpeg, png
from tests.engine.recipes import IMAGE, MAP, MASK
from tests.factories import make_recipe
from tests.gguf_files import write_gguf

LONGEST: Final = 1_000  # characters of a sentence
SLOW: Final = 0.1  # seconds of processor time
PATH: Final = 6  # keys
DEEP: Final = 900  # levels: about as many as JSON is read with
PICTURES: Final = {
    "cat.png": LoadedPicture(image=IMAGE, width=512, height=384, masks={"alpha": MASK})
}
RECIPES: Final = (
    make_recipe(upscale=Upscale(factor=2, strength=0.5)),
    make_recipe(upscale=Upscale(factor=2, by="latent", strength=0.5)),
    make_recipe(upscale=Upscale(factor=2, by="4x-Ultra"), loras=(Lora(name="ink"),)),
    make_recipe(image=IMAGE, strength=0.6, mask=MASK, controls=(Control(model="c", image=MAP),)),
    make_recipe(count=4, picture=1, prompt="a BREAK b", clip_skip=2, vae="v"),
)
OURS: Final = (
    make_recipe(image=IMAGE, strength=0.5, margins=Margins(left=8)),
    make_recipe(variations=(Variation(seed=1, amount=0.5),)),
    *RECIPES,
)
USUAL: Final = {name: getattr(make_recipe(), name) for name in NECESSARY}


def nested(levels: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


VALUES: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 2**31, 2**53, 2**64, 2**70, 10**4_000, 1e308, -0.0, float("inf"),
    float("nan"), "", "\ud800", "\0", "x" * 5_000, "{a|" * 900, "(((" * 600, " " * 2_000, [], {},
    [[[]]], {"a": {"b": []}}, [{"name": None}], ["4", 0], ["3", 0], ["4", -1], ["nope", 0],
    ["4", 10**30], ["a", 1], "nan", "1e9", "-5", "0x0", "9" * 30, "\\", "/*", "euler_gpu",
    "x" * 3_000 + "_gpu", "<lora:x:nan>", "marble", "cat.png",
    nested(300, lambda value: {"a": value}), nested(300, lambda value: [value]),
    nested(DEEP, lambda value: {"a": value}), nested(DEEP, lambda value: [value]),
)  # fmt: skip
KINDS: Final = tuple(RULES)  # of ComfyUI's nodes
JUNK: Final = (
    "", "\n", "\n\n", "\r", "\0", "\ud800", "\u2028", "Steps: 1,", "Steps: ", ": [", ": {", '"',
    "{", "}", "[", "]", "(", ")", "\\", "<lora:", ":", ",", "-1", "9" * 30, "1e999", "nan", "x",
    "Negative prompt:", "BREAK", "AND", "<rdf:li>", "</rdf:li>", "&#x110000;", "&amp;", "拿",
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value within a value."""
    if path:
        yield path
    keys = value if isinstance(value, dict) else range(len(value)) if type(value) is list else ()
    for key in keys if len(path) < PATH else ():
        yield from places(value[key], (*path, key))


def written(data: Any) -> str:
    """Write JSON of any depth: strangers do not write it by Python."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10 * limit)
    try:
        return json.dumps(data)
    finally:
        sys.setrecursionlimit(limit)


def change_values(random: Random, text: str) -> str:
    """Return JSON in which up to three values are others, missing, or another place's."""
    data = json.loads(text)
    ways = list(places(data))
    chosen = random.sample(ways, min(len(ways), random.randint(1, 3)))
    for *way, last in sorted(chosen, key=len, reverse=True):  # so that none of them is lost before
        holder = data
        for key in way:
            holder = holder[key]
        what = random.randrange(8)
        if what == 0 and isinstance(holder, dict):
            del holder[last]
        elif what == 1 and isinstance(holder, dict):
            holder[str(random.choice(VALUES))[:40]] = holder.pop(last)
        elif what == 2:
            there: Any = json.loads(text)
            for key in random.choice(ways):
                there = there[key]
            holder[last] = there
        elif what == 3:
            holder[last] = [holder[last]] * random.choice((1, 2, 400))
        else:
            holder[last] = random.choice(VALUES if random.randrange(5) else KINDS)
    return written(data)


def change_text(random: Random, text: str) -> str:
    """Return a text in which up to four parts are missing, repeated, moved or somebody else's."""
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(text))
        end = min(len(text), at + random.choice((0, 1, 9, 60)))
        lines = text.split("\n")
        match random.randrange(5):
            case 0:
                text = text[:at] + text[at:end] * random.choice((2, 9, 300)) + text[end:]
            case 1:
                text = text[:at] + random.choice(JUNK) * random.choice((1, 2, 3_000)) + text[end:]
            case 2:
                random.shuffle(lines)
                text = "\n".join(lines)
            case 3:
                text = text[:at] + str(random.choice(VALUES[:20]))[:4_000] + text[end:]
            case _:
                text = text[:at] + random.choice(JUNK) + text[end:]
    return text


def change_bytes(random: Random, data: bytes) -> bytes:
    """Return bytes of which up to eight places are others, missing, or repeated; or a part."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        at = random.randrange(len(changed) or 1)
        match random.randrange(6):
            case 0:
                del changed[at : at + random.choice((1, 4, 50))]
            case 1:
                changed[at:at] = random.randbytes(random.choice((1, 4, 50)))
            case 2:
                changed[at : at + 4] = random.choice((b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"))
            case 3:
                changed[at:at] = changed[at : at + 40] * random.choice((1, 100))
            case 4 if random.randrange(4) == 0:
                del changed[at:]
            case _:
                changed[at : at + 1] = random.randbytes(1)
    return bytes(changed)


def mended(data: bytes) -> bytes:
    """Return a PNG whose chunks have right checksums, as far as they can be told apart."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        parts += [data[at:end], struct.pack(">I", zlib.crc32(data[at + 4 : end]))]
        at = end + 4
    return b"".join(parts)


def in_exif(kind: Literal["JPEG", "WEBP"], texts: Mapping[str, str]) -> bytes:
    """Return a file whose texts stand in its EXIF, where ComfyUI's nodes and A1111 write them."""
    tags = {"marble": 0x010E, "workflow": 0x010F, "prompt": 0x0110}
    exif = Image.Exif()
    for key, text in texts.items():
        if key in tags:
            exif[tags[key]] = f"{key}:{text}".encode("utf-8", "replace").decode("utf-8")
        else:
            comment = b"UNICODE\0" + text.encode("utf-16-be", "replace")
            exif.get_ifd(0x8769)[0x9286] = comment
    data = exif.tobytes()
    file = io.BytesIO()
    room = kind == "WEBP" or len(data) < 65_000  # a JPEG's segment takes no more
    Image.new("RGB", (8, 8)).save(file, kind, exif=data if room else b"")
    return file.getvalue()


def in_png(texts: Mapping[str, str], random: Random) -> bytes:
    """Return a PNG with texts in chunks of any kind, packed or not."""
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        packed = random.randrange(3) == 0
        if text.isascii() and random.randrange(2):
            info.add_text(key, text, zip=packed)
        else:
            info.add_itxt(key, text.encode("utf-8", "surrogatepass"), zip=packed)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def in_pixels(texts: Mapping[str, str], random: Random) -> bytes:
    """Return a PNG that hides texts among its pixels, as A1111's extension and NovelAI do."""
    line = texts["parameters"] if texts.keys() == {"parameters"} else json.dumps(dict(texts))
    packed, colours = bool(random.randrange(2)), bool(random.randrange(2))
    return hidden(line.encode("utf-8", "replace"), packed=packed, colours=colours)


def in_comment(texts: Mapping[str, str], random: Random) -> bytes:
    """Return a file whose comment is a text, or one that is a text itself."""
    text = random.choice(list(texts.values()))
    encoded = text.encode("utf-8", "replace")
    file = io.BytesIO()
    match random.randrange(4):
        case 0:
            Image.new("L", (8, 8)).save(file, "GIF", comment=encoded[:200_000])
        case 1:
            Image.new("L", (8, 8)).save(file, "JPEG", comment=encoded[:65_000])
        case 2:
            xmp = f"<exif:UserComment><rdf:li>{html.escape(text)}</rdf:li>".encode(
                "utf-8", "replace"
            )
            Image.new("RGB", (8, 8)).save(file, random.choice(("WEBP", "AVIF")), xmp=xmp)
        case _:
            return text.encode(random.choice(("utf-8", "utf-8-sig", "utf-16")), "replace")
    return file.getvalue()


def in_any(texts: Mapping[str, str], random: Random) -> bytes:
    """Return a file with texts, in any of the places for them."""
    match random.randrange(8):
        case 0:
            return in_exif("JPEG", texts)
        case 1:
            return in_exif("WEBP", texts)
        case 2:
            return in_pixels(texts, random)
        case 3:
            return in_comment(texts, random)
        case _:
            return in_png(texts, random)


@cache
def our_pngs() -> tuple[bytes, ...]:
    return tuple(write_png(np.zeros((8, 8, 3), np.uint8), recipe, 0) for recipe in OURS)


def png_bytes(random: Random) -> bytes:
    every = (*our_pngs(), *map(png, TEXTS.values()))
    data = change_bytes(random, random.choice(every))
    return mended(data) if random.randrange(2) else data


def jpeg_bytes(random: Random) -> bytes:
    line = TEXTS[random.choice(("A1111", "SwarmUI"))]["parameters"]
    theirs = jpeg(b"UNICODE\0" + line.encode("utf-16-be"))
    data = random.choice((theirs, write_as(random.choice(our_pngs()), "JPEG")))
    return change_bytes(random, data)


def webp_bytes(random: Random) -> bytes:
    line = random.choice((TEXTS["A1111"], TEXTS["SwarmUI"]))
    ours = write_as(random.choice(our_pngs()), "WEBP")
    return change_bytes(random, random.choice((in_exif("WEBP", line), ours)))


def pixel_bytes(random: Random) -> bytes:
    text = random.choice((TEXTS["A1111"]["parameters"], json.dumps(TEXTS["NovelAI"])))
    packed, colours = bool(random.randrange(2)), bool(random.randrange(2))
    if random.randrange(2):
        body = gzip.compress(text.encode(), mtime=0) if packed else text.encode()
        return hidden(change_bytes(random, body), packed=packed, ready=True, colours=colours)
    data = change_bytes(random, hidden(text.encode(), packed=packed, colours=colours))
    return mended(data)


def comment_bytes(random: Random) -> bytes:
    """Return a GIF, AVIF, JPEG, WebP or text file, some bytes of which are others."""
    line = TEXTS[random.choice(("A1111", "SwarmUI"))]
    return change_bytes(random, in_comment(line, random))


def text_of(name: str, random: Random) -> bytes:
    """Return a file by one of the other programs, one of whose texts is changed."""
    texts = dict(TEXTS[name])
    if name == "Draw Things" and random.randrange(2):
        said = change_values(random, json.dumps(DRAW_THINGS))
        return in_png(in_xmp(said), random)
    key = random.choice(list(texts))
    texts[key] = _changed(random, texts[key])
    return in_any(texts, random)


def marbles(random: Random) -> bytes:
    text = json.dumps(random.choice(OURS).to_dict())
    return in_any({"marble": _changed(random, text)}, random)


@cache
def graphs(*, canvas: bool) -> tuple[str, ...]:
    made = [make() for make in flow_graphs.ALL]
    ours = map(to_workflow if canvas else to_graph, RECIPES)
    return tuple(map(json.dumps, [*ours, *(each for each in made if ("nodes" in each) == canvas)]))


def graph(random: Random, *, canvas: bool) -> bytes:
    """Return a graph in a file of its own, or in a picture."""
    text = _changed(random, random.choice(graphs(canvas=canvas)))
    if random.randrange(3) == 0:
        return text.encode("utf-8", "replace")
    return in_any({"workflow" if canvas else "prompt": text}, random)


def _changed(random: Random, text: str) -> str:
    bare = text.rstrip("\0")
    if bare.startswith("{") and random.randrange(4):
        return change_values(random, bare)
    return change_text(random, text)


def safetensors(random: Random) -> bytes:
    shapes = {"a.weight": [2, 3], "b.bias": [4], "c": [], "model.diffusion_model.x": [1, 1]}
    entries: dict[str, Any] = {"__metadata__": {"format": "pt", "modelspec.title": "any"}}
    at = 0
    for name, shape in shapes.items():
        end = at + 4 * int(np.prod(shape))
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
        at = end
    head, body = json.dumps(entries), bytes(at)
    if random.randrange(2):
        head = _changed(random, head)
        packed = head.encode("utf-8", "replace")
        return struct.pack("<Q", len(packed)) + packed + body
    return change_bytes(random, struct.pack("<Q", len(head)) + head.encode() + body)


@cache
def _gguf() -> bytes:
    tensors = {"a.weight": ((4, 256), 12), "b.weight": ((2, 32), 8), "c": ((3,), 0)}
    facts = {"general.architecture": "sd3", "tokens": ["a", "b"], "general.file_type": 15}
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        return write_gguf(Path(file.name), tensors, facts).read_bytes()


def gguf(random: Random) -> bytes:
    data = _gguf()
    if random.randrange(2):  # most of it is weights
        head = data.index(bytes(200))
        return change_bytes(random, data[:head]) + data[head:]
    return change_bytes(random, data)


def read_picture(data: bytes) -> Reading:
    """Read a file as `marble read` does, and hold what it says to what every reading must keep."""
    text = (text_file(data) or "").lstrip()
    if text[:1] in ("{", "["):
        try:
            said = parse_json(text)
        except ValueError:
            raise MetadataError("it is no JSON") from None
        with suppress(UserError):
            pictures_of(said)
        reading = read_object(said, PICTURES)
    else:
        with suppress(MetadataError):
            if found := graph_in(data):
                pictures_of(found)
        reading = read_recipe(data, PICTURES)
    assert all(0 < len(each) <= LONGEST for each in reading.ignored)
    assert reading.to_dict().keys() == {
        name for name, value in reading.values.items() if value != DEFAULTS[name]
    }
    json.dumps(reading.to_dict(), ensure_ascii=False).encode()
    try:
        reading.completed(USUAL)
    except UserError as error:
        judge(error)
    return reading


def read_header_of(suffix: str, data: bytes) -> Header:
    """Read the header of a file of weights, and look for the model that it may be."""
    with tempfile.NamedTemporaryFile(suffix=suffix) as file, as_broken_model("any"):
        file.write(data)
        file.flush()
        header = read_weights(Path(file.name))
    try:
        with as_broken_model("any"):
            identify_file(header)
    except UserError as error:
        judge(error)
    return header


def judge(error: UserError) -> None:
    """Hold an error to one short sentence that can be shown."""
    assert 0 < len(str(error)) <= LONGEST
    str(error).encode()  # no half of a surrogate pair


@dataclass(frozen=True, slots=True)
class Form:
    """Say how a file of one form is made and read."""

    make: Callable[[Random], bytes]
    read: Callable[[bytes], object] = read_picture


FORMS: Final[Mapping[str, Form]] = {
    "PNG, its bytes": Form(png_bytes),
    "JPEG, its bytes": Form(jpeg_bytes),
    "WebP, its bytes": Form(webp_bytes),
    "hidden in pixels, bytes": Form(pixel_bytes),
    "GIF, AVIF, XMP, txt, bytes": Form(comment_bytes),
    "Marble": Form(marbles),
    "ComfyUI, API": Form(partial(graph, canvas=False)),
    "ComfyUI, canvas": Form(partial(graph, canvas=True)),
    **{name: Form(partial(text_of, name)) for name in TEXTS},
    "safetensors": Form(safetensors, partial(read_header_of, ".safetensors")),
    "GGUF": Form(gguf, partial(read_header_of, ".gguf")),
}


@dataclass(slots=True)
class Tally:
    """Count what came of the files of one form; slowest: seconds of processor time."""

    files: int = 0
    readings: int = 0
    refusals: int = 0
    slowest: float = 0
    slow: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.files += other.files
        self.readings += other.readings
        self.refusals += other.refusals
        self.slowest = max(self.slowest, other.slowest)
        self.slow += other.slow
        self.faults += other.faults


def make_case(seed: int, number: int) -> tuple[str, bytes]:
    """Return the form and the file of a case."""
    name = list(FORMS)[number % len(FORMS)]
    return name, FORMS[name].make(Random(f"{seed} {number}"))


def read_case(seed: int, number: int) -> tuple[str, Tally]:
    """Make and read one file; return its form and what came of it."""
    name, data = make_case(seed, number)
    tally = Tally(files=1)
    began = time.process_time()
    try:
        FORMS[name].read(data)
        tally.readings = 1
    except UserError as error:
        try:
            judge(error)
            tally.refusals = 1
        except (AssertionError, ValueError) as fault:
            tally.faults.append(f"case {number}: {fault!r} of {str(error)[:200]!r}")
    except Exception as fault:  # any other is what is looked for
        tally.faults.append(f"case {number}: {fault!r}"[:300])
    tally.slowest = time.process_time() - began
    if tally.slowest > SLOW:
        tally.slow.append(number)
    return name, tally


def read_cases(seed: int, numbers: Iterable[int]) -> dict[str, Tally]:
    """Make and read files; return what came of them, by their forms."""
    tallies = {name: Tally() for name in FORMS}
    for number in numbers:
        name, tally = read_case(seed, number)
        tallies[name].add(tally)
    return tallies
