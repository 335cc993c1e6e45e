"""Qwen-Image's VAE, which is Wan 2.1's: made for frames, and used for single pictures.

A picture is the first frame, before which there are zeros alone. So of each convolution over three
frames only the last third of its weights counts, and those between frames do not run: what is left
computes the same with a third of the work.

Wan Team (2025), arXiv:2503.20314, section 4.1; Wu et al. (2025), arXiv:2508.02324, section 2.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import (
    AutoencoderKLQwenImage,
    QwenImageCausalConv3d,
    QwenImageResample,
)
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

from engine.device.finite import check_weights
from engine.files.safetensors import BadFile
from engine.loading.configured import read_folder
from engine.loading.modules import fill, read_tensors, reading
from engine.loading.unused_tensors import check_unused

# Modules' names in Wan's files, and diffusers'. Of its lists of layers each has a number.
NAMES: Final = {
    "conv1": "quant_conv", "conv2": "post_quant_conv",
    "encoder.conv1": "encoder.conv_in", "decoder.conv1": "decoder.conv_in",
    "encoder.head.0": "encoder.norm_out", "decoder.head.0": "decoder.norm_out",
    "encoder.head.2": "encoder.conv_out", "decoder.head.2": "decoder.conv_out",
}  # fmt: skip
LAYERS: Final = {
    "residual.0": "norm1", "residual.2": "conv1", "residual.3": "norm2", "residual.6": "conv2",
    "shortcut": "conv_shortcut",
}  # fmt: skip
LAYER: Final = re.compile(r"((?:en|de)coder)\.(downsamples|middle|upsamples)\.(\d+)\.(.+)")


class QwenVae(AutoencoderKLQwenImage):  # type: ignore[misc]
    """The VAE of single pictures, [n, 3, H, W] in −1…1, and latents, [n, 16, H/8, W/8], unscaled.

    `moments` and `features` hold its attention, which sees the whole picture; `shrunk` and `pixels`
    are convolutions.
    """

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """Return the distribution of a picture's latents, as diffusers' VAEs do."""
        return (self.moments(self.shrunk(x)),)

    def decode(self, z: Tensor, return_dict: bool = True) -> Any:
        """Return the pictures of latents, as diffusers' VAEs do."""
        return (self.pixels(self.features(z)).clamp(-1, 1),)

    def shrunk(self, images: Tensor) -> Tensor:
        """Return the features of pictures at the size of latents, [n, C, H/8, W/8]."""
        x = self.encoder.conv_in(images.unsqueeze(2))
        for block in self.encoder.down_blocks:
            x = block(x)
        found: Tensor = x.squeeze(2)
        return found

    def moments(self, shrunk: Tensor) -> DiagonalGaussianDistribution:
        """Return the distribution of latents, of these features."""
        encoder = self.encoder
        x = encoder.nonlinearity(encoder.norm_out(encoder.mid_block(shrunk.unsqueeze(2))))
        return DiagonalGaussianDistribution(self.quant_conv(encoder.conv_out(x)).squeeze(2))

    def features(self, latents: Tensor) -> Tensor:
        """Return features of latents, [n, C, h, w], of which the rest sees no far-off others."""
        x = self.decoder.conv_in(self.post_quant_conv(latents.unsqueeze(2)))
        found: Tensor = self.decoder.mid_block(x).squeeze(2)
        return found

    def pixels(self, features: Tensor) -> Tensor:
        """Return the pictures of features, [n, 3, 8h, 8w]."""
        decoder, x = self.decoder, features.unsqueeze(2)
        for block in decoder.up_blocks:
            x = block(x)
        found: Tensor = decoder.conv_out(decoder.nonlinearity(decoder.norm_out(x)))
        return found.squeeze(2)


