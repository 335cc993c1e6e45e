"""Read the text of A1111 and its heirs as they do: values, and what of them is not honoured."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

from engine.errors import GraphError, MetadataError, OptionError, UserError
from engine.formats.a1111.names import (
    AUTOMATIC,
    NEXT_UPSCALERS,
    OWN,
    UPSCALER_NAMES,
    UPSCALERS_READ,
    Sampling,
    sampling,
)
from engine.formats.a1111.second_model import read_second
from engine.formats.a1111.settings import NEGATIVE, RESOURCES, Settings, number
from engine.formats.a1111.syntax import is_alike, name_embeddings, name_syntax, take_networks
from engine.formats.graphs.flow_families import USUAL_VAES, is_usual
from engine.formats.graphs.upscaling import factor_to
from engine.formats.reading import Reading
from engine.recipe.limits import A1111 as A1111_SYNTAX
from engine.recipe.limits import A1111_OLD, ANCESTRAL, BROWNIAN, CPU, GPU, INDEPENDENT, is_int
from engine.recipe.parts import LATENT, Control, Lora, Upscale, Variation
from engine.recipe.recipe import noise_of_version_2
from engine.sentences import Sentence

PROMPT: Final = "prompt"  # what stands before the settings
# What fields are called in the settings, those of which several may say one apart.
CALLED: Final = {
    "prompt": "prompt", "negative_prompt": "Negative prompt", "seed": "Seed", "steps": "Steps",
    "guidance_scale": "CFG scale", "width": "Size", "height": "Size", "sampler": "Sampler",
    "checkpoint": "Model", "clip_skip": "Clip skip", "vae": "VAE",
    "shift": "Shift", "strength": "Denoising strength", "loras": "prompt",
    "variations": "Variation seed", "controls": "ControlNet 0",
    "count": "Marble count", "picture": "Marble picture", "image": "Marble image",
    "mask": "Marble mask", "guidance_rescale": "Marble rescale",
    "noise": "RNG", "ensd": "ENSD", "syntax": "prompt", "refiner": "Refiner",
}  # fmt: skip
CALLED_SO: Final = {
    "schedule": ("Schedule type", "Schedule", "Sampler"),
    "guidance_scale": ("Distilled CFG Scale", "CFG scale"),
    "vae": ("VAE", "Module 1"),
    "noise": ("Marble noise", "RNG"),
    "refiner_at": ("Refiner switch at", "Refiner start"),
    "refiner_by": ("Marble refiner", "Refiner switch by sampling steps", "Version"),
    "upscale": (
        "Hires upscale", "Hires resize", "First pass size", "Postprocess upscale by",
        "Postprocess upscale to",
    ),
}  # fmt: skip
# By some of these a line of settings is known.
USUAL: Final = ("Steps", "Sampler", "CFG scale", "Seed", "Size", "Model", "Model hash")
FEWEST: Final = 3  # of them
NUMBERS: Final = ("Steps", "CFG scale", "Seed", "Size", "Distilled CFG Scale", "Guidance")
FEWEST_NUMBERS: Final = 3  # of them, in a comment
BEGIN: Final = re.compile(r"Steps:\s*\d")
# What does not change a picture, or is in the prompt as well.
SAID: Final = (
    "Model hash", "VAE hash", "Lora hashes", "Hashes", "Version", "User", "Init image hash",
    "Diffusion in Low Bits", "App", "Civitai metadata",
)  # fmt: skip
A1111, SD_NEXT, SD_CPP, KRITA = "A1111", "SD.Next", "stable-diffusion.cpp", "Krita AI"
FOOOCUS: Final = "Fooocus"  # whose solvers of SDEs always draw on a GPU
FORGES: Final = ("Forge Neo", "reForge", "Forge")
ALIKE: Final = (A1111, *FORGES)  # whose versions and noise are A1111's
# Who wrote a line, by its version.
WRITERS: Final = (
    (r"stable-diffusion\.cpp", SD_CPP), (r"Fooocus", FOOOCUS), (r"ComfyUI", "ComfyUI"),
    (r"neo", FORGES[0]), (r"f\d[.\d]*v\d+-v", FORGES[1]), (r"f\d|forge", FORGES[2]),
)  # fmt: skip
# A1111's version from which a schedule is said apart, and a second model takes over by noise.
PLAIN_UNTIL: Final = (1, 9)
PLAIN_TIMES: Final = (1, 6)  # and from which prompts count the steps of a second pass anew
OLD_TIMES: Final = "Old prompt editing timelines"  # whether they count as before
SIDES: Final = ("width", "height")
STRENGTH: Final = "Denoising strength"
VARIED: Final = "Variation seed strength"
ON_COMFYUI: Final = ("ComfyUI", FOOOCUS, "Civitai", KRITA)  # which draw by its code
GPUS: Final = ("GPU", "NV", "cuda")  # generators whose numbers are CUDA's
MODULES: Final = 8  # of Forge, at most
MOST_STEPS: Final = 10**6
LONGEST: Final = 100_000  # characters of a text; the longest of A1111's own have some thousands
# What a mask brings along; other values than these are named.
MASK: Final = {"Mask blur": None, "Masked content": "original", "Inpaint area": "Whole picture"}
FIRST_PASS: Final = 512 * 512  # pixels, where "First pass size" is 0x0
NO_SIZE: Final = "0x0"
FIRST_STEP: Final = 64  # in which its sides were rounded up
MOST_RESOURCES: Final = 32  # that are looked at
LORAS: Final = ("lora", "lycoris", "locon", "dora")

T = TypeVar("T")


def is_a1111(text: str, *, comment: bool = False) -> bool:
    """Return whether a text has a line of settings.

    comment: it stands where people write, too, of steps that they walked or of a camera's model.
    """
    if len(text) > LONGEST:
        return "\nSteps: " in text
    lines = text.strip().split("\n")
    at = _settings_line(lines)
    return at is not None and not (comment and _is_prose(Settings(lines[at])))


def _is_prose(settings: Mapping[str, str]) -> bool:
    """Return whether a line has too few of the numbers that every program writes."""
    said = [settings.get(name, "") for name in NUMBERS]
    return sum(number.strip()[:1].isdecimal() for number in said) < FEWEST_NUMBERS


def from_a1111(text: str) -> Reading:
    """Read a text; `MetadataError` where it has no line of settings."""
    if len(text) > LONGEST:
        raise MetadataError(Sentence("a1111_long", most=LONGEST))
    lines = text.strip().split("\n")
    at = _settings_line(lines)
    if at is None:
        raise MetadataError(Sentence("a1111_none"))
    settings = Settings(lines[at])
    _note_templates(settings, lines[at + 1 :])
    return _read(settings, _prompts(lines[:at]))


def _settings_line(lines: list[str]) -> int | None:
    """Return the number of the line of settings: the last one that looks like it."""
    for at in reversed(range(len(lines))):
        if BEGIN.match(lines[at]):
            return at
    at = len(lines) - 1
    return at if len(Settings(lines[at]).keys() & set(USUAL)) >= FEWEST else None


def _note_templates(settings: Settings, lines: Iterable[str]) -> None:
    """Note what stands behind the settings: what sd-dynamic-prompts made the prompts from."""
    if text := "\n".join(lines).strip():
        name, _, template = text.partition(":")
        settings.note(name[:FIRST_STEP], template.strip(), Sentence("a1111_template"))


def _read(settings: Settings, texts: tuple[str, str]) -> Reading:
    version, writer = settings.get("Version", ""), _writer(settings)
    where = _where({PROMPT, "Negative prompt", *settings})
    resources = settings.json(RESOURCES)
    for name in SAID:
        settings.pop(name, None)
    prompt, loras = take_networks(texts[0], settings)
    prompt, negative_prompt = texts = name_embeddings((prompt, texts[1]), settings)
    syntax = _syntax(texts, settings, version, writer)
    values: dict[str, Any] = {"prompt": prompt, "negative_prompt": negative_prompt}
    values["syntax"] = syntax
    values |= _size(settings.pop("Size", ""))
    values |= _plain(settings, version, writer)
    values |= _start_image(settings)
    values |= _upscale(settings, values)
    if _multiply(steps := values["steps"], strength := values.get("strength")):
        # 1e-6: what A1111's division left above a whole number.
        values["steps"] = max(1, math.ceil(steps * strength - 1e-6))
    by_noise = _since(PLAIN_UNTIL, version, writer)
    values |= read_second(settings, values, by_noise=by_noise)
    controls, variations = _controls(settings), _variations(settings)
    values |= {"controls": controls, "variations": variations, "loras": loras}
    if isinstance(resources, list):
        _add_resources(settings, values, where, resources)
    values |= _noise(settings, values, version, writer)
    if values.pop("told"):
        values["negative_prompt"] = ""
    return Reading.of(writer, values, where, settings.left())


def _syntax(texts: tuple[str, str], settings: Settings, version: str, writer: str) -> str | None:
    """Read whose grammar prompts have: Marble's own, where it reads them as A1111's does.

    Others' programs that write such lines have grammars of their own.
    """
    old = settings.pop(OLD_TIMES, None) == "True" or _before(PLAIN_TIMES, version, writer)
    if (own := settings.pop("Marble syntax", None)) is not None:
        return own
    if writer not in ALIKE:
        name_syntax(texts, settings)
        return None
    if is_alike(*texts):
        return None
    return A1111_OLD if old else A1111_SYNTAX


def _before(number: tuple[int, int], version: str, writer: str) -> bool:
    """Return whether a line is of A1111 before a version, or of a fork of it."""
    found = re.search(r"v(\d+)\.(\d+)", version) if writer in ALIKE else None
    return found is not None and (int(found[1][:9]), int(found[2][:9])) < number


def _since(number: tuple[int, int], version: str, writer: str) -> bool:
    """Return whether a line is of A1111 from a version on, or of a fork of it."""
    known = writer in ALIKE and re.search(r"v\d+\.\d", version) is not None
    return known and not _before(number, version, writer)


def _where(given: Collection[str]) -> dict[str, str]:
    """Return what fields are called in a text with these settings."""
    ways = {**{field: (name,) for field, name in CALLED.items()}, **CALLED_SO}
    found = {field: next(filter(given.__contains__, names), "") for field, names in ways.items()}
    return {field: name for field, name in found.items() if name}


def _writer(settings: Mapping[str, str]) -> str:
    version = settings.get("Version", "")
    for pattern, writer in WRITERS:
        if re.match(pattern, version):
            return writer
    if settings.get("App") == SD_NEXT or "Backend" in settings:
        return SD_NEXT
    if settings.get("Model hash") == "unknown":
        return KRITA
    return "Civitai" if RESOURCES in settings and not version else A1111


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


def _size(text: str) -> dict[str, Any]:
    width, times, height = text.partition("x")
    if not times:
        return {"width": text or None}
    return {"width": number(int, width), "height": number(int, height)}


def _guidance(settings: Settings, writer: str) -> dict[str, Any]:
    """Read guidance: Forge and sd.cpp tell FLUX its own, beside which is no negative prompt."""
    cfg = settings.pop("CFG scale", None)
    told = settings.number(float, "Distilled CFG Scale")
    if writer == SD_CPP:
        guidance = settings.number(float, "Guidance")  # always written
        told = guidance if number(float, cfg) == 1 else None
    if told is None:
        return {"guidance_scale": number(float, cfg), "told": False}
    if cfg is not None and number(float, cfg) != 1:
        settings.note("CFG scale", cfg, Sentence("a1111_told"))
    return {"guidance_scale": told, "told": True}


def _vae(settings: Settings) -> str | None:
    """Read the VAE, which is one of Forge's modules: the others are text encoders."""
    names = [name for at in range(1, MODULES + 1) if (name := f"Module {at}") in settings]
    others = [name for name in names if not is_usual(settings[name])]
    for name in set(names) - set(others):
        settings.pop(name)
    if "VAE" in settings or len(others) != 1:
        return settings.pop("VAE", None)
    vae = settings.pop(others[0])
    return None if vae in USUAL_VAES else vae


