"""A short chaos, so that `make chaos` does not rot: everything is real but its length."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.chaos.plan import make_plan
from tests.chaos.report import report
from tests.chaos.run import run

# In these seconds of this seed the database is locked, the engine killed, the disk filled, answers
# get lost, and the service is killed.
SECONDS, SEED = 17.0, 88
BREAKS = {
    "database locked",
    "kill -9 of the engine",
    "disk full",
    "answers lost",
    "kill -9 of the service",
}


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a file's size is set as on Linux")
@pytest.mark.skipif(not shutil.which("pgrep"), reason="pgrep, which finds the engine, is missing")
@pytest.mark.slow
async def test_nothing_is_lost_doubled_or_stuck(tmp_path: Path) -> None:
    plan = make_plan(SEED, SECONDS)
    assert {event.kind for event in plan.faults} >= BREAKS
    outcome = await run(plan, tmp_path, mount=False)
    assert outcome.problems == [], report(outcome)
    assert outcome.account.jobs >= 3
    assert outcome.account.ends.total() == outcome.account.jobs
    assert outcome.redrawn
    assert outcome.starts >= 2
    assert f"SEED={SEED}" in report(outcome)
