"""Families of models, as data, by which the shapes of weights identify a model.

A family is read from shapes, in a diffusers folder's configuration or in the header of a single
file, never from a file's name. What shapes cannot tell (that a model was distilled to few steps)
only changes defaults, and those a name may suggest: `VARIANTS`.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

CONFIGS: Final = Path(__file__).parent / "configs"  # configurations of single files, by family


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a model is sampled when a person names nothing but the prompt."""

    steps: int = 25
    guidance_scale: float = 7.0
    sampler: str = "dpmpp_2m"
    schedule: str = "karras"


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults(Sampling):
    """What a model draws well with when a person names nothing but the prompt."""

    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Describe models of one form.

    `pipeline` is what diffusers calls their pipelines; how it begins, where they are only named.
    `context_width` is that of their text embeddings, `added_width` that of what else conditions
    the U-Net (None: any); `last_layer` is which layer of the text encoders is read, from the end;
    `tiny_vae` is what the tiny VAE for its latents is called, as ComfyUI does. `lacks` are the
    fields of a recipe that they do not have; `multiple` is what both sides of a picture must be a
    multiple of, in pixels; `references` is how many pictures they can edit by words (0: none);
    `module` loads them, of `engine.families`.
    """

    key: str
    title: str
    pipeline: str
    context_width: int | None = None
    added_width: int | None = None
    loadable: bool = True
    last_layer: int = 1
    tiny_vae: str | None = None
    sampling: Sampling = Sampling()
    lacks: frozenset[str] = frozenset()
    multiple: int = 8
    references: int = 0
    module: str = "stable_diffusion"

    @property
    def config_folder(self) -> Path:
        """Return the folder that describes the modules of its single files."""
        return CONFIGS / self.key

    @property
    def is_xl(self) -> bool:
        """Return whether it is built as SDXL: two text encoders, and sizes as conditions."""
        return self.pipeline == SDXL

    def defaults(self, size: int) -> Defaults:
        """Return the family's defaults for a model trained at `size` × `size` pixels."""
        return Defaults(width=size, height=size, **asdict(self.sampling))


SD: Final = "StableDiffusionPipeline"
SDXL: Final = "StableDiffusionXLPipeline"
# What a pipeline's name says of its task or version; what a U-Net takes, its configuration tells.
TASK: Final = re.compile("PAG|Img2Img|Inpaint|InstructPix2Pix|Upscale|Depth2Img|Legacy$|Safe$")


def _later(key: str, title: str, pipeline: str, module: str = "") -> Family:
    return Family(key=key, title=title, pipeline=pipeline, loadable=False, module=module)


# The first that fits is taken.
FAMILIES: Final = (
    Family(
        key="sd1",
        title="Stable Diffusion 1.x",
        pipeline=SD,
        context_width=768,
        tiny_vae="taesd",
    ),
    Family(
        key="sd2",
        title="Stable Diffusion 2.x",
        pipeline=SD,
        context_width=1024,
        last_layer=2,
        tiny_vae="taesd",
    ),
    Family(key="sd", title="Stable Diffusion form", pipeline=SD),
    Family(
        key="sdxl",
        title="Stable Diffusion XL",
        pipeline=SDXL,
        context_width=2048,
        added_width=2816,
        last_layer=2,
        tiny_vae="taesdxl",
    ),
    Family(
        key="refiner",
        title="Stable Diffusion XL refiner",
        pipeline=SDXL,
        context_width=1280,
        added_width=2560,
        loadable=False,
    ),
    Family(key="xl", title="Stable Diffusion XL form", pipeline=SDXL, last_layer=2),
    _later("sd3", "Stable Diffusion 3", "StableDiffusion3"),
    _later("flux2", "FLUX.2", "Flux2"),
    _later("flux", "FLUX", "Flux"),
    _later("chroma", "Chroma", "Chroma"),
    _later("qwen", "Qwen-Image", "QwenImage"),
    _later("z", "Z-Image", "ZImage", "z_image"),
    _later("lumina2", "Lumina 2", "Lumina2"),
    _later("lumina", "Lumina-Next", "Lumina"),
    _later("omnigen2", "OmniGen 2", "OmniGen2"),
    _later("auraflow", "AuraFlow", "AuraFlow"),
    _later("pixart", "PixArt", "PixArt"),
    _later("sana", "Sana", "Sana"),
    _later("kolors", "Kolors", "Kolors"),
    _later("hunyuan", "HunyuanDiT", "HunyuanDiT"),
    _later("hunyuan_video", "HunyuanVideo or HunyuanImage", "Hunyuan"),
    _later("hidream", "HiDream", "HiDream"),
    _later("cascade", "Stable Cascade", "StableCascade"),
    _later("video", "Stable Video Diffusion", "StableVideoDiffusion"),
    _later("wan", "Wan", "Wan"),
    _later("ltx", "LTX", "LTX"),
    _later("mochi", "Mochi", "Mochi"),
    _later("cogvideo", "CogVideoX", "CogVideoX"),
    _later("cosmos", "Cosmos", "Cosmos"),
)
BY_KEY: Final = {family.key: family for family in FAMILIES}
TINY_VAES: Final = frozenset(family.tiny_vae for family in FAMILIES if family.tiny_vae)

