"""Families of flow models as ComfyUI's nodes have them: one table, for reading and for writing.

Their parts lie apart: a network, text encoders, a VAE. Of these only the network and the VAE are
named by a recipe; text encoders are the model's own.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

GUIDANCE: Final = 3.5  # what ComfyUI tells a FLUX model where nothing else is said
MU: Final = 1.15  # ComfyUI's μ for FLUX.1-dev, Chroma, Qwen-Image and Krea 2; the shift is e^μ
FLUX2_MU: Final = 2.02  # where no Flux2Scheduler spaces noise levels
FLUX_MU: Final = (1.15, 0.5)  # FLUX.1-dev's μ at 4,096 image tokens and at 256


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFamily:
    """Describe a family.

    type: what CLIPLoader calls its text encoders; encoders: the usual files of these, by their
    names in `Checkpoint.parts`; vae: its usual file; shift: ComfyUI's own (None: it depends);
    latents: the node that makes empty ones; sampling: the node that sets another shift.
    """

    type: str
    encoders: Mapping[str, str]
    vae: str = "ae.safetensors"
    shift: float | None = None
    latents: str = "EmptySD3LatentImage"
    sampling: str = "ModelSamplingAuraFlow"


QWEN3_4B: Final = "qwen_3_4b.safetensors"
QWEN3_8B: Final = "qwen_3_8b.safetensors"
MISTRAL: Final = "mistral_3_small_flux2_bf16.safetensors"
QWEN_VAE: Final = "qwen_image_vae.safetensors"
CLIP_L: Final = "clip_l.safetensors"
LUMINA2: Final = "lumina2"  # what CLIPLoader calls it, and Z-Image, too
T5: Final = "t5xxl_fp16.safetensors"

# By the keys of `engine.models.families`.
FLOW_FAMILIES: Final[Mapping[str, FlowFamily]] = {
    "z": FlowFamily(type=LUMINA2, encoders={"text_encoder": QWEN3_4B}, shift=3.0),
    LUMINA2: FlowFamily(
        type=LUMINA2, encoders={"text_encoder": "gemma_2_2b_fp16.safetensors"}, shift=6.0
    ),
    "flux": FlowFamily(type="flux", encoders={"text_encoder": CLIP_L, "text_encoder_2": T5}),
    "flux2": FlowFamily(
        type="flux2",
        encoders={"text_encoder": QWEN3_4B},
        vae="flux2-vae.safetensors",
        shift=math.exp(FLUX2_MU),
        latents="EmptyFlux2LatentImage",
    ),
    "chroma": FlowFamily(type="chroma", encoders={"text_encoder": T5}, shift=math.exp(MU)),
    "sd3": FlowFamily(
        type="sd3",
        encoders={
            "text_encoder": CLIP_L,
            "text_encoder_2": "clip_g.safetensors",
            "text_encoder_3": T5,
        },
        vae="sd3_vae.safetensors",
        shift=3.0,
        sampling="ModelSamplingSD3",
    ),
    "qwen": FlowFamily(
        type="qwen_image",
        encoders={"text_encoder": "qwen_2.5_vl_7b.safetensors"},
        vae=QWEN_VAE,
        shift=math.exp(MU),
    ),
    "krea2": FlowFamily(
        type="krea2",
        encoders={"text_encoder": "qwen3vl_4b_bf16.safetensors"},
        vae=QWEN_VAE,
        shift=math.exp(MU),
    ),
    "anima": FlowFamily(
        type="stable_diffusion",  # whatever is no other's
        encoders={"text_encoder": "qwen_3_06b_base.safetensors"},
        vae=QWEN_VAE,
        shift=3.0,
    ),
}
TRIPLE: Final = "sd3"  # what TripleCLIPLoader, which does not say it, loads text encoders for
BY_TYPE: Final = {flow.type: key for key, flow in FLOW_FAMILIES.items()}
# What the names of usual text encoders hold, letters and digits alone.
USUAL: Final = (
    "clipl", "clipg", "t5xxl", "t5v11xxl", "qwen34b", "qwen38b", "qwen25vl7b", "mistral3small",
    "gemma22b", "qwen3vl4b", "qwen306b",
)  # fmt: skip
USUAL_VAES: Final = frozenset(flow.vae.rpartition(".")[0] for flow in FLOW_FAMILIES.values())


def family_of(kind: str, files: Iterable[str]) -> str | None:
    """Return the key of the family that text encoders are loaded for, None if it is none of these.

    kind: what CLIPLoader calls it; files: the encoders, which tell families of one type apart.
    """
    names = [*map(_plain, files)]
    if kind == FLOW_FAMILIES["z"].type:
        return "lumina2" if any("gemma" in name for name in names) else "z"
    if kind == FLOW_FAMILIES["anima"].type:
        return "anima" if any("qwen306b" in name for name in names) else None
    return BY_TYPE.get(kind)


def is_usual(file: str) -> bool:
    """Return whether a text encoder is a usual one, in whatever precision, by its file's name."""
    return any(name in _plain(file) for name in USUAL)


def is_told(family: str | None, files: Iterable[str]) -> bool:
    """Return whether networks with these text encoders take guidance as an input: FLUX's do, and
    FLUX.2-dev, which reads by Mistral."""
    return family == "flux" or (family == "flux2" and any("mistral" in _plain(f) for f in files))


def _plain(file: str) -> str:
    return re.sub(r"[^a-z0-9]", "", file.rpartition("/")[2].lower())
