"""Jobs that share an engine share its seconds."""

import pytest

from engine.queue.meter import Meter


def test_a_job_alone_has_all_the_engines_seconds() -> None:
    meter = Meter()
    meter.start(1, width=3.0, now=100.0)
    assert meter.stop(1, now=104.0) == pytest.approx(4.0)


def test_jobs_that_share_the_engine_share_its_seconds_by_width() -> None:
    meter = Meter()
    meter.start(1, width=3.0, now=0.0)
    meter.start(2, width=1.0, now=10.0)
    assert meter.stop(1, now=18.0) == pytest.approx(10 + 8 * 3 / 4)
    assert meter.stop(2, now=20.0) == pytest.approx(8 / 4 + 2)


def test_loading_is_nobodys_work() -> None:
    meter = Meter()
    meter.start(1, width=1.0, now=0.0)
    meter.restart(1, now=60.0)
    assert meter.stop(1, now=62.0) == pytest.approx(2.0)


def test_an_idle_engine_gives_nobody_seconds() -> None:
    meter = Meter()
    meter.start(1, width=1.0, now=0.0)
    meter.stop(1, now=1.0)
    meter.start(2, width=1.0, now=1000.0)
    assert meter.stop(2, now=1001.0) == pytest.approx(1.0)


def test_the_end_is_foreseen_where_it_comes() -> None:
    meter = Meter()
    meter.start(1, width=1.0, now=0.0)
    meter.start(2, width=1.0, now=4.0)
    assert meter.time(meter.end(1, seconds=5.0)) == pytest.approx(6.0)
    assert meter.time(meter.end(1, seconds=4.0)) == pytest.approx(4.0)
    assert meter.time(meter.end(1, seconds=3.0)) == pytest.approx(6.0)  # late: as much again
