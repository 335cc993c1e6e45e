"""Each tensor that a network lacks is told from its header, as its makers or diffusers spell it."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.modeling_utils import ModelMixin
from safetensors.torch import load_file

from engine.errors import BrokenModel
from engine.files.safetensors import BadFile
from engine.models.catalogue import Catalogue
from engine.models.families import BY_KEY
from engine.models.network_tensors import UNEVEN, check_network
from tests import flow_models
from tests.engine.families.test_krea2 import by_makers
from tests.flow_files import NEEDED, encoder, network, vae, write

BLOCK = re.compile(r"((?:[a-z_.]*blocks|[a-z_.]*layers|[a-z_.]*norms|[a-z]+_refiner)\.)0(\..*)")
MAKERS: Mapping[str, str] = {
    "zimage": "z",
    "flux_dev": "flux",
    "flux_schnell": "flux",
    "flux2_dev": "flux2",
    "chroma": "chroma",
    "sd35_large": "sd3",
    "sd35_medium": "sd3",
    "qwen_image": "qwen",
    "lumina2": "lumina2",
}
FOLDERS: Mapping[str, Callable[[Path], Path]] = {
    "z": flow_models.make_z_image,
    "flux": flow_models.make_flux,
    "flux2": flow_models.make_klein,
    "chroma": flow_models.make_chroma,
    "sd3": flow_models.make_sd3,
    "qwen": flow_models.make_qwen_image,
    "lumina2": flow_models.make_lumina2,
    "krea2": flow_models.make_krea2,
}


def told(key: str, names: set[str]) -> None:
    """Hold a family's check to naming each of its tensors where that is missing."""
    check_network(BY_KEY[key], names)
    others = re.compile(r".*\.(?:[12]|[4-9]|\d\d)\.")  # blocks that are as the first and fourth
    said = {name: lacking(key, names - {name}) for name in names if not others.match(name)}
    left = {name for name, what in said.items() if what != f"it lacks the tensor {name!r}"}
    assert all(key in UNEVEN and UNEVEN[key].match(name.split(".", 2)[-1]) for name in left), left
    assert {said[name] for name in left} <= {""}


def lacking(key: str, names: set[str]) -> str:
    """Return what is said of a network, "" for nothing."""
    try:
        check_network(BY_KEY[key], names)
    except BadFile as error:
        return str(error)
    return ""


@NEEDED
@pytest.mark.parametrize("name", MAKERS)
def test_a_tensor_of_a_makers_file_is_missed(name: str) -> None:
    told(MAKERS[name], {*network(name)})


@pytest.mark.parametrize("key", FOLDERS)
def test_a_tensor_of_a_diffusers_folder_is_missed(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: set[str] = set()

    def note(module: Any, folder: Path) -> None:
        if folder.name == "transformer":
            names.update(module.state_dict())

    monkeypatch.setattr(ModelMixin, "save_pretrained", note)
    FOLDERS[key](tmp_path)
    names = with_five_blocks(names)
    told(key, names)
    if key == "krea2":  # of whose own file no list of tensors is here
        told(key, {*by_makers(dict.fromkeys(names, torch.zeros(1)))})


def with_five_blocks(names: set[str]) -> set[str]:
    first = {name for name in names if BLOCK.fullmatch(name)}
    return names | {BLOCK.sub(rf"\g<1>{number}\2", name) for name in first for number in range(5)}


def test_a_tensor_of_animas_file_is_missed(tmp_path: Path) -> None:
    folder = flow_models.make_anima(tmp_path) / "transformer"
    told("anima", with_five_blocks({*load_file(folder / "diffusion_pytorch_model.safetensors")}))


@NEEDED
def test_a_network_without_a_block_is_not_listed(tmp_path: Path) -> None:
    file = tmp_path / "diffusion_models" / "z_image.safetensors"
    shapes = network("zimage")
    write(tmp_path / "text_encoders" / "qwen_3_4b.safetensors", encoder("qwen3_4b"))
    write(tmp_path / "vae" / "ae.safetensors", vae("flux1_sd3"))
    (tmp_path / "tokenizers" / "qwen").mkdir(parents=True)
    (tmp_path / "tokenizers" / "qwen" / "tokenizer.json").write_text(json.dumps({}))
    for prefix in ("", "model.diffusion_model."):
        kept = {
            f"{prefix}{n}": shape for n, shape in shapes.items() if not n.startswith("layers.7.")
        }
        write(file, kept)
        with pytest.raises(BrokenModel) as error:
            Catalogue(tmp_path).get("z_image")
        assert error.value.reason == "it lacks the tensor 'layers.7.adaLN_modulation.0.bias'."


def test_a_block_of_a_monstrous_number_takes_no_time() -> None:
    names = {f"joint_blocks.{10**15}.x_block.attn2.qkv.weight"}
    with pytest.raises(BadFile):
        check_network(BY_KEY["sd3"], names)
