"""What all tests share: where the reference data lies."""

import os
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from bots.operations.settings import VARIABLES

# Before torch is imported: its threads are not to spin while others use the processor.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Before torch is imported, and for child processes, too: on a busy machine the threads of a small
# model spend their time waiting for each other (80 s for 1 s of work).
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Each test says which settings it has; none has its developer's, such as a token that is real.
for variable in VARIABLES:
    os.environ.pop(variable.key, None)

# What a run shows depends on the code alone: not on what was drawn by chance, nor on how busy the
# machine was. `--hypothesis-profile=search` draws new examples.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("steady", settings.get_profile("search"), derandomize=True)
settings.load_profile("steady")

ROOT = Path(__file__).resolve().parent.parent
PATIENCE: Final = 180.0  # seconds after which something awaited counts as not happening


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of reference data, or skip and say so where it is absent."""
    folder = Path(os.environ.get("MARBLE_SHARED_DIR", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no reference data: MARBLE_SHARED_DIR ({folder}) does not exist")
    return folder
