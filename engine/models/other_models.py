"""Describe a file that is no checkpoint Marble runs, by its tensors' names.

Names are those of the makers' own code (ComfyUI's files keep them) and of diffusers. Standard
library only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from engine.files.safetensors import Header, Tensor
from engine.models.families import BY_KEY, Family
from engine.models.supported import LATER

ENCODER: Final = "a text encoder; it belongs into text_encoders/"
LORA: Final = "a LoRA; it belongs into loras/"
CONTROL: Final = "a ControlNet; it belongs into controlnet/"
VAE: Final = "a VAE; it belongs into vae/"
UPSCALER: Final = "an upscaler; it belongs into upscale_models/"

# Files of other kinds in the folder of checkpoints, by a part of a tensor's name that only they
# have. An adapter's names hold its model's, and a whole model's hold its parts': so these come
# before models, and `PARTS` after them.
ADAPTERS: Final = (
    ("lora_down", LORA),
    ("lora_A", LORA),
    ("lora.down", LORA),
    ("lora_linear_layer", LORA),
    ("hada_w1_a", "a LoHa; it belongs into loras/"),
    ("lokr_w1", "a LoKr; it belongs into loras/"),
    ("ip_adapter.", f"an IP-Adapter, {LATER}"),
    ("motion_modules.", f"a motion module of AnimateDiff, {LATER}"),
    ("controlnet_", CONTROL),
    ("control_model.", CONTROL),
    ("zero_convs.", CONTROL),
    ("control_layers.", CONTROL),
)
PARTS: Final = (
    ("model_ema.", "the averaged copy of a model alone (model_ema); the model itself is needed"),
    ("input_blocks.0.0.weight", "a U-Net alone; save it together with its text encoders"),
    ("emb_params", "an embedding; it belongs into embeddings/"),
    ("down_blocks.0.resnets", "one part of a diffusers folder; all parts are needed, in a folder"),
    ("encoder.down.0.block", VAE),
    ("decoder.middle.0.residual", VAE),
    ("body.0.rdb1", UPSCALER),
    ("RDB1.conv1", UPSCALER),
    ("vision_model.encoder.layers", "an image encoder alone"),
    ("text_model.encoder.layers", ENCODER),
    ("resblocks.0.attn", ENCODER),
    ("encoder.block.0.layer.0.SelfAttention", ENCODER),
    ("layers.0.self_attn.q_proj", ENCODER),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """Describe files of a kind by their tensors, where names alone do not suffice by shapes, too.

    parts: of tensors' names, all of which are there; without: parts of which none is; sides: how a
    tensor's name ends, which of its sides, and how long that is.
    """

    key: str
    parts: tuple[str, ...]
    without: tuple[str, ...] = ()
    sides: tuple[tuple[str, int, int], ...] = ()

    def fits(self, tensors: Mapping[str, Tensor], names: str) -> bool:
        """Return whether a file is one of them; names: of its tensors, one a line."""
        return (
            all(part in names for part in self.parts)
            and not any(part in names for part in self.without)
            and all(_has(tensors, *side) for side in self.sides)
        )


def _has(tensors: Mapping[str, Tensor], end: str, side: int, size: int) -> bool:
    shapes = (tensor.shape for name, tensor in tensors.items() if name.endswith(end))
    return any(shape[side : side + 1] == (size,) for shape in shapes)


def first(signs: Iterable[Sign], tensors: Mapping[str, Tensor]) -> str | None:
    """Return the key of the first sign that fits a file's tensors, None if none does."""
    names = "\n".join(tensors)
    return next((sign.key for sign in signs if sign.fits(tensors, names)), None)


def _sign(key: str, *parts: str, without: tuple[str, ...] = ()) -> Sign:
    return Sign(key=key, parts=parts, without=without)


