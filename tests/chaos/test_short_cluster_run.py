"""A short chaos on a Ray cluster of three nodes: everything is real but its length."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.chaos.cluster import WEIGHTS, machines
from tests.chaos.plan import make_plan
from tests.chaos.report import report
from tests.chaos.run import run

SECONDS, SEED = 20.0, 20088
BREAKS = {
    *("kill -9 of the service", "actor halted", "actor killed", "node killed", "node halted"),
    "answers lost",
}


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a file's size is set as on Linux")
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.slow
async def test_nothing_is_lost_doubled_or_stuck_where_machines_break(tmp_path: Path) -> None:
    plan = make_plan(SEED, SECONDS, WEIGHTS)
    assert {event.kind for event in plan.faults} >= BREAKS
    (folder := tmp_path / "marble").mkdir()
    with machines(tmp_path) as cluster:
        outcome = await run(plan, folder, mount=False, machines=cluster)
    assert outcome.problems == [], report(outcome)
    assert outcome.account.jobs >= 5
    assert outcome.account.ends.total() == outcome.account.jobs
    assert outcome.redrawn
    assert outcome.starts >= 2
    assert f"make chaos-cluster SECONDS=20 SEED={SEED}" in report(outcome)
