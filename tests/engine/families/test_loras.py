"""LoRA files of several trainers on small networks, held to ComfyUI's outputs with them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import copyfile
from types import SimpleNamespace
from typing import Any, Final

import pytest
import torch
from torch import Tensor

from engine.errors import BrokenModel
from engine.families import chroma, flux, flux2
from engine.loading.lora import Loras
from engine.loading.makers_names import lora_names
from engine.loading.model import NETWORK, LoraName
from engine.models.families import BY_KEY
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.recipe.parts import Lora
from tests.conftest import SHARED_FLOW
from tests.engine.families import small

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


class Stub:
    """A model of which there is the network alone."""

    device = torch.device("cpu")

    def __init__(self, network: Any, name: str) -> None:
        self.checkpoint = SimpleNamespace(family=BY_KEY[name.split("_")[0]])
        self.parts = {NETWORK: network}
        self._names = FAMILIES[name].LORA_NAMES

    def lora_names(self, part: str, modules: Sequence[str]) -> Iterator[LoraName]:
        yield from lora_names(modules, self._names)


@pytest.mark.parametrize(("name", "style"), STYLES)
@torch.inference_mode()
def test_a_lora_changes_what_it_changes_in_comfyui(name: str, style: str, tmp_path: Path) -> None:
    files, folder = SHARED_FLOW / "networks", tmp_path / "loras"
    folder.mkdir()
    copyfile(files / f"{name}.lora_{style}.safetensors", folder / "it.safetensors")
    network, case = FAMILIES[name].network_of(small.weights(name)), small.told(name, "case0")
    stub: Any = Stub(network, name)
    loras = Loras(stub, ModelFiles(tmp_path, ModelKind.LORA))
    loras.use((Lora(name="it", weight=0.8),))
    wanted = small.answers(f"{name}.lora")[f"case0.out.{style}"]
    assert small.apart(CALLS[name](network, case), wanted) <= 1e-5
    loras.use(())
    assert small.apart(CALLS[name](network, case), small.answers(name)["case0.out"]) <= 1e-5


@pytest.mark.parametrize(("name", "style"), STYLES)
def test_a_lora_for_another_family_is_named(name: str, style: str, tmp_path: Path) -> None:
    files, folder = SHARED_FLOW / "networks", tmp_path / "loras"
    folder.mkdir()
    copyfile(files / f"{name}.lora_{style}.safetensors", folder / "it.safetensors")
    other = "flux2" if name != "flux2" else "chroma"
    stub: Any = Stub(FAMILIES[other].network_of(small.weights(other)), other)
    with pytest.raises(BrokenModel, match=r"it is made for another model|which .* models lack"):
        Loras(stub, ModelFiles(tmp_path, ModelKind.LORA)).use((Lora(name="it"),))
