"""Which tensors of a single file nothing reads: they may change what other programs draw with it.

Names are as they are spelled today (`engine.models.tensor_names`). Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

from engine.models.signatures import UNET

# What is read of a VAE and of text encoders.
READ: Final = (
    r"first_stage_model\.(?:encoder|decoder|quant_conv|post_quant_conv)\.",
    r"(?:cond_stage_model|conditioner\.embedders\.0)\.transformer\.text_model\."
    r"(?:embeddings|encoder|final_layer_norm)\.",
    r"(?:cond_stage_model|conditioner\.embedders\.1)\.model\."
    r"(?:transformer\.resblocks\.|token_embedding|positional_embedding|ln_final|text_projection)",
)
# What a picture does not depend on: tables that follow from the noise schedule, copies and counts
# of training, what CLIP compares with pictures, and marks (`engine.models.prediction`).
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
_KNOWN: Final = re.compile("|".join((*READ, *HARMLESS)))
_HARMLESS: Final = re.compile("|".join(HARMLESS))


def harmful(names: Iterable[str]) -> list[str]:
    """Return those of some tensors that a picture may depend on."""
    return [name for name in names if not _HARMLESS.match(name)]


def left_over(names: Iterable[str], unet: Collection[str]) -> list[str]:
    """Return the tensors of a file that are neither read nor known to be harmless.

    unet: the original names of the U-Net's tensors, which are read.
    """
    read = {f"{UNET}{name}" for name in unet}
    return [name for name in names if name not in read and not _KNOWN.match(name)]
