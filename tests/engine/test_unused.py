"""Tensors that nothing would use: named for every kind of file, unless they are harmless."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine import families
from engine.control import load_control
from engine.errors import BrokenModel
from engine.loading import Model
from engine.other_vae import read_vae
from engine.tiny_vae import read_tiny
from engine.upscale import load_upscaler
from tests.engine.test_control import as_original, make_network
from tests.engine.test_upscale import needs_spandrel, saved
from tests.single_files import (
    make_module,
    make_true_model,
    small_forms,
)
from tests.tiny_vaes import makers_decoder, write_joined, write_makers

CPU = torch.device("cpu")
EXTRA = torch.full((3,), 0.5)


@pytest.fixture(autouse=True)
def forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let all families be small."""
    monkeypatch.setattr(families, "FORMS", small_forms(tmp_path / "forms"))
    return families.FORMS


def add(file: Path, *names: str) -> Path:
    """Write more tensors into a file."""
    # A clone: the file is mapped, and about to be written.
    tensors = {name: each.clone() for name, each in load_file(file).items()}
    save_file(
        {**tensors, **{name: EXTRA.clone() for name in names}}, file, metadata={"format": "pt"}
    )
    return file


def test_a_vaes_tensors_are_used_harmless_or_named(tmp_path: Path) -> None:
    state = make_module(families.FORMS / "sd1" / "vae").state_dict()
    path = tmp_path / "mse.safetensors"
    save_file(state, path)
    read_vae("mse", add(path, "loss.logvar"), families.FORMS / "sd1")
    with pytest.raises(BrokenModel, match=r"it holds 'decoder\.colour\.weight', which its form"):
        read_vae("mse", add(path, "decoder.colour.weight"), families.FORMS / "sd1")


@pytest.mark.parametrize("joined", [True, False])
def test_a_tiny_vaes_tensors_are_used_harmless_or_named(joined: bool, tmp_path: Path) -> None:
    decoder = makers_decoder()
    path = (
        write_joined(tmp_path / "taesd.safetensors", decoder)
        if joined
        else write_makers(tmp_path, decoder)
    )
    read_tiny("taesd", add(path, "vae_scale", "taesd_encoder.0.weight"))
    with pytest.raises(BrokenModel, match=r"it holds 'colour\.weight', which its form"):
        read_tiny("taesd", add(path, "colour.weight"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Return a small SD1."""
    return make_true_model(tmp_path_factory.mktemp("small"), "sd1")


def test_a_control_models_tensors_are_used_harmless_or_named(small: Model, tmp_path: Path) -> None:
    network = make_network(small.unet, 1)
    network.save_pretrained(tmp_path / "folder")
    writes: dict[str, Callable[[Path], None]] = {
        "diffusers'": lambda path: save_file(network.state_dict(), path),
        "the original's": lambda path: save_file(as_original(network, small.unet), path),
    }
    for names, write in writes.items():
        path = tmp_path / "it.safetensors"
        write(path)
        load_control("it", add(path, "model.diffusion_model.out.2.weight"), small)
        extra = "gate.weight" if names == "diffusers'" else "control_model.gate.weight"
        with pytest.raises(BrokenModel, match=r"gate\.weight', which its form does not have"):
            load_control("it", add(path, extra), small)
    add(tmp_path / "folder" / "diffusion_pytorch_model.safetensors", "gate.weight")
    with pytest.raises(BrokenModel, match=r"it holds 'gate\.weight', which its form does not have"):
        load_control("folder", tmp_path / "folder", small)


@needs_spandrel
def test_an_upscalers_tensors_are_used_or_named(tmp_path: Path) -> None:
    path = add(saved(tmp_path, "Compact ×3"), "gate.weight")
    with pytest.raises(BrokenModel, match=r"gate\.weight"):
        load_upscaler("up", path, CPU)
