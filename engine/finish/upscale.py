"""Upscaling: by Lanczos' filter, or by a network such as ESRGAN; and of latents.

spandrel recognises a network's architecture from its weights. It depends on torchvision, which only
two of its forty architectures use, neither of them an upscaler: it is installed without
dependencies (`pip install --no-deps spandrel`) and imported with a stand-in for torchvision.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from math import ceil, lcm
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from engine.device.backends import CUDA
from engine.device.finite import are_finite, check_weights
from engine.device.out_of_memory import Ladder
from engine.device.tensor_bytes import file_bytes, module_bytes
from engine.errors import BrokenModel, NotFinite, reading_a
from engine.events import Stage
from engine.loading.modules import reading
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.pictures.images import LANCZOS
from engine.pictures.tiles import Tiling, tiled
from engine.sentences import Sentence

log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]

TILE: Final = 256  # pixels; a fourfold tile then takes about 1 GB at most
OVERLAP: Final = 48
WIDEST: Final = 64  # pixels of an attention window that tiles are aligned to, at most
# What is imported of torchvision, and where from.
ABSENT: Final = {
    "torchvision": (),
    "torchvision.transforms": (),
    "torchvision.transforms.functional": ("InterpolationMode", "normalize", "rotate"),
}


class Upscaler:
    """Upscale pictures by any named upscale model; the last one used stays loaded.

    make_room: called with the bytes of the next one before it is loaded.
    """

    def __init__(self, model_files: ModelFiles, device: torch.device, ladder: Ladder) -> None:
        self._model_files = model_files
        self._device = device
        self._ladder = ladder
        self._loaded: UpscaleModel | None = None
        self.make_room: Callable[[int], object] = lambda size: None

    @property
    def size(self) -> int:
        """Return the bytes of the loaded model."""
        return self._loaded.size if self._loaded else 0

    def drop(self) -> None:
        """Unload the model; the next picture loads it again."""
        self._loaded = None

    def __call__(self, pixels: Pixels, width: int, height: int, by: str) -> Pixels:
        """Resize pixels [H, W, 3], uint8; by: an upscale model's name, or Lanczos' filter.

        Raises `UnknownPart`, `BrokenModel` or `OutOfMemory`.
        """
        path = self._model_files.get(by)
        if path is None:
            return np.asarray(Image.fromarray(pixels).resize((width, height), LANCZOS))

        def way() -> Tensor:
            if self._loaded is None or self._loaded.name != by:
                self._loaded = None  # two at once may not fit
                self.make_room(file_bytes(path))
                self._loaded = load_upscale_model(by, path, self._device)
            image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
            return upscale(image, width, height, self._loaded)

        large = self._ladder.run(Stage.UPSCALE, way)
        array: Pixels = (large[0].permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy()
        return array


class UpscaleModel:
    """A loaded network that makes pictures `scale` times as wide and high."""

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
        """Upscale an image [1, 3, H, W], fp32 in 0…1, to [1, 3, scale·H, scale·W], in tiles.

        A network whose values overflow in fp16 runs in fp32 from then on. Raises `NotFinite` where
        values are not finite in fp32 either.
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
                raise NotFinite(Sentence("not_finite_upscaler", name=self.name))
            log.warning("the upscaler %r overflows in fp16; it now runs in fp32", self.name)
            self.dtype = torch.float32
            self._network.to(self.device, self.dtype)
            return self(image, tile, overlap)
        return large[..., : height * self.scale, : width * self.scale]

    def _call(self, tile: Tensor) -> Tensor:
        answer: Tensor = self._network(tile.to(self.device, self.dtype))
        return answer


@reading_a(ModelKind.UPSCALER)
def load_upscale_model(name: str, path: Path, device: torch.device) -> UpscaleModel:
    """Load an upscale model's safetensors file, or raise `BrokenModel` with the reason."""
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
    if getattr(descriptor, "purpose", None) not in ("SR", "FaceSR") or descriptor.scale < 2:
        raise BrokenModel(name, "it does not enlarge pictures.")
    if (descriptor.input_channels, descriptor.output_channels) != (3, 3):
        raise BrokenModel(name, "it does not take pictures in colour.")
    check_weights(name, descriptor.model)
    return UpscaleModel(name, descriptor, device)


def upscale(image: Tensor, width: int, height: int, model: UpscaleModel) -> Tensor:
    """Resize an image [1, 3, H, W], fp32 in 0…1, to a larger size in pixels.

    The model is run until the image is at least that large; Lanczos' filter does the rest.
    """
    while image.shape[3] < width or image.shape[2] < height:
        image = model(image)
    return lanczos(image, width, height)


def upscale_latents(latents: Tensor, height: int, width: int) -> Tensor:
    """Resize latents [1, C, h, w] by nearest neighbour, as ComfyUI does by default.

    Means of neighbouring latents decode to blurs that low strengths do not remove.
    """
    return torch.nn.functional.interpolate(latents, size=(height, width), mode="nearest-exact")


def lanczos(image: Tensor, width: int, height: int) -> Tensor:
    """Resize an image [1, C, H, W], fp32 in 0…1, by Lanczos' filter of three lobes."""
    if tuple(image.shape[2:]) == (height, width):
        return image
    channels = [
        # Pillow's only mode for fractions has one channel.
        Image.fromarray(np.ascontiguousarray(channel)).resize((width, height), LANCZOS)
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
    """Return the pixels whose multiples tiles must begin at: windows of attention are counted from
    a corner, so a shifted tile would give another result.
    """
    found = {int(descriptor.size_requirements.multiple_of)}
    for module in descriptor.model.modules():
        for name in ("window_size", "split_size"):
            value = getattr(module, name, 1)
            found.update(value if isinstance(value, (tuple, list)) else [value])
    unit = lcm(*found)
    return unit if 0 < unit <= WIDEST else int(descriptor.size_requirements.multiple_of)


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
