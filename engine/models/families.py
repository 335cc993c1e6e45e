"""Families of models, as data, by which the shapes of weights identify a model.

A family is read from names and shapes of tensors, in a diffusers folder's configuration or in the
header of a file, never from a file's name. What these cannot tell (that a model was distilled to
few steps) a name may suggest: `engine.models.variants`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
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
    multiple of, in pixels; `longest` is how many pixels of a side their network sees at once (None:
    any); `module` loads them, of `engine.families`; `channels` are those of their latents; `parts`
    are what a network alone needs beside it: its part in a diffusers folder, and its kind
    (`engine.models.part_kinds`). A family without them has a U-Net. `system_prompt` is what its
    makers put before prompts, but not before negative ones; `texts` are how many encoded ones a job
    may hold in memory.
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
    lacks: frozenset[str] = frozenset(("shift",))
    multiple: int = 8
    longest: int | None = None
    module: str = "stable_diffusion"
    channels: int = 4
    parts: tuple[tuple[str, str], ...] = ()
    system_prompt: str = ""
    texts: int = 64

    @property
    def config_folder(self) -> Path:
        """Return the folder that describes the modules of its single files."""
        return CONFIGS / self.key

    @property
    def named(self) -> str:
        """Return its title with an article."""
        return f"{'an' if self.title[0] in 'AEIO' else 'a'} {self.title}"

    @property
    def is_xl(self) -> bool:
        """Return whether it is built as SDXL: OpenCLIP bigG, and sizes as conditions."""
        return self.pipeline == SDXL

    @property
    def is_refiner(self) -> bool:
        """Return whether it is built as SDXL's refiner, which is told a score of beauty, too."""
        return self.key == "refiner"

    @property
    def encoders(self) -> tuple[str, ...]:
        """Return the names of the text encoders of a U-Net in a diffusers folder."""
        if self.is_refiner:
            return ENCODERS[1:]
        return ENCODERS if self.is_xl else ENCODERS[:1]

    @property
    def latents(self) -> str:
        """Return whose latents it draws: one family can go on with another's of the same."""
        return dict(self.parts)["vae"] if self.parts else "sdxl" if self.is_xl else "sd"

    def defaults(self, size: int) -> Defaults:
        """Return the family's defaults for a model trained at `size` × `size` pixels."""
        return Defaults(width=size, height=size, **asdict(self.sampling))


# Kinds of text encoders that know weights of words, and the tokenizer by whose tokens Anima knows
# them; language models read them as text.
WEIGHING: Final = frozenset(("clip_l", "clip_g", "t5xxl", "gemma2_2b", "t5"))
EMBEDDING: Final = frozenset(("clip_l", "clip_g"))  # and that know embeddings
ENCODERS: Final = ("text_encoder", "text_encoder_2")
SD: Final = "StableDiffusionPipeline"
SDXL: Final = "StableDiffusionXLPipeline"
# What a pipeline's name says of its task or version; what a U-Net takes, its configuration tells.
TASK: Final = re.compile("PAG|Img2Img|Inpaint|InstructPix2Pix|Upscale|Depth2Img|Legacy$|Safe$")


def _later(key: str, title: str, pipeline: str) -> Family:
    return Family(key=key, title=title, pipeline=pipeline, loadable=False)