# The most specific first: parts of a later one may stand in an earlier one's files.
MODELS: Final = (
    _sign("video", "time_stack.", "time_embed."),
    _sign("flux3", "early_stream_modulations."),
    _sign("flux2", "double_stream_modulation_img."),
    _sign("radiance", "distilled_guidance_layer.", "nerf_blocks."),
    _sign("chroma", "distilled_guidance_layer."),
    _sign("hunyuan_video", "individual_token_refiner."),
    _sign("hunyuan_video", "token_refiner.refiner_blocks."),  # diffusers
    _sign("hidream", "double_stream_blocks.0.block."),
    _sign("hidream", "t_embedder1.mlp.0.", "x_embedder.proj1."),  # O1
    _sign("ovis", "double_blocks.0.img_mlp.gate_proj."),
    _sign("ovis", "context_embedder_norm."),  # diffusers
    # FLUX.1's blocks, read by Qwen2.5-VL, and nothing of a whole prompt.
    Sign(
        key="longcat",
        parts=("double_blocks.0.img_attn.",),
        without=("vector_in.",),
        sides=(("txt_in.weight", 1, 3584),),
    ),
    Sign(
        key="longcat",  # diffusers
        parts=("single_transformer_blocks.0.proj_mlp.",),
        without=("time_text_embed.",),
        sides=(("context_embedder.weight", 1, 3584),),
    ),
    _sign("flux", "double_blocks.0.img_attn."),
    _sign("flux", "single_transformer_blocks.0.proj_mlp.", "time_text_embed."),  # diffusers
    _sign("auraflow", "double_layers.0."),
    _sign("auraflow", "joint_transformer_blocks.0."),  # diffusers
    _sign("sd3", "joint_blocks.0.context_block"),
    _sign("sd3", "transformer_blocks.0.attn.add_k_proj.", "pos_embed.proj."),  # diffusers
    _sign("layered", "transformer_blocks.0.img_mod", "addition_t_embedding."),
    _sign("lens", "transformer_blocks.0.img_mlp.w1."),
    Sign(
        key="mage",
        parts=("transformer_blocks.0.img_mod",),
        sides=(("txt_norm.weight", 0, 2560),),
    ),
    _sign("qwen", "transformer_blocks.0.img_mod"),
    _sign("qwen21", "txt_in.text_norm."),
    _sign("krea2", "txtfusion.projector."),
    _sign("krea2", "text_fusion.projector."),  # diffusers
    _sign("ideogram4", "embed_image_indicator."),
    _sign("ernie", "layers.0.mlp.linear_fc2.", "x_embedder."),
    _sign("omnigen2", "ref_image_refiner."),
    # Z-Image took over Lumina 2's blocks: it is wider, and pads with tokens of its own.
    _sign("z_edit", "noise_refiner.", "siglip_embedder."),
    _sign("z_pixel", "noise_refiner.", "dec_net."),
    _sign("z", "noise_refiner.", "cap_pad_token"),
    Sign(key="ming", parts=("noise_refiner.",), sides=(("cap_embedder.1.weight", 0, 3840),)),
    _sign("newbie", "noise_refiner.", "clip_text_pooled_proj."),
    _sign("lumina2", "noise_refiner."),
    _sign("lumina", "cap_embedder.", ".attention.wk_y."),
    _sign("sana", "attention_y_norm."),
    _sign("sana", "transformer_blocks.0.ff.conv_inverted."),  # diffusers
    _sign("ltx", "patchify_proj."),
    _sign("ltx", "transformer_blocks.0.attn1.norm_q.", "time_embed.emb.", "proj_in."),  # diffusers
    _sign("pixart", "t_block.1.weight"),
    _sign("pixart", "adaln_single.emb.", "pos_embed.proj."),  # diffusers
    _sign("hunyuan", "mlp_t5.0.weight"),
    _sign("hunyuan", "time_extra_emb."),  # diffusers
    _sign("cascade", ".channelwise.0."),
    _sign("cascade", "clip_txt_mapper."),
    _sign("wan", "patch_embedding.weight", "head.modulation"),
    _sign("wan", "patch_embedding.weight", "condition_embedder."),  # diffusers
    _sign("mochi", "t5_yproj."),
    _sign("mochi", "time_embed.pooler."),  # diffusers
    _sign("cogvideo", "patch_embed.text_proj."),
    _sign("anima", "llm_adapter.", "x_embedder.proj.1."),
    _sign("cosmos", "x_embedder.proj.1."),
    _sign("kolors", "encoder_hid_proj.", "add_embedding.linear_1."),
)


def describe_other(header: Header) -> str:
    """Return a file's kind, as the rest of a sentence that begins with the file."""
    if found := _first(header, ADAPTERS):
        return f"it is {found}"
    if family := family_of(header):
        return f"it is {family.named} model, {LATER}"
    found = _first(header, PARTS)
    return f"it is {found}" if found else "nothing in it is known to Marble"


def family_of(header: Header) -> Family | None:
    """Return the family whose model a file holds, None for no known one, or what changes one."""
    if _first(header, ADAPTERS):
        return None
    key = first(MODELS, header.tensors)
    return BY_KEY[key] if key else None


def _first(header: Header, table: tuple[tuple[str, str], ...]) -> str | None:
    names = "\n".join(header.tensors)
    return next((what for mark, what in table if mark in names), None)
