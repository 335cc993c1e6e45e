"""Load each model of a catalogue once, and say which of them cannot be used and why."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import torch

from engine.device.backends import is_out_of_memory
from engine.errors import BrokenModel, OutOfMemory
from engine.loading.loading import load
from engine.models.catalogue import Catalogue, Checkpoint

# On the processor in half precision, a single file's weights stay where they are: mapped.
CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """Say of a model what it is, and what is wrong with it (None: nothing).

    unread: tensors of its file that nothing reads.
    """

    name: str
    checkpoint: Checkpoint | None = None
    problem: str | None = None
    unread: tuple[str, ...] = ()


def examine(catalogue: Catalogue, names: Iterable[str]) -> Iterator[ModelReport]:
    """Load models one after another, and look at every value of their weights."""
    for name in names:
        yield _examine(catalogue, name)
        gc.collect()


def _examine(catalogue: Catalogue, name: str) -> ModelReport:
    checkpoint = None
    try:
        checkpoint = catalogue.get(name)
        unread = load(checkpoint, CPU, torch.float16).unread
    except BrokenModel as error:
        return ModelReport(name=name, checkpoint=checkpoint, problem=error.reason)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"There is not enough memory to check the model {name!r}.") from None
    return ModelReport(name=checkpoint.name, checkpoint=checkpoint, unread=unread)
