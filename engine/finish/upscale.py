"""Larger pictures: by Lanczos' filter at once, or by a network of ESRGAN's kind.

The networks are spandrel's, which tells an upscaler's form from its weights. Its package asks for
torchvision, which only two of its forty forms need, none of them an upscaler: it is installed
without (`pip install --no-deps spandrel`), and imported with a stand-in for those two.
"""

from __future__ import annotations

import logging
import sys
from functools import cache
from importlib import import_module
from math import ceil, lcm
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from engine.device.backends import CUDA
from engine.device.finite import are_finite, check_weights
from engine.device.tensor_bytes import module_bytes
from engine.errors import BrokenModel, NotFinite
from engine.loading.modules import reading
from engine.pictures.tiles import Tiling, tiled

log = logging.getLogger(__name__)

TILE: Final = 256  # pixels; a fourfold tile then takes about 1 GB at most
OVERLAP: Final = 48
WIDEST: Final = 64  # pixels of a window that tiles are aligned to
# What is imported of torchvision, and where from.
ABSENT: Final = {
    "torchvision": (),
    "torchvision.transforms": (),
    "torchvision.transforms.functional": ("InterpolationMode", "normalize", "rotate"),
}


class Upscaler:
    """Hold a loaded network that makes pictures `scale` times as wide and high."""

    def __init__(self, name: str, descriptor: Any, device: torch.device) -> None:
        self.name = name
        half = device.type == CUDA and descriptor.supports_half
        self.dtype = torch.float16 if half else torch.float32
        self.device = device
        self.scale = int(descriptor.scale)
        self.unit = _unit(descriptor)
        self._network = descriptor.to(device, self.dtype).eval()
        self._network.model.requires_grad_(False)

    @property
    def size(self) -> int:
        """Return the bytes that its weights take."""
        return module_bytes([self._network.model])

    def __call__(self, image: Tensor, tile: int = TILE, overlap: int = OVERLAP) -> Tensor:
        """Enlarge an image [1, 3, H, W], fp32 in 0…1, to [1, 3, scale·H, scale·W], tile by tile.

        A network whose values overflow in fp16 works in fp32 from then on. Raises `NotFinite` where
        they are no numbers in fp32 either.
        """
        height, width = image.shape[2:]
        tiling = Tiling(
            tile=max(2, tile // self.unit),
            overlap=ceil(overlap / self.unit),
            inside=self.unit,
            outside=self.unit * self.scale,
        )
        large = tiled(self._call, _padded(image, self.unit), tiling)
        if not all(are_finite([large])):
            if self.dtype is torch.float32:
                raise NotFinite.in_upscaler(self.name)
            log.warning(
                "the upscaler %r overflows in fp16; it works in fp32 from now on", self.name
            )
            self.dtype = torch.float32
            self._network.to(self.device, self.dtype)
            return self(image, tile, overlap)
        return large[..., : height * self.scale, : width * self.scale]

    def _call(self, tile: Tensor) -> Tensor:
        answer: Tensor = self._network(tile.to(self.device, self.dtype))
        return answer


def load_upscaler(name: str, path: Path, device: torch.device) -> Upscaler:
    """Load an upscaler's safetensors file, or raise `BrokenModel` with the reason."""
    try:
        spandrel = _spandrel()
    except ImportError:
        reason = "spandrel is not installed: pip install --no-deps spandrel einops"
        raise BrokenModel(name, f"{reason}.") from None
    with reading(name):
        weights = spandrel.canonicalize_state_dict(load_file(path))
        try:
            descriptor = spandrel.MAIN_REGISTRY.load(weights)
        except spandrel.UnsupportedModelError:
            raise BrokenModel(name, "it is of no form that spandrel knows.") from None
    _check(name, descriptor)
    check_weights(name, descriptor.model)
    return Upscaler(name, descriptor, device)


def enlarge(image: Tensor, width: int, height: int, upscaler: Upscaler | None = None) -> Tensor:
    """Bring an image [1, 3, H, W], fp32 in 0…1, to a size in pixels.

    An upscaler is run, twice where once is not enough, until the image is as large as wanted;
    Lanczos' filter does the rest, or without an upscaler all of it.
    """
    while upscaler and (image.shape[3] < width or image.shape[2] < height):
        image = upscaler(image)
    return lanczos(image, width, height)


def lanczos(image: Tensor, width: int, height: int) -> Tensor:
    """Resize an image [1, C, H, W], fp32 in 0…1, by Lanczos' filter of three lobes."""
    if tuple(image.shape[2:]) == (height, width):
        return image
    channels = [
        # Pillow's only mode for fractions has one channel.
        Image.fromarray(np.ascontiguousarray(channel)).resize(
            (width, height), Image.Resampling.LANCZOS
        )
        for channel in image[0].float().cpu().numpy()
    ]
    resized = torch.from_numpy(np.stack([np.asarray(channel) for channel in channels]))
    return resized.clamp(0, 1)[None]  # the filter overshoots at edges


def _padded(image: Tensor, unit: int) -> Tensor:
    """Return an image whose sides are whole units, its right and lower edges mirrored."""
    height, width = image.shape[2:]
    below, right = -height % unit, -width % unit
    mirrored = below < height and right < width
    return torch.nn.functional.pad(
        image, (0, right, 0, below), "reflect" if mirrored else "replicate"
    )


def _unit(descriptor: Any) -> int:
    """Return of how many pixels tiles must begin at a multiple: windows of attention are counted
    from a corner, and through a moved one a network sees something else.
    """
    found = {int(descriptor.size_requirements.multiple_of)}
    for module in descriptor.model.modules():
        for name in ("window_size", "split_size"):
            value = getattr(module, name, 1)
            found.update(value if isinstance(value, (tuple, list)) else [value])
    unit = lcm(*found)
    return unit if 0 < unit <= WIDEST else int(descriptor.size_requirements.multiple_of)


def _check(name: str, descriptor: Any) -> None:
    if getattr(descriptor, "purpose", None) not in ("SR", "FaceSR") or descriptor.scale < 2:
        raise BrokenModel(name, "it does not enlarge pictures.")
    if (descriptor.input_channels, descriptor.output_channels) != (3, 3):
        raise BrokenModel(name, "it does not take pictures in colour.")


@cache
def _spandrel() -> Any:
    """Import spandrel; torchvision's stand-in is gone again when this returns."""
    if "torchvision" in sys.modules:
        return import_module("spandrel")
    for name, values in ABSENT.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(dict.fromkeys(values))
    try:
        return import_module("spandrel")
    finally:
        for name in ABSENT:
            del sys.modules[name]
