"""Small networks with random weights, and what ComfyUI computes with them."""

from collections.abc import Mapping
from typing import Final

import pytest
from safetensors.torch import load_file
from torch import Tensor

from tests.conftest import SHARED_FLOW

FOLDER: Final = SHARED_FLOW / "networks"
here = pytest.mark.skipif(not FOLDER.exists(), reason="the small networks are not here")


def weights(name: str) -> Mapping[str, Tensor]:
    """Return a network's weights, fp32, by the names in its file."""
    tensors = load_file(FOLDER / f"{name}.safetensors")
    return {key: tensor.float() for key, tensor in tensors.items()}


def answers(name: str) -> Mapping[str, Tensor]:
    """Return inputs and outputs of a network's cases, `CASE.in.NAME` and `CASE.out`."""
    return load_file(FOLDER / f"{name}.io.safetensors")


def told(name: str, case: str) -> dict[str, Tensor]:
    """Return the inputs of one of a network's cases by their names."""
    start = f"{case}.in."
    held = answers(name)
    return {key.removeprefix(start): held[key] for key in held if key.startswith(start)}


def refusals(held: Mapping[str, Tensor], lacking: str) -> Mapping[str, Mapping[str, Tensor]]:
    """Return what a message must name → broken copies of a network's tensors.

    lacking: of a tensor that the configuration does not need.
    """
    some = next(iter(held))
    return {
        lacking: {name: each for name, each in held.items() if not name.endswith(lacking)},
        "lacks the tensor": {some: held[some]},
        "strange": {**held, "strange": held[some]},
        "has the shape": {**held, lacking: held[lacking][:-1]},
    }
