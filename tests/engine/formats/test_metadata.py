"""A picture's texts, read as Marble, Pillow, ComfyUI's canvas and A1111 read them."""

import io
import json
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from engine.errors import GraphError, MetadataError, OptionError, UnknownOption, UserError
from engine.formats.a1111.writer import to_a1111
from engine.formats.comfy.layout import to_workflow
from engine.formats.comfy.writer import to_graph
from engine.formats.metadata import read_recipe, write_as, write_png
from engine.formats.png_texts import TEXT_LIMIT, read_texts
from engine.recipe.limits import SAMPLERS, SCHEDULES
from engine.recipe.parts import Control, Lora, Upscale, Variation
from engine.recipe.recipe import Recipe
from tests.engine.formats.test_comfy import default_graph
from tests.engine.recipes import keeps_its_prompts, read_line, recipe_of, recipes
from tests.factories import make_recipe

Pixels = npt.NDArray[np.uint8]
CHINESE = "拿着书的大理石学者"


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    """Return uint8 [12, 16, 3] of noise."""
    return np.random.default_rng(5).integers(0, 256, (12, 16, 3), dtype=np.uint8)


def png_with(**texts: str) -> bytes:
    """Return a picture with these texts, written as ComfyUI and A1111 do: by Pillow."""
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def with_chunk(kind: bytes, body: bytes) -> bytes:
    """Return a picture with one chunk of this kind behind its header."""
    png = png_with()
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return png[:33] + chunk + png[33:]


def chunks(png: bytes) -> dict[str, tuple[str, bytes]]:
    """Return key → kind and body of the text chunks."""
    found, at = {}, 8
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        if kind in (b"tEXt", b"iTXt"):
            key, _, body = png[at + 8 : at + 8 + length].partition(b"\0")
            found[key.decode()] = kind.decode(), body
        at += length + 12
    return found


def as_canvas(png: bytes) -> dict[str, str]:
    """Return the texts as ComfyUI's canvas does: everything is UTF-8 to it."""
    texts = {}
    for key, (kind, body) in chunks(png).items():
        text = body[2:].split(b"\0", 2)[2] if kind == "iTXt" else body
        texts[key] = text.decode("utf-8", "replace")
    return texts


def test_pixels_survive(pixels: Pixels) -> None:
    for given_pixels in (pixels, Image.fromarray(pixels)):
        png = write_png(given_pixels, make_recipe(), 0)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), pixels)


def test_same_input_gives_same_bytes(pixels: Pixels) -> None:
    first, again = (write_png(pixels, make_recipe(prompt=CHINESE), 0) for _ in range(2))
    assert first == again
    assert b"tIME" not in first


def test_metadata_of_an_image_is_left_behind(pixels: Pixels) -> None:
    image = Image.fromarray(pixels)
    image.info["icc_profile"] = b"private"
    assert write_png(image, make_recipe(), 0) == write_png(pixels, make_recipe(), 0)


@settings(deadline=None)
@given(recipes(), st.data())
def test_recipe_of_the_very_picture_is_read_back(recipe: Recipe, data: st.DataObject) -> None:
    picture = data.draw(st.sampled_from(recipe.pictures))
    reading = read_recipe(write_png(np.zeros((1, 1, 3), np.uint8), recipe, picture))
    assert reading.source == "Marble"
    assert reading.ignored == ()
    assert reading.recipe.pictures == (picture,)
    assert replace(reading.recipe, picture=recipe.picture) == recipe


@pytest.mark.parametrize("prompt", ["a scholar", "café", CHINESE, "🗿", '"a", b: c\nd'])
def test_pillow_and_the_canvas_read_every_text(pixels: Pixels, prompt: str) -> None:
    recipe = make_recipe(prompt=prompt, negative_prompt=prompt, count=2, picture=1)
    png = write_png(pixels, recipe, 1)
    info = Image.open(io.BytesIO(png)).info
    for texts in (info, as_canvas(png)):
        assert json.loads(texts["prompt"]) == to_graph(recipe)
        assert json.loads(texts["workflow"]) == to_workflow(recipe)
        assert read_line(texts["parameters"])[0] == recipe


