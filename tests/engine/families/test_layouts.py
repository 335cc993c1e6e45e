"""Parts of a flow model are read wherever the catalogue finds them, in folders and in files."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.device.backends import CUDA, MPS
from engine.device.stored_weights import StoredWeight
from engine.families import krea2, lumina2, z_image
from engine.families.flow_model import Parts
from engine.families.registry import load
from engine.families.z_image import network_of
from engine.models.catalogue import Catalogue
from engine.models.families import BY_KEY
from engine.text_encode import gemma2, qwen3
from engine.text_encode.conditioning import TextEncoder
from tests.flow_models import (
    described,
    make_krea2,
    make_lumina2,
    make_qwen_image,
    make_sd3,
    make_z_image,
)

CPU = torch.device("cpu")
ENCODER = "text_encoders.qwen3_4b.transformer."
# By families: what makes a small model, what reads its network and its text encoder, and the kind
# of its tokenizer.
FOUND: Mapping[str, tuple[Callable[[Path], Path], Any, Any, str]] = {
    "z": (make_z_image, z_image.network_of, qwen3.encoder_of, "qwen"),
    "lumina2": (make_lumina2, lumina2.network_of, gemma2.encoder_of, "gemma2"),
    "krea2": (make_krea2, krea2.network_of, krea2.text_encoder_of, "qwen"),
}


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
@pytest.mark.parametrize("key", FOUND)
def test_network_and_text_encoder_are_the_same_in_every_layout(
    key: str, layout: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    make, network_of, encoder_of, reader = FOUND[key]
    made = make(tmp_path / "folders" / "diffusers" / "it")
    layout(made, tmp_path / "files")
    if reader != "qwen":
        (tmp_path / "files" / "tokenizers" / "qwen").rename(
            tmp_path / "files" / "tokenizers" / reader
        )
    first = load(Catalogue(tmp_path / "folders").get("it"), CPU, torch.float32)
    checkpoint = Catalogue(tmp_path / "files").get("it")
    parts = Parts(checkpoint, CPU, torch.float32, None, None)
    network = parts.network(network_of)
    encoder = parts.text_encoders(text_encoder=encoder_of)["text_encoder"]
    assert checkpoint.family.key == key
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


def files_of(made: Path, home: Path, parts: Mapping[str, str]) -> dict[str, Path]:
    """Write each part of a folder to a file of its own."""
    home.mkdir()
    for part in parts:
        save_file(tensors(made / part), home / f"{part}.safetensors")
    return {own: home / f"{part}.safetensors" for part, own in parts.items()}


def file_of(made: Path, file: Path, prefixes: Mapping[str, str]) -> None:
    """Write the parts of a folder to one file; prefixes: of their tensors' names."""
    save_file(
        {
            f"{prefix}{name}": each
            for part, prefix in prefixes.items()
            for name, each in tensors(made / part).items()
        },
        file,
    )


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("sd3", make_sd3),
        ("qwen", make_qwen_image),
        ("lumina2", make_lumina2),
        ("krea2", make_krea2),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_a_model_is_the_same_in_every_layout(
    key: str, make: Callable[[Path], Path], whole: bool, tmp_path: Path
) -> None:
    made = make(tmp_path / "it")
    inside = {part: f"it.{part}." for part, _ in BY_KEY[key].parts} | {"transformer": "it.net."}
    own = {part: "network" if part == "transformer" else part for part in inside}
    parts, prefixes = files_of(made, tmp_path / "files", own), dict[str, str]()
    if whole:
        file_of(made, tmp_path / "it.safetensors", inside)
        parts = dict.fromkeys(parts, tmp_path / "it.safetensors")
        prefixes = {own[part]: prefix for part, prefix in inside.items()}
    readers = {part: made / part for part in ("tokenizer", "tokenizer_3")}
    if key in ("sd3", "lumina2"):  # read from a file, it would have the true one's form
        parts["vae"] = made / "vae"
    folder = described(made, key)
    first = load(folder, CPU, torch.float32)
    second = load(
        replace(
            folder,
            folder=tmp_path,
            file=parts["network"],
            parts={**parts, **readers},
            prefixes=prefixes,
        ),
        CPU,
        torch.float32,
    )
    modules = {**second.parts, "vae": second.vae}
    for part, due in {**first.parts, "vae": first.vae}.items():
        held = modules[part].state_dict()
        assert held.keys() == due.state_dict().keys()
        assert all(torch.equal(each, held[name]) for name, each in due.state_dict().items())
    texts = [TextEncoder(each).encode("a (cat:1.2) in a cathedral") for each in (first, second)]
    # Where a tensor lies in memory moves last bits.
    assert (texts[0].embeds - texts[1].embeds).abs().max() <= 1e-5
    for name, each in texts[0].others.items():
        assert (each - texts[1].others[name]).abs().max() <= 1e-5


def test_fp8_waits_in_main_memory_as_the_device_that_computes_takes_it(tmp_path: Path) -> None:
    made = make_z_image(tmp_path / "it")
    file = made / "transformer" / "diffusion_pytorch_model.safetensors"
    fp8 = {
        name: each.to(torch.float8_e4m3fn) if each.ndim == 2 else each
        for name, each in tensors(made / "transformer").items()
    }
    save_file(fp8, file)
    for kind, stays in ((MPS, False), (CUDA, True)):
        parts = Parts(described(made, "z"), torch.device(kind), torch.float32, CPU, 2**30)
        weights = [*parts.network(network_of).parameters()]
        assert any(isinstance(each, StoredWeight) for each in weights) == stays
        assert {each.device for each in weights} == {CPU}
