"""Describe a file that is no checkpoint Marble runs, by its tensors' names.

Names are those of the makers' own code (ComfyUI's files keep them) and of diffusers. Standard
library only.
"""

from dataclasses import dataclass
from typing import Final

from engine.files.safetensors import Header
from engine.models.families import BY_KEY
from engine.models.supported import LATER

ALONE: Final = "a text encoder alone"
LORA: Final = "a LoRA; it belongs into loras/"
CONTROL: Final = "a ControlNet; it belongs into controlnet/"
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
)
PARTS: Final = (
    ("model_ema.", "the averaged copy of a model alone (model_ema); the model itself is needed"),
    ("input_blocks.0.0.weight", "a U-Net alone; save it together with its text encoders"),
    ("emb_params", "an embedding; it belongs into embeddings/"),
    ("down_blocks.0.resnets", "one part of a diffusers folder; all parts are needed, in a folder"),
    ("encoder.down.0.block", "a VAE; it belongs into vae/"),
    ("body.0.rdb1", UPSCALER),
    ("RDB1.conv1", UPSCALER),
    ("vision_model.encoder.layers", "an image encoder alone"),
    ("text_model.encoder.layers", ALONE),
    ("resblocks.0.attn", ALONE),
    ("encoder.block.0.layer.0.SelfAttention", ALONE),
    ("layers.0.self_attn.q_proj", ALONE),
)


@dataclass(frozen=True, slots=True)
class Sign:
    """Describe a family's files: parts of tensors' names, all of which are there.

    width: how a tensor's name ends, and its first dimension, where names alone do not suffice.
    """

    key: str
    parts: tuple[str, ...]
    width: tuple[str, int] | None = None

    def fits(self, header: Header) -> bool:
        """Return whether a file is one of them."""
        if not all(any(part in name for name in header.tensors) for part in self.parts):
            return False
        if self.width is None:
            return True
        end, wanted = self.width
        found = (t.shape[:1] for name, t in header.tensors.items() if name.endswith(end))
        return (wanted,) in found


# The most specific first: parts of a later one may stand in an earlier one's files.
MODELS: Final = (
    Sign("video", ("time_stack.", "time_embed.")),
    Sign("flux2", ("double_stream_modulation_img.",)),
    Sign("chroma", ("distilled_guidance_layer.",)),
    Sign("hunyuan_video", ("individual_token_refiner.",)),
    Sign("hunyuan_video", ("token_refiner.refiner_blocks.",)),  # diffusers
    Sign("hidream", ("double_stream_blocks.0.block.",)),
    Sign("flux", ("double_blocks.0.img_attn.",)),
    Sign("flux", ("single_transformer_blocks.0.proj_mlp.", "time_text_embed.")),  # diffusers
    Sign("auraflow", ("double_layers.0.",)),
    Sign("auraflow", ("joint_transformer_blocks.0.",)),  # diffusers
    Sign("sd3", ("joint_blocks.0.context_block",)),
    Sign("sd3", ("transformer_blocks.0.attn.add_k_proj.", "pos_embed.proj.")),  # diffusers
    Sign("qwen", ("transformer_blocks.0.img_mod",)),
    Sign("omnigen2", ("ref_image_refiner.",)),
    # Z-Image took over Lumina 2's blocks: it is wider, pads with a token of its own, and lacks the
    # activation before a block's modulation.
    Sign("z", ("noise_refiner.", "cap_pad_token")),
    Sign("z", ("noise_refiner.", ".adaLN_modulation.0.", "cap_embedder.")),
    Sign("z", ("noise_refiner.",), ("cap_embedder.1.weight", 3840)),
    Sign("lumina2", ("noise_refiner.",)),
    Sign("lumina", ("cap_embedder.", ".attention.wk_y.")),
    Sign("sana", ("attention_y_norm.",)),
    Sign("sana", ("transformer_blocks.0.ff.conv_inverted.",)),  # diffusers
    Sign("ltx", ("patchify_proj.",)),
    Sign("ltx", ("transformer_blocks.0.attn1.norm_q.", "time_embed.emb.", "proj_in.")),  # diffusers
    Sign("pixart", ("t_block.1.weight",)),
    Sign("pixart", ("adaln_single.emb.", "pos_embed.proj.")),  # diffusers
    Sign("hunyuan", ("mlp_t5.0.weight",)),
    Sign("hunyuan", ("time_extra_emb.",)),  # diffusers
    Sign("cascade", (".channelwise.0.",)),
    Sign("cascade", ("clip_txt_mapper.",)),
    Sign("wan", ("patch_embedding.weight", "head.modulation")),
    Sign("wan", ("patch_embedding.weight", "condition_embedder.")),  # diffusers
    Sign("mochi", ("t5_yproj.",)),
    Sign("mochi", ("time_embed.pooler.",)),  # diffusers
    Sign("cogvideo", ("patch_embed.text_proj.",)),
    Sign("cosmos", ("x_embedder.proj.1.",)),
    Sign("kolors", ("encoder_hid_proj.", "add_embedding.linear_1.")),
)


def describe_other(header: Header) -> str:
    """Return a file's kind, as the rest of a sentence that begins with the file."""
    if found := _first(header, ADAPTERS):
        return f"it is {found}"
    if key := family_by_tensors(header):
        return f"it is a {BY_KEY[key].title} model, {LATER}"
    found = _first(header, PARTS)
    return f"it is {found}" if found else "nothing in it is known to Marble"


def family_by_tensors(header: Header) -> str | None:
    """Return the key of the family whose tensors a file has, None for no known one."""
    return next((sign.key for sign in MODELS if sign.fits(header)), None)


def _first(header: Header, table: tuple[tuple[str, str], ...]) -> str | None:
    marked = (what for mark, what in table if any(mark in name for name in header.tensors))
    return next(marked, None)
