"""Names of a model's modules: diffusers' own, and those of other programs for the same."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from engine.models.parts import NETWORK

# Parts of a residual block, and of the U-Net itself, by Stability's original names.
RESNET: Final = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
ENDS: Final = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "time_embedding.cond_proj": "time_embed.cond_proj",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
_PLACE: Final = re.compile(r"(down|up|mid)_block(?:s\.(\d))?\.(\w+)\.(\d)(?:\.(.+))?")


def original_name(name: str, config: Mapping[str, Any]) -> str | None:
    """Return the original name of a module of a U-Net of this configuration, None if it has none.

    diffusers has blocks of residual blocks and attentions, the original code one list of layers.
    """
    if name in ENDS:
        return ENDS[name]
    if not (found := _PLACE.fullmatch(name)):
        return None
    where, number, layer, slot, rest = found.groups(default="")
    i, j = int(number or 0), int(slot)
    per_block = int(config["layers_per_block"]) + 1
    if layer == "resnets":
        kind, dot, leaf = rest.partition(".")
        rest = f"{RESNET.get(kind, kind)}{dot}{leaf}"
    if where == "mid":
        place = f"middle_block.{1 if layer == 'attentions' else 2 * j}"
    elif layer == "downsamplers":
        place, rest = f"input_blocks.{per_block * (i + 1)}.0", "op"
    elif layer == "upsamplers":
        attends = "CrossAttn" in config["up_block_types"][i]
        place = f"output_blocks.{per_block * (i + 1) - 1}.{2 if attends else 1}"
    else:
        block = f"input_blocks.{per_block * i + j + 1}"
        block = block if where == "down" else f"output_blocks.{per_block * i + j}"
        place = f"{block}.{1 if layer == 'attentions' else 0}"
    return f"{place}.{rest}" if rest else place


def names_in_loras(
    part: str, modules: Sequence[str], config: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield each name by which LoRA files mean a module of a part, and the module's own.

    kohya's trainers and LyCORIS join a name by underscores (of the original U-Net for SDXL),
    diffusers and peft keep its dots, as do ComfyUI and OneTrainer with the original names; the
    oldest files of diffusers count attention's projections to its processor.
    """
    for module in modules:
        full = module if part == NETWORK else f"text_model.{module.removeprefix('text_model.')}"
        for spelling in {module, full}:
            for prefix in JOINED[part]:
                yield f"{prefix}{spelling.replace('.', '_')}", module
            for prefix in DOTTED[part]:
                yield f"{prefix}{spelling}", module
                for pattern, place in OLD.items():
                    yield f"{prefix}{pattern.sub(place, spelling)}", module
        if part == NETWORK and (original := original_name(module, config)):
            yield f"lora_unet_{original.replace('.', '_')}", module
            for prefix in ORIGINAL:
                yield f"{prefix}{original}", module


JOINED: Final = {
    NETWORK: ("lora_unet_", "lycoris_"),
    "text_encoder": ("lora_te_", "lora_te1_"),
    "text_encoder_2": ("lora_te2_",),
}
# diffusers', OneTrainer's, ComfyUI's.
DOTTED: Final = {
    NETWORK: ("unet.", ""),
    "text_encoder": (
        "text_encoder.", "clip_l.", "text_encoders.clip_l.transformer.",
        "text_encoders.clip_h.transformer.",
    ),
    "text_encoder_2": ("text_encoder_2.", "clip_g.", "text_encoders.clip_g.transformer."),
}  # fmt: skip
ORIGINAL: Final = ("unet.", "diffusion_model.", "model.diffusion_model.")
OLD: Final = {
    re.compile(r"\.to_(q|k|v|out)(\.0)?$"): r".processor.to_\1_lora",
    re.compile(r"\.(q|k|v|out)_proj$"): r".to_\1_lora",
}
