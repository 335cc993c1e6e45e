"""Networks of true size, without values, by the names and shapes of the makers' files."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
import torch
from torch import Tensor

from engine.families import chroma, flux, flux2
from tests.conftest import SHARED_FLOW

TABLES: Final = SHARED_FLOW / "signatures.json"
NETWORKS: Final[dict[str, Callable[[Mapping[str, Tensor]], Any]]] = {
    "flux_dev": flux.network_of,
    "flux_schnell": flux.network_of,
    "flux_fill": flux.network_of,
    "flux_depth_or_canny": flux.network_of,
    "flux2_dev": flux2.network_of,
    "chroma": chroma.network_of,
}

pytestmark = pytest.mark.skipif(not TABLES.exists(), reason="the files' signatures are not here")


def tensors(listed: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return all tensors of a file of which blocks are listed once each."""
    blocks = {f"{start}.0.": count for start, count in listed["blocks"].items()}
    blocks["distilled_guidance_layer.layers.0."] = 1
    found = {}
    for name, shape in listed["tensors"].items():
        start = next((start for start in blocks if name.startswith(start)), "")
        for number in range(blocks.get(start, 1)):
            place = start.replace(".0.", f".{number}.")
            found[place + name.removeprefix(start)] = torch.empty(shape, device="meta")
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_of_true_size_is_read(name: str) -> None:
    listed = json.loads(TABLES.read_text())["diffusion_models"][name]
    held = tensors(listed)
    assert len(held) == listed["tensor_count"]
    network = NETWORKS[name](held)
    assert sum(each.numel() for each in network.parameters()) == listed["parameters"]
    side = network.config.attention_head_dim
    assert side == 128
    assert network.config.axes_dims_rope == ((32,) * 4 if name == "flux2_dev" else (16, 56, 56))
