"""A seed decides everything that will happen."""

from __future__ import annotations

from tests.chaos.deeds import ACTS
from tests.chaos.faults import FAULTS as BREAKS
from tests.chaos.plan import DEEDS, FAULTS, SHORT, SLOW, make_plan


def test_a_seed_stands_for_one_plan() -> None:
    assert make_plan(7, 60) == make_plan(7, 60)
    assert make_plan(7, 60) != make_plan(8, 60)


def test_everything_has_its_time() -> None:
    plan = make_plan(7, 600)
    for events in (plan.deeds, plan.faults):
        times = [event.at for event in events]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] < 600


def test_in_some_runs_of_ten_minutes_everything_happens() -> None:
    plans = [make_plan(seed, 600) for seed in range(5)]
    assert {event.kind for plan in plans for event in plan.deeds} == set(DEEDS)
    assert {event.kind for plan in plans for event in plan.faults} == set(FAULTS)


def test_a_short_run_holds_nothing_slow() -> None:
    found = {e.kind for seed in range(50) for e in make_plan(seed, SHORT).faults}
    assert found == set(FAULTS) - SLOW


def test_whatever_is_planned_can_be_done() -> None:
    assert all(acts.keys() == DEEDS.keys() for acts in ACTS.values())
    assert BREAKS.keys() == FAULTS.keys()
