"""Tell what a safetensors file is from its tensors' names and shapes.

    found = identify(read_header(path))      # a Form, or BadFile with what it is instead

Names are those of Stability's original code, which all single files follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import pstdev
from typing import Final

from engine.families import BY_KEY, INPAINTING, PURPOSES, Family
from engine.tensorfile import BadFile, Header

UNET: Final = "model.diffusion_model."
CONV_IN: Final = f"{UNET}input_blocks.0.0.weight"
GUIDANCE_IN: Final = f"{UNET}time_embed.cond_proj.weight"  # where its guidance is built in
LEAST_GUIDANCE: Final = 4  # values in which it is told the scale: fewer have no frequencies
CONTEXT: Final = ".attn2.to_k.weight"
ADDED: Final = f"{UNET}label_emb.0.0.weight"
# A bias that v-prediction leaves much wider than ε-prediction does: the two parameterisations of
# SD2 differ in no shape. The place and the bound are ComfyUI's.
TELLTALE: Final = f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"
WIDE: Final = 0.09
LATER: Final = "which Marble cannot run yet"
SAMPLE_SIZES: Final = {"epsilon": 64, "v_prediction": 96}  # of SD2's latents

# What must be there beside the U-Net, by what its names begin with.
VAE: Final = ("first_stage_model.",)
TEXT: Final[Mapping[str, tuple[str, ...]]] = {
    "sd1": ("cond_stage_model.transformer.",),
    "sd2": ("cond_stage_model.model.",),
    "sdxl": ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."),
}
# Models of other architectures, by a part of a tensor's name that only they have.
OTHERS: Final = (
    ("double_stream_modulation_img", "flux2"),
    ("distilled_guidance_layer.", "chroma"),
    ("double_blocks.0.img_attn", "flux"),
    ("joint_blocks.0.context_block", "sd3"),
    ("transformer_blocks.0.img_mod", "qwen"),
    ("noise_refiner.0.attention.qkv", "z"),
    ("cap_embedder.", "lumina2"),
    ("double_layers.0.", "auraflow"),
    ("t_block.1.weight", "pixart"),
    ("mlp_t5.0.weight", "hunyuan"),
    ("clip_txt_mapper.", "cascade"),
    ("patch_embedding.weight", "wan"),
)
# Files of other kinds in the folder of checkpoints, likewise. A LoRA's names hold its model's, and
# a whole model's hold its parts'.
ADAPTERS: Final = (
    ("lora_down", "a LoRA; it belongs into loras/"),
    ("lora_A", "a LoRA; it belongs into loras/"),
    ("hada_w1_a", "a LoHa; it belongs into loras/"),
    ("lokr_w1", "a LoKr; it belongs into loras/"),
)
PARTS: Final = (
    ("controlnet_cond_embedding", "a ControlNet; it belongs into controlnet/"),
    ("control_model.", "a ControlNet; it belongs into controlnet/"),
    ("emb_params", "an embedding; it belongs into embeddings/"),
    ("down_blocks.0.resnets", "one part of a diffusers folder; all parts are needed, in a folder"),
    ("encoder.down.0.block", "a VAE; it belongs into vae/"),
    ("body.0.rdb1", "an upscaler; it belongs into upscale_models/"),
    ("RDB1.conv1", "an upscaler; it belongs into upscale_models/"),
    ("text_model.encoder.layers", "a text encoder alone"),
    ("resblocks.0.attn", "a text encoder alone"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Say what a single file holds: its family, and what its shapes leave open."""

    family: Family
    prediction: str = "epsilon"
    zero_snr: bool = False
    sample_size: int  # side of the latents that it was trained with
    guided: bool = False  # its guidance is built in


def identify(header: Header) -> Form:
    """Return the form of a file that Marble can run, or raise `BadFile` with what it is."""
    if CONV_IN not in header.tensors:
        raise BadFile(_name_other(header))
    family = _family(header)
    if not family.loadable:
        raise BadFile(f"it is a {family.title} model, {LATER}")
    _check_parts(header, family)
    _check_guidance(header)
    prediction, zero_snr = PREDICTIONS[family.key](header)
    size = {"sd1": 64, "sd2": SAMPLE_SIZES[prediction], "sdxl": 128}[family.key]
    return Form(
        family=family,
        prediction=prediction,
        zero_snr=zero_snr,
        sample_size=size,
        guided=GUIDANCE_IN in header.tensors,
    )


def _family(header: Header) -> Family:
    context = next((t.shape[1:] for n, t in header.tensors.items() if n.endswith(CONTEXT)), ())
    added = header.shape(ADDED)[1:]
    for key in ("sd1", "sd2", "sdxl", "refiner"):
        family = BY_KEY[key]
        widths = (family.context_width,), (family.added_width,) if family.added_width else ()
        if (context, added) == widths:
            _check_channels(header, family)
            return family
    raise BadFile(
        "its form is not known to Marble: a U-Net with text embeddings of "
        f"{context[0] if context else 'no'} values"
    )


def _check_channels(header: Header, family: Family) -> None:
    shape = header.shape(CONV_IN)
    channels = shape[1] if len(shape) == 4 else 0
    if channels in PURPOSES:
        raise BadFile(
            f"it is a {family.title} model for {PURPOSES[channels]} ({channels} channels), which "
            "Marble cannot run yet"
        )
    if channels not in (4, INPAINTING):
        raise BadFile(f"its U-Net takes {channels} channels where {family.title} takes 4")


def _check_guidance(header: Header) -> None:
    shape = header.shape(GUIDANCE_IN)
    if GUIDANCE_IN in header.tensors and (len(shape) != 2 or shape[1] < LEAST_GUIDANCE):
        raise BadFile(
            f"its weight that hears guidance's scale has the shape {[*shape]}, where two sides are "
            f"due and the second is {LEAST_GUIDANCE} or more"
        )


def _check_parts(header: Header, family: Family) -> None:
    for what, starts in (("VAE", VAE), ("text encoder", TEXT[family.key])):
        for start in starts:
            if not any(name.startswith(start) for name in header.tensors):
                raise BadFile(f"it holds no {what} (no tensor's name begins with {start!r})")


def _name_other(header: Header) -> str:
    models = ((mark, f"a {BY_KEY[key].title} model, {LATER}") for mark, key in OTHERS)
    for mark, what in (*ADAPTERS, *models, *PARTS):
        if any(mark in name for name in header.tensors):
            return f"it is {what}"
    return "nothing in it is known to Marble"


def _always_epsilon(header: Header) -> tuple[str, bool]:
    return "epsilon", False


def _by_telltale(header: Header) -> tuple[str, bool]:
    wide = TELLTALE in header.tensors and pstdev(header.values(TELLTALE)) > WIDE
    return ("v_prediction" if wide else "epsilon"), False


def _by_mark(header: Header) -> tuple[str, bool]:
    """Read the empty tensors by which makers of SDXL models tell what theirs predicts."""
    if any(name.startswith("edm_") for name in header.tensors):
        raise BadFile("it predicts in EDM's form (Playground 2.5), which Marble cannot run yet")
    marked = "v_pred" in header.tensors
    return ("v_prediction" if marked else "epsilon"), marked and "ztsnr" in header.tensors


PREDICTIONS: Final[Mapping[str, Callable[[Header], tuple[str, bool]]]] = {
    "sd1": _always_epsilon,
    "sd2": _by_telltale,
    "sdxl": _by_mark,
}
