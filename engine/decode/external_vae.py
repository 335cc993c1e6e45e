"""External VAEs: those that recipes name, in place of the model's own."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

from engine.decode.tiny_vae import is_tiny, read_tiny
from engine.device.backends import layout
from engine.device.finite import check_weights
from engine.device.tensor_bytes import file_bytes, module_bytes
from engine.errors import BrokenModel, MissingVae, UnknownPart, reading_a
from engine.files.safetensors import as_broken_model
from engine.loading.configured import read_folder, read_part
from engine.loading.model import Model, NoVae
from engine.loading.modules import read_vae_tensors, reading
from engine.loading.unused_tensors import VAE_HARMLESS, check_unused, left_in_vae
from engine.models.control_files import read_config
from engine.models.families import TINY_VAES
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.models.name_matching import stem
from engine.models.part_kinds import KINDS, SD, VAE, instead, told
from engine.models.parts import read_part as read_headers
from engine.models.supported import check_vae as check_config
from engine.sentences import fill

log = logging.getLogger(__name__)

KEPT: Final = 2  # external VAEs that stay loaded


class ExternalVaes:
    """The external VAEs of one model: the `KEPT` most recently used stay loaded.

    make_room: called with the bytes of a file before it is loaded.
    """

    def __init__(
        self,
        model: Model,
        model_files: ModelFiles,
        make_room: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._model = model
        self._model_files = model_files
        self._make_room = make_room
        self._models: OrderedDict[str, Model] = OrderedDict()  # the model with each VAE
        self._tiny_vae: AutoencoderTiny | None = None

    @property
    def size(self) -> int:
        """Return the bytes of the loaded VAEs, with the tiny one for previews."""
        tiny = self._tiny_vae
        return module_bytes(self.modules if tiny is None else [*self.modules, tiny])

    @property
    def modules(self) -> list[Any]:
        """Return the loaded VAEs."""
        return [model.vae for model in self._models.values()]

    def encoder(self, name: str | None) -> Model:
        """Return the model with the VAE that encodes where the VAE of that name decodes.

        For a tiny VAE, which has no encoder, that is the model's own. Raises as `decoder` does.
        """
        model = self.decoder(name)
        return self.decoder(None) if isinstance(model.vae, AutoencoderTiny) else model

    def load_tiny(self) -> AutoencoderTiny | None:
        """Load the tiny VAE of the model's family, for previews; None where there is none."""
        name = self._model.checkpoint.family.tiny_vae
        if name is None:
            return None
        try:
            vae = self._tiny(name, self._model_files.path(name))
        except UnknownPart:
            return None
        except BrokenModel as error:
            log.warning("previews do not use it: %s", error)
            return None
        self._tiny_vae = vae.to(self._model.dtype)
        return self._tiny_vae

    def for_previews(self) -> Model:
        """Return the model with its own VAE, or with the last one used where it has none."""
        if isinstance(self._model.vae, NoVae) and self._models:
            return self._models[next(reversed(self._models))]
        return self._model

    def decoder(self, name: str | None) -> Model:
        """Return the model with the VAE of that name, loaded if need be (None: its own).

        Raises `UnknownPart`, `MissingVae`, or `BrokenModel` with the reason.
        """
        if name is None:
            if isinstance(self._model.vae, NoVae):
                raise MissingVae(self._model.checkpoint.name, self._model_files.names())
            return self._model
        if name not in self._models:
            path = self._model_files.path(name)
            self._make_room(file_bytes(path))
            self._models[name] = replace(self._model, vae=self._load(name, path))
            if len(self._models) > KEPT:
                self._models.popitem(last=False)
        self._models.move_to_end(name)
        return self._models[name]

    @reading_a(ModelKind.VAE)
    def _load(self, name: str, path: Path) -> Any:
        if is_tiny(path):
            return self._tiny(name, path)
        parts = dict(self._model.checkpoint.family.parts)
        # Of U-Nets some have latents of their own.
        if parts or self._model.latent_channels == 4:
            needed = KINDS[parts.get(VAE, SD)]
            with as_broken_model(name):
                its = told(VAE, read_headers(path).tensors)
            if its and not its.is_a(needed):
                raise BrokenModel(name, f"it {instead(its, needed)}.")
        return self._fit(name, self._model.read_vae(name, path))

    def _tiny(self, name: str, path: Path) -> AutoencoderTiny:
        family = self._model.checkpoint.family
        if stem(name).lower() in TINY_VAES - {family.tiny_vae}:
            # The shapes are the same, the colours are not.
            raise BrokenModel(name, f"it does not decode what {family.title} models draw.")
        return self._fit(name, read_tiny(name, path))

    def _fit(self, name: str, vae: Any) -> Any:
        its, own = (each.config.latent_channels for each in (vae, self._model.vae))
        if its != own:
            what = "its latents have {its} {its:channel|channels}, the model's {own}."
            raise BrokenModel(name, fill(what, its=its, own=own))
        made = vae.to(self._model.device).eval().requires_grad_(False)
        return made.to(memory_format=layout(self._model.device))


def read_vae(name: str, path: Path, config: Path, prefix: str = "") -> AutoencoderKL:
    """Read a VAE's file or folder in fp32, or raise `BrokenModel` with the reason.

    config: the folder of configurations of its family, for single files; prefix: what its tensors'
    names begin with in a file that holds more.
    """
    with reading(name):
        if path.is_dir():
            check_config(read_config(name, path))
            vae, left = read_folder(AutoencoderKL, path)
            check_unused(left, VAE_HARMLESS)
        else:
            tensors = read_vae_tensors(name, path, prefix)
            with torch.device("meta"):
                form = AutoencoderKL.from_config(AutoencoderKL.load_config(config / "vae"))
            check_unused(left_in_vae(tensors, form))
            vae = read_part(AutoencoderKL, tensors, config, "vae")
    check_weights(name, vae)
    return vae
