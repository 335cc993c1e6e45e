"""Kinds of text encoders, VAEs and tokenizers, and how a file's header tells them.

    told("text_encoder", read_header(path).tensors).title    # "Qwen3-4B"

Each is told by its tensors' names and shapes, never by its file's name, with one exception: the
VAEs of FLUX.1 and of Stable Diffusion 3 have the same tensors, and so have Qwen-Image's and Wan's.
Standard library only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from engine.files.safetensors import Tensor
from engine.models.families import Family
from engine.models.other_models import Sign, first

VAE: Final = "vae"
SD: Final = "sd"  # the VAE of models with a U-Net
TOKENIZER: Final = "tokenizer"
QWEN: Final = "qwen"
T5: Final = "t5"
GEMMA: Final = "gemma2"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartKind:
    """Describe a kind of text encoder or VAE.

    architecture: of its tensors; width: of a text encoder's states (None: any); file: how ComfyUI's
    files of it are usually called; tokenizer: the kind that a text encoder reads by, "" for CLIP's,
    which Marble ships; inside: a tensor of its file that may hold it. named: what a file's name
    must hold where its tensors are also another's, and unlike: what it must not.
    """

    title: str
    architecture: str
    width: int | None = None
    file: str = ""
    tokenizer: str = ""
    inside: str = ""
    named: str = ""
    unlike: str = ""

    def is_a(self, needed: "PartKind") -> bool:
        """Return whether a file of this kind does for another."""
        same = self.architecture == needed.architecture
        return same and needed.width in (None, self.width)


def _qwen(title: str, architecture: str, width: int, file: str = "") -> PartKind:
    return PartKind(title=title, architecture=architecture, width=width, file=file, tokenizer=QWEN)


_SD3: Final = r"sd[ _.-]?3|stable.?diffusion.?3"
KINDS: Final[Mapping[str, PartKind]] = {
    "clip_l": PartKind(title="CLIP-L", architecture="CLIP", width=768, file="clip_l.safetensors"),
    "clip_g": PartKind(title="CLIP-G", architecture="CLIP", width=1280, file="clip_g.safetensors"),
    "t5xxl": PartKind(
        title="T5-XXL",
        architecture="T5",
        width=4096,
        file="t5xxl_fp16.safetensors",
        tokenizer=T5,
    ),
    "umt5xxl": PartKind(title="UMT5-XXL", architecture="UMT5", width=4096),
    "qwen3_06b": _qwen("Qwen3-0.6B", "Qwen3", 1024, "qwen_3_06b_base.safetensors"),
    "qwen3_2b": _qwen("Qwen3-1.7B", "Qwen3", 2048),
    "qwen3_4b": _qwen("Qwen3-4B", "Qwen3", 2560, "qwen_3_4b.safetensors"),
    "qwen3_8b": _qwen("Qwen3-8B", "Qwen3", 4096, "qwen_3_8b.safetensors"),
    "qwen3vl_4b": _qwen("Qwen3-VL-4B", "Qwen3-VL", 2560, "qwen3vl_4b_bf16.safetensors"),
    "qwen3vl_8b": _qwen("Qwen3-VL-8B", "Qwen3-VL", 4096),
    "qwen25_3b": _qwen("Qwen2.5-VL-3B", "Qwen2.5-VL", 2048),
    "qwen25_7b": _qwen("Qwen2.5-VL-7B", "Qwen2.5-VL", 3584, "qwen_2.5_vl_7b.safetensors"),
    "mistral3": PartKind(
        title="Mistral Small 3",
        architecture="Mistral",
        width=5120,
        file="mistral_3_small_flux2_bf16.safetensors",
        tokenizer="mistral3",
        inside="tekken_model",
    ),
    "gemma2_2b": PartKind(
        title="Gemma 2 2B",
        architecture="Gemma 2",
        width=2304,
        file="gemma_2_2b_fp16.safetensors",
        tokenizer=GEMMA,
    ),
    SD: PartKind(title="Stable Diffusion's VAE", architecture=SD),
    "flux": PartKind(title="FLUX.1's VAE", architecture="flux", file="ae.safetensors", unlike=_SD3),
    "sd3": PartKind(
        title="Stable Diffusion 3's VAE",
        architecture="flux",
        file="sd3_vae.safetensors",
        named=_SD3,
    ),
    "flux2": PartKind(title="FLUX.2's VAE", architecture="flux2", file="flux2-vae.safetensors"),
    "qwen_image": PartKind(
        title="Qwen-Image's VAE",
        architecture="qwen_image",
        file="qwen_image_vae.safetensors",
        unlike=r"(?<![a-z])wan",
    ),
}
TOKENIZERS: Final = {QWEN: "Qwen", T5: "T5", GEMMA: "Gemma 2", "mistral3": "Mistral"}
FETCHED: Final = (QWEN, T5, GEMMA)  # those that `marble models get` offers
# The text encoders of diffusers folders, by the kind of tokenizer that lies beside them.
CLASSES: Final[Mapping[str, str]] = {
    "T5EncoderModel": T5,
    "Qwen2_5_VLForConditionalGeneration": QWEN,
    "Qwen3ForCausalLM": QWEN,
    "Qwen3Model": QWEN,
    "Qwen3VLForConditionalGeneration": QWEN,
    "Qwen3VLModel": QWEN,
    "Gemma2Model": GEMMA,
    "Mistral3ForConditionalGeneration": "mistral3",
}

# Text encoders by architecture: names that tell it, and how that of a vector ends which is as wide
# as their states.
_CLIP_NORM: Final = "final_layer_norm.weight"
_NORM: Final = "layers.0.input_layernorm.weight"
_QWEN3: Final = "layers.0.self_attn.q_norm."
_PICTURES: Final = "deepstack_merger_list."  # of Qwen3-VL's vision tower
WIDTHS: Final[Mapping[str, str]] = {"CLIP": _CLIP_NORM, "T5": _CLIP_NORM, "UMT5": _CLIP_NORM}
ENCODERS: Final = (
    Sign(key="UMT5", parts=("encoder.block.1.layer.0.SelfAttention.relative_attention_bias",)),
    Sign(key="T5", parts=("encoder.block.0.", ".DenseReluDense.wi_1.")),
    Sign(key="CLIP", parts=("encoder.layers.0.self_attn.", _CLIP_NORM)),
    Sign(key="Qwen3-VL", parts=(_QWEN3, _PICTURES)),
    Sign(key="Qwen3", parts=(_QWEN3, _NORM), without=("pre_feedforward_layernorm.",)),
    Sign(key="Qwen2.5-VL", parts=("layers.0.self_attn.k_proj.bias", _NORM)),
    Sign(key="Gemma 2", parts=("layers.0.pre_feedforward_layernorm.",), without=(_QWEN3,)),
    Sign(key="Mistral", parts=("layers.0.self_attn.k_proj.weight", _NORM), without=(_QWEN3,)),
)
_GAMMA: Final = ("decoder.middle.0.residual.0.gamma", "decoder.mid_block.resnets.0.norm1.gamma")
VAES: Final = (
    Sign(key="flux2", parts=("bn.running_mean",), sides=(("decoder.conv_in.weight", 1, 32),)),
    Sign(key="qwen_image", parts=_GAMMA[:1], sides=(("decoder.conv1.weight", 1, 16),)),
    Sign(
        key="qwen_image", parts=_GAMMA[1:], sides=(("decoder.conv_in.weight", 1, 16),)
    ),  # diffusers
    Sign(key="flux", parts=("decoder.norm_out.",), sides=(("decoder.conv_in.weight", 1, 16),)),
    Sign(
        key="flux",  # diffusers
        parts=("decoder.conv_norm_out.",),
        sides=(("decoder.conv_in.weight", 1, 16),),
    ),
    Sign(key=SD, parts=("decoder.norm_out.",), sides=(("decoder.conv_in.weight", 1, 4),)),
    Sign(key=SD, parts=("decoder.conv_norm_out.",), sides=(("decoder.conv_in.weight", 1, 4),)),
)
# How wide the states of a text encoder are that a network reads: a tensor whose side it is, and how
# many states are joined there; by family and part.
TEXT_IN: Final = ("txt_in.weight", "context_embedder.weight")
POOLED_IN: Final = ("vector_in.in_layer.weight", "text_embedder.linear_1.weight")
CAPTIONS_IN: Final = ("cap_embedder.0.weight", "caption_embedder.0.weight")
LAYERS_IN: Final = ("layerwise_blocks.0.prenorm.scale", "layerwise_blocks.0.norm1.weight")
READS: Final[Mapping[tuple[str, str], tuple[tuple[str, ...], int, int]]] = {
    ("z", "text_encoder"): (CAPTIONS_IN, 0, 1),
    ("lumina2", "text_encoder"): (CAPTIONS_IN, 0, 1),
    ("flux", "text_encoder"): (POOLED_IN, 1, 1),
    ("flux", "text_encoder_2"): (TEXT_IN, 1, 1),
    ("flux2", "text_encoder"): (TEXT_IN, 1, 3),
    ("chroma", "text_encoder"): (TEXT_IN, 1, 1),
    ("sd3", "text_encoder_3"): (("context_embedder.weight",), 1, 1),
    ("qwen", "text_encoder"): (TEXT_IN, 1, 1),
    ("krea2", "text_encoder"): (LAYERS_IN, 0, 1),
    ("anima", "text_encoder"): (("llm_adapter.blocks.0.cross_attn.k_proj.weight",), 1, 1),
}


def told(part: str, tensors: Mapping[str, Tensor]) -> PartKind | None:
    """Return the kind of a text encoder or VAE by its tensors, None for no known one."""
    key = first(VAES if part == VAE else ENCODERS, tensors)
    if key is None or part == VAE:
        return KINDS[key] if key else None
    end = WIDTHS.get(key, _NORM)
    width = next((t.shape[0] for name, t in tensors.items() if name.endswith(end)), None)
    return _of_width(key, width)


def instead(found: PartKind | None, kind: PartKind) -> str:
    """Return what a part is and what it has to be, as the rest of a sentence on it."""
    return f"is {found.title if found else 'something else'}, where {kind.title} is needed"


def needed(
    family: Family, parts: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> dict[str, PartKind]:
    """Return the text encoders and VAE that a network needs, as wide as what it reads.

    parts: as of its family and variant; tensors: the network's.
    """
    found = {}
    for part, kind in parts.items():
        if part.startswith(TOKENIZER):
            continue
        found[part] = its = KINDS[kind]
        ends, side, count = READS.get((family.key, part), ((), 0, 1))
        shapes = (tensor.shape for name, tensor in tensors.items() if ends and name.endswith(ends))
        width = next((shape[side] // count for shape in shapes if len(shape) > side), its.width)
        if width != its.width:
            found[part] = _of_width(its.architecture, width)
    return found


def _of_width(architecture: str, width: int | None) -> PartKind:
    """Return a kind of text encoder by its width, a known one or another of its architecture."""
    alike = [kind for kind in KINDS.values() if kind.architecture == architecture]
    if found := next((kind for kind in alike if kind.width == width), None):
        return found
    title = f"{architecture}, {width:,} wide" if width else architecture
    if not alike:
        return PartKind(title=title, architecture=architecture, width=width)
    return replace(alike[0], title=title, width=width, file="")
