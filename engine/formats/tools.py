"""The JSON of other programs: whose it is, and where each value stands in it. Tables, no code.

Keys are compared without case, blanks being underscores: versions of one program differ in these.
"""

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from engine.errors import OptionError, shorten, some
from engine.formats.a1111.names import sampling
from engine.formats.a1111.settings import Settings
from engine.formats.a1111.syntax import take_networks
from engine.formats.reading import Reading
from engine.recipe.limits import RANGES
from engine.recipe.parts import Lora
from engine.sentences import Sentence

WHOLE: Final = ("seed", *(name for name, allowed in RANGES.items() if allowed.step is not None))
MOST: Final = 24  # of the other values, and of LoRAs
TEXT: Final = 10_000  # characters of a prompt that are looked at; a recipe takes 2,000
LONGEST: Final = 60  # characters of a value in a message
SIZE: Final = re.compile(r"(\d{1,9})\D{1,4}(\d{1,9})")
# Values that say nothing: of a list of other values they are left out.
PROMPTS: Final = ("prompt", "negative_prompt")  # which may be empty; other texts are not there then
UNSET: Final = ("None", "Default (model)")
NOTHING: Final[tuple[object, ...]] = (None, "", False, 0, [], {}, *UNSET)
WHOLE_STRENGTH: Final = ("strength", 1)
# The command that InvokeAI's first versions wrote: a prompt in quotes, and options of one letter.
DREAM: Final = re.compile(r'"((?:[^"\\]|\\.)*)"((?:\s+-[A-Za-z]\s*\S+)+)')
DREAM_OPTIONS: Final = {
    "s": "steps", "S": "seed", "W": "width", "H": "height", "C": "guidance_scale", "A": "sampler",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """Describe a program's JSON.

    marks: keys by which it is known, all of them, by the way to each; fields: the ways to a
    recipe's values, the first that is there counts; loras: the ways to a list of LoRAs, the first
    that is not empty counts, to the name and to the weight in each; beside: what its other texts
    say, by their keys; said: keys whose values change no picture; syntax: what means more than
    words in its prompts; schedule: what a sampler's name means that says none; on_comfyui: whether
    it draws by ComfyUI's code, and so with its noise.
    """

    name: str
    marks: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]]
    loras: tuple[tuple[str, str, str], ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    syntax: re.Pattern[str] | None = None
    schedule: str | None = None
    on_comfyui: bool = False


NAMES: Final = {"prompt": ("prompt",), "seed": ("seed",), "steps": ("steps",)}
SIDES: Final = {"width": ("width",), "height": ("height",)}
UI: Final = "sui_image_params"
COMMENT: Final = re.compile(r"<rdf:li[^<>]{0,99}>([^<]*)</rdf:li>")
# Weights as words++ and (words)--, and what is not wanted in brackets.
INVOKE_SYNTAX: Final = re.compile(r"[\w)]\+{1,9}(?=[\s,)]|$)|\)-{1,9}|\[[^\[\]]*\]|\)\.\w{3,5}\(")
INVOKE_SCHEDULE: Final = "normal"  # a sampler whose name does not end in _k

TOOLS: Final = (
    Tool(
        name="SwarmUI",
        marks=(UI,),
        fields={
            "prompt": (f"{UI}.prompt",),
            "negative_prompt": (f"{UI}.negativeprompt",),
            "seed": (f"{UI}.seed",),
            "steps": (f"{UI}.steps",),
            "guidance_scale": (f"{UI}.cfgscale",),
            "width": (f"{UI}.width",),
            "height": (f"{UI}.height",),
            "sampler": (f"{UI}.sampler", f"{UI}.comfyuisampler"),
            "schedule": (f"{UI}.scheduler", f"{UI}.comfyuischeduler"),
            "checkpoint": (f"{UI}.model",),
            "vae": (f"{UI}.vae",),
            "shift": (f"{UI}.sigmashift",),
        },
        loras=((f"{UI}.loras", "", f"{UI}.loraweights"),),
        said=("swarm_version", "date", "generation_time", "sui_models", "sui_extra_data", "images",
              "aspectratio", "original_prompt", "personalnote", "wildcardseed", "imageformat"),
        on_comfyui=True,
    ),
    Tool(
        name="InvokeAI",
        marks=("positive_prompt", "app_version"),
        fields={
            **NAMES,
            **SIDES,
            "prompt": ("positive_prompt",),
            "negative_prompt": ("negative_prompt",),
            "guidance_scale": ("cfg_scale",),
            "sampler": ("scheduler",),
            "checkpoint": ("model.model_name", "model.name"),
            "vae": ("vae.model_name", "vae.name"),
            "guidance_rescale": ("cfg_rescale_multiplier",),
        },
        loras=(("loras", "model.name|model.model_name|lora.model_name|lora.name", "weight"),),
        syntax=INVOKE_SYNTAX,
        schedule=INVOKE_SCHEDULE,
        said=("app_version", "generation_mode", "rand_device", "positive_style_prompt",
              "negative_style_prompt", "model", "vae"),
    ),
    Tool(
        name="InvokeAI",
        marks=("app_id", "image.prompt"),
        fields={
            "prompt": ("image.prompt.0.prompt", "image.prompt"),
            "seed": ("image.seed",),
            "steps": ("image.steps",),
            "guidance_scale": ("image.cfg_scale",),
            "width": ("image.width",),
            "height": ("image.height",),
            "sampler": ("image.sampler",),
            "checkpoint": ("model_weights",),
        },
        syntax=INVOKE_SYNTAX,
        schedule=INVOKE_SCHEDULE,
        said=("app_id", "app_version", "model", "model_hash", "prompt", "type", "image"),
    ),
    Tool(
        name="RuinedFooocus",
        marks=("base_model_name", "cfg"),
        fields={
            **NAMES,
            **SIDES,
            "negative_prompt": ("negative",),
            "guidance_scale": ("cfg",),
            "sampler": ("sampler_name",),
            "schedule": ("scheduler",),
            "checkpoint": ("base_model_name",),
            "clip_skip": ("clip_skip",),
        },
        loras=(("loras", "name|0", "weight|1"),),
        said=("software", "base_model_hash", "version"),
        on_comfyui=True,
    ),
    Tool(
        name="Fooocus",
        marks=("base_model", "prompt"),
        fields={
            **NAMES,
            "negative_prompt": ("negative_prompt",),
            "guidance_scale": ("guidance_scale",),
            "width": ("resolution",),
            "sampler": ("sampler",),
            "schedule": ("scheduler",),
            "checkpoint": ("base_model",),
            "clip_skip": ("clip_skip",),
            "vae": ("vae",),
        },
        loras=(("loras", "0|name", "1|weight"),),
        said=("version", "metadata_scheme", "base_model_hash", "created_by", "full_prompt",
              "full_negative_prompt"),
        on_comfyui=True,
    ),
    Tool(
        name="Draw Things",
        marks=("c", "model", "steps"),
        fields={
            **NAMES,
            "prompt": ("c",),
            "negative_prompt": ("uc",),
            "guidance_scale": ("scale",),
            "width": ("size",),
            "sampler": ("sampler",),
            "checkpoint": ("model",),
            "shift": ("shift",),
        },
        loras=(("lora", "model", "weight"), ("v2.loras", "file", "weight")),
        said=("v2", "seed_mode", "size", "profile"),
    ),
    Tool(
        name="NovelAI",
        marks=("uc", "scale", "sampler"),
        fields={
            **NAMES,
            **SIDES,
            "prompt": ("prompt", "v4_prompt.caption.base_caption"),
            "negative_prompt": ("uc", "v4_negative_prompt.caption.base_caption"),
            "guidance_scale": ("scale",),
            "sampler": ("sampler",),
            "schedule": ("noise_schedule",),
            "guidance_rescale": ("cfg_rescale",),
        },
        beside={"prompt": "Description", "checkpoint": "Source"},
        syntax=re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]|-?[\d.]{1,9}::"),
        said=("version", "signed_hash", "n_samples", "request_type", "params_version", "v4_prompt",
              "v4_negative_prompt", "legacy_v3_extend"),
    ),
    Tool(
        name="TensorArt",
        marks=("samplername", "cfgscale", "basemodel"),
        fields={
            **NAMES,
            **SIDES,
            "negative_prompt": ("negativeprompt",),
            "guidance_scale": ("cfgscale",),
            "sampler": ("samplername",),
            "schedule": ("schedulername",),
            "checkpoint": ("basemodel.modelfilename", "basemodel.label"),
            "clip_skip": ("clipskip",),
            "vae": ("sdvae",),
        },
        loras=(("models", "modelfilename|label", "weight"),),
        said=("basemodel", "imagecount"),
    ),
    Tool(
        name="Easy Diffusion",
        marks=("num_inference_steps", "prompt"),
        fields={
            **NAMES,
            **SIDES,
            "steps": ("num_inference_steps",),
            "negative_prompt": ("negative_prompt",),
            "guidance_scale": ("guidance_scale",),
            "sampler": ("sampler_name",),
            "checkpoint": ("use_stable_diffusion_model",),
            "vae": ("use_vae_model",),
        },
        said=("output_format", "output_quality", "metadata_output_format", "num_outputs"),
    ),
)  # fmt: skip


