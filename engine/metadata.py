"""Write a recipe into a PNG's text, and read it back from Marble's, ComfyUI's or A1111's text.

Every picture carries four texts: `marble` (the recipe as it is), `prompt` and `workflow`
(ComfyUI's two JSON forms, see `engine.comfy`) and `parameters` (the line of A1111's web UI). JSON
is escaped to ASCII and goes into tEXt, which even the oldest reader takes; a line with letters
beyond ASCII goes into iTXt, which is UTF-8: tEXt is Latin-1 by the standard, yet ComfyUI's canvas
reads it as UTF-8, so that an "é" would reach one of the two readers broken.

PNG: https://www.w3.org/TR/png-3/#11textinfo
"""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from engine import comfy
from engine.errors import UserError
from engine.recipe import Recipe, parse_seed

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
TEXT_LIMIT: Final = 4 * 2**20  # bytes of one text once decompressed; ComfyUI's largest are below
KEYS: Final = ("marble", "prompt", "parameters")

# A1111's names (and Forge's, for the last three) for our samplers and schedules, which bear
# ComfyUI's. Those without a name there are written as they are.
SAMPLER_NAMES: Final = {
    "euler": "Euler", "euler_ancestral": "Euler a", "heun": "Heun", "lms": "LMS", "lcm": "LCM",
    "dpm_2": "DPM2", "dpm_2_ancestral": "DPM2 a", "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_2m": "DPM++ 2M", "dpmpp_2m_sde": "DPM++ 2M SDE", "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_sde": "DPM++ SDE", "ddim": "DDIM", "uni_pc": "UniPC",
    "ddpm": "DDPM", "ipndm": "IPNDM", "deis": "DEIS",
}  # fmt: skip
SCHEDULE_NAMES: Final = {
    "normal": "Normal", "karras": "Karras", "exponential": "Exponential", "simple": "Simple",
    "sgm_uniform": "SGM Uniform", "ddim_uniform": "DDIM", "beta": "Beta",
}  # fmt: skip
SAMPLERS_READ: Final = {name: ours for ours, name in SAMPLER_NAMES.items()}
SCHEDULES_READ: Final = {name: ours for ours, name in SCHEDULE_NAMES.items()}
SCHEDULES_READ["Uniform"] = "normal"  # A1111 computes one thing under two names
# What "Automatic", or no schedule at all, means to A1111: "Uniform" but for these samplers.
KARRAS: Final = ("dpmpp_2m", "dpmpp_sde", "dpmpp_2s_ancestral", "dpm_2", "dpm_2_ancestral")
AUTOMATIC: Final = {
    **dict.fromkeys(KARRAS, "karras"),
    **dict.fromkeys(("dpmpp_2m_sde", "dpmpp_3m_sde"), "exponential"),
    "ddim": "ddim_uniform",
}

NEGATIVE: Final = "Negative prompt:"
# `name: value` up to a comma, or with a value that is quoted as JSON. The bound on the name keeps
# a hostile line from being searched in quadratic time.
SETTING: Final = re.compile(r'(\w[\w /-]{1,60}):\s*("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)')
NECESSARY: Final = ("Steps", "Sampler", "CFG scale", "Seed", "Size", "Model")
OPTIONAL: Final = ("Schedule type", "Model hash", "Version", "Marble count", "Marble picture")
# What these settings are where the line does not say, and what they must be for Marble's pixels.
ASSUMED: Final = {"RNG": "GPU", "Clip skip": "1"}
NEEDED: Final = {"RNG": "CPU", "Clip skip": "1"}

Source = Literal["Marble", "ComfyUI", "A1111"]


class MetadataError(UserError):
    """Say why no recipe can be read from a picture."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Hold a recipe found in a picture, who wrote it, and what in it Marble cannot honour."""

    recipe: Recipe
    source: Source
    ignored: tuple[str, ...] = ()


