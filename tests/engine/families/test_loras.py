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
from engine.families import chroma, flux, flux2, qwen_image, sd3, z_image
from engine.loading.lora import Loras
from engine.loading.makers_names import lora_names
from engine.loading.model import LoraName
from engine.models.families import BY_KEY
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.models.parts import NETWORK
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
    "zimage": lambda network, at: z_image.predict(
        network, at["x"], at["timestep"], list(at["context"])
    ),
    "sd35_medium": lambda network, at: sd3.predict(
        network, at["x"], at["timestep"] / 1000, at["context"], at["y"]
    ),
    "qwen_image": lambda network, at: qwen_image.predict(
        network, at["x"].squeeze(2), at["timestep"], at["context"]
    ).unsqueeze(2),
}
FAMILIES: Final[dict[str, Any]] = {
    "flux_dev": flux,
    "flux2": flux2,
    "chroma": chroma,
    "zimage": z_image,
    "sd35_medium": sd3,
    "qwen_image": qwen_image,
}
KEYS: Final = {"flux_dev": "flux", "zimage": "z", "sd35_medium": "sd3", "qwen_image": "qwen"}
STYLES: Final = (
    ("flux_dev", "lora_unet"),
    ("flux_dev", "transformer"),
    ("flux_dev", "lora_transformer"),
    ("flux2", "diffusion_model"),
    ("chroma", "lora_unet"),
    ("chroma", "transformer"),
    ("zimage", "diffusion_model"),
    ("zimage", "lora_unet"),
    ("sd35_medium", "lora_unet"),
    ("sd35_medium", "transformer"),
    ("qwen_image", "no_prefix"),
    ("qwen_image", "lora_unet"),
)


class Stub:
    """A model of which there is the network alone."""

    device = torch.device("cpu")

    def __init__(self, network: Any, name: str) -> None:
        self.checkpoint = SimpleNamespace(family=BY_KEY[KEYS.get(name, name)])
        self.parts = {NETWORK: network}
        self._names = small.names_in_loras(FAMILIES[name], dict(network.named_modules()))

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
    near = 1e-4  # processors add in different orders, and Z-Image's norms add another number
    assert small.apart(CALLS[name](network, case), wanted) <= near
    loras.use(())
    assert small.apart(CALLS[name](network, case), small.answers(name)["case0.out"]) <= near


@pytest.mark.parametrize(("name", "style"), STYLES)
def test_a_lora_for_another_family_is_named(name: str, style: str, tmp_path: Path) -> None:
    files, folder = SHARED_FLOW / "networks", tmp_path / "loras"
    folder.mkdir()
    copyfile(files / f"{name}.lora_{style}.safetensors", folder / "it.safetensors")
    # Qwen-Image's blocks have names and widths of FLUX's.
    other = {"flux2": "chroma", "qwen_image": "zimage"}.get(name, "flux2")
    stub: Any = Stub(FAMILIES[other].network_of(small.weights(other)), other)
    with pytest.raises(
        BrokenModel, match=r"made for another model|not made for|which .* models lack"
    ):
        Loras(stub, ModelFiles(tmp_path, ModelKind.LORA)).use((Lora(name="it"),))
