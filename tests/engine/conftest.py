"""Small models for the engine's tests, written once a session."""

from pathlib import Path

import pytest
import torch

from engine.families.stable_diffusion import StableDiffusion, load
from engine.models.catalogue import describe
from tests.models import make_model


@pytest.fixture(autouse=True)
def the_same_chance() -> None:
    """Let what a test draws without a generator of its own be the same each time."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny Stable Diffusion 1.x form with random weights."""
    return make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def model(tiny_folder: Path) -> StableDiffusion:
    """Return the tiny model, loaded once for all tests; none may change it for good."""
    return load(describe("tiny", tiny_folder), torch.device("cpu"))


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch see three devices of CUDA, none of which can be used."""

    def break_down(*arguments: object, **more: object) -> None:
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch, "ones", break_down)
