"""Parts of a flow model are read wherever the catalogue finds them, in folders and in files."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.families.flow_model import Parts
from engine.families.registry import load
from engine.families.z_image import network_of
from engine.models.catalogue import Catalogue
from engine.models.families import BY_KEY
from engine.text_encode import qwen3
from tests.flow_models import make_z_image

CPU = torch.device("cpu")
ENCODER = "text_encoders.qwen3_4b.transformer."


@pytest.fixture(autouse=True)
def runnable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BY_KEY, "z", replace(BY_KEY["z"], loadable=True))


def tensors(folder: Path) -> dict[str, Tensor]:
    return {
        name: each
        for file in folder.glob("*.safetensors")
        for name, each in load_file(file).items()
    }


def split(made: Path, models: Path) -> None:
    for part, home in {"transformer": "diffusion_models", "text_encoder": "text_encoders"}.items():
        (models / home).mkdir(parents=True)
        save_file(tensors(made / part), models / home / "it.safetensors")
    vae(made, models)


def whole(made: Path, models: Path) -> None:
    (models / "checkpoints").mkdir(parents=True)
    network, encoder = tensors(made / "transformer"), tensors(made / "text_encoder")
    save_file(
        {f"model.diffusion_model.{name}": each for name, each in network.items()}
        | {f"{ENCODER}model.{name}": each for name, each in encoder.items()},
        models / "checkpoints" / "it.safetensors",
    )
    vae(made, models)


def vae(made: Path, models: Path) -> None:
    shutil.copytree(made / "vae", models / "vae" / "ae")
    shutil.copytree(made / "tokenizer", models / "tokenizers" / "qwen")


@pytest.mark.parametrize("layout", [split, whole])
def test_network_and_text_encoder_are_the_same_in_every_layout(
    layout: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    made = make_z_image(tmp_path / "folders" / "diffusers" / "it")
    layout(made, tmp_path / "files")
    first = load(Catalogue(tmp_path / "folders").get("it"), CPU, torch.float32)
    checkpoint = Catalogue(tmp_path / "files").get("it")
    parts = Parts(checkpoint, CPU, torch.float32, None, None)
    network = parts.network(network_of)
    encoder = parts.text_encoder("text_encoder", qwen3.encoder_of)
    for found, due in ((network, first.network), (encoder, first.encoders["text_encoder"])):
        held = due.state_dict()
        assert found.state_dict().keys() == held.keys()
        assert all(torch.equal(each, held[name]) for name, each in found.state_dict().items())
    assert checkpoint.parts["vae"].name == "ae"


def test_other_parts_beside_a_network_without_a_prefix_are_told_from_it(tmp_path: Path) -> None:
    made = make_z_image(tmp_path / "made")
    models = tmp_path / "files"
    split(made, models)
    network, vae = tensors(made / "transformer"), tensors(made / "vae")
    save_file(
        network | {f"vae.{name}": each for name, each in vae.items()},
        models / "diffusion_models" / "it.safetensors",
    )
    checkpoint = Catalogue(models).get("it")
    assert checkpoint.prefixes == {"network": "", "vae": "vae."}
    found = Parts(checkpoint, CPU, torch.float32, None, None).network(network_of).state_dict()
    due = network_of(network).state_dict()
    assert found.keys() == due.keys()
    assert all(torch.equal(each, due[name]) for name, each in found.items())


def test_a_folder_is_read_with_the_parts_that_its_owner_names(tmp_path: Path) -> None:
    made = make_z_image(tmp_path / "diffusers" / "it")
    other = make_z_image(tmp_path / "other", seed=1)
    shutil.move(other / "vae", tmp_path / "vae" / "another")
    (tmp_path / "text_encoders").mkdir()
    file = tmp_path / "text_encoders" / "another.safetensors"
    save_file(tensors(other / "text_encoder"), file)
    named = {"vae": "another", "text_encoder": "another"}
    (made / "marble.json").write_text(json.dumps({"parts": named}))
    model = load(Catalogue(tmp_path).get("it"), CPU, torch.float32)
    due = tensors(tmp_path / "vae" / "another")
    assert all(torch.equal(each, due[name]) for name, each in model.vae.state_dict().items())
    encoder = model.encoders["text_encoder"].state_dict()
    due = load_file(file)
    name = next(each for each in due if each.endswith("embed_tokens.weight"))
    assert any(torch.equal(each, due[name]) for each in encoder.values() if each.ndim == 2)