def read_json(data: object, beside: Mapping[str, str]) -> Reading | None:
    """Read JSON by the first of `TOOLS` whose it is; None where it is nobody's.

    beside: the other texts of the file.
    """
    if not isinstance(data, Mapping):
        return None
    plain = _plain_keys(data)
    for tool in TOOLS:
        if all(_at(plain, mark) is not None for mark in tool.marks):
            return _read(tool, plain, beside)
    return None


def read_dream(text: str) -> Reading | None:
    """Read the command that InvokeAI's first versions wrote; None where it is none."""
    if (found := DREAM.match(text.strip())) is None:
        return None
    values: dict[str, Any] = {"prompt": found[1]}
    where = {"prompt": "Dream"}
    for name, value in re.findall(r"-([A-Za-z])\s*(\S+)", found[2]):
        if option := DREAM_OPTIONS.get(name):
            values[option], where[option] = _value(option, value), f"-{name}"
    if "sampler" in values:
        values["sampler"], schedule, _ = sampling(values["sampler"])
        values["schedule"], where["schedule"] = schedule or INVOKE_SCHEDULE, where["sampler"]
    return Reading.of("InvokeAI", values, where)


def comment_in_xmp(xmp: str) -> str:
    """Return the comment in a picture's XMP, nothing where there is none."""
    start = xmp.find("<exif:UserComment>")
    found = COMMENT.search(xmp, start) if start >= 0 else None
    return html.unescape(found[1]).strip() if found else ""


