"""Find tensors in files of weights that nothing uses: the libraries drop them without a word.

Every tensor of a VAE, a tiny VAE or a ControlNet is used, known to be harmless, or named by
`BadFile`: without it a picture would be another one. What is left over of a checkpoint is logged.
Names are in today's spelling (`engine.models.tensor_names`).
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from torch import Tensor

from engine.files.safetensors import BadFile, quoted
from engine.models.signatures import UNET

# What training leaves in a VAE's file and drawing does not need.
VAE_HARMLESS: Final = re.compile(r"loss\.|model_ema\.|(.*\.)?num_batches_tracked$")

# A text encoder's as OpenCLIP names them. SD2's leaves out the last block, which nobody reads.
OPEN_CLIP: Final = re.compile(
    r"transformer\.resblocks\.\d+\.(?:ln_[12]|attn\.out_proj|mlp\.c_fc|mlp\.c_proj)\.(?:weight|bias)|"
    r"transformer\.resblocks\.\d+\.attn\.in_proj_(?:weight|bias)|"
    r"token_embedding\.weight|positional_embedding|ln_final\.(?:weight|bias)|text_projection"
)

# What is read of a VAE and of text encoders.
READ: Final = (
    r"first_stage_model\.(?:encoder|decoder|quant_conv|post_quant_conv)\.",
    r"(?:cond_stage_model|conditioner\.embedders\.0)\.transformer\.text_model\."
    r"(?:embeddings|encoder|final_layer_norm)\.",
    r"(?:cond_stage_model|conditioner\.embedders\.1)\.model\."
    r"(?:transformer\.resblocks\.|token_embedding|positional_embedding|ln_final|text_projection)",
)
# What a picture does not depend on: tables that follow from the noise schedule, copies and counts
# of training, what CLIP compares with pictures, and marks (`engine.models.signatures`).
HARMLESS: Final = (
    r"(?:model\.)?(?:betas|alphas_cumprod|alphas_cumprod_prev|logvar|lvlb_weights|scale_factor)$",
    r"(?:sqrt|log)_(?:one_minus_|recip_|recipm1_)?alphas_cumprod$",
    r"posterior_",
    r"denoiser\.",
    r"model_ema\.",
    r"first_stage_model\.(?:loss|model_ema)\.",
    r"global_step$",
    r"(?:.*\.)?(?:logit_scale|position_ids|attn_mask)$",
    r"(?:cond_stage_model|conditioner\.embedders\.0)\.(?:transformer\.)?text_projection",
    r"(?:v_pred|ztsnr)$",
)
_READ, _HARMLESS = (re.compile("|".join(patterns)) for patterns in (READ, HARMLESS))


def check_unused(names: Iterable[str], harmless: re.Pattern[str] | None = None) -> None:
    """Raise `BadFile` for the first of some tensors that nothing used."""
    left = sorted(name for name in names if not (harmless and harmless.match(name)))
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise BadFile(f"it holds {quoted(left[0])}{more}, which its form does not have")


def left_in_vae(tensors: Mapping[str, Tensor], module: Any) -> list[str]:
    """Return which of a VAE's tensors, named without a prefix and as today, it does not use."""
    state = module.state_dict()
    if "encoder.conv_norm_out.weight" in tensors:  # diffusers' own names
        return [name for name in tensors if name not in state]
    found = convert_ldm_vae_checkpoint(dict(tensors), config=module.config)
    read = (each for name, each in found.items() if name in state and each is not None)
    return unused(tensors, read)


def left_in_text(names: Iterable[str], module: Any) -> list[str]:
    """Return which of a text encoder's tensors, named without a prefix, it does not use."""
    known = {name.removeprefix("text_model.") for name in module.state_dict()}
    return [
        name
        for name in names
        if name.removeprefix("text_model.") not in known and not OPEN_CLIP.fullmatch(name)
    ]


def unused(tensors: Mapping[str, Tensor], used: Iterable[Tensor]) -> list[str]:
    """Return the names of tensors whose values are in none of `used`, views of them as they are."""
    places = {each.data_ptr() for each in used}
    return [
        name for name, each in tensors.items() if each.numel() and each.data_ptr() not in places
    ]


def left_over(names: Iterable[str], unet: Collection[str], left: Iterable[str]) -> list[str]:
    """Return the tensors of a file that are neither read nor known to be harmless.

    unet: the original names of the U-Net's tensors, which are read; left: what the parts that were
    made of it do not use.
    """
    read = {f"{UNET}{name}" for name in unet}
    unread = (name for name in names if name not in read and not _READ.match(name))
    return [name for name in dict.fromkeys((*unread, *left)) if not _HARMLESS.match(name)]