def encode_png(pixels: npt.NDArray[np.uint8] | Image.Image, recipe: Recipe, picture: int) -> bytes:
    """Encode picture number `picture` of a recipe as PNG, with all that remakes it in its text.

    `pixels` is uint8 [height, width, 3]. The same input gives the same bytes: there is no
    timestamp in them.
    """
    one = replace(recipe, picture=picture) if recipe.count > 1 else recipe
    text = PngImagePlugin.PngInfo()
    for key, value in _texts(one).items():
        if value.isascii():
            text.add_text(key, value)
        else:
            text.add_itxt(key, value.encode("utf-8", "replace"))
    array = np.asarray(pixels.convert("RGB") if isinstance(pixels, Image.Image) else pixels)
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", pnginfo=text)  # without an image's own metadata
    return file.getvalue()


def read_recipe(png: bytes) -> Reading:
    """Read the recipe in a PNG, Marble's own text first, or raise `UserError` in one sentence."""
    texts = read_texts(png)
    if "marble" in texts:
        return Reading(Recipe.from_dict(_object(texts["marble"])), "Marble")
    failures: list[UserError] = []
    for key, read in FOREIGN.items():
        if key in texts:
            try:
                return read(texts[key])
            except UserError as error:
                # Beside a ComfyUI graph too wide for Marble there may be a plain A1111 line.
                failures.append(error)
    if failures:
        raise failures[0]
    raise MetadataError("The picture holds no recipe: no text by Marble, ComfyUI or A1111.")


def read_texts(png: bytes) -> dict[str, str]:
    """Return the texts of `KEYS` in a PNG; `MetadataError` if it is damaged or bloated.

    Pixels are not decoded, and no text grows beyond `TEXT_LIMIT`.
    """
    # As with other readers, the last text of a name counts.
    chunks = {body.partition(b"\0")[0]: (kind, body) for kind, body in _text_chunks(png)}
    found = {key: chunks[key.encode()] for key in KEYS if key.encode() in chunks}
    return {key: _decode(key, *chunk) for key, chunk in found.items()}


def to_a1111(recipe: Recipe) -> str:
    """Write a recipe as A1111's three-part text: prompt, negative prompt, settings.

    A1111 numbers the pictures of a batch by seeds and knows no slices of one draw, so that it
    remakes the first picture of a recipe only; `Marble count` and `Marble picture` carry the rest.
    """
    settings = {
        "Steps": str(recipe.steps),
        "Sampler": SAMPLER_NAMES.get(recipe.sampler, recipe.sampler),
        "Schedule type": SCHEDULE_NAMES.get(recipe.schedule, recipe.schedule),
        "CFG scale": repr(recipe.guidance_scale).removesuffix(".0"),
        "Seed": str(recipe.seed),
        "Size": f"{recipe.width}x{recipe.height}",
        "Model": recipe.checkpoint,
        "RNG": NEEDED["RNG"],
    }
    if recipe.count > 1:
        settings["Marble count"] = str(recipe.count)
    if recipe.picture is not None:
        settings["Marble picture"] = str(recipe.picture)
    negative = f"{NEGATIVE} {recipe.negative_prompt}\n" if recipe.negative_prompt else ""
    line = ", ".join(f"{name}: {_quote(value)}" for name, value in settings.items())
    return f"{recipe.prompt}\n{negative}{line}"


def from_a1111(text: str) -> Reading:
    """Read A1111's text as A1111 does, or raise `UserError`.

    The text has no escapes: A1111 trims every line of a prompt, and takes a line that begins with
    "Negative prompt:" for what it says.
    """
    *lines, line = text.strip().split("\n")
    found = {name: _unquote(value) for name, value in SETTING.findall(line)}
    settings = {**ASSUMED, **found}
    if missing := [name for name in NECESSARY if name not in found]:
        raise MetadataError(f"The A1111 text does not say: {', '.join(missing)}.")
    prompt, negative_prompt = _prompts(lines)
    sampler, schedule = _sampling(settings["Sampler"], settings.get("Schedule type", ""))
    width, _, height = settings["Size"].partition("x")
    recipe = Recipe(
        prompt=prompt,
        negative_prompt=negative_prompt,
        seed=parse_seed(settings["Seed"]),
        steps=_number(int, settings["Steps"]),
        guidance_scale=_number(float, settings["CFG scale"]),
        width=_number(int, width),
        height=_number(int, height),
        count=_number(int, settings.get("Marble count", "1")),
        picture=_number(int, settings.get("Marble picture")),
        sampler=sampler,
        schedule=schedule,
        checkpoint=settings["Model"],
    )
    others = settings.keys() - {*NECESSARY, *OPTIONAL}
    ignored = sorted(name for name in others if NEEDED.get(name) != settings[name])
    return Reading(recipe, "A1111", tuple(f"{name}: {settings[name][:60]}" for name in ignored))


