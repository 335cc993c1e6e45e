"""Offloading: all of a model's parts on the device, or one at a time where memory is short.

Of a part that does not fit by itself, a few blocks at a time (`engine.device.groups`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, Final, TypeVar

import torch

from engine.device.backends import empty_cache, is_out_of_memory
from engine.device.groups import Grouped
from engine.device.out_of_memory import Shortages
from engine.device.tensor_bytes import module_bytes
from engine.models.parts import ENCODER, NETWORK

log = logging.getLogger(__name__)

# What is used together; ControlNets go with the network, other VAEs with the VAE.
TEXT: Final = ENCODER
VAE: Final = "vae"
PARTS: Final = (TEXT, NETWORK, VAE)

T = TypeVar("T")


class Placement:
    """Move the part of an offloaded model that is used next to its device.

    modules: returns a part's current modules; name: of the model, the key of its shortage;
    in_turns: all parts are known not to fit together, so that it stays offloaded; by_groups: the
    parts of such a model that do not fit by themselves.
    """

    def __init__(
        self,
        device: torch.device,
        modules: Callable[[str], Sequence[Any]],
        name: Hashable,
        short: Shortages,
        *,
        offloaded: bool,
        in_turns: bool = False,
        by_groups: Collection[str] = (),
    ) -> None:
        self._device = device
        self.modules = modules
        self._short = short
        self._key = name, "offloaded"
        self.offloaded = offloaded
        self.in_turns = in_turns
        self.present: str | None = None  # the part on the device, when offloaded
        self.away: set[str] = set()  # the parts that left it, when not offloaded
        self._grouped = {
            module: Grouped(module, device) for part in by_groups for module in modules(part)
        }
        if offloaded:
            short.add(self._key)

    def size_of(self, part: str) -> int:
        """Return the bytes that a part takes on the device."""
        sizes = (
            self._grouped[module].size if module in self._grouped else module_bytes([module])
            for module in self.modules(part)
        )
        return sum(sizes)

    def offload(self, way: Callable[[], T]) -> T:
        """Call `way` with one part on the device at a time; stay so while memory is short."""
        self.offloaded = True
        self.away.clear()
        self._short.add(self._key)
        return way()

    def move_to_device(self, part: str) -> None:
        """Move a part to the device, unless it is there."""
        if not self.offloaded:
            if part in self.away:
                self._move(part, here=True)
                self.away.discard(part)
            return
        if self.present == part:
            return
        self.present = None  # until done: a move that fails leaves a part in two places
        for other in PARTS:
            if other != part:
                self._move(other, here=False)
        self._move(part, here=True)
        self.present = part
        empty_cache()

    def send_away(self, part: str) -> None:
        """Move a part to main memory until it is used next, if not offloaded."""
        if not self.offloaded and part not in self.away:
            self.away.add(part)  # first: a move that fails leaves it in two places
            self._move(part, here=False)
            empty_cache()

    def move_back(self) -> None:
        """Move all parts back once the shortage has expired, if they fit."""
        if not self.offloaded or self.in_turns or self._key in self._short:
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
                self._move(part, here=True)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        return True

    def _move(self, part: str, *, here: bool) -> None:
        """Move a part to the device, or to main memory."""
        for module in self.modules(part):
            if grouped := self._grouped.get(module):
                grouped.come() if here else grouped.leave()
            else:
                module.to(self._device if here else torch.device("cpu"))
