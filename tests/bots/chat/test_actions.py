"""The one table of what can be done with a picture."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bots.admission.gate import Gate
from bots.admission.roles import Roles
from bots.chat.access import Purpose, Viewer
from bots.chat.actions import ACTIONS, DRAWN, draw
from bots.requests.studio import Asker
from engine.errors import UserError
from storage import Storage
from tests.bots.chat.test_access import Anybody
from tests.storage.conftest import a_job


@pytest.mark.parametrize("action", DRAWN)
async def test_nothing_is_drawn_from_what_may_not_be_seen(
    action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    async def note(studio: Any, name: str, asker: Asker) -> None:
        drawn.append(name)

    monkeypatch.setitem(cast(Any, DRAWN), action, note)
    asker = Asker(person="x:eve", place="x:9")
    async with Storage.open(tmp_path) as storage:
        job = await storage.jobs.add(a_job())
        app: Any = SimpleNamespace(storage=storage, gate=Gate(storage, Roles(), {}), studio=None)
        eve = Anybody(Viewer(person=asker.person, place=asker.place))
        with pytest.raises(UserError):
            await draw(app, action, f"{job.id}.1", eve, asker)
        own = Anybody(Viewer(person=job.person, place=job.place))
        await draw(app, action, f"{job.id}.1", own, asker)
    assert drawn == ["1"]  # a job's only picture goes by the job's name


def test_what_is_drawn_is_wanted_for_drawing() -> None:
    assert all(ACTIONS[name] is Purpose.DRAW for name in DRAWN)