def test_graphs_are_plain_text_for_the_oldest_readers(pixels: Pixels) -> None:
    kinds = {
        k: kind
        for k, (kind, _) in chunks(write_png(pixels, make_recipe(prompt=CHINESE), 0)).items()
    }
    assert kinds == {"marble": "tEXt", "prompt": "tEXt", "workflow": "tEXt", "parameters": "iTXt"}


def test_seed_beyond_a_double_is_exact(pixels: Pixels) -> None:
    recipe = make_recipe(seed=2**64 - 1)
    assert read_recipe(write_png(pixels, recipe, 0)).recipe == recipe


def test_comfyui_picture_is_read() -> None:
    reading = read_recipe(png_with(prompt=json.dumps(default_graph()), workflow="{}"))
    assert reading.source == "ComfyUI"
    assert reading.recipe == recipe_of(default_graph())


def test_graph_too_wide_gives_way_to_a_plain_line() -> None:
    graph = {"1": {"class_type": "SaveAnything", "inputs": {}}}
    reading = read_recipe(png_with(prompt=json.dumps(graph), parameters=to_a1111(make_recipe())))
    assert (reading.source, reading.recipe) == ("A1111", make_recipe())
    with pytest.raises(GraphError):
        read_recipe(png_with(prompt=json.dumps(graph), parameters="a scholar"))


A1111 = """girl with an artist's beret, ((eyeshadow)), (coquettish:1.2)
second line
Negative prompt: ugly, fat: <b>
deformed
Steps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 965400086, \
Size: 512x768, Model hash: 45dee52b, Model: "model, v1", RNG: CPU, Version: v1.10.1"""


def test_a1111_picture_is_read() -> None:
    reading = read_recipe(png_with(parameters=A1111))
    assert reading.source == "A1111"
    assert reading.ignored == ()
    assert reading.recipe == make_recipe(
        prompt="girl with an artist's beret, ((eyeshadow)), (coquettish:1.2)\nsecond line",
        negative_prompt="ugly, fat: <b>\ndeformed",
        steps=20,
        sampler="euler_ancestral",
        guidance_scale=7,
        seed=965400086,
        width=512,
        height=768,
        checkpoint="model, v1",
        ensd=0,
    )


@pytest.mark.parametrize(
    ("told", "noise", "ensd"),
    [
        ("RNG: CPU, Version: v1.10.1", "cpu", 0),
        ("RNG: CPU, ENSD: 31337, Version: v1.10.1", "cpu", 31337),
        ("RNG: CPU, ENSD: 31337", "cpu", 31337),
        ("RNG: NV, Version: v1.10.1", "gpu", 0),
        ("RNG: GPU", "gpu", 0),
        ("Version: v1.10.1", "gpu", 0),
        ("ENSD: -2", "gpu", -2),
        ("RNG: CPU", "cpu", None),  # what Marble wrote before recipes of version 3
        ("RNG: CPU, Marble noise: gpu", "gpu", None),
        ("Version: ComfyUI", "gpu", None),  # start noise is the processor's there
        ("RNG: cuda, Version: stable-diffusion.cpp", "gpu", 0),
    ],
)
def test_whose_numbers_a1111s_noise_is(told: str, noise: str, ensd: int | None) -> None:
    recipe, ignored = read_line(A1111.replace("RNG: CPU, Version: v1.10.1", told))
    assert (recipe.noise, recipe.ensd, ignored) == (noise, ensd, ())


def test_older_lines_of_marble_keep_their_noise() -> None:
    line = "a cat\nSteps: 9, Sampler: DPM++ SDE, CFG scale: 5, Seed: 1, Size: 64x64, Model: x, "
    assert read_line(f"{line}RNG: CPU")[0].noise == "independent"
    assert read_line(f"{line}RNG: CPU, Version: v1.10.1")[0].noise == "cpu"


