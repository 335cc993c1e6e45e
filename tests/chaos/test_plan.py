"""A seed decides everything that will happen."""

from __future__ import annotations

from tests.chaos.deeds import ACTS
from tests.chaos.faults import FAULTS as BREAKS
from tests.chaos.plan import DEEDS, FAULTS, SHORT, SLOW, make_plan


def test_a_seed_stands_for_one_plan() -> None:
    assert make_plan(7, 60) == make_plan(7, 60)
    assert make_plan(7, 60) != make_plan(8, 60)


def test_everything_has_its_time_and_happens_in_ten_minutes() -> None:
    plan = make_plan(7, 600)
    for events, kinds in ((plan.deeds, DEEDS), (plan.faults, FAULTS)):
        times = [event.at for event in events]
        assert times == sorted(times)
        assert times[0] >= 0
        assert times[-1] < 600
        assert {event.kind for event in events} == set(kinds)


def test_a_short_run_holds_nothing_slow() -> None:
    found = {e.kind for seed in range(50) for e in make_plan(seed, SHORT).faults}
    assert found == set(FAULTS) - SLOW


def test_whatever_is_planned_can_be_done() -> None:
    assert all(acts.keys() == DEEDS.keys() for acts in ACTS.values())
    assert BREAKS.keys() == FAULTS.keys()
