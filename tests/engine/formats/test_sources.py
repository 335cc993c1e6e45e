"""Where files keep texts: every place that programs write to is read, in every kind of file."""

import io
import json
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from engine.errors import MetadataError
from engine.formats import png_texts
from engine.formats.comfy.layout import to_workflow
from engine.formats.comfy.writer import to_graph
from engine.formats.file_texts import text_file
from engine.formats.metadata import read_recipe
from engine.formats.png_texts import SIGNATURE
from engine.formats.tools import comments_in_xmp
from engine.pictures.image_header import CHUNKS
from tests.engine.formats.others import (
    DRAW_THINGS,
    FIELDS,
    TEXTS,
    hidden,
    hiding_pixels,
    in_xmp,
    jpeg,
    png,
)
from tests.factories import make_recipe

LINE = TEXTS["A1111"]["parameters"]
UNICODE = b"UNICODE\0" + LINE.encode("utf-16-be")
XMP = in_xmp(json.dumps(DRAW_THINGS))["XML:com.adobe.xmp"]
RECIPE = make_recipe()
GRAPHS = {"prompt": to_graph(RECIPE), "workflow": to_workflow(RECIPE)}


def file(kind: str, **how: Any) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (16, 16)).save(data, kind, **how)
    return data.getvalue()


def with_comment(comment: bytes, **tags: str) -> Image.Exif:
    exif = Image.Exif()
    names = {"description": 0x010E, "make": 0x010F, "model": 0x0110}
    for name, text in tags.items():
        exif[names[name]] = text
    if comment:
        exif.get_ifd(0x8769)[0x9286] = comment
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_a_line_in_exif_is_read_in_every_kind_of_file(kind: str) -> None:
    reading = read_recipe(file(kind, exif=with_comment(UNICODE, make="a camera")))
    assert reading == read_recipe(png({"parameters": LINE}))
    assert {field: reading.values[field] for field in FIELDS} == FIELDS


@pytest.mark.parametrize("kind", ["JPEG", "GIF"])
@pytest.mark.parametrize("name", ["A1111", "Fooocus"])
def test_a_files_comment_is_read(kind: str, name: str) -> None:
    """As A1111 writes it into a GIF; a JPEG's stands in a segment of its own (COM)."""
    text = TEXTS[name]["parameters"]
    assert read_recipe(file(kind, comment=text.encode())).source == name


def test_a_comment_of_a_moving_gif_in_its_own_colours_is_read() -> None:
    data = io.BytesIO()
    first, second = (Image.new("P", (16, 16), each) for each in (1, 2))
    first.putpalette([1, 2, 3] * 40)
    second.putpalette([9, 8, 7] * 200)
    first.save(data, "GIF", save_all=True, append_images=[second], comment=LINE.encode())
    assert read_recipe(data.getvalue()).source == "A1111"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_xmp_of_draw_things_is_read_in_every_kind_of_file(kind: str) -> None:
    reading = read_recipe(file(kind, xmp=XMP.encode()))
    assert reading == read_recipe(png({"XML:com.adobe.xmp": XMP}))
    assert reading.source == "Draw Things"


@pytest.mark.parametrize(
    "xmp",
    [
        f'<rdf:Description exif:UserComment="{LINE}"/>',
        f"<dc:description><rdf:Alt><rdf:li>{LINE}</rdf:li></rdf:Alt></dc:description>",
    ],
)
def test_a_line_in_xmp_is_read(xmp: str) -> None:
    assert read_recipe(png({"XML:com.adobe.xmp": xmp})).source == "A1111"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_comfyuis_graphs_are_read_from_make_and_model(kind: str) -> None:
    tags = {
        "make": f"workflow:{json.dumps(GRAPHS['workflow'])}",
        "model": f"prompt:{json.dumps(GRAPHS['prompt'])}",
    }
    both = read_recipe(file(kind, exif=with_comment(b"", **tags)))
    assert both.source == "ComfyUI"
    assert both.recipe == RECIPE
    for tag, text in tags.items():
        assert read_recipe(file(kind, exif=with_comment(b"", **{tag: text}))).recipe == RECIPE


def test_novelais_texts_in_a_webp_are_read() -> None:
    """Its user comment holds all texts that its PNG files hold, as one JSON object."""
    packed = json.dumps(TEXTS["NovelAI"]).encode()
    data = file("WEBP", exif=with_comment(b"ASCII\0\0\0" + packed, description="\0\0\0\0words"))
    assert read_recipe(data) == read_recipe(png(TEXTS["NovelAI"]))


def test_a_line_in_the_description_of_exif_is_read() -> None:
    data = file("JPEG", exif=with_comment(b"", description=LINE))
    assert read_recipe(data).source == "A1111"


def test_damaged_exif_hides_no_other_text() -> None:
    data = file("JPEG", exif=b"Exif\0\0nothing", comment=LINE.encode())
    assert read_recipe(data).source == "A1111"
    with pytest.raises(MetadataError, match="metadata is damaged"):
        read_recipe(file("JPEG", exif=b"Exif\0\0nothing"))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("name", ["A1111", "NovelAI"])
def test_what_is_hidden_in_alpha_or_colours_is_read(packed: bool, colours: bool, name: str) -> None:
    text = LINE if name == "A1111" else json.dumps(TEXTS["NovelAI"])
    assert read_recipe(hidden(text.encode(), packed=packed, colours=colours)).source == name
    image = hiding_pixels(text.encode(), packed=packed, colours=colours)
    for exif in (b"", b"Exif\0\0II*\0\x08\0\0\0\x09\0"):  # which is cut short
        data = io.BytesIO()
        image.save(data, "WEBP", lossless=True, exact=True, exif=exif)
        assert read_recipe(data.getvalue()).source == name