def test_a_delta_beside_independent_noise_is_named() -> None:
    line = "a cat\nSteps: 9, Sampler: DPM++ SDE, CFG scale: 5, Seed: 1, Size: 64x64, Model: x, "
    recipe, ignored = read_line(f"{line}Marble noise: independent, ENSD: 3")
    assert (recipe.noise, recipe.ensd) == ("independent", None)
    assert ignored == ("ENSD: 3 (it must be left out where noise is independent)",)


def test_a_generator_that_marble_lacks_is_named() -> None:
    recipe, ignored = read_line(A1111.replace("RNG: CPU", "RNG: std_default"))
    assert (recipe.noise, ignored) == ("cpu", ("RNG: std_default (noise is drawn on the CPU)",))


def test_a1111s_loras_layers_and_vae_are_honoured() -> None:
    text = A1111.replace("(coquettish:1.2)", "<lora:ink:0.5> <lora:gold:1:0.2>")
    recipe, ignored = read_line(text.replace("RNG: CPU", "Clip skip: 2, VAE: b.pt, RNG: CPU"))
    assert recipe.loras == (
        Lora(name="ink", weight=0.5),
        Lora(name="gold", weight=0.2, text_weight=1),
    )
    assert "lora" not in recipe.prompt
    assert (recipe.clip_skip, recipe.vae, ignored) == (2, "b.pt", ())


def test_lines_are_trimmed_and_empty_ones_before_a_text_go() -> None:
    text = A1111.replace("girl", "\n \n  girl ").replace("ugly", "\n\nugly")
    assert read_line(text)[0].prompt.startswith("girl  with")
    assert read_line(text)[0].negative_prompt == "ugly, fat: <b>\ndeformed"


@pytest.mark.parametrize("name", ["plain", " a ", "a,b", "a: b", '"a"', 'a "b" c', "拿", "a\nb"])
def test_names_of_any_form_survive_the_line(name: str) -> None:
    recipe = make_recipe(checkpoint=name)
    assert read_line(to_a1111(recipe))[0] == recipe


def test_what_a1111_did_and_marble_cannot_is_named() -> None:
    text = A1111.replace("RNG: CPU", 'Tiling: True, Lora hashes: "a: 1, b: 2"')
    assert read_line(text)[1] == ("Tiling: True",)


@pytest.mark.parametrize(
    ("sampler", "schedule", "ours"),
    [
        ("Euler", "", ("euler", "normal")),
        ("Euler", "Uniform", ("euler", "normal")),
        ("DPM++ 2M Karras", "", ("dpmpp_2m", "karras")),
        ("DPM++ 2M", "Automatic", ("dpmpp_2m", "karras")),
        ("DPM2 a Karras", "", ("dpm_2_ancestral", "karras")),
        ("DPM++ 2M SDE", "Automatic", ("dpmpp_2m_sde", "exponential")),
        ("DPM++ 2M", "SGM Uniform", ("dpmpp_2m", "sgm_uniform")),
        ("DDIM", "", ("ddim", "ddim_uniform")),
    ],
)
def test_a1111_names_of_all_ages_are_read(
    sampler: str, schedule: str, ours: tuple[str, str]
) -> None:
    was = f"Sampler: {sampler}" + (f", Schedule type: {schedule}" if schedule else "")
    recipe = read_line(A1111.replace("Sampler: Euler a, Schedule type: Automatic", was))[0]
    assert (recipe.sampler, recipe.schedule) == ours


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_sampling_has_a_name_of_a1111(sampler: str, schedule: str) -> None:
    recipe = make_recipe(sampler=sampler, schedule=schedule)
    assert read_line(to_a1111(recipe))[0] == recipe


@settings(deadline=None)
@given(recipes())
def test_a1111_line_stays_itself(recipe: Recipe) -> None:
    assume(keeps_its_prompts(recipe))
    assert read_line(to_a1111(recipe))[0] == recipe
    assert to_a1111(read_line(to_a1111(recipe))[0]) == to_a1111(recipe)


