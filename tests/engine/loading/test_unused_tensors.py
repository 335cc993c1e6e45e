"""Tensors that nothing would use: named for every kind of file, unless they are harmless."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.decode.external_vae import read_vae
from engine.decode.tiny_vae import read_tiny
from engine.denoise.control import load_control
from engine.errors import BrokenModel
from engine.families.stable_diffusion import StableDiffusion, load
from engine.finish.upscale import load_upscale_model
from engine.models import families
from engine.models.catalogue import describe, describe_file
from tests.engine.denoise.test_control import as_original, make_network
from tests.engine.finish.test_upscale import needs_spandrel, saved
from tests.models import make_model
from tests.single_files import (
    make_module,
    make_modules,
    make_true_model,
    small_forms,
    write_single_file,
)
from tests.tiny_vaes import makers_decoder, write_joined, write_makers

CPU = torch.device("cpu")
EXTRA = torch.full((3,), 0.5)


@pytest.fixture(autouse=True)
def forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let all families be small."""
    monkeypatch.setattr(families, "CONFIGS", small_forms(tmp_path / "forms"))
    return families.CONFIGS


def add(file: Path, *names: str) -> Path:
    """Write more tensors into a file."""
    # A clone: the file is mapped, and about to be written.
    tensors = {name: each.clone() for name, each in load_file(file).items()}
    save_file(
        {**tensors, **{name: EXTRA.clone() for name in names}}, file, metadata={"format": "pt"}
    )
    return file


LEFT = {
    "sd1": [
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.fuser.linear.weight",
        "first_stage_model.decoder.colour.weight",
        "cond_stage_model.transformer.text_model.encoder.layers.0.self_attn.extra_proj.weight",
    ],
    "sd2": ["cond_stage_model.model.transformer.resblocks.0.attn.gate"],
    "sdxl": [
        "conditioner.embedders.0.transformer.text_model.encoder.adapter.weight",
        "conditioner.embedders.1.model.transformer.resblocks.1.mlp.c_gate.weight",
    ],
}
HARMLESS = [
    "betas",
    "model_ema.decay",
    "first_stage_model.loss.logvar",
    "cond_stage_model.transformer.text_model.embeddings.position_ids",
    "cond_stage_model.model.logit_scale",
    "conditioner.embedders.1.model.logit_scale",
]


@pytest.mark.parametrize("family", LEFT)
def test_what_no_part_of_a_single_file_reads_is_named(family: str, tmp_path: Path) -> None:
    modules = make_modules(families.CONFIGS / family)
    path = write_single_file(tmp_path / "it.safetensors", family, modules)
    add(path, *HARMLESS)
    assert load(describe_file("it", path), CPU).unread == ()
    add(path, *LEFT[family])
    assert sorted(load(describe_file("it", path), CPU).unread) == sorted(LEFT[family])


def test_what_no_part_of_a_folder_reads_is_named(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "it")
    assert load(describe("it", folder), CPU).unread == ()
    for part in ("unet", "vae", "text_encoder"):
        (file,) = (folder / part).glob("*.safetensors")
        add(file, f"{part}_extra.weight")
    found = load(describe("it", folder), CPU).unread
    assert {"unet_extra.weight", "vae_extra.weight"} <= set(found)
    assert any(name.endswith("text_encoder_extra.weight") for name in found)


def test_an_own_vae_of_another_scale_is_refused_as_a_models_is(tmp_path: Path) -> None:
    vae = make_module(families.CONFIGS / "sd1" / "vae")
    vae.save_pretrained(tmp_path / "playground")
    config = tmp_path / "playground" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "latents_mean": [1.0] * 4}))
    with pytest.raises(BrokenModel, match="its VAE scales latents channel by channel"):
        read_vae("playground", tmp_path / "playground", families.CONFIGS / "sd1")


def test_a_vaes_tensors_are_used_harmless_or_named(tmp_path: Path) -> None:
    state = make_module(families.CONFIGS / "sd1" / "vae").state_dict()
    path = tmp_path / "mse.safetensors"
    save_file(state, path)
    read_vae("mse", add(path, "loss.logvar"), families.CONFIGS / "sd1")
    with pytest.raises(BrokenModel, match=r"it holds 'decoder\.colour\.weight', which its form"):
        read_vae("mse", add(path, "decoder.colour.weight"), families.CONFIGS / "sd1")


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
def small(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    """Return a small SD1."""
    return make_true_model(tmp_path_factory.mktemp("small"), "sd1")


def test_a_control_models_tensors_are_used_harmless_or_named(
    small: StableDiffusion, tmp_path: Path
) -> None:
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
        load_upscale_model("up", path, CPU)
