"""FreeU: weigh what a U-Net's way up takes from below, and what skips across.

Si et al. (2023), "FreeU: Free lunch in diffusion U-Net", arXiv:2309.11497, section 3.2. As in
ComfyUI it acts wherever the way up has four times or twice as many channels as the first block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from engine.recipe.patches import FREEU, FREEU_2, Patch


@contextmanager
def features_weighed(unet: Any, patches: Sequence[Patch]) -> Iterator[None]:
    """Weigh the features of diffusers' U-Net by each FreeU among the patches, in their order."""
    with ExitStack() as hooks:
        for patch in patches:
            if patch.kind in (FREEU, FREEU_2):
                for block, channels, factors in _places(unet, patch.numbers):
                    weigh = partial(_weigh, channels, *factors, patch.kind == FREEU_2)
                    hooks.enter_context(block.register_forward_pre_hook(weigh))
        yield


def _places(unet: Any, numbers: Sequence[float]) -> Iterator[tuple[Any, int, tuple[float, float]]]:
    """Yield each block that is weighed, the channels that come from below, and factors b and s."""
    first = unet.config.block_out_channels[0]
    b1, b2, s1, s2 = numbers
    factors = {4 * first: (b1, s1), 2 * first: (b2, s2)}
    below = unet.mid_block.resnets[-1].out_channels
    for up in unet.up_blocks:
        for block in up.resnets:
            if below in factors:
                yield block, below, factors[below]
            below = block.out_channels


def _weigh(
    channels: int, b: float, s: float, adaptive: bool, block: Any, inputs: tuple[Any, ...]
) -> tuple[Any, ...]:
    """Return a block's inputs with the features weighed: [B, channels + skipped, h, w]."""
    joined, *others = inputs
    from_below, skipped = joined[:, :channels], joined[:, channels:]
    half = channels // 2
    factor = (b - 1) * _height(from_below) + 1 if adaptive else b
    raised = [from_below[:, :half] * factor, from_below[:, half:]]
    return torch.cat([*raised, _without_low(skipped, s)], dim=1), *others


def _height(features: Tensor) -> Tensor:
    """Return the mean over channels, from 0 at its least to 1 at its greatest, [B, 1, h, w].

    Where it is the same everywhere, and ComfyUI divides by 0, it is 0.
    """
    mean = features.mean(1, keepdim=True)
    low, high = mean.amin((1, 2, 3), keepdim=True), mean.amax((1, 2, 3), keepdim=True)
    spread = high - low
    return (mean - low) / torch.where(spread > 0, spread, 1)


def _without_low(features: Tensor, scale: float) -> Tensor:
    """Return features whose lowest frequencies, 0 and −1 in each direction, are scaled."""
    spectrum = torch.fft.fft2(features.float())
    rows = torch.tensor([0, -1], device=features.device)
    spectrum[..., rows[:, None], rows[None, :]] *= scale
    filtered: Tensor = torch.fft.ifft2(spectrum).real.to(features.dtype)
    return filtered