@pytest.mark.parametrize(
    "prompts",
    [
        {"prompt": "a <rdf:li> of gold"},
        {"prompt": "a <lora:ink:0.5>"},
        {"prompt": "a cat\nNegative prompt: rain"},
        {"negative_prompt": "Negative prompt: rain"},
    ],
)
def test_prompts_of_which_a1111_takes_a_part_for_something_else_have_no_line(
    prompts: dict[str, str],
) -> None:
    recipe = make_recipe(**prompts)
    with pytest.raises(ValueError, match="A1111 takes 'Negative prompt:' and tags"):
        to_a1111(recipe)
    assert read_recipe(write_png(np.zeros((1, 1, 3), np.uint8), recipe, 0)).recipe == recipe


@pytest.mark.parametrize(
    ("was", "becomes", "words"),
    [
        ("Seed: 965400086, ", "", "text by A1111 lacks: seed"),
        ("Seed: 965400086", "Seed: -1", "seed must be"),
        ("Euler a", "DPM fast", "'DPM fast'"),
        ("512x768", "tall", "width must be"),
        ("Steps: 20", "Steps: many", "steps must be"),
        ("CFG scale: 7", "CFG scale: nan", "guidance_scale must be"),
        ("Model: ", "Model 2: ", "text by A1111 lacks: model"),
        ("\nSteps: 20, ", "\n", "text by A1111 lacks: steps"),
    ],
)
def test_a1111_line_that_falls_short_is_named(was: str, becomes: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_line(A1111.replace(was, becomes))


def test_newer_marble_is_named_and_not_guessed() -> None:
    newer = make_recipe().to_dict()
    for said, error, words in (
        ({"version": 5}, OptionError, "newer Marble"),
        ({"aura": 1}, UnknownOption, "aura"),
    ):
        reading = read_recipe(png_with(marble=json.dumps(newer | said)))
        assert reading.values["seed"] == make_recipe().seed
        with pytest.raises(error, match=words):
            _ = reading.recipe


def bomb(kind: bytes, head: bytes) -> bytes:
    return with_chunk(kind, b"prompt\0" + head + zlib.compress(bytes(TEXT_LIMIT * 8)))


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no PNG, JPEG, WebP, AVIF or GIF"),
    "BMP": (b"BM\xff\0\0\0", "no PNG, JPEG, WebP, AVIF or GIF"),
    "damaged GIF": (b"GIF89a", "metadata is damaged"),
    "damaged JPEG": (b"\xff\xd8\xff\xe0 JFIF", "metadata is damaged"),
    "cut": (png_with(prompt="{}")[:45], "is incomplete"),
    "length beyond the end": (png_with()[:8] + b"\xff\xff\xff\xffIDAT" + bytes(9), "is incomplete"),
    "flipped bit": (png_with(prompt="abc").replace(b"abc", b"abd"), "damaged"),
    "no text": (png_with(), "no recipe"),
    "zTXt bomb": (bomb(b"zTXt", b"\0"), "4,194,304"),
    "iTXt bomb": (bomb(b"iTXt", b"\1\0\0\0"), "4,194,304"),
    "long tEXt": (with_chunk(b"tEXt", b"prompt\0" + bytes(TEXT_LIMIT + 1)), "4,194,304"),
    "bad zlib": (with_chunk(b"zTXt", b"prompt\0\0junk"), "damaged"),
    "bad UTF-8": (with_chunk(b"iTXt", b"prompt\0\0\0\0\0\xff"), "damaged"),
    "short iTXt": (with_chunk(b"iTXt", b"prompt\0\0"), "damaged"),
    "no JSON": (png_with(prompt="a marble scholar"), "not valid JSON"),
    "deep JSON": (png_with(marble="[" * 100_000), "not valid JSON"),
    "no object": (png_with(marble="[]"), "not a JSON object"),
    "bare object": (png_with(marble="{}"), "version"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_refused_in_one_sentence(name: str) -> None:
    png, words = BAD[name]
    with pytest.raises(UserError, match=words) as caught:
        read_recipe(png)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("name", ["zTXt bomb", "iTXt bomb"])
def test_bomb_is_not_unpacked(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MetadataError):
            read_recipe(BAD[name][0])
        assert tracemalloc.get_traced_memory()[1] < 4 * TEXT_LIMIT
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [zlib.compress, bytes])
def test_packed_texts_are_read(pack: Callable[[bytes], bytes]) -> None:
    flag = b"\1" if pack is zlib.compress else b"\0"
    png = with_chunk(b"iTXt", b"parameters\0" + flag + b"\0en\0k\0" + pack(CHINESE.encode()))
    assert read_texts(png) == {"parameters": CHINESE}


def test_hostile_line_is_read_in_linear_time() -> None:
    began = time.process_time()
    for text in ("a " * 2**15, 'a:"' * 2**15, " " * 2**16 + "x", "a:" + " " * 2**16 + "\0"):
        with pytest.raises(MetadataError, match="no line of settings"):
            read_line(text)
    assert time.process_time() - began < 5
    with pytest.raises(MetadataError, match="over 100,000 characters"):
        read_line("a\n" * 50_001)


@settings(deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"eXIf"]))
def test_junk_never_escapes_as_another_error(body: bytes, kind: bytes) -> None:
    for key in (b"marble", b"prompt", b"parameters"):
        with suppress(UserError):
            read_recipe(with_chunk(kind, key + b"\0" + body))
            pytest.fail("junk became a recipe")


