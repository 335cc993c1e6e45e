"""The JSON of other programs: whose it is, and where each value stands in it. Tables, no code.

Ways are keys with dots between them, all in lower case, blanks being underscores.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from engine.recipe.limits import ANEW, BY_STEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """Describe how a program's second model takes over.

    by: as a recipe's `refiner_by`; from_end: its share is the second model's; rounds: to the
    nearest step; only: ways to what must have this value.
    """

    by: str = BY_STEPS
    from_end: bool = False
    rounds: bool = False
    only: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """Describe a program's JSON.

    marks: keys by which it is known, all of them, by the way to each; fields: the ways to a
    recipe's values, the first that is there counts; loras: the ways to a list of LoRAs, the first
    that is not empty counts, to the name and to the weight in each; lora_key: keys of LoRAs that
    stand alone, as `name : weight`, where no list does; beside: what its other texts
    say, by their keys; inside: the ways to objects that are looked into for values that are not
    taken; said: the ways to values that change no picture; idle: to those that change none where
    they are one of these; same: to those that change none where they equal another's; syntax: what
    means more than words in its prompts; section: what begins words that are not for the whole
    picture; schedule: what a sampler's name means that says none; second: how a second model takes
    over (None: none is read); on_comfyui: whether it draws by
    ComfyUI's code, and so with its noise; sde_on_gpu: but for that of solvers of SDEs, which is a
    GPU's under all names.
    """

    name: str
    marks: tuple[str, ...]
    fields: Mapping[str, tuple[str, ...]]
    loras: tuple[tuple[str, str, str], ...] = ()
    lora_key: re.Pattern[str] | None = None
    beside: Mapping[str, str] = field(default_factory=dict)
    inside: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    idle: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)
    syntax: re.Pattern[str] | None = None
    section: re.Pattern[str] | None = None
    schedule: str | None = None
    second: Second | None = None
    on_comfyui: bool = False
    sde_on_gpu: bool = False


NAMES: Final = {"prompt": ("prompt",), "seed": ("seed",), "steps": ("steps",)}
SIDES: Final = {"width": ("width",), "height": ("height",)}
UI: Final = "sui_image_params"
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
            "refiner": (f"{UI}.refinermodel",),
            "refiner_at": (f"{UI}.refinercontrolpercentage",),
        },
        second=Second(
            by=ANEW, from_end=True, rounds=True, only={f"{UI}.refinermethod": "StepSwap"}
        ),
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
            "refiner": ("refiner_model.model_name", "refiner_model.name"),
            "refiner_at": ("refiner_start",),
            "aesthetic_score": (
                "refiner_positive_aesthetic_score", "refiner_positive_aesthetic_store"),
            "negative_aesthetic_score": (
                "refiner_negative_aesthetic_score", "refiner_negative_aesthetic_store"),
        },
        second=Second(by=ANEW),
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
            "refiner_steps": "steps",
            "refiner_cfg_scale": "cfg_scale",
            "refiner_scheduler": "scheduler",
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
            "refiner": ("refiner_model",),
            "refiner_at": ("refiner_switch",),
        },
        second=Second(rounds=True),
        loras=(("loras", "0|name", "1|weight"),),
        lora_key=re.compile(r"lora(?:_combined)?_\d{1,2}"),
        said=("version", "metadata_scheme", "base_model_hash", "created_by", "full_prompt",
              "full_negative_prompt"),
        on_comfyui=True,
        sde_on_gpu=True,
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
            "refiner": ("v2.refinermodel",),
            "refiner_at": ("v2.refinerstart",),
            "aesthetic_score": ("v2.aestheticscore",),
            "negative_aesthetic_score": ("v2.negativeaestheticscore",),
        },
        second=Second(),
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
