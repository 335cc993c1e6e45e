"""What all tests share: their environment, where data lies, and what a run reports at its end."""

import gc
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings

from bots.operations.settings import VARIABLES
from tests import object_store as object_stores

# Before torch is imported: its threads are not to spin while others use the processor.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Before torch is imported, and for child processes, too: on a busy machine the threads of a small
# model spend their time waiting for each other (80 s for 1 s of work).
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Each test says which settings it has; none has its developer's, such as a token that is real.
for key in VARIABLES:
    os.environ.pop(key, None)

# What a run shows depends on the code alone: not on what was drawn by chance, nor on how busy the
# machine was. `--hypothesis-profile=search` draws new examples.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("steady", settings.get_profile("search"), derandomize=True)
settings.load_profile("steady")

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "tests" / "reference"
# Published specifications of the platforms are not part of the repository.
SHARED = Path(os.environ.get("MARBLE_SHARED_DIR", ROOT.parent / "shared"))
SPECS = SHARED / "specs"
# Small networks of flow models with random weights, and what ComfyUI computes with them.
SHARED_FLOW = SHARED / "reference" / "flow"
DISCORD_SPEC = SPECS / "discord-openapi.json"
TELEGRAM_SPEC = SPECS / "telegram-bot-api-10.0.json"
PATIENCE: Final = 180.0  # seconds after which something awaited counts as not happening


# Requests that the fakes validated ("Discord", "Telegram") and rejected ("Discord rejected", …).
SENT: Counter[str] = Counter()


@pytest.fixture(scope="session")
def specs() -> Path:
    """Return the folder of published specifications, or skip and say so where it is absent."""
    if not SPECS.is_dir():
        pytest.skip("no published specifications: set MARBLE_SHARED_DIR")
    return SPECS


def pytest_collection_finish() -> None:
    """Keep what was imported out of garbage collection: the engine collects after each shortage."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the counts of a worker of pytest-xdist to the process that reports the run."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["sent"] = dict(SENT)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add a worker's counts to those of the run."""
    SENT.update(getattr(node, "workeroutput", {}).get("sent", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report how many requests were validated, and against what."""
    for platform, file in {"Discord": DISCORD_SPEC, "Telegram": TELEGRAM_SPEC}.items():
        if platform in SENT:
            against = file.name if file.is_file() else f"limits only: {file.name} is absent"
            counts = f"{SENT[platform]} requests validated, {SENT[f'{platform} rejected']} rejected"
            terminalreporter.write_line(f"{platform}: {counts} ({against})")


@pytest.fixture(scope="session")
def object_store() -> Iterator[int]:
    """Return the port of an S3-like store."""
    with object_stores.store() as port:
        yield port


@pytest.fixture
def way(object_store: int) -> Iterator[object_stores.Way]:
    """Return a way to an S3-like store that can be broken."""
    with object_stores.way_to(object_store) as way:
        yield way


@pytest.fixture
def bucket_url(way: object_stores.Way) -> str:
    """Return the URL of an empty bucket."""
    return object_stores.new_bucket(way)
