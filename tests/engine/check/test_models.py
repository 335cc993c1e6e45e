"""A folder as people have them: twenty files, good and broken, and what is said of each."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.check.models import examine
from engine.models import families
from engine.models.catalogue import Catalogue
from engine.models.signatures import V_PREDICTION_BIAS
from tests.engine.loading.test_single_files import FAMILIES
from tests.models import make_model
from tests.single_files import make_modules, small_forms, write_single_file

Tensors = dict[str, Tensor]
CONV_IN = "model.diffusion_model.input_blocks.0.0.weight"


def save(path: Path, **shapes: tuple[int, ...]) -> None:
    """Write a file of zeros with these tensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}, path
    )


def changed(change: Callable[[Tensors], object]) -> Callable[[Path, Path], None]:
    """Return what writes a copy of the SD1 file with its tensors changed."""

    def write(path: Path, good: Path) -> None:
        tensors = load_file(good / "sd1.safetensors")
        change(tensors)
        save_file(tensors, path)

    return write


def without(start: str) -> Callable[[Path, Path], None]:
    def drop(tensors: Tensors) -> None:
        for name in [name for name in tensors if name.startswith(start)]:
            del tensors[name]

    return changed(drop)


def cut(path: Path, good: Path) -> None:
    path.write_bytes((good / "sd1.safetensors").read_bytes()[:-1000])


def fill_with_nan(tensors: Tensors) -> None:
    for tensor in tensors.values():
        tensor.fill_(torch.nan)


def spoil_one_value(tensors: Tensors) -> None:
    weight = tensors["first_stage_model.decoder.up.0.block.0.conv1.weight"]
    weight.view(-1)[-1] = torch.inf


def widen_telltale(tensors: Tensors) -> None:
    tensors[V_PREDICTION_BIAS] = torch.linspace(-1, 1, len(tensors[V_PREDICTION_BIAS])).half()


def sd2_v(path: Path, good: Path) -> None:
    tensors = load_file(good / "sd2.safetensors")
    widen_telltale(tensors)
    save_file(tensors, path)


def inpainting(tensors: Tensors) -> None:
    tensors[CONV_IN] = torch.zeros(32, 9, 3, 3).half()


def wrong_shape(tensors: Tensors) -> None:
    tensors["model.diffusion_model.time_embed.0.weight"] = torch.zeros(3, 3).half()


# File → how it is written, and what the verdict must say (None: it is good).
FILES: dict[str, tuple[Callable[[Path, Path], Any], str | None]] = {
    "sd1.safetensors": (lambda path, good: shutil.copy(good / path.name, path), None),
    "sd2.safetensors": (lambda path, good: shutil.copy(good / path.name, path), None),
    "sd2-v.safetensors": (sd2_v, None),
    "anime/sdxl.safetensors": (lambda path, good: shutil.copy(good / path.name, path), None),
    "cut.safetensors": (cut, "it is cut short: "),
    "empty.safetensors": (lambda path, _: path.write_bytes(b""), "it is empty"),
    "renamed.safetensors": (
        lambda path, _: path.write_bytes(pickle.dumps({"a": 1})),
        "it is a pickle under another name, which can run code",
    ),
    "text.safetensors": (lambda path, _: path.write_text("<html>"), "it is no safetensors file"),
    "old.ckpt": (lambda path, _: path.write_bytes(b"PK\3\4"), "it is a pickle, which can run code"),
    "nan.safetensors": (changed(fill_with_nan), "holds values that are no numbers"),
    "one-inf.safetensors": (changed(spoil_one_value), "holds values that are no numbers"),
    "shape.safetensors": (changed(wrong_shape), "unet: "),
    "hole.safetensors": (without("model.diffusion_model.middle_block.1"), "its weights lack"),
    "no-vae.safetensors": (without("first_stage_model"), None),  # drawn with one that is named
    "no-text.safetensors": (without("cond_stage_model"), "it holds no text encoder"),
    "inpaint.safetensors": (changed(inpainting), None),
    "hidream.safetensors": (
        lambda path, _: save(path, **{"double_stream_blocks.0.block.adaLN.weight": (4, 4)}),
        "it is a HiDream model, which Marble cannot run yet",
    ),
    "refiner.safetensors": (
        lambda path, _: save(
            path,
            **{
                CONV_IN: (384, 4, 3, 3),
                "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (
                    768,
                    1280,
                ),
                "model.diffusion_model.label_emb.0.0.weight": (1536, 2560),
            },
        ),
        "it holds no text encoder (no tensor's name begins with 'cond_stage_model.model.')",
    ),
    "lora.safetensors": (
        lambda path, _: save(path, **{"lora_unet_mid_block.lora_down.weight": (4, 4)}),
        "it is a LoRA; it belongs into loras/",
    ),
    "strange.safetensors": (lambda path, _: save(path, abc=(2,)), "nothing in it is known"),
}


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_forms(tmp_path_factory.mktemp("forms") / "forms")


@pytest.fixture(scope="module")
def good(forms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a good file of each family."""
    folder = tmp_path_factory.mktemp("good")
    for family in FAMILIES:
        write_single_file(folder / f"{family}.safetensors", family, make_modules(forms / family))
    return folder


@pytest.fixture
def home(good: Path, forms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return ComfyUI's folder with all of the files."""
    monkeypatch.setattr(families, "CONFIGS", forms)
    for name, (write, _) in FILES.items():
        path = tmp_path / "ComfyUI" / "models" / "checkpoints" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, good)
    return tmp_path / "ComfyUI"


def test_twenty_files_get_the_right_verdict_each(home: Path) -> None:
    assert len(FILES) == 20
    catalogue = Catalogue(home)
    verdicts = {verdict.name: verdict for verdict in examine(catalogue, catalogue.names())}
    assert verdicts.pop("starter").problem is None
    assert verdicts.keys() == FILES.keys()
    for name, (_, said) in FILES.items():
        problem = verdicts[name].problem
        assert (problem is None) == (said is None), f"{name}: {problem}"
        assert said is None or (said in str(problem) and "\n" not in str(problem)), problem
    v = verdicts["sd2-v.safetensors"].checkpoint
    assert v is not None
    assert (v.prediction, v.defaults.width) == ("v_prediction", 768)


def test_a_diffusers_folder_is_examined_as_well(tmp_path: Path) -> None:
    make_model(tmp_path / "good")
    spoiled = make_model(tmp_path / "spoiled") / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(spoiled)
    tensors["conv_out.weight"].view(-1)[-1] = torch.nan
    save_file(tensors, spoiled)
    config = json.loads((tmp_path / "good" / "unet" / "config.json").read_text())
    assert config["cross_attention_dim"] == 32
    good, bad = examine(Catalogue(tmp_path), ["good", "spoiled"])
    assert good.problem is None
    assert bad.problem == "unet: 'conv_out.weight' holds values that are no numbers."
