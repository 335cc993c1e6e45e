import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.device.backends import pick_device
from engine.errors import BrokenModel
from engine.families.stable_diffusion import StableDiffusion, load
from engine.files.safetensors import BadFile
from engine.loading.modules import check_missing, check_shapes, fill
from engine.loading.unused_tensors import check_unused
from engine.models.catalogue import describe

CPU = torch.device("cpu")


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny model that a test may break."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "mine"))


def load_folder(folder: Path) -> StableDiffusion:
    return load(describe("mine", folder), CPU)


def weights(folder: Path, part: str) -> Path:
    return next((folder / part).glob("*.safetensors"))


def test_a_folder_loads_with_its_own_noise_schedule(folder: Path) -> None:
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(
        json.dumps({**json.loads(config.read_text()), "prediction_type": "v_prediction"})
    )
    model = load_folder(folder)
    assert model.noise_schedule.prediction_type == "v_prediction"
    assert (model.latent_channels, model.latent_scale) == (4, 8)
    assert model.dtype is torch.float32


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_truncated_weights_disable_the_model_with_a_reason(folder: Path, part: str) -> None:
    file = weights(folder, part)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BrokenModel, match=f"'mine' cannot be loaded: {part}: ") as error:
        load_folder(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_missing_weights_are_never_replaced_by_random_ones(folder: Path, part: str) -> None:
    file = weights(folder, part)
    tensors = load_file(file)
    lost = sorted(tensors)[3]
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, file)
    with pytest.raises(BrokenModel, match=part):
        load_folder(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_of_the_wrong_shape_are_refused(folder: Path, part: str) -> None:
    file = weights(folder, part)
    tensors = load_file(file)
    name = next(name for name in sorted(tensors) if tensors[name].ndim == 2)
    save_file({**tensors, name: torch.zeros(3, 3)}, file)
    with pytest.raises(BrokenModel) as error:
        load_folder(folder)
    due = [*tensors[name].shape]
    said = (
        f"its tensor {name.removeprefix('text_model.')!r} has the shape [3, 3], where {due} is due"
    )
    assert error.value.reason == f"{part}: {said}."


def test_names_of_any_length_make_one_short_sentence() -> None:
    name, module = "x" * 10_000, torch.nn.ModuleDict({"x" * 10_000: torch.nn.Linear(1, 1)})
    weight = f"{name}.weight"
    due, small = module.state_dict(), torch.zeros(2, 2)
    for refuse in (
        lambda: check_missing(due),
        lambda: check_shapes({weight: small}, due),
        lambda: fill(torch.nn.Linear(1, 1), {name: small, **torch.nn.Linear(1, 1).state_dict()}),
        lambda: check_unused(due),
    ):
        with pytest.raises(BadFile) as error:
            refuse()
        assert len(str(error.value)) < 300


def test_a_broken_tokenizer_or_scheduler_is_named(folder: Path) -> None:
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({"beta_schedule": "cosine"}))
    with pytest.raises(BrokenModel, match="scheduler: beta_schedule must be one of"):
        load_folder(folder)
    (folder / "tokenizer" / "vocab.json").write_text("{")
    with pytest.raises(BrokenModel, match="tokenizer: "):
        load_folder(folder)


def test_a_named_device_is_taken() -> None:
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