@settings(deadline=None, max_examples=40)
@given(recipes(), st.sampled_from(["JPEG", "WEBP"]))
def test_jpeg_and_webp_carry_the_same_recipe(recipe: Recipe, kind: Literal["JPEG", "WEBP"]) -> None:
    png = write_png(np.zeros((8, 8, 3), np.uint8), recipe, recipe.pictures[0])
    other = write_as(png, kind)
    assert Image.open(io.BytesIO(other)).format == kind
    assert read_recipe(other) == read_recipe(png)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_exif_is_where_other_tools_look(pixels: Pixels, kind: Literal["JPEG", "WEBP"]) -> None:
    recipe = make_recipe(prompt=CHINESE)
    data = write_as(write_png(pixels, recipe, 0), kind)
    exif = Image.open(io.BytesIO(data)).getexif()
    assert json.loads(exif[0x0110].removeprefix("prompt:")) == to_graph(recipe)
    assert json.loads(exif[0x010F].removeprefix("workflow:")) == to_workflow(recipe)
    comment = exif.get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"UNICODE\0"
    assert read_line(comment[8:].decode("utf-16-be"))[0] == recipe


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le"])
def test_a1111s_jpeg_is_read(encoding: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + A1111.encode(encoding)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", exif=exif)
    reading = read_recipe(file.getvalue())
    assert (reading.source, reading.recipe.seed) == ("A1111", 965400086)


def test_a_jpeg_with_too_much_to_say_keeps_the_recipe(pixels: Pixels) -> None:
    recipe = make_recipe(prompt="拿" * 2000, negative_prompt="书" * 2000)
    data = write_as(write_png(pixels, recipe, 0), "JPEG")
    assert read_recipe(data).recipe == recipe


def exif_with(kind: str, tags: dict[int, str], comment: bytes | None = None) -> bytes:
    """Return a picture with texts in its EXIF, written as ComfyUI and A1111 do."""
    exif = Image.Exif()
    for tag, text in tags.items():
        exif[tag] = text
    if comment is not None:
        exif.get_ifd(0x8769)[0x9286] = comment
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind, exif=exif)
    return file.getvalue()


GRAPH = json.dumps(default_graph())
UI = json.dumps({"nodes": [], "links": []})


@pytest.mark.parametrize(
    "tags",
    [
        {0x0110: f"prompt:{GRAPH}", 0x010F: f"workflow:{UI}"},
        {0x010F: f"prompt:{GRAPH}", 0x010E: f"workflow:{UI}"},
        {0x010F: f"Prompt:{GRAPH}", 0x0110: f"Workflow:{UI}"},
    ],
)
def test_comfyuis_webp_is_read(tags: dict[int, str]) -> None:
    reading = read_recipe(exif_with("WEBP", tags))
    assert (reading.source, reading.recipe) == ("ComfyUI", recipe_of(default_graph()))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("first", ["a cat", "石头 猫"])
