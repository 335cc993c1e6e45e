"""A loaded model: its modules, and the properties of its latents."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import torch
from diffusers.configuration_utils import FrozenDict
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from engine.errors import MissingVae
from engine.loading.noise_schedule import NoiseSchedule
from engine.models.catalogue import Checkpoint

ENCODERS: Final = ("text_encoder", "text_encoder_2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One loaded model: its modules on `device`, the U-Net and text encoder in `dtype`.

    The VAE stays in fp32, where it is safe: in fp16 that of SDXL overflows, and its cost is one
    call a picture.
    """

    checkpoint: Checkpoint
    device: torch.device
    dtype: torch.dtype
    tokenizer: Any
    text_encoder: Any
    tokenizer_2: Any = None
    text_encoder_2: Any = None
    unet: Any
    vae: Any
    noise_schedule: NoiseSchedule
    unread: tuple[str, ...] = ()  # tensors of its file that nothing reads

    @property
    def encoders(self) -> list[tuple[Any, Any]]:
        """Return its text encoders, each with its tokenizer."""
        both = (self.tokenizer, self.text_encoder), (self.tokenizer_2, self.text_encoder_2)
        return [(tokenizer, encoder) for tokenizer, encoder in both if encoder is not None]

    @property
    def latent_channels(self) -> int:
        """Return the number of channels of the latents."""
        return int(self.vae.config.latent_channels)

    @property
    def inpaints(self) -> bool:
        """Return whether the U-Net takes a mask and the masked image beside the noised latents."""
        return int(self.unet.config.in_channels) > self.latent_channels

    @property
    def guidance_width(self) -> int:
        """Return in how many values the U-Net takes its guidance's scale; 0: it is guided."""
        return int(self.unet.config.get("time_cond_proj_dim") or 0)

    @property
    def latent_scale(self) -> int:
        """Return how many pixels one latent spans on each side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))


class NoVae(torch.nn.Module):
    """The VAE of a model whose file holds none: it raises `MissingVae` where one is needed.

    Its configuration is that of the family's latents.
    """

    def __init__(self, name: str, form: Path) -> None:
        super().__init__()
        self.config = FrozenDict(AutoencoderKL.load_config(str(form), subfolder="vae"))
        self._name = name

    def fail(self, *_: Any, **__: Any) -> NoReturn:
        """Raise `MissingVae`."""
        raise MissingVae(self._name)

    encode = decode = fail
