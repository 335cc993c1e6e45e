"""VAEs of other families and sizes: each is refused with one sentence."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage

from engine.decode import flux2_vae
from engine.decode.external_vae import ExternalVaes
from engine.errors import BrokenModel
from engine.families.registry import load
from engine.files.safetensors import BadFile
from engine.loading.model import Model
from engine.models.catalogue import Catalogue, describe
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from tests.engine.families.test_layouts import split
from tests.flow_models import (
    described,
    make_flux2_vae,
    make_flux_vae,
    make_klein,
    make_qwen_image,
    make_sd3,
    make_z_image,
)
from tests.models import make_model

CPU = torch.device("cpu")
MADE = {"z": make_z_image, "sd3": make_sd3, "flux2": make_klein, "qwen": make_qwen_image}
# Of the VAEs below, and of those that models need.
TITLES = {
    "sd": "Stable Diffusion's VAE",
    "flux": "FLUX.1's VAE",
    "flux2": "FLUX.2's VAE",
    "qwen": "Qwen-Image's VAE",
    "z": "FLUX.1's VAE",
    "sd3": "Stable Diffusion 3's VAE",
}
ALIKE = ("flux", "z", "sd3")  # of one form


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models with VAEs, each as a folder and as a file."""
    home = tmp_path_factory.mktemp("home")
    vaes: Mapping[str, Any] = {
        "sd": make_flux_vae(4),
        "flux": make_flux_vae(),
        "flux2": make_flux2_vae(),
        "qwen": AutoencoderKLQwenImage(base_dim=8),
    }
    for name, vae in vaes.items():
        vae.save_pretrained(home / "vae" / f"{name}-folder")
        file = home / "vae" / f"{name}-folder" / "diffusion_pytorch_model.safetensors"
        shutil.copy(file, home / "vae" / f"{name}-file.safetensors")
    return home


@pytest.fixture(scope="module", params=["sd", *MADE])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    key, folder = request.param, tmp_path_factory.mktemp("model") / request.param
    if key == "sd":
        return load(describe("sd", make_model(folder)), CPU, torch.float32)
    return load(described(MADE[key](folder), key), CPU, torch.float32)


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_vae_of_another_family_is_named(model: Model, home: Path, form: str) -> None:
    vaes = ExternalVaes(model, ModelFiles(home, ModelKind.VAE))
    own = model.checkpoint.name
    for key in ("sd", "flux", "flux2", "qwen"):
        if key == own or (key in ALIKE and own in ALIKE):
            continue
        with pytest.raises(BrokenModel) as error:
            vaes.decoder(f"{key}-{form}")
        said = f"The VAE '{key}-{form}' cannot be loaded: it is {TITLES[key]}, where {TITLES[own]}"
        assert str(error.value) == f"{said} is needed."


def test_a_vae_of_another_size_is_named(tmp_path: Path) -> None:
    split(make_z_image(tmp_path / "made"), tmp_path / "models")
    shutil.rmtree(tmp_path / "models" / "vae")
    file = tmp_path / "models" / "vae" / "ae.safetensors"
    make_flux_vae().save_pretrained(file.parent / "made")
    (file.parent / "made" / "diffusion_pytorch_model.safetensors").rename(file)
    shutil.rmtree(file.parent / "made")
    with pytest.raises(BrokenModel) as error:
        load(Catalogue(tmp_path / "models").get("it"), CPU, torch.float32)
    said = "its tensor 'encoder.conv_in.weight' has the shape [8, 3, 3, 3], where [128, 3, 3, 3]"
    assert str(error.value) == f"The model 'it.safetensors' cannot be loaded: vae: {said} is due."


def test_a_vae_whose_channels_cannot_be_normed_together_is_named() -> None:
    vae = make_flux2_vae()
    tensors = {
        name: each[:24] if name == "encoder.down_blocks.0.resnets.0.conv1.weight" else each
        for name, each in vae.state_dict().items()
    }
    with pytest.raises(BadFile, match="is 24 wide, where a multiple of 32 is due"):
        flux2_vae.vae_config_of(tensors)
