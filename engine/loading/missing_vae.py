"""The VAE of a model whose file holds none: it raises `MissingVae` where one is needed."""

from pathlib import Path
from typing import Any, NoReturn

import torch
from diffusers.configuration_utils import FrozenDict
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from engine.errors import MissingVae


class NoVae(torch.nn.Module):
    """A family's configuration of latents; encoding and decoding raise `MissingVae`."""

    def __init__(self, name: str, form: Path) -> None:
        super().__init__()
        self.config = FrozenDict(AutoencoderKL.load_config(str(form), subfolder="vae"))
        self._name = name

    def fail(self, *_: Any, **__: Any) -> NoReturn:
        """Raise `MissingVae`."""
        raise MissingVae(self._name)

    encode = decode = fail
