"""Find tensors of a part's file that nothing uses: the libraries would drop them without a word.

Every tensor of a VAE, a tiny VAE or a control model is used, known to be harmless, or named by
`BadFile`: without it a picture would be another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from torch import Tensor

from engine.files.safetensors import BadFile

# What training leaves in a VAE's file and drawing does not need.
VAE_HARMLESS: Final = re.compile(r"loss\.|model_ema\.|(.*\.)?num_batches_tracked$")

# A text encoder's as OpenCLIP names them. SD2's leaves out the last block, which nobody reads.
OPEN_CLIP: Final = re.compile(
    r"transformer\.resblocks\.\d+\.(?:ln_[12]|attn\.out_proj|mlp\.c_fc|mlp\.c_proj)\.(?:weight|bias)|"
    r"transformer\.resblocks\.\d+\.attn\.in_proj_(?:weight|bias)|"
    r"token_embedding\.weight|positional_embedding|ln_final\.(?:weight|bias)|text_projection"
)


def check_unused(names: Iterable[str], harmless: re.Pattern[str] | None = None) -> None:
    """Raise `BadFile` for the first of some tensors that nothing used."""
    left = sorted(name for name in names if not (harmless and harmless.match(name)))
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise BadFile(f"it holds {left[0]!r}{more}, which its form does not have")


def check_vae(tensors: Mapping[str, Tensor], module: Any) -> None:
    """Hold a VAE's tensors, named without a prefix and as today, to what was made of them."""
    check_unused(left_in_vae(tensors, module), VAE_HARMLESS)


def left_in_vae(tensors: Mapping[str, Tensor], module: Any) -> list[str]:
    """Return which of a VAE's tensors, named without a prefix and as today, it does not use."""
    state = module.state_dict()
    if "encoder.conv_norm_out.weight" in tensors:  # diffusers' own names
        return [name for name in tensors if name not in state]
    return unused(tensors, _converted(tensors, module))


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


def _converted(tensors: Mapping[str, Tensor], module: Any) -> list[Tensor]:
    known = module.state_dict()
    found = convert_ldm_vae_checkpoint(dict(tensors), config=module.config)
    return [each for name, each in found.items() if name in known and each is not None]
