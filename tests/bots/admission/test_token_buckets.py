import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.admission.gate import KEPT, TokenBuckets


def test_a_minutes_worth_may_come_at_once_and_then_evenly() -> None:
    rates = TokenBuckets()
    for _ in range(6):
        assert rates.wait("ada", 6, 100.0) == 0
        rates.take("ada", 6, 100.0)
    assert rates.wait("ada", 6, 100.0) == pytest.approx(10.0)
    assert rates.wait("bob", 6, 100.0) == 0
    assert rates.wait("ada", 6, 104.0) == pytest.approx(6.0)
    assert rates.wait("ada", 6, 110.0) == pytest.approx(0.0)


def test_a_clock_that_stands_still_or_runs_back_gives_nothing_away() -> None:
    rates = TokenBuckets()
    rates.take("ada", 1, 100.0)
    assert rates.wait("ada", 1, 50.0) == pytest.approx(60.0)


@given(st.lists(st.floats(0, 30), min_size=1, max_size=80))
def test_no_minute_sees_more_than_twice_the_rate(pauses: list[float]) -> None:
    """A full bucket and what flows in meanwhile: never more, whatever people do."""
    rates, now, taken = TokenBuckets(), 0.0, []
    for pause in pauses:
        now += pause
        if rates.wait("ada", 5, now) <= 1e-9:
            rates.take("ada", 5, now)
            taken.append(now)
    for first in taken:
        assert sum(first <= at < first + 60 for at in taken) <= 10


def test_memory_is_bounded() -> None:
    rates = TokenBuckets()
    for person in range(KEPT + 10):
        rates.take(person, 5, 0.0)
    assert len(rates._buckets) == KEPT
