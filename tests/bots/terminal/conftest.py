"""The `marble` command in a folder of its own, with a tiny model."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bots.terminal.cli import main
from tests.conftest import PATIENCE, ROOT

Marble = Callable[..., "Answer"]


@dataclass(frozen=True)
class Answer:
    """Hold what a command answered."""

    code: int
    out: str
    err: str


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return the data folder of this test, not yet made."""
    return tmp_path / "data"


@pytest.fixture
def marble(
    tmp_path: Path,
    data: Path,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Marble:
    """Return a function that runs `marble` with these words in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARBLE_DATA_DIR", str(data))
    monkeypatch.setenv("MARBLE_MODELS_DIR", str(models))
    monkeypatch.setenv("MARBLE_TERMINAL_PICTURES", "off")
    # A child would load torch for every command.
    monkeypatch.setenv("MARBLE_EXECUTOR", "inprocess")
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> Answer:
        code = main(words)
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return run


@pytest.fixture
def chat(marble: Marble, data: Path, models: Path) -> Callable[[str], Answer]:
    """Return a function that pipes lines into `marble chat` in a process of its own."""

    def run(lines: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "bots", "chat"],
            input=lines,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run
