"""LoRA files of several trainers on small networks, held to ComfyUI's outputs with them."""

from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from engine.families import chroma, flux, flux2
from engine.loading.lora_file import read_entries
from engine.loading.lora_layers import Found, join, read_change
from engine.loading.makers_names import Rows
from tests.conftest import SHARED_FLOW
from tests.engine.families import small
from tests.engine.families.small import told

pytestmark = small.needs_networks


def everything(told: dict[str, Tensor]) -> Tensor:
    return torch.ones(told["context"].shape[:2], dtype=torch.bool)


CALLS: Final[dict[str, Any]] = {
    "flux_dev": lambda network, at: flux.predict(
        network, at["x"], at["timestep"], at["context"], at["y"], at["guidance"]
    ),
    "flux2": lambda network, at: flux2.predict(
        network, at["x"], at["timestep"], at["context"], at["guidance"]
    ),
    "chroma": lambda network, at: chroma.predict(
        network, at["x"], at["timestep"], at["context"], everything(at)
    ),
}
FAMILIES: Final[dict[str, Any]] = {"flux_dev": flux, "flux2": flux2, "chroma": chroma}
STYLES: Final = (
    ("flux_dev", "lora_unet"),
    ("flux_dev", "transformer"),
    ("flux_dev", "lora_transformer"),
    ("flux2", "diffusion_model"),
    ("chroma", "lora_unet"),
    ("chroma", "transformer"),
)


def put_on(network: Any, family: Any, path: Path, weight: float) -> None:
    """Hook what a file changes, every entry of which must be known."""
    layers = dict(network.named_modules())
    meant: dict[str, list[tuple[str, Rows | None]]] = defaultdict(list)
    for spelling, *place in family.lora_names(layers):
        meant[spelling].append(tuple(place))
    held = load_file(path)
    changes: dict[str, list[Found]] = defaultdict(list)
    for entry in read_entries("it", path):
        read = {role: held[key].float() for role, key in entry.tensors.items()}
        assert meant[entry.name], entry.name
        for name, rows in meant[entry.name]:
            changes[name].append(read_change(entry, read, layers[name], weight, rows))
    for name, found in changes.items():
        addition = join(layers[name], found, torch.device("cpu"))
        layers[name].register_forward_hook(
            lambda layer, inputs, output, its=addition: output + its(layer, inputs[0])
        )


@pytest.mark.parametrize(("name", "style"), STYLES)
@torch.inference_mode()
def test_a_lora_changes_what_it_changes_in_comfyui(name: str, style: str) -> None:
    family = FAMILIES[name]
    network = family.network_of(small.weights(name))
    files = SHARED_FLOW / "networks"
    put_on(network, family, files / f"{name}.lora_{style}.safetensors", 0.8)
    found = CALLS[name](network, told(name, "case0"))
    wanted = load_file(files / f"{name}.lora.io.safetensors")[f"case0.out.{style}"]
    assert (found - wanted).abs().max() <= 1e-4
