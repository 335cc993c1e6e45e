"""The small networks with random weights that ComfyUI's answers are known of."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from engine.loading.makers_names import Names
from tests.conftest import SHARED_FLOW

needs_networks = pytest.mark.skipif(
    not SHARED_FLOW.exists(), reason="the small networks of the flow models are not here"
)
PREFIX = "model.diffusion_model."


@lru_cache
@torch.inference_mode(False)  # the first test that asks may be inside
def weights(name: str) -> Mapping[str, Tensor]:
    """Return a network's weights by the names of its file, fp32."""
    tensors = load_file(SHARED_FLOW / "networks" / f"{name}.safetensors")
    return {each: tensor.float() for each, tensor in tensors.items()}


@lru_cache
def answers(name: str) -> Mapping[str, Tensor]:
    """Return inputs and ComfyUI's outputs, as `CASE.in.NAME` and `CASE.out`."""
    return load_file(SHARED_FLOW / "networks" / f"{name}.io.safetensors")


def told(name: str, case: str) -> dict[str, Tensor]:
    """Return the inputs of one of a network's cases by their names."""
    start = f"{case}.in."
    held = answers(name)
    return {key.removeprefix(start): held[key] for key in held if key.startswith(start)}


def refusals(held: Mapping[str, Tensor], lacking: str) -> Mapping[str, Mapping[str, Tensor]]:
    """Return what a message must name → broken copies of a network's tensors.

    lacking: a tensor that the configuration does not need.
    """
    some = next(iter(held))
    return {
        lacking: {name: each for name, each in held.items() if name != lacking},
        "lacks the tensor": {some: held[some]},
        "strange": {**held, "strange": held[some]},
        "has the shape": {**held, lacking: held[lacking][:-1]},
    }


def names_in_loras(family: Any, modules: Iterable[str]) -> Names:
    """Return the table by which LoRA files mean the modules of a family's network."""
    if hasattr(family, "names_of"):
        names: Names = family.names_of(modules)
        return names
    names = getattr(family, "LORA_NAMES", family.NAMES)
    return names


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return tensors whose names all have a prefix, or none where it is empty."""
    return {f"{prefix}{name.removeprefix(PREFIX)}": each for name, each in tensors.items()}


def apart(found: Tensor, due: Tensor) -> float:
    """Return the greatest difference."""
    return float((found - due).abs().max())