@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        (b"UNICODE\0", "utf-16-be"),
        (b"UNICODE\0", "utf-16-le"),
        (b"UNICODE\0\xfe\xff", "utf-16-be"),
        (b"UNICODE\0\xff\xfe", "utf-16-le"),
        (b"ASCII\0\0\0", "utf-8"),
        (b"", "utf-8"),
    ],
)
def test_a_user_comment_is_read_in_every_order(
    kind: str, first: str, head: bytes, encoding: str
) -> None:
    comment = head + A1111.replace("girl", first).encode(encoding)
    reading = read_recipe(exif_with(kind, {}, comment))
    assert reading.source == "A1111"
    assert reading.recipe.prompt.startswith(first)


def test_numbers_by_the_million_in_exif_are_not_looked_at() -> None:
    # As Python's fractions these 4 MB are seconds of work, and 140 MB of memory.
    amount = 500_000
    table = struct.pack("<HHHIII", 1, 0x010F, 5, amount, 26, 0)
    body = b"II*\0" + struct.pack("<I", 8) + table + bytes([1]) * (8 * amount + 26)
    chunk = b"EXIF" + struct.pack("<I", len(body)) + body
    file = b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk
    tracemalloc.start()
    try:
        with pytest.raises(MetadataError, match="has no recipe"):
            read_recipe(file)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(file)
    finally:
        tracemalloc.stop()


def test_exif_in_many_segments_is_joined_in_linear_time(pixels: Pixels) -> None:
    # Joined one by one, this takes minutes.
    recipe = make_recipe()
    jpeg = write_as(write_png(pixels, recipe, 0), "JPEG")
    at = jpeg.index(b"\xff\xe1")
    (length,) = struct.unpack_from(">H", jpeg, at + 2)
    exif = jpeg[at + 10 : at + 2 + length]
    parts = [exif[i : i + 1] for i in range(len(exif))] + [b"x"] * 1_000_000
    segments = b"".join(b"\xff\xe1\0\x09Exif\0\0" + part for part in parts)
    assert read_recipe(jpeg[:at] + segments + jpeg[at + 2 + length :]).recipe == recipe


def test_halves_of_surrogate_pairs_are_mended() -> None:
    # JSON can name them, but neither a database nor a terminal takes them.
    recipe = make_recipe(prompt="a \ud800 cat 🗿", vae="\udfff")
    line = 'x\nSteps: 4, Sampler: Euler, CFG scale: 4, Seed: 7, Size: 64x64, Model: "\\ud800 🗿"'
    texts = (json.dumps(recipe.to_dict()), json.dumps(to_graph(recipe)))
    for key, text in zip(("marble", "prompt"), texts, strict=True):
        assert read_recipe(png_with(**{key: text})).recipe == replace(
            recipe, prompt="a \ufffd cat 🗿", vae="\ufffd"
        )
    assert read_line(line)[0].checkpoint == "\ufffd 🗿"


def test_a_picture_that_holds_only_the_canvas_is_read() -> None:
    workflow = json.dumps(to_workflow(make_recipe()))
    reading = read_recipe(png_with(workflow=workflow))
    assert (reading.source, reading.recipe) == ("ComfyUI", make_recipe())


HIRES = """a cat
Negative prompt: ugly
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x768, \
Model: dreamshaper, Denoising strength: 0.5, RNG: CPU, {}Version: v1.10.1"""


