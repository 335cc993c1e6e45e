"""What all tests share: where the reference data lies."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of reference data, or skip and say so where it is absent."""
    folder = Path(os.environ.get("MARBLE_SHARED_DIR", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no reference data: MARBLE_SHARED_DIR ({folder}) does not exist")
    return folder
