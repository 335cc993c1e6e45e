"""Forecasts of long queues: the first jobs are played, the others are ordered."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from engine.queue.engines import Facts
from engine.queue.forecast import LOOKS, SLICE, forecast
from engine.queue.order import Order
from engine.queue.tasks import Limits, Priority, Task
from tests.engine.crowds import foresee, task

WIDE = Limits(running=4, waiting=100_000, length=100_000)


def crowd(jobs: int, people: int, engines: int = 4) -> Order:
    """Return an order in which every engine is full."""
    random, order = Random(1), Order(WIDE)
    order.speeds.learn(task(0).work, 1.0)
    for n in range(engines):
        order.put(f"{n}", Facts(slots=2, held=("m",)))
    for job in range(jobs):
        order.submit(task(job, f"{random.randrange(people)}", random.randint(1, 9)))
    while order.choose(0.0, 0):
        pass
    return order


@pytest.mark.parametrize("people", [7, 300, 5000])
def test_behind_those_that_are_played_the_others_have_places_and_times(people: int) -> None:
    order = crowd(2000, people)
    whole = {each.job: each for each in foresee(order, 0.0, 0, played=10_000)}
    part = {each.job: each for each in foresee(order, 0.0, 0, played=200)}
    waiting = [each for each in part.values() if each.position]
    assert sorted(each.position for each in waiting) == list(range(1, order.waiting + 1))
    for each in part.values():
        if each.position <= 200:
            assert each == whole[each.job]
        else:
            assert each.position == pytest.approx(whole[each.job].position, abs=100)
            assert each.ends_at == pytest.approx(whole[each.job].ends_at, rel=0.15)


def test_one_persons_jobs_keep_their_order_behind_those_that_are_played() -> None:
    order = crowd(1000, 40)
    places = {each.job: each.position for each in foresee(order, 0.0, 0, played=100)}
    mine: dict[str, list[int]] = {}
    for each in order.tasks():
        mine.setdefault(each.person, []).append(places[each.job])
    assert all(earlier < later for line in mine.values() for earlier, later in pairwise(line))


def test_moderators_come_before_others_behind_those_that_are_played() -> None:
    order = crowd(100, 100)
    for job in range(1000, 1100):
        order.submit(task(job, f"mod {job}", priority=Priority.MODERATOR))
    places = {each.job: each.position for each in foresee(order, 0.0, 0, played=10)}
    others = [places[each.job] for each in order.tasks() if each.job < 1000]
    assert sorted(places[job] for job in range(1000, 1100))[-1] < sorted(others)[10]


def test_without_a_measurement_of_each_no_time_is_told_from_there_on() -> None:
    order = crowd(300, 300)
    order.submit(task(900, "late", model="new"))
    order.submit(task(901, "later"))
    told = foresee(order, 0.0, 0, played=50)
    [first] = [each.position for each in told if each.job == 900]
    assert 50 < first < 300
    assert all((each.ends_at is None) is (each.position >= first) for each in told)


def test_only_those_who_are_next_are_copied() -> None:
    order = crowd(2000, 10**9)
    assert (order.waiting, order.copy(100).waiting) == (1992, 100)


def test_what_comes_and_goes_while_a_copy_is_played_does_not_show_in_it() -> None:
    """A copy shares the jobs of each person with the order until either changes them."""
    order = crowd(100, 5)
    before = foresee(order, 0.0, 0)
    rounds = forecast(order, 0.0, 0)
    told = next(rounds)
    first, last = order.tasks()[0], order.tasks()[-1]
    assert order.cancel(last.job)
    order.submit(replace(first, job=1000))
    for found in rounds:
        told += found
    assert told == before
    now = {each.job for each in foresee(order, 0.0, 0)}
    assert now == {each.job for each in before} - {last.job} | {1000}


def test_a_copy_of_those_who_are_next_does_not_copy_all_their_jobs() -> None:
    order = crowd(2000, 10)
    twin = order.copy(100)
    names = [name for name in twin.people._people if name in order.people._people]
    assert len(names) == 10
    assert twin.choose(0.0, 0) is None
    twin.put("more", Facts(slots=1, held=("m",)))
    assert (started := twin.choose(0.0, 0))
    same = [n for n in names if twin.people._people[n].tasks is order.people._people[n].tasks]
    assert {*names} - {*same} == {started.person}
    assert order.is_waiting(started.job)


def test_of_those_who_wait_for_an_engine_the_first_in_turn_are_copied() -> None:
    """Also after one of them tried again, and has waited for the shortest time since then."""
    order, needs = Order(WIDE), frozenset("x")
    order.speeds.learn(task(0).work, 1.0)
    order.put("a", Facts(slots=1, has=frozenset()))
    order.put("b", Facts(slots=1, has=needs))
    for job in range(300):
        order.submit(replace(task(job, f"{job}"), needs=needs))
    assert order.choose(0.0, 0)
    assert order.choose(0.0, 0) is None
    order.put("c", Facts(slots=1, has=frozenset()))  # which the first tries
    assert order.choose(0.0, 0) is None
    told = {each.job: each.position for each in foresee(order, 0.0, 0, played=100)}
    assert told == {job: job for job in range(300)}


def test_those_who_wait_for_a_full_group_are_among_the_first_when_it_empties() -> None:
    order = Order(WIDE)
    order.speeds.learn(task(0).work, 1.0)
    order.put("a", Facts(slots=1, held=("m",)))
    capped = [Task(job=n, person=f"{n}", work=task(0).work, caps=(("g", 1),)) for n in range(3)]
    for each in capped:
        order.submit(each)
    assert order.choose(0.0, 0) == capped[0]
    order.put("b", Facts(slots=1, held=("m",)))
    for job in range(10, 510):
        order.submit(task(job, f"other {job % 5}"))
    assert order.choose(0.0, 0)
    whole, part = ({p.job: p for p in foresee(order, 0.0, 0, played)} for played in (1000, 50))
    assert whole[1].position < 50
    assert part[1] == whole[1]


def test_little_is_done_between_two_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    order, done = crowd(3000, 3000, engines=100), Counter[str]()

    def counted(name: str) -> None:
        method = getattr(Order, name)

        def count(*args: object, **named: object) -> object:
            done[name] += 1
            return method(*args, **named)

        monkeypatch.setattr(Order, name, count)

    for name in ("choose", "done", "start_of"):
        counted(name)
    for found in forecast(order, 0.0, 0, played=500):
        assert done["choose"] <= 2 * SLICE
        assert done["done"] <= SLICE
        assert done["start_of"] <= LOOKS
        assert len(found) <= max(SLICE, LOOKS)
        done.clear()
