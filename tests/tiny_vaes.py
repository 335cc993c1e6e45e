"""Write tiny VAEs of TAESD's true form with random weights, in each of the forms that are about."""

from pathlib import Path
from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from torch import Tensor, nn

from tests.loras import save

WIDTH: Final = 64


class Clamp(nn.Module):
    """Keep latents within ±3, as TAESD's first layer does."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    """Add three convolutions' answer to x."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(), nn.ReLU(), _conv(), nn.ReLU(), _conv())

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = torch.relu(self.conv(x) + x)
        return result


def _conv(into: int = WIDTH, out: int = WIDTH, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, padding=1, bias=bias)


def makers_decoder(channels: int = 4, seed: int = 0) -> nn.Sequential:
    """Return TAESD's decoder as its makers describe it: latents → RGB in 0…1."""
    layers: list[nn.Module] = [Clamp(), _conv(channels), nn.ReLU()]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(3):
            layers += [Block(), Block(), Block(), nn.Upsample(scale_factor=2), _conv(bias=False)]
        layers += [Block(), _conv(out=3)]
        decoder = nn.Sequential(*layers)
        for weight in decoder.parameters():  # pictures with contrast, as a trained one's
            weight.data = torch.randn(weight.shape) * (0.04 if weight.ndim > 1 else 0.1)
    return decoder.eval().requires_grad_(False)


def write_makers(folder: Path, decoder: nn.Sequential, name: str = "taesd") -> Path:
    """Write a decoder as its makers do, and something of an encoder beside it."""
    save(folder / f"{name}_encoder.safetensors", {"0.weight": torch.zeros(WIDTH, 3, 3, 3)})
    return save(folder / f"{name}_decoder.safetensors", decoder.state_dict())


def write_joined(path: Path, decoder: nn.Sequential) -> Path:
    """Write a decoder as part of one file, as ComfyUI joins it with the encoder."""
    state = {f"taesd_decoder.{name}": value for name, value in decoder.state_dict().items()}
    return save(path, {**state, "vae_scale": torch.tensor(1.0)})


def in_diffusers(decoder: nn.Sequential) -> Any:
    """Return diffusers' module with a decoder's weights; the encoder's are random."""
    weights = decoder.state_dict()
    vae = AutoencoderTiny(latent_channels=weights["1.weight"].shape[1])
    split = {name: name.partition(".") for name in weights}
    state = {
        f"layers.{int(number) - 1}.{rest}": weights[name]
        for name, (number, _, rest) in split.items()
    }
    vae.decoder.load_state_dict(state)
    return vae.eval().requires_grad_(False)
