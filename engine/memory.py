"""Which models are loaded: by least recent use, within a budget of the device's memory."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Final

import torch

from engine.checkpoints import Catalogue, Checkpoint
from engine.loading import Model
from engine.resident import Measure, Resident

log = logging.getLogger(__name__)

SHARE: Final = 0.8  # of the device's memory that models may take; the rest is for their work


class Residents:
    """Hold the loaded models; the least recently used go when there is no room for a new one."""

    def __init__(
        self,
        catalogue: Catalogue,
        load: Callable[[Checkpoint], Model],
        measure: Measure,
        budget: int,
    ) -> None:
        self._catalogue = catalogue
        self._load = load
        self._measure = measure
        self._budget = budget
        self._residents: OrderedDict[str, Resident] = OrderedDict()

    def get(self, name: str) -> Resident | None:
        """Return a model that is loaded, as the one used last, or None."""
        if name in self._residents:
            self._residents.move_to_end(name)
        return self._residents.get(name)

    def load(self, name: str, in_use: Collection[Resident] = ()) -> Resident | None:
        """Load a model, or raise `UserError`; return None while those in use leave no room.

        A model is loaded in any case when no other is in use.
        """
        checkpoint = self._catalogue.get(name)
        while self._residents and self._used() + size_on_disk(checkpoint) > self._budget:
            idle = [key for key, each in self._residents.items() if each not in in_use]
            if not idle:
                return None
            self._drop(idle[0])
        resident = self._residents[name] = Resident(self._load(checkpoint), self._measure)
        return resident

    def drop_idle(self, in_use: Collection[Resident]) -> int:
        """Drop all models that are not in use; return how many."""
        idle = [key for key, each in self._residents.items() if each not in in_use]
        for name in idle:
            self._drop(name)
        return len(idle)

    def _drop(self, name: str) -> None:
        log.info("the model %r makes room", name)
        del self._residents[name]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _used(self) -> int:
        return sum(each.size for each in self._residents.values())


def size_on_disk(checkpoint: Checkpoint) -> int:
    """Return the bytes of a checkpoint's weights, about what it will take on the device."""
    return sum(file.stat().st_size for file in checkpoint.folder.glob("*/*.safetensors"))


def budget(device: torch.device) -> int:
    """Return the bytes that models may take on a device."""
    if device.type == "cuda":
        return int(SHARE * torch.cuda.get_device_properties(device).total_memory)
    return int(SHARE * _memory())


def _memory() -> int:
    """Return this machine's memory in bytes; 8 GiB where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 8 * 2**30
