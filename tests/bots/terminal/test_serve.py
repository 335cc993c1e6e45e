import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bots.operations.settings import load_settings
from bots.requests.studio import Asker, Studio
from bots.service.kept import KeptAdapter
from bots.service.serve import serve
from engine.models.catalogue import Catalogue
from storage import PendingReply, Status, Storage
from tests.bots.fakes import allow_all
from tests.bots.terminal.conftest import Marble
from tests.conftest import PATIENCE, ROOT

TINY = ("--model", "tiny", "--steps", "1")


async def test_what_a_terminal_left_is_drawn_and_handed_out(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings({"MARBLE_EXECUTOR": "inprocess"}, env_file="")
    settings = replace(settings, data_dir=tmp_path, models_dir=models)
    handed_out: asyncio.Queue[int] = asyncio.Queue()
    deliver = KeptAdapter.deliver

    async def note(self: KeptAdapter, pending: PendingReply, way: object) -> object:
        handed_out.put_nowait(pending.job.id)
        return await deliver(self, pending, way)  # type: ignore[arg-type]

    monkeypatch.setattr(KeptAdapter, "deliver", note)
    async with Storage.open(tmp_path) as storage:
        ada = Asker(person="terminal:ada", place="terminal", later=True)
        nobody: Any = None  # to draw here
        studio = Studio(Catalogue(models), storage, nobody, gate=allow_all)
        words = {"prompt": "a cat", "checkpoint": "tiny", "steps": 1}
        before = await studio.imagine(words, ada)
        serving = asyncio.create_task(serve(settings), name="serve")
        assert await handed_out.get() == before.id
        while_it_runs = await studio.imagine(words, ada)
        assert await handed_out.get() == while_it_runs.id
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        done = await storage.jobs.get(while_it_runs.id)
        assert done.status in (Status.RENDERED, Status.DELIVERED)
        assert len(done.pictures) == 1


def test_a_terminal_need_not_wait(marble: Marble) -> None:
    answer = marble("imagine", "a cat", "--later", *TINY)
    assert "Job 1 waits for `marble serve`" in answer.out
    assert "queued" in marble("history").out
    # Another terminal does not take it for one that died.
    assert marble("imagine", "a dog", *TINY).code == 0
    assert "queued" in marble("history").out


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_being_told_to_stop_ends_it_well(
    marble: Marble, data: Path, models: Path, sent: signal.Signals
) -> None:
    serving = subprocess.Popen(
        [sys.executable, "-m", "bots", "serve"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert serving.stderr
    with serving, ExitStack() as finally_:
        finally_.callback(serving.kill)  # whatever fails: it is waited for
        assert "is running" in serving.stderr.readline()
        serving.send_signal(sent)
        assert serving.wait(timeout=PATIENCE) == 0
        # It is not at a terminal, and so speaks JSON.
        said = [json.loads(line) for line in serving.stderr]
        assert all(line["level"] in ("info", "warning") for line in said), said