def _texts(recipe: Recipe) -> dict[str, str]:
    return {
        "marble": json.dumps(recipe.to_dict()),
        "prompt": json.dumps(comfy.to_graph(recipe)),
        "workflow": json.dumps(comfy.to_workflow(recipe)),
        "parameters": to_a1111(recipe),
    }


def _object(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MetadataError("The text in the picture is not valid JSON.") from error
    if not isinstance(data, dict):
        raise MetadataError("The text in the picture is not a JSON object.")
    return data


def _text_chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and body of each text chunk, checked against its checksum."""
    if not png.startswith(SIGNATURE):
        raise MetadataError("The file is not a PNG picture.")
    at, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        if at + 12 > len(png):
            raise MetadataError("The PNG file is cut short.")
        length, kind = struct.unpack_from(">I4s", png, at)
        end = at + 8 + length
        if kind in DECODERS:
            body = png[at + 8 : end]
            if png[end : end + 4] != struct.pack(">I", zlib.crc32(kind + body)):
                raise MetadataError("The text in the PNG file is damaged.")
            yield kind, body
        at = end + 4


def _decode(key: str, kind: bytes, body: bytes) -> str:
    try:
        text = DECODERS[kind](body[len(key) + 1 :])
    except (ValueError, IndexError, zlib.error) as error:
        raise MetadataError(f"The text {key!r} in the PNG file is damaged.") from error
    if len(text) > TEXT_LIMIT:
        raise MetadataError(f"The text {key!r} in the PNG file is over {TEXT_LIMIT:,} bytes long.")
    return text


def _inflate(data: bytes) -> bytes:
    # One byte more than allowed is enough to know that there are too many.
    return zlib.decompressobj().decompress(data, TEXT_LIMIT + 1)


def _international(rest: bytes) -> str:
    packed, text = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[2]
    return (_inflate(text) if packed else text).decode("utf-8")


def _prompts(lines: Iterable[str]) -> tuple[str, str]:
    prompt: list[str] = []
    negative: list[str] = []
    part = prompt
    for line in map(str.strip, lines):
        if line.startswith(NEGATIVE):
            part, line = negative, line.removeprefix(NEGATIVE).strip()
        if part or line:  # leading empty lines go
            part.append(line)
    return "\n".join(prompt), "\n".join(negative)


def _sampling(sampler: str, schedule: str) -> tuple[str, str]:
    """Translate names; before version 1.9 the schedule was the last word of the sampler's name."""
    for name in SCHEDULES_READ:
        if sampler.endswith(f" {name}"):
            sampler, schedule = sampler.removesuffix(f" {name}"), name
    ours = SAMPLERS_READ.get(sampler, sampler)
    if schedule in ("", "Automatic"):
        return ours, AUTOMATIC.get(ours, "normal")
    return ours, SCHEDULES_READ.get(schedule, schedule)


def _number(kind: Callable[[str], float], text: str | None) -> Any:
    """Convert a number; what is none goes on as it is, for `Recipe` to name it."""
    try:
        return None if text is None else kind(text)
    except ValueError:
        return text


def _quote(value: str) -> str:
    plain = value == value.strip() and not any(mark in value for mark in ',:\n"')
    return value if plain else json.dumps(value, ensure_ascii=False)


def _unquote(value: str) -> str:
    try:
        return str(json.loads(value)) if value[:1] == value[-1:] == '"' else value
    except ValueError:
        return value


FOREIGN: Final[Mapping[str, Callable[[str], Reading]]] = {
    "prompt": lambda text: Reading(comfy.from_graph(_object(text)), "ComfyUI"),
    "parameters": from_a1111,
}
# What follows the keyword and its NUL, for each kind of text chunk.
DECODERS: Final[Mapping[bytes, Callable[[bytes], str]]] = {
    b"tEXt": lambda rest: rest.decode("latin-1"),
    b"zTXt": lambda rest: _inflate(rest[1:]).decode("latin-1"),
    b"iTXt": _international,
}
