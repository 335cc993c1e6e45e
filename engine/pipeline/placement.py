"""Where a model's parts lie: all on the device, or one at a time where there is no room for all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, TypeVar

import torch

from engine.device.backends import empty_cache, is_out_of_memory
from engine.device.out_of_memory import Shortages

log = logging.getLogger(__name__)

# What works at one time, by its first module; controls work with the U-Net, other VAEs with the
# VAE.
PARTS: Final = {
    "text_encoder": ("text_encoder", "text_encoder_2"),
    "unet": ("unet",),
    "vae": ("vae",),
}

T = TypeVar("T")


class Placement:
    """Bring the part of a model that is to work to its device, when not all of them can be there.

    modules: returns what a part consists of by now; name: what tells the model from others.
    """

    def __init__(
        self,
        device: torch.device,
        modules: Callable[[str], Sequence[Any]],
        name: Hashable,
        short: Shortages,
        *,
        offloaded: bool,
    ) -> None:
        self._device = device
        self.modules = modules
        self._short = short
        self._key = name, "offloaded"
        self.offloaded = offloaded
        self.present: str | None = None  # the part on the device, when offloaded
        if offloaded:
            short.add(self._key)

    def offload(self, way: Callable[[], T]) -> T:
        """Do something with one part on the device at a time, and leave it so for a while."""
        self.offloaded = True
        self._short.add(self._key)
        return way()

    def bring(self, part: str) -> None:
        """See that a part is on the device."""
        if not self.offloaded or self.present == part:
            return
        self.present = None  # until all is done: a move that fails leaves a part in two places
        for other in PARTS:
            if other != part:
                self._move(other, torch.device("cpu"))
        self._move(part, self._device)
        self.present = part
        empty_cache()

    def settle(self) -> None:
        """Bring all parts back once what had no room beside them is a while ago, if they fit."""
        if not self.offloaded or self._key in self._short:
            return
        self.present = None
        if self._all_fit():
            self.offloaded = False
            log.info("all parts of the model are on the device again")
        else:
            self._short.add(self._key)
            empty_cache()

    def _all_fit(self) -> bool:
        try:
            for part in PARTS:
                self._move(part, self._device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        return True

    def _move(self, part: str, device: torch.device) -> None:
        for module in self.modules(part):
            module.to(device)