# How a U-Net that takes more than noisy latents came to do so, by its channels.
PURPOSES: Final = {5: "depth", 7: "upscaling", 8: "image editing"}
INPAINTING: Final = 9  # latents, a mask, and the latents of the picture without what it hides


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Describe models distilled to few steps, by a word in their name.

    A word that is also one of everyday names (`hyperRealism`, `turboCar`) counts where nothing
    follows it but its usual company: numbers, and words of `COMPANY` or of its own `company`.
    """

    word: str
    everyday: bool = False
    company: tuple[str, ...] = ()
    sampling: Sampling


# As makers recommend. The schedule holds where a model was distilled: at timesteps spaced evenly
# from the top.
def _few(steps: int, sampler: str = "euler", guidance_scale: float = 1.0) -> Sampling:
    return Sampling(
        steps=steps, guidance_scale=guidance_scale, sampler=sampler, schedule="sgm_uniform"
    )


VARIANTS: Final = (
    Variant(word="turbo", everyday=True, company=("vision",), sampling=_few(4, "euler_ancestral")),
    Variant(word="lightning", everyday=True, sampling=_few(4)),
    Variant(word="hyper", everyday=True, sampling=_few(8)),
    Variant(word="lcm", sampling=_few(6, "lcm", 1.5)),
    Variant(word="dmd2", sampling=_few(4, "lcm")),
    Variant(word="schnell", sampling=_few(4)),
)
# What follows a variant's word in names: forms, precisions, samplers, versions, other variants.
COMPANY: Final = frozenset(
    (
        *("sd", "sdxl", "xl", "vae", "bakedvae", "baked", "unet", "model", "checkpoint", "merge"),
        *("fp", "bf", "pruned", "ema", "emaonly", "v", "ver", "version", "final", "beta", "alpha"),
        *("step", "steps", "cfg", "dpm", "dpmpp", "dpmsde", "sde", "karras", "euler", "lora"),
        *("inpaint", "inpainting", "turbo", "lightning", "hyper", "lcm", "dmd"),
        *("pony", "illustrious", "noob", "by", "no", "with"),
    )
)
# LCM's first form, whose guidance is built in, and which its weights tell.
GUIDED: Final = _few(4, "lcm", 8.0)
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+\d?(?![a-z])|[A-Z]+\d?(?![a-z])")
_STEPS: Final = re.compile(r"(?<!\d)([1-9]\d?)[ _-]?steps?(?![a-z])", re.IGNORECASE)


def identify_folder(
    index: Mapping[str, Any], unet: Mapping[str, Any] | None = None
) -> Family | None:
    """Return the family of a folder by its `model_index.json` and `unet/config.json`, or None.

    Without the latter it is the first that makes the same kind of pipeline.
    """
    kind = str(index.get("_class_name"))
    kind = TASK.sub("", kind).replace("LatentConsistencyModel", "StableDiffusion")
    if kind == SDXL and not any(index.get("text_encoder") or [True]):
        return BY_KEY["refiner"]  # which reads by SDXL's second encoder alone
    for family in FAMILIES:
        widths = (None, unet.get("cross_attention_dim")) if unet else (family.context_width,)
        if family.pipeline == kind and family.context_width in widths:
            return family
    named = (family for family in FAMILIES if not family.loadable)
    return next((family for family in named if kind.startswith(family.pipeline)), None)


def fit_to_name(defaults: Defaults, name: str) -> Defaults:
    """Return the defaults of a model distilled to few steps where its name says that it is one."""
    variant = next((each for each in VARIANTS if _names(name, each)), None)
    if variant is None:
        return defaults
    steps = _STEPS.search(name)
    fitting = with_sampling(defaults, variant.sampling)
    return replace(fitting, steps=int(steps[1])) if steps else fitting


def _names(name: str, variant: Variant) -> bool:
    """Return whether a variant's word stands in a name, a path, as a word of its own."""
    for part in name.removesuffix(".safetensors").removesuffix(".sft").split("/"):
        words = [word.lower() for word in _WORDS.findall(part)]
        for word, following in zip(words, [*words[1:], ""], strict=True):
            company = following.rstrip("0123456789")
            alone = not company or company in COMPANY or company in variant.company
            if word == variant.word and (alone or not variant.everyday):
                return True
    return False


def with_sampling(defaults: Defaults, sampling: Sampling) -> Defaults:
    """Return the defaults with another way of sampling."""
    return replace(defaults, **asdict(sampling))
