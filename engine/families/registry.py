"""Which module loads a model: by its family, a file beside this one."""

from importlib import import_module

import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from engine.loading.model import Model
from engine.models.catalogue import Checkpoint


def load(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype | None = None,
    weights_device: torch.device | None = None,
    room: int | None = None,
) -> Model:
    """Load all modules of a checkpoint, or raise `BrokenModel` with the part and the reason.

    dtype: of the network and the text encoders, which a family may replace by one that it needs;
    weights_device: where the weights are kept, if not on the device; room: bytes that they may take
    there (None: all memory): a family whose weights may stay as they are stored, and be cast at
    each use, keeps to it.
    """
    _silence_libraries()
    family = import_module(f"engine.families.{checkpoint.family.module}")
    model: Model = family.load(checkpoint, device, dtype, weights_device, room)
    return model


def _silence_libraries() -> None:
    for logging_of in (diffusers_logging, transformers_logging):
        logging_of.set_verbosity_error()
        logging_of.disable_progress_bar()