def _plain(settings: Settings, version: str, writer: str) -> dict[str, Any]:
    found = _sampling(settings, version, writer)
    model = settings.pop("Model", "") or settings.pop("Unet", "")
    seed = settings.pop("Seed", None)
    return {
        "seed": _seed(seed),
        "steps": settings.number(int, "Steps"),
        **_guidance(settings, writer),
        "shift": settings.number(float, "Shift"),
        "count": settings.number(int, "Marble count", "1"),
        "picture": settings.number(int, "Marble picture"),
        "sampler": found.sampler or None,
        "schedule": found.schedule,
        "noise": found.noise,
        "checkpoint": model or None,
        "clip_skip": settings.number(int, "Clip skip"),
        "guidance_rescale": settings.number(float, "Marble rescale", "0"),
        "vae": _vae(settings),
    }


def _seed(text: str | None) -> Any:
    """Return a seed as a number; what is none stays, to be named."""
    digits = (text or "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 20 else text


def _sampling(settings: Settings, version: str, writer: str) -> Sampling:
    """Read sampler and schedule: where no schedule is said, the version tells what is meant."""
    said = settings.pop("Sampler", None)
    apart = settings.pop("Schedule type", None) or settings.pop("Schedule", None)
    automatic = said is not None and apart == "Automatic"
    found = sampling(said or "", None if automatic else apart)
    if said is None or found.schedule is not None:
        return found
    sampler = found.sampler
    if automatic or _since(PLAIN_UNTIL, version, writer):
        return found._replace(schedule=AUTOMATIC.get(sampler, "normal"))
    if writer in (SD_NEXT, KRITA):  # whose default depends on the model
        return found
    return found._replace(schedule=OWN.get(sampler, "normal"))


def _noise(
    settings: Settings, values: Mapping[str, Any], version: str, writer: str
) -> dict[str, Any]:
    """Read whose numbers the noise is; A1111 names its generator where that is not a GPU's.

    Marble's own lines tell no version, and before they said `Marble noise` they were of recipes of
    version 2.
    """
    sampler = values["sampler"]
    rng, ensd = settings.pop("RNG", None), settings.number(int, "ENSD")
    if (own := settings.pop("Marble noise", None)) is not None:
        if own == INDEPENDENT and ensd is not None:
            allowed = Sentence("without_delta", noise=INDEPENDENT)
            settings.note("ENSD", ensd, Sentence("reading_range", allowed=allowed))
            ensd = None
        return {"noise": own, "ensd": ensd}
    if writer in ON_COMFYUI:
        own = GPU if writer == FOOOCUS and sampler in BROWNIAN else values["noise"]
        return {"noise": CPU if rng == "CPU" else own}
    alike = writer in ALIKE
    if rng in GPUS or (alike and rng is None):
        return {"noise": GPU, "ensd": 0 if ensd is None else ensd}
    if rng not in ("CPU", None):
        settings.note("RNG", rng, Sentence("a1111_noise"))
    if not alike:
        return {"noise": CPU, "ensd": ensd}
    if (version or ensd is not None) and sampler in (*ANCESTRAL, *BROWNIAN):
        return {"noise": CPU, "ensd": 0 if ensd is None else ensd}
    return {"noise": noise_of_version_2(sampler), "ensd": ensd}


def _start_image(settings: Settings) -> dict[str, Any]:
    """Read the values for a start image; A1111's lines do not name it, Marble's do."""
    fit = {"fit": settings.pop("Marble fit", "crop")}
    if "Marble image" not in settings:
        return fit
    mask = settings.pop("Marble mask", None)
    for name, usual in MASK.items() if mask else ():
        if (value := settings.pop(name, usual)) != usual and usual is not None:
            settings.note(name, value, Sentence("a1111_under_mask"))
    found = {**fit, "image": settings.pop("Marble image", None), "mask": mask}
    if "Hires upscaler" not in settings:
        found["strength"] = settings.number(float, STRENGTH)
    return found


def _multiply(steps: Any, strength: Any) -> bool:
    """Return whether these are numbers that can be multiplied; else a reading names them."""
    counted = isinstance(steps, int) and 0 < steps < MOST_STEPS
    return counted and isinstance(strength, float) and 0 < strength <= 1


def _upscale(settings: Settings, values: dict[str, Any]) -> dict[str, Any]:
    """Read A1111's "Hires. fix", or an upscaler that worked on the finished picture."""
    if "First pass size" in settings:
        return _first_pass(settings, values)
    for prefix, factor, size in (
        ("Hires", "Hires upscale", "Hires resize"),
        ("Postprocess", "Postprocess upscale by", "Postprocess upscale to"),
    ):
        if factor not in settings and size not in settings:
            continue
        by = _upscaler(settings, f"{prefix} upscaler")
        strength = settings.number(float, STRENGTH) if prefix == "Hires" else None
        name = factor if factor in settings else size
        text = settings[name]
        if name == factor and settings.get(size) == NO_SIZE:
            settings.pop(size)
        times = settings.number(float, factor)
        if times is None:
            times = _factor(settings, size, values)
        if times is None:
            return {}
        others = {"strength": (STRENGTH, strength), "upscaler": (f"{prefix} upscaler", by)}
        parts = {"factor": times, "by": by, "strength": strength}
        found = _made(settings, name, text, Upscale, others, **parts)
        if found and strength is not None:
            _note_steps(settings, values["steps"], strength)
        return {"upscale": found}
    if (value := settings.pop(STRENGTH, None)) is not None:
        settings.note(STRENGTH, value, Sentence("a1111_no_image"))
    return {}


def _first_pass(settings: Settings, values: dict[str, Any]) -> dict[str, Any]:
    """Read "Hires. fix" as it was until 2022: the size is the second pass's, the first is apart."""
    name = "First pass size"
    text = settings.pop(name)
    large: list[Any] = [values.get(side) for side in SIDES]
    small = _size(text)
    if not all(is_int(side) and 0 < side < MOST_STEPS for side in large):
        settings.note(name, text, Sentence("a1111_no_size", size=text[:20]))
        return {}
    width, height = large
    if small == {"width": 0, "height": 0}:
        share = math.sqrt(FIRST_PASS / (width * height))
        sides = (math.ceil(share * side / FIRST_STEP) * FIRST_STEP for side in large)
        small = dict(zip(SIDES, sides, strict=True))
    size = f"{width}x{height}"
    settings["Size"] = size
    times = _factor(settings, "Size", small)
    strength = settings.number(float, STRENGTH)
    if times is None or strength is None:
        return {}
    others, parts = {"strength": (STRENGTH, strength)}, {"factor": times, "strength": strength}
    upscale = _made(settings, name, text, Upscale, others, by=LATENT, **parts)
    settings.note(name, text, Sentence("a1111_taken", taken=UPSCALER_NAMES[LATENT]))
    _note_steps(settings, values["steps"], strength)
    return {**small, "upscale": upscale} if upscale else {}


def _upscaler(settings: Settings, name: str) -> str:
    theirs = settings.pop(name, UPSCALER_NAMES["lanczos"])
    if ours := NEXT_UPSCALERS.get(theirs):
        settings.note(name, theirs, Sentence("a1111_taken", taken=UPSCALER_NAMES[ours]))
        return ours
    return UPSCALERS_READ.get(theirs, theirs)


def _factor(settings: Settings, name: str, values: Mapping[str, Any]) -> float | None:
    """Return the factor that leads to a size; a side of 0 keeps the shape. None where none does."""
    text = settings.pop(name, "")
    to = _size(text)
    sides: list[Any] = [values.get(side) for side in SIDES]
    target: list[Any] = [to.get(side) for side in SIDES]
    known = all(is_int(side) and 0 < side < MOST_STEPS for side in sides)
    if known and all(is_int(side) and 0 <= side < MOST_STEPS for side in target) and any(target):
        scale = max(goal / side for goal, side in zip(target, sides, strict=True))
        goals = [goal or side * scale for goal, side in zip(target, sides, strict=True)]
        try:
            return factor_to(sides[0], sides[1], (goals[0], goals[1]))
        except OptionError as error:
            settings.note(name, text, Sentence("reading_range", allowed=error.allowed))
        except GraphError:
            settings.note(name, text, Sentence("a1111_another_shape"))
    else:
        settings.note(name, text, Sentence("a1111_no_size", size=text[:20]))
    return None


def _made(
    settings: Settings,
    name: str,
    value: str,
    make: Callable[..., T],
    others: Mapping[str, tuple[str, Any]] = MappingProxyType({}),
    /,
    **parts: Any,
) -> T | None:
    """Make a part of a recipe, or note why there is none.

    others: by options of the part, settings beside the named one that give them, and their values.
    """
    try:
        return make(**parts)
    except OptionError as error:
        name, value = others.get(error.option, (name, value))
        settings.note(name, value, Sentence("reading_range", allowed=error.allowed))
    except UserError as error:
        settings.note(name, value, Sentence("reading_why", why=error.said))
    return None


def _note_steps(settings: Settings, steps: Any, strength: Any) -> None:
    theirs = settings.number(int, "Hires steps") or steps  # 0: as many as before
    if _multiply(steps, strength):
        ours = max(1, round(steps * strength))
        if theirs != ours:
            settings.note("Hires steps", theirs, Sentence("a1111_drawn_in", steps=ours))


def _variations(settings: Settings) -> tuple[Variation, ...]:
    if VARIED not in settings:
        return ()
    amount = settings.number(float, VARIED)
    seed = settings.pop("Variation seed", "")
    others, parts = {"variation": (VARIED, amount)}, {"seed": _seed(seed), "amount": amount}
    made = _made(settings, "Variation seed", seed, Variation, others, **parts)
    if made:
        settings.note("Variation seed", seed, Sentence("a1111_turned"))
    return (made,) if made else ()


def _controls(settings: Settings) -> tuple[Control, ...]:
    """Read ControlNet's units; A1111's lines do not name their images, Marble's do."""
    found: list[Control] = []
    for index in range(16):
        unit, image = f"ControlNet {index}", settings.pop(f"Marble control {index}", None)
        if image and unit in settings:
            text = settings.pop(unit)
            made = _made(settings, unit, text, _control, unit=Settings(text), image=image)
            found += [made] if made else []
        elif unit in settings:
            settings.note(unit, settings.pop(unit), Sentence("a1111_no_map"))
    return tuple(found)


def _control(unit: Settings, image: str) -> Control:
    return Control(
        model=unit.pop("Model", ""),
        image=image,
        strength=unit.number(float, "Weight", "1"),
        start=unit.number(float, "Guidance Start", "0"),
        end=unit.number(float, "Guidance End", "1"),
        preprocessor=unit.pop("Module", "none"),
    )


def _add_resources(
    settings: Settings, values: dict[str, Any], where: dict[str, str], resources: list[Any]
) -> None:
    """Take the model and LoRAs from Civitai's list, where the line and the prompt lack them."""
    loras = {lora.name: lora for lora in values["loras"]}
    for each in resources[:MOST_RESOURCES]:
        each = each if isinstance(each, dict) else {"type": each}
        kind, name = str(each.get("type")), str(each.get("modelName") or "")
        if kind == "checkpoint" and name:
            if values["checkpoint"] is None:
                values["checkpoint"], where["checkpoint"] = name, RESOURCES
        elif kind in LORAS and name:
            weight = each.get("weight", 1)
            made = _made(settings, RESOURCES, name, Lora, name=name, weight=weight)
            loras |= {name: made} if made and name not in loras else {}
        else:
            said = f"{kind} {name or each.get('modelVersionId')}"
            settings.note(RESOURCES, said, Sentence("a1111_resource"))
    if len(loras) > len(values["loras"]):
        values["loras"], where["loras"] = tuple(loras.values()), RESOURCES
