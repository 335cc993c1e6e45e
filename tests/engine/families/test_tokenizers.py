"""A tokenizer that its text encoder cannot be read with is told when a model is loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine.check.models import examine
from engine.errors import BrokenModel
from engine.families.registry import load
from engine.models.catalogue import Catalogue, describe
from engine.models.parts import PartFiles
from tests.flow_models import (
    MISTRALS,
    SEEING,
    SPECIAL,
    described,
    make_chroma,
    make_flux2_dev,
    make_klein,
    make_qwen_image,
    make_sd3,
    make_z_image,
    write_qwen_tokenizer,
)
from tests.models import make_model

CPU = torch.device("cpu")
RIGHT = "replaced by the one with which the text encoder was trained."
# Family → how its folder is made, and the part that is a tokenizer by words of its own.
MADE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "z": (make_z_image, "tokenizer"),
    "flux2": (make_klein, "tokenizer"),
    "flux2 dev": (make_flux2_dev, "tokenizer"),
    "qwen": (make_qwen_image, "tokenizer"),
    "chroma": (make_chroma, "tokenizer"),
    "sd3": (make_sd3, "tokenizer_3"),
}


@pytest.fixture(scope="module", params=MADE)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a family's folder."""
    folder = MADE[request.param][0](tmp_path_factory.mktemp(request.param) / request.param)
    return folder


def problem(folder: Path) -> str:
    """Return why a folder cannot be loaded."""
    with pytest.raises(BrokenModel) as error:
        load(described(folder, folder.name.split()[0]), CPU, torch.float32)
    return error.value.reason


def test_a_file_that_cannot_be_read_is_told(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made, tmp_path / made.name)
    part = MADE[made.name][1]
    for text in ("{}", "{", '{"model": {}}'):
        (folder / part / "tokenizer.json").write_text(text)
        said = f"{part}: it cannot be read, so it must be fetched anew or {RIGHT}"
        assert problem(folder) == said


def test_tokens_that_the_encoder_does_not_have_are_told(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made, tmp_path / made.name)
    part = MADE[made.name][1]
    shutil.rmtree(folder / part)
    more = [f"<|more_{number}|>" for number in range(200)]
    write_qwen_tokenizer(folder / part, (*SPECIAL, *SEEING, *MISTRALS, *more))
    config = json.loads(
        (folder / part.replace("tokenizer", "text_encoder") / "config.json").read_text()
    )
    rows = config.get("text_config", config)["vocab_size"]
    most = 256 + len(SPECIAL) + len(SEEING) + len(MISTRALS) + len(more) - 1
    said = f"{part}: it numbers its tokens up to {most}, where the text encoder knows those below "
    assert problem(folder) == f"{said}{rows}, so it must be {RIGHT}"


def test_a_chat_template_whose_tokens_there_are_not_is_told(made: Path, tmp_path: Path) -> None:
    lacking = {
        "z": "<|im_start|>",
        "flux2": "</think>",
        "flux2 dev": "<pad>",
        "qwen": "<|im_start|>",
    }
    if made.name not in lacking:
        return  # which have no template
    folder = shutil.copytree(made, tmp_path / made.name)
    shutil.rmtree(folder / "tokenizer")
    write_qwen_tokenizer(folder / "tokenizer", ("<|other|>",))
    assert (
        problem(folder)
        == f"tokenizer: it lacks the token {lacking[made.name]}, so it must be {RIGHT}"
    )


def test_a_model_for_edits_needs_the_tokens_of_pictures(tmp_path: Path) -> None:
    folder = make_qwen_image(tmp_path / "qwen-edit")
    shutil.rmtree(folder / "tokenizer")
    write_qwen_tokenizer(folder / "tokenizer")
    load(described(folder, "qwen"), CPU, torch.float32)
    with pytest.raises(BrokenModel, match=r"it lacks the token <\|image_pad\|>"):
        load(describe("qwen-edit", folder, PartFiles(None)), CPU, torch.float32)


def test_a_check_of_models_tells_it_of_a_u_net(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "diffusers" / "mine") / "tokenizer"
    (report,) = examine(Catalogue(tmp_path), ["mine"])
    assert report.problem is None
    words = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({**words, "more": 514}))
    (report,) = examine(Catalogue(tmp_path), ["mine"])
    assert report.problem == (
        "tokenizer: it numbers its tokens up to 514, where the text encoder knows those below 514, "
        f"so it must be {RIGHT}"
    )
    (folder / "vocab.json").write_text("{")
    (report,) = examine(Catalogue(tmp_path), ["mine"])
    assert report.problem == f"tokenizer: it cannot be read, so it must be fetched anew or {RIGHT}"
