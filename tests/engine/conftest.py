"""Small models for the engine's tests, written once a session."""

from pathlib import Path

import pytest

from tests.models import make_model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny Stable Diffusion 1.x form with random weights."""
    return make_model(tmp_path_factory.mktemp("models") / "tiny")
