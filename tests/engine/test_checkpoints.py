import json
import shutil
from pathlib import Path

import pytest

from engine.checkpoints import STARTER_FOLDER, Catalogue, describe
from engine.errors import BrokenModel, UnknownModel


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny model that a test may break."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "models" / "mine"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_folder_is_described_by_its_configuration(folder: Path) -> None:
    checkpoint = describe("mine", folder)
    assert checkpoint.family.key == "sd"
    assert (checkpoint.defaults.width, checkpoint.defaults.height) == (64, 64)


@pytest.mark.parametrize(("width", "key"), [(768, "sd1"), (1024, "sd2"), (32, "sd")])
def test_the_family_is_read_from_shapes_not_names(folder: Path, width: int, key: str) -> None:
    edit(folder / "unet" / "config.json", cross_attention_dim=width)
    assert describe("sdxl-turbo", folder).family.key == key


def test_models_are_found_where_comfyui_keeps_them(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "checkpoints" / "other")
    catalogue = Catalogue(folder.parent)
    assert catalogue.names() == ["starter", "mine", "other"]
    assert catalogue.get("other").folder.parent.name == "checkpoints"


def test_an_unknown_model_is_answered_with_the_known_ones(folder: Path) -> None:
    with pytest.raises(UnknownModel, match=r"did you mean 'mine'.*known models: mine, starter"):
        Catalogue(folder.parent).get("min")


def test_a_folders_own_defaults_win(folder: Path) -> None:
    (folder / "marble.json").write_text('{"defaults": {"steps": 9}, "notes": {"en": "Hi."}}')
    checkpoint = describe("mine", folder)
    assert checkpoint.defaults.steps == 9
    assert checkpoint.defaults.sampler == "dpmpp_2m"
    assert checkpoint.notes == {"en": "Hi."}


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ('{"defaults": {"steps": 0}}', "steps must be between 1 and 150"),
        ('{"defaults": {"sampler": "best"}}', "sampler must be"),
        ('{"defaults": {"colour": 1}}', "colour must be one of"),
        ('{"defaults": {"steps": "many"}}', "marble.json"),
        ("{", "marble.json is not valid JSON"),
        ("[]", "marble.json is not a JSON object"),
    ],
)
def test_bad_defaults_are_named(folder: Path, own: str, reason: str) -> None:
    (folder / "marble.json").write_text(own)
    with pytest.raises(BrokenModel, match=reason):
        describe("mine", folder)


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("model_index.json", "mine/model_index.json is missing"),
        ("unet/config.json", "unet/config.json is missing"),
        ("vae/diffusion_pytorch_model.safetensors", "vae/ holds no safetensors"),
    ],
)
def test_a_missing_file_is_named(folder: Path, missing: str, reason: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(BrokenModel, match=reason):
        describe("mine", folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(BrokenModel, match="pickled weights, which can run code"):
        describe("mine", folder)


def test_models_of_other_forms_are_named_but_not_loaded(folder: Path) -> None:
    edit(folder / "model_index.json", _class_name="FluxPipeline")
    shutil.rmtree(folder / "unet")  # it has none
    with pytest.raises(BrokenModel, match="it is a FLUX model, which Marble cannot run yet"):
        describe("mine", folder)
    edit(folder / "model_index.json", _class_name="DreamPipeline")
    with pytest.raises(BrokenModel, match="'DreamPipeline' is not known"):
        describe("mine", folder)


def test_a_unet_that_edits_images_is_refused_with_its_channels(folder: Path) -> None:
    edit(folder / "unet" / "config.json", in_channels=8)
    with pytest.raises(BrokenModel, match="it is a model for image editing"):
        describe("mine", folder)


def test_a_unet_for_inpainting_is_known(folder: Path) -> None:
    edit(folder / "unet" / "config.json", in_channels=9)
    assert describe("mine", folder).family == describe("starter", STARTER_FOLDER).family