@pytest.mark.parametrize(
    ("settings_", "upscale", "ignored"),
    [
        ("Hires upscale: 2, Hires steps: 10, Hires upscaler: 4x-UltraSharp, ",
         Upscale(factor=2, by="4x-UltraSharp", strength=0.5), ()),
        ("Hires upscale: 1.5, Hires steps: 10, Hires upscaler: Latent (nearest-exact), ",
         Upscale(factor=1.5, by="latent", strength=0.5), ()),
        ("Hires resize: 1024x1536, Hires steps: 10, Hires upscaler: Lanczos, ",
         Upscale(factor=2, strength=0.5), ()),
        ("Hires upscale: 2, Hires upscaler: Latent, ",
         Upscale(factor=2, by="latent", strength=0.5),
         ("Hires upscaler: Latent (Latent (nearest-exact) is used)",
          "Hires steps: 20 (drawn in 10 steps)")),
        ("Hires upscale: 2, Hires steps: 10, Hires upscaler: Lanczos, Hires sampler: Euler, ",
         Upscale(factor=2, strength=0.5), ("Hires sampler: Euler",)),
    ],
)  # fmt: skip
def test_a1111s_hires_fix_is_a_second_pass(
    settings_: str, upscale: Upscale, ignored: tuple[str, ...]
) -> None:
    recipe, named = read_line(HIRES.format(settings_))
    assert (recipe.upscale, named) == (upscale, ignored)
    assert (recipe.image, recipe.strength, recipe.steps) == (None, None, 20)


UNIT = '"Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: 1, Guidance End: 1"'


def test_what_a1111s_line_does_not_hold_is_named() -> None:
    recipe, named = read_line(HIRES.format(f"ControlNet 0: {UNIT}, Mask blur: 4, "))
    assert (recipe.image, recipe.controls, recipe.upscale) == (None, (), None)
    assert [note.partition(":")[0] for note in named] == [
        "Mask blur",
        "Denoising strength",
        "ControlNet 0",
    ]
    assert "does not contain its start image" in named[1]


def test_a1111s_variation_is_nearly_ours() -> None:
    recipe, named = read_line(
        A1111.replace("RNG: CPU", "Variation seed: 9, Variation seed strength: 0.3, RNG: CPU")
    )
    assert recipe.variations == (Variation(seed=9, amount=0.3),)
    assert "not row by row" in named[0]


def test_what_a_site_adds_does_not_fall_into_pieces() -> None:
    added = ', Civitai resources: [{"type":"lora","weight":0.8,"modelVersionId":1}], x: {"a":1}'
    recipe, ignored = read_line(A1111 + added)
    assert recipe == read_line(A1111).recipe
    assert ignored == ("Civitai resources: lora 1 (not read)",)
    cut = ', Civitai resources: [{"type":"lora","weight":0.8,'
    assert read_line(A1111 + cut) == read_line(A1111)


def test_a1111_line_names_what_it_says_as_a1111_does() -> None:
    control = Control(model="canny", image="c" * 64, strength=0.8, end=0.5, preprocessor="canny")
    line = to_a1111(
        make_recipe(
            steps=12, image="a" * 64, strength=0.6, mask="b" * 64, width=512, height=512,
            controls=(control,), upscale=Upscale(factor=2, by="4x-UltraSharp"),
        )
    )  # fmt: skip
    for said in (
        "Steps: 20, ", "Denoising strength: 0.6, ", "Mask blur: 4, ",
        'ControlNet 0: "Module: canny, Model: canny, Weight: 0.8, Resize Mode: Crop and Resize, '
        'Threshold A: 100, Threshold B: 200, Guidance Start: 0, Guidance End: 0.5, '
        'Pixel Perfect: True, Control Mode: Balanced"',
        "Postprocess upscale by: 2, Postprocess upscaler: 4x-UltraSharp, ",
        f"Marble image: {'a' * 64}, Marble mask: {'b' * 64}, Marble control 0: {'c' * 64}",
    ):  # fmt: skip
        assert said in line
    detail = to_a1111(make_recipe(steps=20, upscale=Upscale(factor=1.5, by="latent", strength=0.5)))
    assert (
        "Denoising strength: 0.5, Hires upscale: 1.5, Hires steps: 10, "
        "Hires upscaler: Latent (nearest-exact)"
    ) in detail
