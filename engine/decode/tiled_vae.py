"""Decode and encode large pictures in tiles, without visible seams.

A VAE's group norms use the mean and variance of the whole picture, and its attention all of it, so
that a tile decoded alone has other colours than in the picture. Therefore the blocks with
attention, which are small, run on the whole picture; the others run on their tiles twice: once to
collect the statistics of all tiles, and once to compute the result with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from torch import Tensor
from torch.nn.functional import group_norm, interpolate

from engine.decode.qwen_vae import QwenVae
from engine.device.backends import MPS, widest_float
from engine.pictures.tiles import Tiling, cut, tiled

TILE: Final = 64  # latents, as many as most models are trained at
OVERLAP: Final = 16


def decode_in_tiles(vae: Any, latents: Tensor, tile: int = TILE, overlap: int = OVERLAP) -> Tensor:
    """Decode latents [1, C, h, w], unscaled, to pixels [1, 3, 8h, 8w] in −1…1, fp32 on the CPU."""
    decoder = vae.decoder
    tiling = Tiling(tile=tile, overlap=overlap, outside=_scale(vae))
    if isinstance(vae, AutoencoderTiny):  # convolutions alone, without norms
        return tiled(decoder, latents, tiling)
    if isinstance(vae, QwenVae):  # whose norms are of each pixel alone
        return tiled(vae.pixels, vae.features(latents), tiling)
    if vae.post_quant_conv is not None:
        latents = vae.post_quant_conv(latents)
    features = decoder.mid_block(decoder.conv_in(latents))

    def run(x: Tensor) -> Tensor:
        for block in decoder.up_blocks:
            x = block(x)
        pixels: Tensor = decoder.conv_out(decoder.conv_act(decoder.conv_norm_out(x)))
        return pixels

    return _in_tiles(run, features, tiling, [*decoder.up_blocks, decoder.conv_norm_out])


def encode_in_tiles(vae: Any, image: Tensor, tile: int = TILE, overlap: int = OVERLAP) -> Tensor:
    """Encode pixels [1, 3, 8h, 8w] in −1…1 to the mean of the latents [1, C, h, w], unscaled."""
    encoder, tiling = vae.encoder, Tiling(tile=tile, overlap=overlap, inside=_scale(vae))
    if isinstance(vae, QwenVae):
        shrunk = tiled(vae.shrunk, image, tiling).to(image.device, image.dtype)
        found: Tensor = vae.moments(shrunk).mode()
        return found

    def run(x: Tensor) -> Tensor:
        x = encoder.conv_in(x)
        for block in encoder.down_blocks:
            x = block(x)
        return x

    features = _in_tiles(run, image, tiling, encoder.down_blocks)
    features = encoder.mid_block(features.to(image.device, image.dtype))
    moments = encoder.conv_out(encoder.conv_act(encoder.conv_norm_out(features)))
    if vae.quant_conv is not None:
        moments = vae.quant_conv(moments)
    mean: Tensor = moments.chunk(2, dim=1)[0]
    return mean


def _scale(vae: Any) -> int:
    return int(2 ** (len(vae.config.block_out_channels) - 1))


def _in_tiles(run: Any, x: Tensor, tiling: Tiling, blocks: Iterable[torch.nn.Module]) -> Tensor:
    """Return run(x) in tiles, with the group norms' statistics of the whole of x.

    A norm's statistics are right once those of earlier norms are. More rounds help most pictures a
    little, but make some worse: corrections early in a network change all that follows.
    """
    with SharedNorms(blocks) as norms:
        for piece in cut(x, tiling):
            norms.weight = piece.weight
            run(piece.x)
        norms.combine()
        return tiled(run, x, tiling)


class SharedNorms:
    """Make group norms use one mean and variance for all tiles, inside `with`.

    While `weight` is set, they collect statistics, each pixel with its weight, [h, w];
    `combine` makes one mean and variance of them, which is used from then on.
    """

    def __init__(self, blocks: Iterable[torch.nn.Module]) -> None:
        self.weight: Tensor | None = None
        self._norms = [
            module
            for block in blocks
            for module in block.modules()
            if isinstance(module, torch.nn.GroupNorm)
        ]
        self._tiles: dict[torch.nn.GroupNorm, list[tuple[Tensor, Tensor, Tensor]]] = {}
        self._combined: dict[torch.nn.GroupNorm, tuple[Tensor, Tensor]] = {}

    def __enter__(self) -> SharedNorms:
        for norm in self._norms:
            norm.forward = partial(self._apply, norm)  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        for norm in self._norms:
            del norm.forward

    def combine(self) -> None:
        """Combine the statistics of all tiles since the last call."""
        for norm, seen in self._tiles.items():
            share, mean, variance = (torch.stack(part) for part in zip(*seen, strict=True))
            share = (share / share.sum())[:, None]
            middle = (share * mean).sum(0)
            self._combined[norm] = middle, (share * (variance + (mean - middle) ** 2)).sum(0)
        self._tiles.clear()
        self.weight = None

    def _apply(self, norm: torch.nn.GroupNorm, x: Tensor) -> Tensor:
        if self.weight is not None:
            self._tiles.setdefault(norm, []).append(self._measure(norm, x))
        if norm not in self._combined:
            return group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
        mean, variance = (
            part.to(x.dtype).repeat_interleave(x.shape[1] // norm.num_groups).view(1, -1, 1, 1)
            for part in self._combined[norm]
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
