"""Tiny VAEs (TAESD): small convolutional decoders, about a hundred times faster than a VAE.

    vae = read_tiny("taesd", path)      # diffusers' AutoencoderTiny, its decoder alone

The authors' files are lists of layers, `taesd_decoder.safetensors` and an encoder beside it;
diffusers' folders and ComfyUI's joined files use other names for the same layers. The names and
shapes of its tensors show which of these a file is, and for how many channels. It decodes latents
as they are denoised, without the VAE's scaling factor. https://github.com/madebyollin/taesd
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from safetensors.torch import load_file
from torch import Tensor

from engine.device.finite import check_weights
from engine.errors import reading_a
from engine.files.atomic import read_object
from engine.files.safetensors import BadFile, Header, quoted, read_header
from engine.loading.configured import read_folder
from engine.loading.modules import reading
from engine.loading.unused_tensors import check_unused
from engine.models.folders import ModelKind

CLASS: Final = "AutoencoderTiny"
# A decoder's layers in the authors' files, ComfyUI's joined files and diffusers' folders. The first
# two number a clamp before the first layer.
SPELLINGS: Final = (
    (re.compile(r"(\d+)\.(.+)"), 1),
    (re.compile(r"taesd_decoder\.(\d+)\.(.+)"), 1),
    (re.compile(r"decoder\.layers\.(\d+)\.(.+)"), 0),
)
# The first layer's weights, and one that no other list of layers has at its place: the third
# convolution of a block.
FIRST: Final = "layers.0.weight"
BLOCK: Final = "layers.2.conv.4.weight"
# The encoder, and the scaling factors that ComfyUI stores: neither is used to decode.
HARMLESS: Final = re.compile(r"(taesd_)?encoder\.|vae_(scale|shift)$")


def is_tiny(path: Path) -> bool:
    """Whether a file or folder holds a tiny VAE, by its tensors or its configuration."""
    if path.is_dir():
        return read_object(path / "config.json").get("_class_name") == CLASS
    try:
        return _layers(read_header(path)) is not None
    except BadFile:
        return False


@reading_a(ModelKind.TINY_VAE)
def read_tiny(name: str, path: Path) -> AutoencoderTiny:
    """Read a tiny VAE's decoder in fp32, or raise `BrokenModel` with the reason."""
    with reading(name):
        if path.is_dir():
            vae, left = read_folder(AutoencoderTiny, path)
            check_unused(left, HARMLESS)
        else:
            vae = _from_file(path)
    check_weights(name, vae)
    vae.encoder = None
    return vae.float().eval().requires_grad_(False)


def _from_file(path: Path) -> AutoencoderTiny:
    header = read_header(path)
    layers = _layers(header)
    if layers is None:
        raise BadFile("it is no tiny VAE's decoder that Marble knows")
    with torch.device("meta"):
        vae = AutoencoderTiny(latent_channels=header.shape(layers[FIRST])[1])
    vae.encoder = None
    _check_form(header, layers, vae.decoder.state_dict())
    check_unused(header.tensors.keys() - layers.values(), HARMLESS)
    tensors = load_file(path)
    weights = {ours: tensors[theirs].float() for ours, theirs in layers.items()}
    vae.decoder.load_state_dict(weights, assign=True)
    return vae


def _check_form(header: Header, layers: Mapping[str, str], wanted: Mapping[str, Tensor]) -> None:
    for name, weight in wanted.items():
        if name not in layers:
            raise BadFile(f"its weights lack the decoder's {quoted(name)}")
        if header.shape(layers[name]) != tuple(weight.shape):
            raise BadFile(f"the decoder's {quoted(name)} has other sizes than TAESD's")
    if more := layers.keys() - wanted.keys():
        raise BadFile(f"its decoder has {quoted(min(more))}, which TAESD's lacks")


def _layers(header: Header) -> dict[str, str] | None:
    """Return the decoder's tensors, diffusers' names → the file's, or None if there is none."""
    for pattern, clamps in SPELLINGS:
        found = {
            f"layers.{int(match[1]) - clamps}.{match[2]}": theirs
            for theirs in header.tensors
            if (match := pattern.fullmatch(theirs))
        }
        first, block = (header.shape(found.get(name, "")) for name in (FIRST, BLOCK))
        # Of four dimensions, and a block of equal input and output channels.
        if len(first) == 4 and len(block) == 4 and block[:2] == (first[0], first[0]):
            return found
    return None
