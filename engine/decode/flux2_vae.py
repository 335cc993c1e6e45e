"""FLUX.2's VAE: 32 channels; 2 × 2 of its latents, normed, are one of the network's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from diffusers.models.autoencoders.autoencoder_kl_flux2 import AutoencoderKLFlux2
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from engine.device.finite import check_weights
from engine.files.safetensors import BadFile
from engine.loading.configured import read_folder
from engine.loading.makers_names import count
from engine.loading.modules import fill, read_vae_tensors, reading
from engine.loading.unused_tensors import VAE_HARMLESS, check_unused, unused

GROUPS: Final = 32  # of channels, which are normed together
PATCH: Final = 2  # the VAE's latents on each side of one of the network's
# The VAE's latents → red, green and blue in −1…1, and the constant: ComfyUI's numbers.
PREVIEW: Final = (
    (0.0058, 0.0113, 0.0073), (0.0495, 0.0443, 0.0836), (-0.0099, 0.0096, 0.0644),
    (0.2144, 0.3009, 0.3652), (0.0166, -0.0039, -0.0054), (0.0157, 0.0103, -0.0160),
    (-0.0398, 0.0902, -0.0235), (-0.0052, 0.0095, 0.0109), (-0.3527, -0.2712, -0.1666),
    (-0.0301, -0.0356, -0.0180), (-0.0107, 0.0078, 0.0013), (0.0746, 0.0090, -0.0941),
    (0.0156, 0.0169, 0.0070), (-0.0034, -0.0040, -0.0114), (0.0032, 0.0181, 0.0080),
    (-0.0939, -0.0008, 0.0186), (0.0018, 0.0043, 0.0104), (0.0284, 0.0056, -0.0127),
    (-0.0024, -0.0022, -0.0030), (0.1207, -0.0026, 0.0065), (0.0128, 0.0101, 0.0142),
    (0.0137, -0.0072, -0.0007), (0.0095, 0.0092, -0.0059), (0.0000, -0.0077, -0.0049),
    (-0.0465, -0.0204, -0.0312), (0.0095, 0.0012, -0.0066), (0.0290, -0.0034, 0.0025),
    (0.0220, 0.0169, -0.0048), (-0.0332, -0.0457, -0.0468), (-0.0085, 0.0389, 0.0609),
    (-0.0076, 0.0003, -0.0043), (-0.0111, -0.0460, -0.0614), (-0.0329, -0.0718, -0.0851),
)  # fmt: skip


def from_vae(vae: Any, mean: Tensor) -> Tensor:
    """Return the latents, [n, 128, h/2, w/2], of what its VAE encodes to, [n, 32, h, w] fp32."""
    middle, spread = _statistics(vae)
    return (pixel_unshuffle(mean, PATCH) - middle) / spread


def to_vae(vae: Any, latents: Tensor) -> Tensor:
    """Return what its VAE decodes, [n, 32, 2·h, 2·w] fp32, of latents [n, 128, h, w]."""
    middle, spread = _statistics(vae)
    return pixel_shuffle(latents.float() * spread + middle, PATCH)


def preview_map() -> Tensor:
    """Return a linear map from latents and a constant to RGB in −1…1, [129, 3].

    It is the mean of what the four latents of the VAE in each of the network's map to.
    """
    factors = torch.tensor(PREVIEW)
    return torch.cat([factors[:-1].repeat_interleave(PATCH**2, 0) / PATCH**2, factors[-1:]])


def _statistics(vae: Any) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation that its latents had in training, [1, 128, 1, 1]."""
    mean, variance = (
        each.float().view(1, -1, 1, 1) for each in (vae.bn.running_mean, vae.bn.running_var)
    )
    return mean, torch.sqrt(variance + vae.config.batch_norm_eps)


def read_vae(name: str, path: Path, prefix: str = "") -> AutoencoderKLFlux2:
    """Read a VAE's file or folder in fp32, or raise `BrokenModel` with the reason.

    prefix: what its tensors' names begin with in a file that holds more.
    """
    with reading(name):
        if path.is_dir():
            vae, left = read_folder(AutoencoderKLFlux2, path)
            check_unused(left, VAE_HARMLESS)
        else:
            vae = vae_of(read_vae_tensors(name, path, prefix)).float()
    check_weights(name, vae)
    return vae


def vae_of(tensors: Mapping[str, Tensor]) -> AutoencoderKLFlux2:
    """Return the VAE of a file's tensors, by the makers' names or diffusers'; in their memory.

    Raises `BadFile` where tensors are missing or unknown.
    """
    names = dict(tensors)
    if "encoder.conv_norm_out.weight" not in names:  # diffusers' name
        blocks = range(count(tensors, "encoder.down"))
        form = {"down_block_types": blocks, "up_block_types": blocks}
        found = convert_ldm_vae_checkpoint(names, config=form)
        found |= {name: each for name, each in names.items() if name.startswith("bn.")}
        names = {name: each for name, each in found.items() if each is not None}
        check_unused(unused(tensors, names.values()))
    names["bn.num_batches_tracked"] = torch.tensor(0)  # of training, and never read
    with torch.device("meta"):
        vae = AutoencoderKLFlux2(**vae_config_of(names))
    return fill(vae, names)


def vae_config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the VAE's configuration by the shapes of its tensors, in diffusers' names."""
    blocks = range(count(tensors, "encoder.down_blocks"))
    try:
        down, up = (
            [tensors[f"{side}_blocks.{block}.resnets.0.conv1.weight"].shape[0] for block in blocks]
            for side in ("encoder.down", "decoder.up")
        )
        channels = tensors["decoder.conv_in.weight"].shape[1]
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of FLUX.2's VAE") from None
    if narrow := next((width for width in (*down, *up) if width % GROUPS), None):
        raise BadFile(f"one of its layers is {narrow} wide, where a multiple of {GROUPS} is due")
    return {
        "down_block_types": ("DownEncoderBlock2D",) * len(blocks),
        "up_block_types": ("UpDecoderBlock2D",) * len(blocks),
        "block_out_channels": tuple(down),
        "decoder_block_out_channels": tuple(reversed(up)),
        "layers_per_block": count(tensors, "encoder.down_blocks.0.resnets"),
        "latent_channels": channels,
    }