class _Convolution(torch.nn.Conv2d):
    """A convolution over the first of the frames, [n, C, 1, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.squeeze(2)).unsqueeze(2)


def read_vae(name: str, path: Path, prefix: str = "") -> QwenVae:
    """Read its file or folder in fp32, or raise `BrokenModel` with the reason.

    prefix: what its tensors' names begin with in a file that holds more.
    """
    with reading(name):
        if path.is_dir():
            module, left = read_folder(QwenVae, path)
            check_unused(left)
            vae = _keep_first_frame(module)
        else:
            whole = read_tensors(name, path, fp8=bool(prefix))  # which other parts may be in
            its = (each for each in whole if each.startswith(prefix))
            vae = vae_of({each.removeprefix(prefix): whole[each] for each in its}).float()
    check_weights(name, vae)
    return vae


def vae_of(tensors: Mapping[str, Tensor]) -> QwenVae:
    """Return the VAE of a file's tensors, by Wan's names or diffusers'.

    Raises `BadFile` where tensors are missing or unknown.
    """
    names = respell(tensors)
    with torch.device("meta"):
        vae = QwenVae(**config_of(names))
    return _keep_first_frame(fill(vae, names))


def _keep_first_frame(vae: Any) -> QwenVae:
    """Keep what computes the first frame, and give what else the weights hold its memory back."""
    for parent in list(vae.modules()):
        if isinstance(parent, QwenImageResample):
            parent.time_conv = None
        for name, child in parent.named_children():
            if isinstance(child, QwenImageCausalConv3d):
                setattr(parent, name, _flat(child))
    # What other VAEs' configurations tell, and by their names for it.
    widths = [vae.config.base_dim * each for each in vae.config.dim_mult]
    vae.register_to_config(latent_channels=vae.config.z_dim, block_out_channels=widths)
    kept: QwenVae = vae
    return kept


def _flat(conv: Any) -> _Convolution:
    weight = conv.weight[:, :, -1].contiguous()
    out, into = weight.shape[:2]
    flat = _Convolution(
        into,
        out,
        conv.kernel_size[1:],
        stride=conv.stride[1:],
        padding=(conv._padding[2], conv._padding[0]),
        device="meta",
    )
    return fill(flat, {"weight": weight, "bias": conv.bias})


def respell(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by diffusers' names, whose decoder has its layers in blocks."""
    enlarging = (
        int(layer[3])
        for name in tensors
        if (layer := LAYER.match(name)) and layer[2] == "upsamples" and "resample" in layer[4]
    )
    last = min(enlarging, default=len(tensors))  # of the layers of a block
    found = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        module = NAMES.get(module, module)
        if layer := LAYER.fullmatch(module):
            side, part, number, rest = layer.groups()
            module = f"{side}.{_place(part, int(number), last)}.{LAYERS.get(rest, rest)}"
        found[f"{module}.{leaf}"] = tensor
    return found


def _place(part: str, number: int, last: int) -> str:
    if part == "downsamples":
        return f"down_blocks.{number}"
    if part == "middle":
        return f"mid_block.{'attentions' if number == 1 else 'resnets'}.{number // 2}"
    block, place = divmod(number, last + 1)
    return f"up_blocks.{block}.{'upsamplers.0' if place == last else f'resnets.{place}'}"


def config_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the configuration by the shapes of its tensors, in diffusers' names."""
    start = "encoder.down_blocks."
    layers = len({name.split(".")[2] for name in tensors if name.startswith(start)})
    shrinking = [n for n in range(layers) if f"{start}{n}.resample.1.weight" in tensors]
    each = (layers - len(shrinking)) // (len(shrinking) + 1)
    try:
        base, channels = tensors["encoder.conv_in.weight"].shape[:2]
        latents = len(tensors["post_quant_conv.weight"])
        firsts = range(0, max(layers, 1), each + 1)
        widths = [len(tensors[f"{start}{number}.conv1.weight"]) for number in firsts]
    except KeyError as error:
        raise BadFile(f"it lacks the tensor {error.args[0]!r} of Qwen-Image's VAE") from None
    return {
        "base_dim": base,
        "z_dim": latents,
        "dim_mult": [width // base for width in widths],
        "num_res_blocks": each,
        "temperal_downsample": [f"{start}{n}.time_conv.weight" in tensors for n in shrinking],
        "input_channels": channels,
    }


def from_vae(vae: Any, mean: Tensor) -> Tensor:
    """Return the latents of what the VAE encodes to, [n, 16, h, w]."""
    middle, spread = _statistics(vae, mean)
    return (mean - middle) / spread


def to_vae(vae: Any, latents: Tensor) -> Tensor:
    """Return what the VAE decodes of latents [n, 16, h, w]."""
    middle, spread = _statistics(vae, latents)
    return latents * spread + middle


def _statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation that its latents had in training, [16, 1, 1]."""
    mean, spread = (
        like.new_tensor(values).view(-1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return mean, spread
