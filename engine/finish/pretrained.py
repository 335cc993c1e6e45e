"""Models of transformers by their folder or their name on the hub: safetensors, without code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoImageProcessor
from transformers.utils import logging as transformers_logging

# What is asked of every loader; the weights are in safetensors, and nothing of a model is run.
WEIGHTS: Final[dict[str, Any]] = {
    "use_safetensors": True,
    "dtype": torch.float32,
    "output_loading_info": True,
}


def source_of(name: str) -> dict[str, Any]:
    """Return what transformers' loaders take for a folder, or for `owner/name[@revision]`.

    Raises `ValueError` for what is neither.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    path = Path(name).expanduser()
    if path.is_dir():
        source, revision = str(path.absolute()), ""
    else:
        source, _, revision = name.partition("@")
        if path.is_absolute() or source.count("/") != 1 or source.startswith((".", "~")):
            raise ValueError("there is no such folder")
    found = {"pretrained_model_name_or_path": source, "trust_remote_code": False}
    return found if path.is_dir() else {**found, "revision": revision or "main"}


def load_processor(source: dict[str, Any]) -> Any:
    """Load what brings pictures to a model's size and range."""
    # The default backend needs torchvision, which Marble does not use.
    return AutoImageProcessor.from_pretrained(**source, backend="pil")


def check_complete(missing: set[str]) -> None:
    """Raise `ValueError` where weights are missing: they would be random."""
    if missing:
        raise ValueError(f"its file lacks {sorted(missing)[0]} and {len(missing) - 1} more")
