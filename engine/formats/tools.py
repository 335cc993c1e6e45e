"""The JSON of other programs: whose it is, and where each value stands in it. Tables, no code.

Keys are compared without case, blanks being underscores: versions of one program differ in these.
"""

import html
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from engine.errors import OptionError, shorten, some
from engine.formats.a1111.names import sampling
from engine.formats.a1111.settings import Settings
from engine.formats.a1111.syntax import NAME, take_networks
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
# The command that InvokeAI's first versions wrote: a prompt in quotes, and options behind it.
QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"(?=\s+-)', re.DOTALL)
TOKEN: Final = re.compile(r'(?:"[^"]*"|[^\s"])+|"')
OPTION: Final = re.compile(r"(--[A-Za-z][\w-]*|-[A-Za-z])=?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """Describe a program's JSON.

    marks: keys by which it is known, all of them, by the way to each; fields: the ways to a
    recipe's values, the first that is there counts; loras: the ways to a list of LoRAs, the first
    that is not empty counts, to the name and to the weight in each; beside: what its other texts
    say, by their keys; inside: the ways to objects that are looked into for values that are not
    taken; said: the ways to values that change no picture; idle: to those that change none where
    they are one of these; same: to those that change none where they equal another's; syntax: what
    means more than words in its prompts; section: what begins words that are not for the whole
    picture; schedule: what a sampler's name means that says none; on_comfyui: whether it draws by
    ComfyUI's code, and so with its noise.
    """

    name: str
    marks: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]]
    loras: tuple[tuple[str, str, str], ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)
    inside: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    idle: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)
    syntax: re.Pattern[str] | None = None
    section: re.Pattern[str] | None = None
    schedule: str | None = None
    on_comfyui: bool = False


NAMES: Final = {"prompt": ("prompt",), "seed": ("seed",), "steps": ("steps",)}
SIDES: Final = {"width": ("width",), "height": ("height",)}
UI: Final = "sui_image_params"
COMMENT: Final = re.compile(r"<rdf:li[^<>]{0,99}>([^<]*)</rdf:li>")
# Weights as words++ and (words)--, and what is not wanted in brackets.
INVOKE_SYNTAX: Final = re.compile(r"[\w)]\+{1,9}(?=[\s,)]|$)|\)-{1,9}|\[[^\[\]]*\]|\)\.\w{3,5}\(")
INVOKE_SCHEDULE: Final = "normal"  # a sampler whose name does not end in _k
INVOKE_FAMILIES: Final = (
    "", "sdxl_", "flux_", "flux2_", "sd3_", "cogview4_", "z_image_", "qwen_image_", "anima_",
)  # fmt: skip
# SwarmUI's words behind these are for a part of the picture or for another pass, up to the next;
# those behind <base> are for the pass that Marble draws.
SECTION: Final = re.compile(
    r"(<(?:segment|object|region|refiner|base|video|videoswap|extend)(?::[^<>]*)?>)", re.IGNORECASE
)
EMBEDDING: Final = re.compile(r"<embed(?:ding)?:([^<>]*)>", re.IGNORECASE)

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
        inside=(UI,),
        said=("sui_models", "sui_extra_data", *(f"{UI}.{key}" for key in (
            "swarm_version", "date", "generation_time", "images", "aspectratio", "original_prompt",
            "personalnote", "wildcardseed", "imageformat"))),
        section=SECTION,
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
        said=("app_version",),
        idle={
            "generation_mode": tuple(f"{family}txt2img" for family in INVOKE_FAMILIES),
            "rand_device": ("cpu",),
        },
        same={
            "positive_style_prompt": "positive_prompt",
            "negative_style_prompt": "negative_prompt",
        },
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
        inside=("image", "image.prompt", "image.prompt.0"),
        said=("app_id", "app_version", "model"),
        idle={"image.type": ("txt2img",), "image.prompt.0.weight": (1,)},
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
        inside=("v2",),
        # What other keys say as well, or what works only with others, which are named.
        said=("profile", *(f"v2.{key}" for key in (
            "id", "seed", "seedmode", "steps", "sampler", "model", "guidancescale", "shift",
            "width", "height", "batchcount", "batchsize", "maskblur", "maskbluroutset",
            "preserveoriginalafterinpaint", "hiresfixwidth", "hiresfixheight", "hiresfixstrength",
            "refinerstart", "aestheticscore", "negativeaestheticscore", "upscalerscalefactor",
            "decodingtilewidth", "decodingtileheight", "decodingtileoverlap", "diffusiontilewidth",
            "diffusiontileheight", "diffusiontileoverlap", "teacachestart", "teacacheend",
            "teacachethreshold", "teacachemaxskipsteps", "imageguidancescale", "imagepriorsteps",
            "negativepromptforimageprior", "stochasticsamplinggamma", "resolutiondependentshift",
            "fps", "numframes", "motionscale", "guidingframenoise", "startframeguidance",
            "stage2guidance", "stage2shift", "stage2steps"))),
        idle={
            "seed_mode": ("Torch CPU Compatible",),
            "v2.clipskip": (1,),
            "v2.clipweight": (1,),
            "v2.speedupwithguidanceembed": (True,),
            "v2.t5textencoder": (True,),
        },
        same={
            "v2.strength": "strength",
            "v2.upscaler": "upscaler",
            **{f"v2.{kind}image{side}": f"v2.{side}"
               for kind in ("original", "target", "negativeoriginal")
               for side in ("width", "height")},
        },
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
        inside=("v4_prompt", "v4_prompt.caption", "v4_negative_prompt",
                "v4_negative_prompt.caption"),
        said=("version", "signed_hash", "n_samples", "request_type", "params_version",
              "legacy_v3_extend", "v4_prompt.use_coords", "v4_prompt.use_order",
              "v4_negative_prompt.use_coords", "v4_negative_prompt.use_order"),
        idle={"uncond_scale": (1,), "controlnet_strength": (1,)},
        same={
            "v4_prompt.caption.base_caption": "prompt",
            "v4_negative_prompt.caption.base_caption": "uc",
        },
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
        said=("imagecount",),
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

DREAM: Final = Tool(
    name="InvokeAI",
    marks=(),
    fields={
        "prompt": ("Dream",),
        "seed": ("-S", "--seed"),
        "steps": ("-s", "--steps"),
        "width": ("-W", "--width"),
        "height": ("-H", "--height"),
        "guidance_scale": ("-C", "--cfg_scale"),
        "sampler": ("-A", "--sampler"),
    },
    syntax=INVOKE_SYNTAX,
    schedule=INVOKE_SCHEDULE,
    said=("-n", "-b", "-g", "-i", "-o", "--iterations", "--batch_size", "--grid", "--outdir"),
)


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
    text = text.strip()
    if (prompt := QUOTED.match(text)) is None:
        return None
    options: dict[str, list[str]] = {}
    key = ""
    for token in TOKEN.findall(text[prompt.end() :]):
        if option := OPTION.fullmatch(token):
            key = option[1]
            options[key] = [option[2]]
        elif not key:
            return None
        else:
            options[key].append(token)
    if not any(way in options for ways in DREAM.fields.values() for way in ways):
        return None
    words = re.sub(r'\\(["\\])', r"\1", prompt[1])
    given = {key: " ".join(parts).strip(' "') or True for key, parts in options.items()}
    return _read(DREAM, {"Dream": words, **given}, {})


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
    taken: set[str] = set()
    for option, ways in tool.fields.items():
        for way in ways:
            value = _at(data, way)
            if value == "" and option not in PROMPTS:
                continue
            if value is not None and value not in UNSET and not isinstance(value, (list, dict)):
                values[option], where[option] = _value(option, value), way.rpartition(".")[2]
                taken.add(way)
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
    loras, notes = _loras(tool, data, taken)
    tags = Settings("")
    for option in PROMPTS:
        if isinstance(text := values.get(option), str):
            text, left_out = _for_the_whole(tool, text[:TEXT])
            notes += [*left_out, *_syntax(tool, text)]
            values[option], tagged = take_networks(text, tags)
            loras = [*tagged, *loras]
    values["loras"], where["loras"] = tuple(loras), "loras"
    notes = [*tags.left(), *notes, *_others(tool, data, taken)]
    return Reading.of(tool.name, values, where, notes)


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


def _for_the_whole(tool: Tool, text: str) -> tuple[str, list[str]]:
    """Return the words that are for the whole picture, and notes of those that are not."""
    if tool.section is None:
        return text, []
    words, *sections = tool.section.split(text)
    others: list[str] = []
    for tag, behind in zip(sections[::2], sections[1::2], strict=True):
        if tag.lower() == "<base>":
            words = f"{words.rstrip()} {behind.lstrip()}"
        else:
            others.append(f"{tag}{behind.rstrip()}")
    if sections:
        words = words.strip()
    words = EMBEDDING.sub(_embedding, words)
    shown = some([shorten(each)[1:-1] for each in dict.fromkeys(others)])
    why = Sentence("tool_section")
    return words, [Sentence("a1111_words", words=shown, why=why)] if shown else []


def _embedding(tag: re.Match[str]) -> str:
    """Return a tag of an embedding as Marble reads it; a name that it cannot read stays."""
    return f"embedding:{tag[1]}" if NAME.fullmatch(tag[1]) else tag[0]


def _syntax(tool: Tool, text: str) -> Iterator[str]:
    """Yield what of a program's prompt Marble would draw as words."""
    if tool.syntax is not None:
        found = dict.fromkeys(each[0] for each in tool.syntax.finditer(text))
        if words := some([shorten(each)[1:-1] for each in found]):
            yield Sentence("a1111_words", words=words, why=Sentence("tool_syntax"))


def _loras(tool: Tool, data: Mapping[str, Any], taken: set[str]) -> tuple[list[Lora], list[str]]:
    """Return the LoRAs, and notes of what is none; the ways to the lists are added to `taken`."""
    found: list[Lora] = []
    notes: list[str] = []
    lists = [parts for parts in tool.loras if isinstance(_at(data, parts[0]), list)]
    # Where there are several lists, they list the same.
    taken.update(
        way for way, named, weighed in lists for way in (way, *([] if named else [weighed]))
    )
    way, named, weighed = next((each for each in lists if _at(data, each[0])), ("", "", ""))
    for at, each in enumerate(_at(data, way)[:MOST] if way else ()):
        name, weight = _lora(data, each, at, named, weighed)
        try:
            found.append(Lora(name=name, weight=weight))
        except OptionError as error:
            why = Sentence("reading_range", allowed=error.allowed)
            shown = each[:LONGEST] if isinstance(each, str) else shorten(each, LONGEST)
            label = way.rpartition(".")[2]
            notes.append(Sentence("reading_note", name=label, value=shown, why=why))
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


def _others(tool: Tool, data: Mapping[str, Any], taken: Collection[str]) -> Iterator[str]:
    """Yield the values that nothing is made of, and that would change a picture."""
    shown = 0
    for way, key, value in _leaves(tool, data):
        known = way in taken or any(each.startswith(f"{way}.") for each in taken)
        said = way in tool.said or way.endswith("hash") or (key, value) == WHOLE_STRENGTH
        if known or said or _is_idle(tool, data, way, value):
            continue
        shown += 1
        if shown > MOST:
            yield "…"
            return
        text = value[:LONGEST] if isinstance(value, str) else shorten(value, LONGEST)
        yield f"{key[:LONGEST]}: {text}"


def _leaves(
    tool: Tool, data: Any, before: str = "", called: str = ""
) -> Iterator[tuple[str, str, Any]]:
    """Yield the way to each value, its key and itself; some objects are looked into."""
    for key, value in data.items() if isinstance(data, Mapping) else enumerate(data):
        way, name = f"{before}{key}", key if isinstance(key, str) else called
        if way in tool.inside and isinstance(value, (Mapping, list)):
            yield from _leaves(tool, value, f"{way}.", name)
        else:
            yield way, name, value


def _is_idle(tool: Tool, data: Mapping[str, Any], way: str, value: object) -> bool:
    """Return whether a value changes no picture."""
    if way in tool.idle:
        return value is None or value in tool.idle[way]
    if way in tool.same and value == _at(data, tool.same[way]):
        return True
    return value in NOTHING