def test_nothing_is_hidden_in_a_photograph() -> None:
    for kind in ("PNG", "WEBP", "JPEG", "AVIF", "GIF"):
        with pytest.raises(MetadataError, match="no recipe: no text"):
            read_recipe(file(kind))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("name", ["A1111", "Forge", "SwarmUI", "Fooocus", "Easy Diffusion"])
def test_a_text_file_beside_a_picture_is_read(encoding: str, name: str) -> None:
    (text, *_) = TEXTS[name].values()
    assert read_recipe(text.encode(encoding)).source == name


@pytest.mark.parametrize("key", GRAPHS)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_a_workflow_file_is_read_in_any_encoding(key: str, encoding: str) -> None:
    assert read_recipe(json.dumps(GRAPHS[key]).encode(encoding)).recipe == RECIPE


@pytest.mark.parametrize("words", ["{gold|jade} king", "[gold] king", "{a {king}}", '{"a": 1}x'])
def test_a_line_whose_prompt_begins_as_json_does_is_read(words: str) -> None:
    line = f"{words}\n{LINE.partition(chr(10))[2]}"
    for data in (line.encode(), png({"parameters": line}), jpeg(b"ASCII\0\0\0" + line.encode())):
        reading = read_recipe(data)
        assert (reading.source, reading.values["prompt"]) == ("A1111", words)


@pytest.mark.parametrize(
    "data", [b"", b"   ", b"Dear diary", b"\x7fELF\0\0\1", b"a, b\nSteps: few"]
)
def test_other_files_are_no_pictures_and_no_texts_about_any(data: bytes) -> None:
    with pytest.raises(MetadataError, match="and no text that a program writes about one"):
        read_recipe(data)


def test_a_picture_is_no_text_file() -> None:
    for kind in ("PNG", "WEBP", "JPEG", "AVIF", "GIF"):
        assert text_file(file(kind)) is None
    assert text_file(jpeg(UNICODE)) is None
    assert text_file(LINE.encode()) == LINE


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "GIF"])
def test_a_file_that_is_cut_anywhere_is_read_or_refused_in_a_sentence(kind: str) -> None:
    how: dict[str, Any] = {"comment": LINE.encode()}
    if kind != "GIF":
        how = {"exif": with_comment(UNICODE, make="a camera"), "xmp": XMP.encode()}
    data = file(kind, **how)
    read = 0
    for end in range(12, len(data)):
        try:
            read += read_recipe(data[:end]).source in ("A1111", "Draw Things")
        except MetadataError:
            continue
    assert read


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8\xff" + b"\xfe\0\2\xff" * 200_000 + b"\xda",
        b"RIFF\0\0\0\0WEBP" + b"ABCD\0\0\0\0" * 200_000,
        b"\0\0\0\x0cftypavif" + b"\0\0\0\x08free" * 200_000,
        b"GIF89a\1\0\1\0\0\0\0" + b"!\x01\0" * 200_000,
        SIGNATURE + b"\0\0\0\x0btEXtparameters\0" * 200_000,
    ],
)
def test_of_parts_without_end_some_are_looked_at(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0
    unpack = struct.unpack_from

    def counting(*given: Any) -> Any:
        nonlocal looked
        looked += 1
        return unpack(*given)

    monkeypatch.setattr(struct, "unpack_from", counting)
    with pytest.raises(MetadataError):
        read_recipe(data)
    assert looked <= 2 * CHUNKS  # those of a PNG are looked at for damaged texts, too


def test_of_texts_without_end_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    summed = 0
    crc32 = zlib.crc32

    def counting(data: bytes) -> int:
        nonlocal summed
        summed += 1
        return crc32(data)

    body = b"tEXtparameters\0x"
    text = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", crc32(body))
    monkeypatch.setattr(zlib, "crc32", counting)
    with pytest.raises(MetadataError):
        read_recipe(SIGNATURE + text * 40_000)
    assert summed <= 2 * png_texts.MOST


@pytest.mark.parametrize(
    "text",
    [
        "Steps: 10432, Distance: 7.2 km",
        "Pancakes\nSteps: 3\nSize: 12\nSeed: poppy",
        "Model: R5, Size: 6000x4000, Sampler: none",
        "Seed: tomato, Size: 3x4 m, Steps: often, CFG scale: ?",
    ],
)
def test_a_comment_that_looks_nearly_like_a_line_of_settings_is_a_comment(text: str) -> None:
    for data in (
        file("JPEG", comment=text.encode()),
        file("GIF", comment=text.encode()),
        png({"Comment": text}),
        png({"Description": text}),
    ):
        with pytest.raises(MetadataError, match="only a comment"):
            read_recipe(data)
    with pytest.raises(MetadataError, match="no text that a program writes"):
        read_recipe(text.encode())


def test_escapes_of_xmp_are_undone_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written = "&amp;quot; &lt;&quot;&apos;&gt; &#10;&#x5bb6; &amp;amp; &amp;#10; & &eacute;"
    xmp = f"<exif:UserComment><rdf:li>{written}</rdf:li></exif:UserComment>"
    assert [*comments_in_xmp(xmp)] == ["&quot; <\"'> \n家 &amp; &#10; & é"]
    # What takes long is called for others alone.
    monkeypatch.setattr("html.unescape", lambda text: text.replace("&", "?"))
    many = "&lt;&gt;&quot;&apos;&amp;" * 3
    xmp = f"<exif:UserComment><rdf:li>{many}</rdf:li></exif:UserComment>"
    assert [*comments_in_xmp(xmp)] == ["<>\"'&" * 3]
