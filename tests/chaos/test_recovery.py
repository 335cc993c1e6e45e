"""Every second after the last fault is attributed once, to what kept the work from its end."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.chaos.recovery import (
    BACK_OFF,
    DRAWING,
    LOCKED,
    QUEUED,
    REST,
    SENDING,
    STARTING,
    Span,
    job_spans,
    logged_spans,
    shares,
)


def logged(*entries: tuple[float, str]) -> str:
    return "\n".join(
        json.dumps({"time": datetime.fromtimestamp(at, UTC).isoformat(), "message": message})
        for at, message in entries
    )


def test_the_shares_add_up_and_what_hinders_counts_before_what_is_hindered() -> None:
    spans = [Span(DRAWING, 0, 60), Span(STARTING, 20, 30), Span(SENDING, 50, 80)]
    assert shares(10, 100, spans) == {DRAWING: 40, SENDING: 20, REST: 20, STARTING: 10}


def test_an_engine_waits_starts_and_is_ready() -> None:
    log = logged(
        (1, "the engine's process on cuda:0 ended (SIGKILL) with 1 jobs"),
        (1, "the engine's process on cuda:0 may start again in 4.0 s"),
        (5, "the engine's process on cuda:0 starts"),
        (8, "the engine's process on cuda:0 is ready"),
        (9, "3 commits wait for the database"),
        (10, "the database takes commits again"),
        (20, "the engine's process on cuda:0 starts"),
    )
    assert list(logged_spans(f"no JSON\n{log}", 30)) == [
        Span(BACK_OFF, 1, 5),
        Span(STARTING, 5, 8),
        Span(LOCKED, 9, 10),
        Span(STARTING, 20, 30),
    ]


def test_a_service_that_starts_anew_ends_what_its_predecessor_waited_for() -> None:
    log = logged((1, "the engine's process on cuda:0 starts"), (7, "Marble is running"))
    assert list(logged_spans(log, 30)) == [Span(STARTING, 1, 7)]


@pytest.mark.parametrize(
    ("times", "found"),
    [
        ((1, None, None, None), [Span(QUEUED, 1, 9)]),
        ((1, 2, 4, 7), [Span(QUEUED, 1, 2), Span(DRAWING, 2, 4), Span(SENDING, 4, 7)]),
        ((1, None, 4, 7), [Span(QUEUED, 1, 4), Span(DRAWING, 4, 4), Span(SENDING, 4, 7)]),
    ],
)
def test_a_job_waits_is_drawn_and_is_sent(
    times: tuple[float | None, ...], found: list[Span]
) -> None:
    assert list(job_spans(times, 9)) == found
