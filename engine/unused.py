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

from engine.tensorfile import BadFile

# What training leaves in a VAE's file and drawing does not need.
VAE_HARMLESS: Final = re.compile(r"loss\.|model_ema\.|(.*\.)?num_batches_tracked$")


def check_unused(names: Iterable[str], harmless: re.Pattern[str] | None = None) -> None:
    """Raise `BadFile` for the first of some tensors that nothing used."""
    left = sorted(name for name in names if not (harmless and harmless.match(name)))
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise BadFile(f"it holds {left[0]!r}{more}, which its form does not have")


def check_vae(tensors: Mapping[str, Tensor], module: Any) -> None:
    """Hold a VAE's tensors, named without a prefix and as today, to what was made of them."""
    state = module.state_dict()
    if "encoder.conv_norm_out.weight" in tensors:  # diffusers' own names
        left = [name for name in tensors if name not in state]
    else:
        left = unused(tensors, _converted(tensors, module))
    check_unused(left, VAE_HARMLESS)


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
