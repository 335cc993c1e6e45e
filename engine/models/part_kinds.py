"""Kinds of text encoders, VAEs and tokenizers, and how a file's header tells them.

Each is told by its tensors' names and shapes, never by its file's name, with one exception: the
VAEs of FLUX.1 and of Stable Diffusion 3 have the same tensors, and so have Qwen-Image's and Wan's.
Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engine.models.other_models import Sign


@dataclass(frozen=True, slots=True, kw_only=True)
class PartKind:
    """Describe a kind of text encoder, VAE or tokenizer.

    file: how ComfyUI's files of it are usually called; group: of kinds that differ by size alone;
    tokenizer: the kind that a text encoder reads by, "" for CLIP's, which Marble ships; inside: a
    tensor of the encoder's file that may hold it. named: what a file's name must hold where its
    tensors are also another's, and unlike: what it must not.
    """

    title: str
    file: str = ""
    group: str = ""
    tokenizer: str = ""
    inside: str = ""
    named: str = ""
    unlike: str = ""


QWEN: Final = "qwen"
T5: Final = "t5"
KINDS: Final[Mapping[str, PartKind]] = {
    "clip_l": PartKind(title="CLIP-L", file="clip_l.safetensors", group="CLIP"),
    "clip_g": PartKind(title="CLIP-G", file="clip_g.safetensors", group="CLIP"),
    "t5xxl": PartKind(title="T5-XXL", file="t5xxl_fp16.safetensors", group="T5", tokenizer=T5),
    "umt5xxl": PartKind(title="UMT5-XXL", group="T5"),
    "qwen3_06b": PartKind(
        title="Qwen3-0.6B", file="qwen_3_06b_base.safetensors", group="Qwen3", tokenizer=QWEN
    ),
    "qwen3_2b": PartKind(title="Qwen3-1.7B", group="Qwen3"),
    "qwen3_4b": PartKind(
        title="Qwen3-4B", file="qwen_3_4b.safetensors", group="Qwen3", tokenizer=QWEN
    ),
    "qwen3_8b": PartKind(
        title="Qwen3-8B", file="qwen_3_8b.safetensors", group="Qwen3", tokenizer=QWEN
    ),
    "qwen3vl_4b": PartKind(
        title="Qwen3-VL-4B", file="qwen3vl_4b_bf16.safetensors", group="Qwen3-VL", tokenizer=QWEN
    ),
    "qwen3vl_8b": PartKind(title="Qwen3-VL-8B", group="Qwen3-VL"),
    "qwen25_3b": PartKind(title="Qwen2.5-VL-3B", group="Qwen2.5-VL"),
    "qwen25_7b": PartKind(
        title="Qwen2.5-VL-7B",
        file="qwen_2.5_vl_7b.safetensors",
        group="Qwen2.5-VL",
        tokenizer=QWEN,
    ),
    "mistral3": PartKind(
        title="Mistral Small 3",
        file="mistral_3_small_flux2_bf16.safetensors",
        tokenizer="mistral3",
        inside="tekken_model",
    ),
    "gemma2_2b": PartKind(
        title="Gemma 2 2B",
        file="gemma_2_2b_fp16.safetensors",
        tokenizer="gemma2",
        inside="spiece_model",
    ),
    "flux": PartKind(
        title="FLUX.1's VAE", file="ae.safetensors", unlike=r"sd[ _.-]?3|stable.?diffusion.?3"
    ),
    "sd3": PartKind(
        title="Stable Diffusion 3's VAE",
        file="sd3_vae.safetensors",
        named=r"sd[ _.-]?3|stable.?diffusion.?3",
    ),
    "flux2": PartKind(title="FLUX.2's VAE", file="flux2-vae.safetensors"),
    "qwen_image": PartKind(
        title="Qwen-Image's VAE", file="qwen_image_vae.safetensors", unlike=r"(?<![a-z])wan"
    ),
}
TOKENIZERS: Final = {QWEN: "Qwen", T5: "T5", "gemma2": "Gemma 2", "mistral3": "Mistral"}
FETCHED: Final = (QWEN, T5)  # those that `marble models get` offers


def _sign(
    key: str, *parts: str, width: tuple[str, int] | None = None, without: tuple[str, ...] = ()
) -> Sign:
    sides = ((width[0], 0, width[1]),) if width else ()
    return Sign(key=key, parts=parts, without=without, sides=sides)


_NORM: Final = "layers.0.input_layernorm.weight"
_QWEN3: Final = "layers.0.self_attn.q_norm."
_PICTURES: Final = "deepstack_merger_list."  # of Qwen3-VL's vision tower
ENCODERS: Final = (
    _sign("clip_l", "encoder.layers.0.self_attn.", width=("final_layer_norm.weight", 768)),
    _sign("clip_g", "encoder.layers.0.self_attn.", width=("final_layer_norm.weight", 1280)),
    _sign("umt5xxl", "encoder.block.23.", "encoder.block.1.layer.0.SelfAttention.relative_attent"),
    _sign(
        "t5xxl",
        "encoder.block.23.layer.1.DenseReluDense.wi_1.",
        width=("encoder.final_layer_norm.weight", 4096),
    ),
    _sign("qwen3vl_4b", _QWEN3, _PICTURES, width=(_NORM, 2560)),
    _sign("qwen3vl_8b", _QWEN3, _PICTURES, width=(_NORM, 4096)),
    _sign("qwen3_06b", _QWEN3, width=(_NORM, 1024), without=(_PICTURES,)),
    _sign("qwen3_2b", _QWEN3, width=(_NORM, 2048), without=(_PICTURES,)),
    _sign("qwen3_4b", _QWEN3, width=(_NORM, 2560), without=(_PICTURES,)),
    _sign("qwen3_8b", _QWEN3, width=(_NORM, 4096), without=(_PICTURES,)),
    _sign("qwen25_3b", "layers.0.self_attn.k_proj.bias", width=(_NORM, 2048)),
    _sign("qwen25_7b", "layers.0.self_attn.k_proj.bias", width=(_NORM, 3584)),
    _sign("gemma2_2b", "layers.0.post_feedforward_layernorm.", width=(_NORM, 2304)),
    _sign(
        "mistral3",
        "layers.0.self_attn.k_proj.weight",
        width=(_NORM, 5120),
        without=(_QWEN3, "layers.0.self_attn.k_proj.bias"),
    ),
)
# Of pictures, and of films: these have five sides.
IMAGE_VAE: Final = "flux"
VAES: Final = (
    Sign(key="flux2", parts=("bn.running_mean",), sides=(("decoder.conv_in.weight", 1, 32),)),
    Sign(
        key="qwen_image",
        parts=("decoder.middle.0.residual.0.gamma",),
        sides=(("decoder.conv1.weight", 1, 16),),
    ),
    Sign(
        key="qwen_image",  # diffusers
        parts=("decoder.mid_block.resnets.0.norm1.gamma",),
        sides=(("decoder.conv_in.weight", 1, 16),),
    ),
    Sign(
        key=IMAGE_VAE,
        parts=("decoder.norm_out.",),
        sides=(("decoder.conv_in.weight", 1, 16),),
    ),
    Sign(
        key=IMAGE_VAE,  # diffusers
        parts=("decoder.conv_norm_out.",),
        sides=(("decoder.conv_in.weight", 1, 16),),
    ),
)
# The text encoders of diffusers folders, by the kind of tokenizer that lies beside them.
CLASSES: Final[Mapping[str, str]] = {
    "T5EncoderModel": T5,
    "Qwen2_5_VLForConditionalGeneration": QWEN,
    "Qwen3ForCausalLM": QWEN,
    "Qwen3Model": QWEN,
    "Qwen3VLForConditionalGeneration": QWEN,
    "Qwen3VLModel": QWEN,
    "Gemma2Model": "gemma2",
    "Mistral3ForConditionalGeneration": "mistral3",
}
