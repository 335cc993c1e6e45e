"""Check models by loading each once."""

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

# On the CPU in half precision, a single file's weights stay memory-mapped.
CPU: Final = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """The result of a model's check; problem: None if it can be used.

    unread: tensors of its file that are not used.
    """

    name: str
    checkpoint: Checkpoint | None = None
    problem: str | None = None
    unread: tuple[str, ...] = ()


def examine(catalogue: Catalogue, names: Iterable[str]) -> Iterator[ModelReport]:
    """Load models one after another, and check every value of their weights."""
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
