"""Single files: written under their original names, loaded as the modules that they were."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine import families, vocabulary
from engine.checkpoints import Catalogue, Checkpoint, describe_file
from engine.errors import BrokenModel
from engine.loading import load
from tests.single_files import make_modules, small_forms, write_single_file

FAMILIES = ("sd1", "sd2", "sdxl")


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return small forms of all families."""
    return small_forms(tmp_path_factory.mktemp("forms") / "forms")


@pytest.fixture(autouse=True)
def _small(forms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "FORMS", forms)


@pytest.fixture(scope="module", params=FAMILIES)
def file(
    request: pytest.FixtureRequest, forms: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a small single file of each family."""
    path = tmp_path_factory.mktemp("checkpoints") / f"{request.param}.safetensors"
    return write_single_file(path, request.param, make_modules(forms / request.param))


def describe(file: Path) -> Checkpoint:
    return describe_file(file.name, file)


def test_the_modules_come_back_bit_for_bit(file: Path, forms: Path) -> None:
    checkpoint = describe(file)
    assert checkpoint.family.key == file.stem
    model = load(checkpoint, torch.device("cpu"), torch.float16)
    for part, made in make_modules(forms / file.stem).items():
        loaded = dict(getattr(model, part).named_parameters())
        expected = dict(made.half().named_parameters())
        assert loaded.keys() == expected.keys()
        assert all(
            torch.equal(loaded[name], expected[name].to(loaded[name].dtype)) for name in expected
        )
