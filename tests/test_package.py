"""The wheel, as `deploy/Containerfile` installs it: with every file that Marble reads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("bots", "engine", "migrations", "storage")
NOT_SHIPPED = ("__pycache__", ".mypy_cache")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, so that nothing is left in the working folder."""
    copy = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns(*NOT_SHIPPED))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    command = (sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", "out", ".")
    subprocess.run(command, cwd=copy, check=True, timeout=300)
    (built,) = (copy / "out").glob("*.whl")
    return built


def test_it_holds_every_file_of_the_packages(wheel: Path) -> None:
    there = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and not set(NOT_SHIPPED) & set(path.parts)
    }
    with zipfile.ZipFile(wheel) as opened:
        assert there - set(opened.namelist()) == set()
    assert any(name.endswith(".safetensors") for name in there)


def test_installed_where_nothing_can_be_written_it_draws(wheel: Path, tmp_path: Path) -> None:
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(installed)
    for path in (installed, *installed.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MARBLE_")}
    command = ("-P", "-m", "bots", "imagine", "a marble cat", "--steps", "1", "--seed", "1")
    done = subprocess.run(
        [sys.executable, *command],
        env={**kept, "PYTHONPATH": str(installed), "MARBLE_DATA_DIR": str(elsewhere / "data")},
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    for path in (installed, *installed.rglob("*")):  # so that it can be removed
        path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert len(list((elsewhere / "data" / "pictures").glob("*/*.png"))) == 1
