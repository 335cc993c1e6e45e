"""What the page costs a process that serves none: nothing is imported for it."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.process import Marble
from tests.ports import free_port

IMPORTS = {"PYTHONPROFILEIMPORTTIME": "1"}  # each import is a line of the log
PAGES = ("bots.web", "jinja2")


async def imported(folder: Path, until: str, **settings: str) -> set[str]:
    """Return which modules the real `marble serve` has imported when one of them is there."""
    marble = Marble(folder, {**IMPORTS, **settings}, fresh=True)
    await marble.start()
    try:
        await marble.says(f" {until}\n")
    finally:
        await marble.kill()
    lines = marble.log.splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


async def test_without_a_port_no_page_code_is_imported(tmp_path: Path) -> None:
    modules = await imported(tmp_path, "bots.service.monitor")  # after the adapters
    assert "bots.service.kept" in modules
    assert not [each for each in modules if each.startswith(PAGES)]


async def test_with_a_port_it_is(tmp_path: Path) -> None:
    port = str(free_port())
    modules = await imported(tmp_path, "bots.web.site", MARBLE_WEB_PORT=port)
    assert {"bots.web.request", "jinja2"} <= modules
