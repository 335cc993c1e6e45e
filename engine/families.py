"""Families of models, as data: what the shapes of a model's weights say it is.

A family is read from shapes, in a diffusers folder's configuration or in the header of a single
file, never from a file's name. What shapes cannot tell (that a model was distilled to few steps)
only changes defaults, and those a name may suggest: `VARIANTS`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

FORMS: Final = Path(__file__).parent / "forms"  # configurations of single files, by family


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """Hold what a model draws well with when a person names nothing but the prompt."""

    width: int
    height: int
    steps: int
    guidance_scale: float
    sampler: str
    schedule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Describe models of one form.

    `context_width` is that of their text embeddings, `added_width` that of what else conditions
    the U-Net (None: any); `last_layer` is which layer of the text encoders is read, from the end;
    `tiny_vae` is what the tiny VAE for its latents is called, as ComfyUI does.
    """

    key: str
    title: str
    pipeline: str
    context_width: int | None = None
    added_width: int | None = None
    loadable: bool = True
    last_layer: int = 1
    tiny_vae: str | None = None
    steps: int = 25
    guidance_scale: float = 7.0
    sampler: str = "dpmpp_2m"
    schedule: str = "karras"

    @property
    def form(self) -> Path:
        """Return the folder that describes the modules of its single files."""
        return FORMS / self.key

    def defaults(self, size: int) -> Defaults:
        """Return the family's defaults for a model trained at `size` × `size` pixels."""
        return Defaults(
            width=size,
            height=size,
            steps=self.steps,
            guidance_scale=self.guidance_scale,
            sampler=self.sampler,
            schedule=self.schedule,
        )


SD: Final = "StableDiffusionPipeline"
SDXL: Final = "StableDiffusionXLPipeline"
SAME: Final = {"LatentConsistencyModelPipeline": SD}  # of the same form, by another name


def _later(key: str, title: str, pipeline: str) -> Family:
    return Family(key=key, title=title, pipeline=pipeline, loadable=False)


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
    Family(key="xl", title="Stable Diffusion XL form", pipeline=SDXL, last_layer=2),
    Family(
        key="refiner",
        title="Stable Diffusion XL refiner",
        pipeline="StableDiffusionXLImg2ImgPipeline",
        context_width=1280,
        added_width=2560,
        loadable=False,
    ),
    _later("sd3", "Stable Diffusion 3", "StableDiffusion3Pipeline"),
    _later("flux", "FLUX", "FluxPipeline"),
    _later("flux2", "FLUX.2", "Flux2Pipeline"),
    _later("chroma", "Chroma", "ChromaPipeline"),
    _later("qwen", "Qwen-Image", "QwenImagePipeline"),
    _later("z", "Z-Image", "ZImagePipeline"),
    _later("lumina2", "Lumina 2", "Lumina2Pipeline"),
    _later("auraflow", "AuraFlow", "AuraFlowPipeline"),
    _later("pixart", "PixArt", "PixArtSigmaPipeline"),
    _later("hunyuan", "HunyuanDiT", "HunyuanDiTPipeline"),
    _later("cascade", "Stable Cascade", "StableCascadeDecoderPipeline"),
    _later("wan", "Wan", "WanPipeline"),
)
BY_KEY: Final = {family.key: family for family in FAMILIES}
TINY_VAES: Final = frozenset(family.tiny_vae for family in FAMILIES if family.tiny_vae)

# How a U-Net that takes more than noisy latents came to do so, by its channels.
PURPOSES: Final = {5: "depth", 7: "upscaling", 8: "image editing"}
INPAINTING: Final = 9  # latents, a mask, and the latents of the picture without what it hides


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Describe models distilled to few steps, by a word in their name."""

    word: str
    steps: int
    guidance_scale: float = 1.0
    sampler: str = "euler"
    schedule: str = "sgm_uniform"


# As their makers recommend. The schedules hold where a model was distilled: at timesteps spaced
# evenly from the top.
VARIANTS: Final = (
    Variant(word="turbo", steps=4, sampler="euler_ancestral"),
    Variant(word="lightning", steps=4),
    Variant(word="hyper", steps=8),
    Variant(word="lcm", steps=6, guidance_scale=1.5, sampler="lcm"),
    Variant(word="dmd2", steps=4, sampler="lcm"),
    Variant(word="schnell", steps=4),
)
# LCM's first form, whose guidance is built in, and which its weights tell.
GUIDED: Final = Variant(word="lcm", steps=4, guidance_scale=8.0, sampler="lcm")
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+\d?(?![a-z])|[A-Z]+\d?(?![a-z])")
_STEPS: Final = re.compile(r"(?<!\d)(\d{1,2})[ _-]?steps?(?![a-z])", re.IGNORECASE)


def identify(index: Mapping[str, Any], unet: Mapping[str, Any] | None = None) -> Family | None:
    """Return the family of a folder by its `model_index.json` and `unet/config.json`, or None.

    Without the latter it is the first that makes the same kind of pipeline.
    """
    kind = str(index.get("_class_name"))
    for family in FAMILIES:
        widths = (None, unet.get("cross_attention_dim")) if unet else (family.context_width,)
        if family.pipeline == SAME.get(kind, kind) and family.context_width in widths:
            return family
    return None


def fit_to_name(defaults: Defaults, name: str) -> Defaults:
    """Return the defaults of a model distilled to few steps where its name says that it is one."""
    words = {word.lower() for word in _WORDS.findall(name)}
    for variant in VARIANTS:
        if variant.word in words:
            steps = _STEPS.search(name)
            fitting = fit_to_variant(defaults, variant)
            return replace(fitting, steps=int(steps[1])) if steps else fitting
    return defaults


def fit_to_variant(defaults: Defaults, variant: Variant) -> Defaults:
    """Return the defaults of a model distilled to few steps."""
    return replace(
        defaults,
        steps=variant.steps,
        guidance_scale=variant.guidance_scale,
        sampler=variant.sampler,
        schedule=variant.schedule,
    )
