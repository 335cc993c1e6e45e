"""The account catches what it is there for: a reply that is lost, doubled, or stuck."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.account import Account, Asked, Kept, Seen, judge

KEPT = (Kept(job=1, status="delivered"), Kept(job=2, status="cancelled"))
SEEN = (
    Seen(key="telegram:1/1", job=1, ended=True),
    Seen(key="discord:2", job=2, ended=True),
)
ASKED = (Asked(name="deed 1", heard=True, answered=True, job=1),)


def account(
    kept: tuple[Kept, ...] = KEPT,
    seen: tuple[Seen, ...] = SEEN,
    asked: tuple[Asked, ...] = ASKED,
    admitted: frozenset[int] = frozenset(),
) -> Account:
    return judge(kept, seen, asked, admitted)


def test_where_all_is_well_nothing_is_found() -> None:
    found = account()
    assert (found.jobs, found.wrong) == (2, ())
    assert found.ends == {"delivered": 1, "cancelled": 1}


def test_a_reply_that_nobody_was_shown_is_lost() -> None:
    assert account(seen=SEEN[:1]).lost == ("job 2: it is cancelled, which nobody was shown",)


def test_a_placeholder_without_a_row_is_a_lost_job() -> None:
    told = Seen(key="discord:3", job=3, waits=True)
    assert account(seen=(*SEEN, told)).lost == ("job 3: it was told of and is not in the database",)


def test_a_job_that_does_not_end_is_lost() -> None:
    for status in ("queued", "running"):
        kept = (replace(KEPT[0], status=status, closed=False, delivered=False), KEPT[1])
        assert account(kept, SEEN[1:]).lost == (f"job 1: it is still {status}",)


def test_a_reply_that_waits_or_was_given_up_is_lost() -> None:
    waits = replace(KEPT[0], status="rendered", closed=False, delivered=False)
    assert account((waits, KEPT[1])).lost == ("job 1: its reply still waits",)
    given_up = replace(waits, closed=True)
    assert account((given_up, KEPT[1])).lost == ("job 1: its reply was given up",)


def test_a_second_reply_is_doubled_unless_marble_said_that_it_may_come() -> None:
    second = (*SEEN, Seen(key="telegram:1/9", job=1, ended=True))
    found = account(seen=second)
    assert (found.doubled, found.ambiguous) == (("job 1: its end was shown 2 times",), ())
    found = account(seen=second, admitted=frozenset({1}))
    assert (found.doubled, found.ambiguous, found.wrong) == ((), ("job 1",), ())


def test_a_placeholder_that_stays_is_stuck_unless_nobody_can_know_of_it() -> None:
    stays = Seen(key="telegram:1/9", job=1, waits=True)
    assert account(seen=(*SEEN, stays)).stuck == ("telegram:1/9 (job 1) still waits",)
    found = account(seen=(*SEEN, replace(stays, doubt=True)))
    assert (found.orphaned, found.wrong) == (("telegram:1/9 (job 1)",), ())
    # Where its job's end is shown nowhere else, no doubt excuses it.
    alone = account(seen=(replace(stays, doubt=True), SEEN[1]))
    assert alone.stuck == ("telegram:1/9 (job 1) still waits",)


def test_who_was_heard_is_told_something_unless_the_words_were_lost() -> None:
    silent = Asked(name="deed 2", heard=True, answered=False)
    assert account(asked=(silent,)).ignored == ("deed 2 was told nothing",)
    assert account(asked=(replace(silent, doubt=True),)).unheard == ("deed 2",)
    assert account(asked=(replace(silent, heard=False),)).wrong == ()
    assert account(asked=(replace(silent, job=1),)).wrong == ()  # its reply is its answer
