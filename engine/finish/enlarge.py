"""Make finished pictures larger, and latents before a second pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from engine.device.out_of_memory import Ladder, Rung, Way
from engine.device.tensor_bytes import file_bytes
from engine.events import Stage
from engine.finish.upscale import Upscaler, enlarge, load_upscaler
from engine.models.model_files import ModelFiles
from engine.pictures.images import LANCZOS as FILTER

Pixels = npt.NDArray[np.uint8]


class Enlarger:
    """Enlarge pictures by upscalers; the one used last stays loaded.

    `make_room` is told how many bytes the next one has before it is loaded.
    """

    def __init__(self, model_files: ModelFiles, device: torch.device, ladder: Ladder) -> None:
        self._model_files = model_files
        self._device = device
        self._ladder = ladder
        self._loaded: tuple[str, Upscaler] | None = None
        self.make_room: Callable[[int], object] = lambda size: None

    @property
    def size(self) -> int:
        """Return the bytes that the upscaler takes that is loaded."""
        return self._loaded[1].size if self._loaded else 0

    def drop(self) -> None:
        """Let go of the upscaler; the next picture loads it again."""
        self._loaded = None

    def __call__(self, pixels: Pixels, width: int, height: int, by: str) -> Pixels:
        """Bring pixels [H, W, 3], uint8, to another size by Lanczos' filter or an upscaler.

        Raises `UnknownPart`, `BrokenModel` or `OutOfMemory`.
        """
        path = self._model_files.get(by)
        if path is None:
            return np.asarray(Image.fromarray(pixels).resize((width, height), FILTER))

        def way() -> Tensor:
            if self._loaded is None or self._loaded[0] != by:
                self._loaded = None  # two at once may not fit
                self.make_room(file_bytes(path))
                self._loaded = by, load_upscaler(by, path, self._device)
            image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
            return enlarge(image, width, height, self._loaded[1])

        ways: list[Way[Tensor]] = [(None, way), (Rung.EMPTY_CACHE, way)]
        large = self._ladder.climb(Stage.UPSCALE, ways)
        array: Pixels = (large[0].permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy()
        return array


def resize_latents(latents: Tensor, height: int, width: int) -> Tensor:
    """Bring latents [1, C, h, w] to another size, taking the nearest (as ComfyUI's default does).

    Means of neighbouring latents decode to blurs which low strengths do not mend.
    """
    return torch.nn.functional.interpolate(latents, size=(height, width), mode="nearest-exact")