def owner_of(data: Mapping[str, Any]) -> str | None:
    """Return whose workflow JSON is, None where it may be ComfyUI's."""
    nodes = data.get("nodes")
    first = nodes[0] if isinstance(nodes, list) and nodes else None
    kind = first.get("type") if isinstance(first, Mapping) else None
    return "InvokeAI" if kind == "invocation" else None


def _plain_keys(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with plain keys, and those of objects within it."""
    return {
        str(key).strip().lower().replace(" ", "_"): (
            {str(k).lower().replace(" ", "_"): v for k, v in value.items()}
            if isinstance(value, Mapping)
            else value
        )
        for key, value in data.items()
    }


def _at(data: Any, way: str) -> Any:
    """Return what stands at the end of a way of keys and numbers, None where nothing does."""
    for key in way.split("."):
        if isinstance(data, Mapping):
            data = data.get(key)
        elif isinstance(data, list) and key.isdigit() and int(key) < len(data):
            data = data[int(key)]
        else:
            return None
    return data


def _read(tool: Tool, data: Mapping[str, Any], beside: Mapping[str, str]) -> Reading:
    values: dict[str, Any] = {}
    where: dict[str, str] = {}
    for option, ways in tool.fields.items():
        for way in ways:
            value = _at(data, way)
            if value == "" and option not in PROMPTS:
                continue
            if value is not None and value not in UNSET and not isinstance(value, (list, dict)):
                values[option], where[option] = _value(option, value), way.rpartition(".")[2]
                break
    for option, key in tool.beside.items():
        if values.get(option) is None and beside.get(key):
            values[option], where[option] = beside[key], key
    if isinstance(size := values.get("width"), str) and (sides := SIZE.search(size)):
        values["width"], values["height"] = int(sides[1]), int(sides[2])
        where["height"] = where["width"]
    given, schedule = values.get("sampler"), values.get("schedule")
    values["sampler"], values["schedule"], noise = sampling(
        str(given or ""), None if schedule is None else str(schedule)
    )
    if given and tool.on_comfyui:
        values["noise"], where["noise"] = noise, where["sampler"]
    if given and values["schedule"] is None:
        values["schedule"] = tool.schedule
    values["sampler"] = values["sampler"] or None
    where.setdefault("schedule", where.get("sampler", ""))
    loras, notes = _loras(tool, data)
    prompt = values.get("prompt")
    if isinstance(prompt, str):
        tags = Settings("")
        values["prompt"], tagged = take_networks(prompt[:TEXT], tags)
        loras, notes = [*tagged, *loras], [*tags.left(), *notes]
        notes += _syntax(tool, (prompt, values.get("negative_prompt")))
    values["loras"], where["loras"] = tuple(loras), "loras"
    return Reading.of(tool.name, values, where, (*notes, *_others(tool, data, where)))


def _value(option: str, value: Any) -> Any:
    """Return a value as a recipe has it; what cannot be one stays, to be named."""
    if isinstance(value, str) and (option in RANGES or option == "seed"):
        try:
            value = float(value) if option not in WHOLE or "." in value else int(value[:21])
        except ValueError:
            return value
    if option in WHOLE and isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _syntax(tool: Tool, texts: Iterable[object]) -> Iterator[str]:
    """Yield what of a program's prompts Marble would draw as words."""
    if tool.syntax is not None:
        found = [each[0] for text in texts for each in tool.syntax.finditer(str(text or "")[:TEXT])]
        if words := some([shorten(each)[1:-1] for each in dict.fromkeys(found)]):
            yield Sentence("a1111_words", words=words, why=Sentence("tool_syntax"))


def _loras(tool: Tool, data: Mapping[str, Any]) -> tuple[list[Lora], list[str]]:
    found: list[Lora] = []
    notes: list[str] = []
    for way, *parts in tool.loras:
        listed = _at(data, way)
        if not isinstance(listed, list) or not listed:
            continue
        for at, each in enumerate(listed[:MOST]):
            name, weight = _lora(data, each, at, *parts)
            try:
                found.append(Lora(name=name, weight=weight))
            except OptionError as error:
                why = Sentence("reading_range", allowed=error.allowed)
                shown = each[:LONGEST] if isinstance(each, str) else shorten(each, LONGEST)
                label = way.rpartition(".")[2]
                notes.append(Sentence("reading_note", name=label, value=shown, why=why))
        break  # other ways list the same once more
    return found, notes


def _lora(data: Any, each: Any, at: int, named: str, weighed: str) -> tuple[Any, Any]:
    """Return name and weight of a LoRA; both may stand in lists beside each other."""
    if not named:
        name, weight = each, _at(data, f"{weighed}.{at}")
    elif isinstance(each, str):
        name, weight = each, None
    else:
        name = next((n for way in named.split("|") if (n := _at(each, way)) is not None), None)
        weight = next((w for way in weighed.split("|") if (w := _at(each, way)) is not None), 1.0)
    return name, _value("lora_weight", 1.0 if weight is None else weight)


def _others(tool: Tool, data: Mapping[str, Any], where: Mapping[str, str]) -> Iterator[str]:
    """Yield the values that nothing is made of, one level deep."""
    lists = (way for each in tool.loras for way in (each[0], each[2]))
    known = {*where.values(), *tool.said, *(way.rpartition(".")[2] for way in lists)}
    inner = _at(data, UI)
    shown = 0
    for key, value in (inner if isinstance(inner, Mapping) else data).items():
        idle = value in NOTHING or (key, value) == WHOLE_STRENGTH
        if key in known or idle or key.endswith("hash"):
            continue
        shown += 1
        if shown <= MOST:
            text = value[:LONGEST] if isinstance(value, str) else shorten(value, LONGEST)
            yield f"{key[:LONGEST]}: {text}"
