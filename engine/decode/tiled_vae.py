"""Decode and encode pictures that are too large for a VAE at once, so that no seam can be seen.

Tiles alone do not give that. A VAE's group norms measure the whole picture, and its attention
looks at all of it; a tile of sky is measured as sky, and comes out greyer than beside the sea. So
the blocks with attention, at the size of latents and cheap, see the whole picture, and the others
go over their tiles twice: to measure, and to draw with one measure for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from types import TracebackType
from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from torch import Tensor
from torch.nn.functional import group_norm, interpolate

from engine.device.backends import MPS, widest_float
from engine.pictures.tiles import Tiling, cut, tiled

TILE: Final = 64  # latents, as many as most models are trained at
OVERLAP: Final = 16
# A norm's measure is right once those before it are. More rounds would help most pictures a little
# further, but not all: what a round corrects early in a network can shake what comes after it.
ROUNDS: Final = 1


def decode_large(vae: Any, latents: Tensor, tile: int = TILE, overlap: int = OVERLAP) -> Tensor:
    """Decode latents [1, C, h, w], unscaled, to pixels [1, 3, 8h, 8w] in −1…1, fp32 on the CPU."""
    decoder = vae.decoder
    tiling = Tiling(tile=tile, overlap=overlap, outside=_scale(vae))
    if isinstance(vae, AutoencoderTiny):  # convolutions alone, which measure nothing
        return tiled(decoder, latents, tiling)
    if vae.post_quant_conv is not None:
        latents = vae.post_quant_conv(latents)
    features = decoder.mid_block(decoder.conv_in(latents))

    def draw(x: Tensor) -> Tensor:
        for block in decoder.up_blocks:
            x = block(x)
        pixels: Tensor = decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(x)))
        return pixels

    return _alike(draw, features, tiling, [*decoder.up_blocks, decoder.conv_norm_out])


def encode_large(vae: Any, image: Tensor, tile: int = TILE, overlap: int = OVERLAP) -> Tensor:
    """Encode pixels [1, 3, 8h, 8w] in −1…1 to the likeliest latents [1, C, h, w], unscaled."""
    encoder = vae.encoder

    def look(x: Tensor) -> Tensor:
        x = encoder.conv_in(x)
        for block in encoder.down_blocks:
            x = block(x)
        return x

    tiling = Tiling(tile=tile, overlap=overlap, inside=_scale(vae))
    features = _alike(look, image, tiling, encoder.down_blocks)
    features = encoder.mid_block(features.to(image.device, image.dtype))
    moments = encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(features)))
    if vae.quant_conv is not None:
        moments = vae.quant_conv(moments)
    mean: Tensor = moments.chunk(2, dim=1)[0]
    return mean


def _scale(vae: Any) -> int:
    return int(2 ** (len(vae.config.block_out_channels) - 1))


def _alike(draw: Any, x: Tensor, tiling: Tiling, blocks: Iterable[torch.nn.Module]) -> Tensor:
    """Return draw(x) in tiles, for which all group norms of the blocks measure the whole of x."""
    with Norms(blocks) as norms:
        for _ in range(ROUNDS):
            for piece in cut(x, tiling):
                norms.weight = piece.weight
                draw(piece.x)
            norms.settle()
        return tiled(draw, x, tiling)


class Norms:
    """Make group norms use one mean and variance for all tiles, while it is entered.

    They measure what passes, as much of it as `weight` [h, w] says is a tile's own, until
    `settle` makes one measure of all of it.
    """

    def __init__(self, blocks: Iterable[torch.nn.Module]) -> None:
        self.weight: Tensor | None = None
        self._norms = [
            module
            for block in blocks
            for module in block.modules()
            if isinstance(module, torch.nn.GroupNorm)
        ]
        self._seen: dict[torch.nn.GroupNorm, list[tuple[Tensor, Tensor, Tensor]]] = {}
        self._settled: dict[torch.nn.GroupNorm, tuple[Tensor, Tensor]] = {}

    def __enter__(self) -> Norms:
        for norm in self._norms:
            norm.forward = partial(self._apply, norm)  # type: ignore[method-assign]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for norm in self._norms:
            del norm.forward

    def settle(self) -> None:
        """Take what was seen since the last time as the measure of the whole picture."""
        for norm, seen in self._seen.items():
            share, mean, variance = (torch.stack(part) for part in zip(*seen, strict=True))
            share = (share / share.sum())[:, None]
            middle = (share * mean).sum(0)
            self._settled[norm] = middle, (share * (variance + (mean - middle) ** 2)).sum(0)
        self._seen.clear()
        self.weight = None

    def _apply(self, norm: torch.nn.GroupNorm, x: Tensor) -> Tensor:
        if self.weight is not None:
            self._seen.setdefault(norm, []).append(self._measure(norm, x))
        if norm not in self._settled:
            return group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
        mean, variance = (
            part.to(x.dtype).repeat_interleave(x.shape[1] // norm.num_groups).view(1, -1, 1, 1)
            for part in self._settled[norm]
        )
        scale = norm.weight.view(1, -1, 1, 1) * (variance + norm.eps).rsqrt()
        return (x - mean) * scale + norm.bias.view(1, -1, 1, 1)

    def _measure(self, norm: torch.nn.GroupNorm, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return its share of the picture, each group's mean and variance: fp64, on MPS fp32."""
        assert self.weight is not None
        # MPS shrinks to whole fractions alone: there the processor does it.
        weight = self.weight if x.device.type == MPS else self.weight.to(x.device)
        weight = interpolate(weight[None, None], size=x.shape[2:], mode="area")[0, 0].to(x.device)
        share = weight.sum() / weight.numel()
        weight = weight / weight.sum() / (x.shape[1] // norm.num_groups)
        groups = x.float().view(norm.num_groups, -1, *x.shape[2:])
        mean = (groups * weight).sum((1, 2, 3))
        variance = ((groups - mean.view(-1, 1, 1, 1)) ** 2 * weight).sum((1, 2, 3))
        fine = widest_float(x.device)
        return share.to(fine), mean.to(fine), variance.to(fine)
