"""Vectors of pictures and texts, by small CLIP and SigLIP models with random weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, SiglipModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.clip.tokenization_clip import CLIPTokenizer
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from engine.finish.towers import BATCH, BrokenTowers, Towers, examine, load_towers
from tests.classifiers import make_classifier
from tests.describers import make_describer
from tests.towers import make_towers

TEXTS = ("a marble lion", "草地上的玉马", "", "a bronze king with a sword at night " * 20)
SIZES = ((32, 32), (40, 90), (200, 64))
FORMS = {
    "clip": (CLIPModel, CLIPImageProcessorPil),
    "siglip": (SiglipModel, SiglipImageProcessorPil),
}


@pytest.fixture(scope="module", params=FORMS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_towers(tmp_path_factory.mktemp("towers") / request.param, request.param)


@pytest.fixture(scope="module")
def towers(folder: Path) -> Towers:
    return load_towers(str(folder))


def noise(seed: int, size: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), np.uint8)
    return Image.fromarray(pixels)


def pictures() -> list[Image.Image]:
    return [noise(seed, size) for seed, size in enumerate(SIZES)]


def test_vectors_are_those_of_transformers(folder: Path, towers: Towers) -> None:
    model_of, processor_of = FORMS[folder.name]
    pixels = processor_of.from_pretrained(folder)(pictures(), return_tensors="pt").pixel_values
    tokenizer: Any = CLIPTokenizer.from_pretrained(str(folder))
    ids = tokenizer(list(TEXTS), padding="max_length", truncation=True, return_tensors="pt")
    with torch.inference_mode():
        model = model_of.from_pretrained(folder, dtype=torch.float32).eval()
        expected = model(input_ids=ids.input_ids, pixel_values=pixels)
    for found, image_or_text in (
        (towers.pictures(pictures()), expected.image_embeds),
        (towers.texts(TEXTS), expected.text_embeds),
    ):
        assert np.abs(found - image_or_text.numpy()).max() <= 1e-5
        assert found.dtype == np.float32
        assert found.shape == (len(found), towers.width)
        assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(len(found)), abs=1e-5)
    assert np.ptp(towers.pictures(pictures()), axis=0).max() > 0.01
    assert np.ptp(towers.texts(TEXTS), axis=0).max() > 0.01


def test_any_number_of_pictures_and_texts_come_back_in_their_order(towers: Towers) -> None:
    many = [noise(seed, SIZES[0]) for seed in range(BATCH + 3)]
    found = towers.pictures(many)
    assert len(found) == len(many)
    assert np.abs(found[-1] - towers.pictures(many[-1:])[0]).max() <= 1e-5
    assert np.abs(towers.texts(TEXTS * 6)[-1] - towers.texts(TEXTS[-1:])[0]).max() <= 1e-5
    assert towers.pictures([]).shape == towers.texts([]).shape == (0, towers.width)


def test_a_models_name_changes_with_its_weights_and_with_how_pictures_are_prepared(
    folder: Path, towers: Towers, tmp_path: Path
) -> None:
    kind = folder.name
    assert towers.name == load_towers(str(folder)).name
    assert towers.name.startswith(f"{kind}@")
    other = make_towers(tmp_path / "1" / kind, kind, seed=1)
    cut = shutil.copytree(folder, tmp_path / "2" / kind)
    _change(cut / "preprocessor_config.json", image_mean=[0.5, 0.5, 0.5])
    names = [load_towers(str(each)).name for each in (folder, other, cut)]
    assert len(set(names)) == 3
    assert examine(str(folder)) == f"{towers.name}, vectors of {towers.width} numbers"


def _change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}), "utf-8")


def _spoil(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _leave_out(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _without_tokenizer(folder: Path) -> None:
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (folder / name).unlink()


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "spoilt": (_spoil, "are not all numbers"),
    "pickled": (_pickle, "its weights cannot be read"),
    "incomplete": (_leave_out, "its file lacks"),
    "cut": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"no weights"),
        "its weights cannot be read",
    ),
    "wordless": (_without_tokenizer, "its tokenizer"),
    "unprepared": (
        lambda folder: (folder / "preprocessor_config.json").unlink(),
        "its preprocessor configuration cannot be read",
    ),
    "unconfigured": (
        lambda folder: (folder / "config.json").unlink(),
        "its configuration cannot be read",
    ),
    "larger": (
        lambda folder: _change(
            folder / "preprocessor_config.json",
            size={"height": 64, "width": 64},
            crop_size={"height": 64, "width": 64},
        ),
        "makes 64 × 64 pixels and its image tower reads 32 × 32",
    ),
    "uncut": (
        lambda folder: _change(
            folder / "preprocessor_config.json", size={"shortest_edge": 32}, do_center_crop=False
        ),
        "pixels and its image tower reads 32 × 32",
    ),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_folder_that_cannot_be_used_is_refused_in_one_sentence(
    folder: Path, tmp_path: Path, how: str
) -> None:
    spoil, reason = WRONG[how]
    wrong = shutil.copytree(folder, tmp_path / how)
    spoil(wrong)
    with pytest.raises(BrokenTowers) as error:
        load_towers(str(wrong))
    said = str(error.value)
    assert said.startswith(f"The model {str(wrong)!r} cannot compare pictures with texts: ")
    assert reason in said
    assert "\n" not in said


def test_a_model_of_another_kind_is_refused_by_its_kind(tmp_path: Path) -> None:
    others = {
        "vit": make_classifier(tmp_path / "judge"),
        "blip": make_describer(tmp_path / "blip"),
    }
    for kind, other in others.items():
        with pytest.raises(BrokenTowers, match=f"it is a '{kind}', and only 'clip' and 'siglip'"):
            load_towers(str(other))
    for name in ("/no/such/folder", "nowhere"):
        with pytest.raises(BrokenTowers, match="there is no such folder"):
            load_towers(name)