def _flow(
    key: str,
    title: str,
    pipeline: str,
    module: str,
    *,
    channels: int = 16,
    longest: int | None = None,
    system_prompt: str = "",
    texts: int = 32,  # of about 8 MB: 512 tokens of T5
    **parts: str,
) -> Family:
    """Return a family of transformers that predict flows; their tokens span 16 × 16 pixels."""
    return Family(
        key=key,
        title=title,
        pipeline=pipeline,
        module=module,
        channels=channels,
        lacks=frozenset(("clip_skip", "controls", "patches")),
        multiple=16,
        longest=longest,
        parts=tuple(parts.items()),
        system_prompt=system_prompt,
        texts=texts,
    )


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
        last_layer=2,
        tiny_vae="taesdxl",
        lacks=frozenset(("shift", "controls")),
    ),
    Family(key="xl", title="Stable Diffusion XL form", pipeline=SDXL, last_layer=2),
    _flow(
        "sd3",
        "Stable Diffusion 3",
        "StableDiffusion3",
        "sd3",
        longest=3072,  # of its table of positions; that of 3.5 Medium is larger
        text_encoder="clip_l",
        text_encoder_2="clip_g",
        text_encoder_3="t5xxl",
        vae="sd3",
    ),
    _later("flux3", "FLUX.3", "Flux3"),
    _flow(
        "flux2",
        "FLUX.2",
        "Flux2",
        "flux2",
        channels=128,
        texts=8,  # of 31 to 63 MB
        text_encoder="mistral3",
        vae="flux2",
    ),
    _flow(
        "flux",
        "FLUX.1",
        "Flux",
        "flux",
        text_encoder="clip_l",
        text_encoder_2="t5xxl",
        vae="flux",
    ),
    _later("ovis", "Ovis-Image", "OvisImage"),
    _later("longcat", "LongCat-Image", "LongCatImage"),
    _later("radiance", "Chroma Radiance", "ChromaRadiance"),
    _flow("chroma", "Chroma", "Chroma", "chroma", text_encoder="t5xxl", vae="flux"),
    _later("qwen21", "Qwen-Image 2.1", "QwenImage21"),
    _later("layered", "Qwen-Image-Layered", "QwenImageLayered"),
    _later("lens", "Lens", "Lens"),
    _later("mage", "Mage-Flow", "MageFlow"),
    _flow(
        "qwen",
        "Qwen-Image",
        "QwenImage",
        "qwen_image",
        text_encoder="qwen25_7b",
        vae="qwen_image",
    ),
    _later("z_edit", "Z-Image Omni", "ZImageOmni"),
    _later("z_pixel", "Z-Image in pixels", "ZImagePixel"),
    _flow("z", "Z-Image", "ZImage", "z_image", text_encoder="qwen3_4b", vae="flux"),
    _later("ming", "Ming-Image", "MingImage"),
    _later("newbie", "NewBie-Image", "NewbieImage"),
    _flow(
        "lumina2",
        "Lumina 2",
        "Lumina2",
        "lumina2",
        system_prompt="You are an assistant designed to generate superior images with the superior "
        "degree of image-text alignment based on textual prompts or user prompts. <Prompt Start> ",
        text_encoder="gemma2_2b",
        vae="flux",
    ),
    _flow(
        "krea2",
        "Krea 2",
        "Krea2",
        "krea2",
        texts=8,  # of 12 layers' states
        text_encoder="qwen3vl_4b",
        vae="qwen_image",
    ),
    _flow(
        "anima",
        "Anima",
        "Anima",
        "anima",
        text_encoder="qwen3_06b",
        tokenizer_2="t5",
        vae="qwen_image",
    ),
    _later("ideogram4", "Ideogram 4", "Ideogram4"),
    _later("ernie", "ERNIE-Image", "ErnieImage"),
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
# Of which layers of its language model a family reads the states, by what transformers calls the
# model's form: what comes after the last of them is not loaded.
LAYERS: Final[Mapping[str, Mapping[str, tuple[int, ...]]]] = {
    "flux2": {"qwen3": (9, 18, 27), "mistral": (10, 20, 30)},
    "krea2": {"qwen3": (2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 32, 35)},
}
BY_KEY: Final = {family.key: family for family in FAMILIES}
TINY_VAES: Final = frozenset(family.tiny_vae for family in FAMILIES if family.tiny_vae)

# How a U-Net that takes more than noisy latents came to do so, by its channels.
PURPOSES: Final = {5: "depth", 7: "upscaling", 8: "image editing"}
INPAINTING: Final = 9  # latents, a mask, and the latents of the picture without what it hides


def language_form(names: Iterable[str]) -> str:
    """Return the form of a language model of `LAYERS`, by the names of its tensors."""
    is_qwen = any(name.endswith("self_attn.q_norm.weight") for name in names)
    return "qwen3" if is_qwen else "mistral"


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
    named = (family for family in BY_KEY.values() if family.pipeline not in (SD, SDXL))
    return next((family for family in named if kind.startswith(family.pipeline)), None)
