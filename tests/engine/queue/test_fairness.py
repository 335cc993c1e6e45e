"""Whatever people do, the order is fair: shown on crowds made at random."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import count, pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.errors import UserError
from engine.queue.fairness import SLACK, Share
from engine.queue.order import Order
from engine.queue.tasks import Limits, Priority, Task
from tests.engine.crowds import Arrival, Engine, foresee, play, simulate, task

WIDE = Limits(running=100_000, waiting=100_000, length=100_000)
BUSY = settings(deadline=None)  # the machine may be busy
seconds = st.integers(1, 50)
durations = st.floats(0.1, 50)
slot_counts = st.integers(1, 8)


def crowd(people: Sequence[Sequence[float]]) -> list[Task]:
    """Make each person's jobs of so many seconds."""
    ids = count()
    return [task(next(ids), f"{n}", cost) for n, jobs in enumerate(people) for cost in jobs]


@st.composite
def arrivals(draw: st.DrawFn) -> list[Arrival]:
    """Draw jobs of a few people, estimated well or badly, that come at any time."""
    each = st.tuples(st.integers(0, 300), st.sampled_from("abcde"), seconds, durations)
    drawn = sorted(draw(st.lists(each, max_size=60)))
    return [
        Arrival(float(at), task(job, person, cost), took)
        for job, (at, person, cost, took) in enumerate(drawn)
    ]


@BUSY
@given(st.lists(durations, min_size=100, max_size=100), durations, st.floats(0, 300), slot_counts)
def test_one_persons_wait_beside_anothers_hundred_jobs_is_one_running_job_at_most(
    backlog: list[float], mine: float, at: float, slots: int
) -> None:
    others = [Arrival(0.0, task(n, "ada"), took) for n, took in enumerate(backlog)]
    served = simulate(Order(WIDE), [*others, Arrival(at, task(1000, "bob"), mine)], slots)
    [bob] = [each for each in served if each.task.person == "bob"]
    assert bob.started - bob.came <= max(backlog) + 1e-9


@BUSY
@given(st.lists(st.lists(seconds, min_size=3, max_size=12), min_size=2, max_size=8), slot_counts)
def test_two_people_with_backlogs_are_never_further_apart_than_a_few_jobs(
    people: list[list[int]], slots: int
) -> None:
    order = Order(WIDE)
    for each in crowd(people):
        order.submit(each)
    got = {f"{n}": 0.0 for n in range(len(people))}
    left = Counter({f"{n}": len(jobs) for n, jobs in enumerate(people)})
    for each in play(order, 0.0, slots)[0]:
        if not all(left.values()):
            break
        got[each.person] += each.work.width
        left[each.person] -= 1
        for one, other in ((a, b) for a in got for b in got):
            # A job of each, and one of anybody's that ran while they waited for their first.
            bound = max(people[int(one)]) + max(people[int(other)]) + max(map(max, people))
            assert abs(got[one] - got[other]) <= bound + 1e-6


def test_small_jobs_and_large_ones_get_the_same_in_the_long_run() -> None:
    order = Order(WIDE)
    for each in crowd([[50] * 40, [1] * 2000]):
        order.submit(each)
    got = {"0": 0.0, "1": 0.0}
    for each in play(order, 0.0, 1)[0]:
        got[each.person] += each.work.width
        if got["0"] < 2000 and got["1"] < 2000:
            assert abs(got["0"] - got["1"]) <= 50 + 1 + 50


@pytest.mark.parametrize("slots", [1, 3, 8])
def test_of_a_thousand_people_nobody_lags_behind_the_ideal_share_by_more_than_a_job(
    slots: int,
) -> None:
    random = Random(slots)
    order = Order(WIDE)
    for each in crowd([[random.randint(1, 20) for _ in range(4)] for _ in range(1000)]):
        order.submit(each)
    started = play(order, 0.0, slots)[0]
    got = {f"{n}": 0.0 for n in range(1000)}
    for number, each in enumerate(started[:2000]):
        got[each.person] += each.work.width
        if number % 50 == 0:
            assert min(got.values()) >= sum(got.values()) / 1000 - 20 - 1e-6
            assert max(got.values()) <= sum(got.values()) / 1000 + 20 + 1e-6
    assert len(started) == 4000


@BUSY
@given(arrivals(), slot_counts, st.integers(1, 4))
def test_each_persons_jobs_start_in_the_order_in_which_they_were_asked_for(
    coming: list[Arrival], slots: int, most: int
) -> None:
    served = simulate(Order(Limits(running=most)), coming, slots)
    assert sorted(each.task.job for each in served) == [each.task.job for each in coming]
    for person in "abcde":
        own = [each.task.job for each in served if each.task.person == person]
        assert own == sorted(own)


@BUSY
@given(arrivals(), slot_counts)
def test_looking_ahead_sees_what_comes_if_nobody_else_does(
    coming: list[Arrival], slots: int
) -> None:
    order = Order(Limits(running=2))
    order.speeds.learn(task(0).work, 1.5)
    for each in coming:
        order.submit(each.task)
    places = sorted(foresee(order, 3.0, slots), key=lambda place: place.position)
    started, ends = play(order, 3.0, slots)
    assert [place.job for place in places] == [each.job for each in started]
    assert [place.position for place in places] == list(range(1, len(started) + 1))
    assert [place.ends_at for place in places] == pytest.approx([ends[p.job] for p in places])


@BUSY
@given(arrivals(), slot_counts)
def test_the_time_that_was_told_holds_while_nobody_comes_and_estimates_are_true(
    coming: list[Arrival], slots: int
) -> None:
    order, engine, now = Order(Limits(running=2)), Engine(), 0.0
    order.speeds.learn(task(0).work, 1.0)
    for each in coming:
        order.submit(each.task)
    told = {place.job: place.ends_at for place in foresee(order, now, slots)}
    while order.waiting:
        while chosen := order.choose(now, slots):
            engine.start(chosen, order.speeds.seconds(chosen.work))
        span, job = engine.finish_one()
        now += span
        order.done(job, now)
        for place in foresee(order, now, slots):
            assert place.ends_at == pytest.approx(told[place.job])


class Machine(RuleBasedStateMachine):
    """Do anything in any order; a plain list of what waits and runs says what must be true."""

    def __init__(self) -> None:
        super().__init__()
        self.order = Order(Limits(running=2, waiting=4, length=8))
        self.lines: dict[str, list[Task]] = {}
        self.running: dict[int, Task] = {}
        self.paused: set[str] = set()
        self.now = 0.0
        self.ids = count()

    @property
    def waiting(self) -> list[Task]:
        return [each for line in self.lines.values() for each in line]

    @rule(person=st.sampled_from("abc"), cost=seconds, level=st.sampled_from(Priority))
    def submit(self, person: str, cost: int, level: Priority) -> None:
        line = self.lines.setdefault(person, [])
        try:
            self.order.reserve(person)
        except UserError:
            assert len(line) >= 4 or len(self.waiting) >= 8
            return
        assert len(line) < 4
        assert len(self.waiting) < 8
        line.append(task(next(self.ids), person, cost, level))
        self.order.submit(line[-1])
        self.order.release(person)

    @rule(person=st.sampled_from("abc"), alone=st.booleans())
    def take_back(self, person: str, alone: bool) -> None:
        """Submit what was already running when Marble was last stopped: limits do not matter."""
        again = replace(task(next(self.ids), person), alone=alone)
        self.lines.setdefault(person, []).append(again)
        self.order.submit(again)
        self.order.submit(again)

    @rule(slots=st.integers(0, 4))
    def choose(self, slots: int) -> None:
        chosen = self.order.choose(self.now, slots)
        allowed = {each.person for each in self.waiting if self.runs(each.person) < 2}
        may = bool(allowed) and len(self.running) < slots and not self.paused
        may = may and not any(each.alone for each in self.running.values())
        held = bool(self.running) and any(each.alone for each in self.waiting)
        assert may if chosen else held or not may  # work conserving, and within every limit
        if chosen:
            assert not (chosen.alone and self.running)
            assert chosen.person in allowed
            line = self.lines[chosen.person]
            assert chosen == next(each for each in line if each.priority == chosen.priority)
            line.remove(chosen)
            self.running[chosen.job] = chosen

    def runs(self, person: str) -> int:
        return sum(each.person == person for each in self.running.values())

    @precondition(lambda self: self.running)
    @rule(data=st.data(), took=durations, finished=st.booleans())
    def end(self, data: st.DataObject, took: float, finished: bool) -> None:
        job = data.draw(st.sampled_from(sorted(self.running)))
        self.now += took
        self.order.done(job, self.now, finished=finished)
        del self.running[job]

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.running)))
        self.order.drawing_began(job, self.now, loaded=data.draw(st.booleans()))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(sorted(self.waiting, key=lambda each: each.job)))
        assert self.order.cancel(gone.job)
        self.lines[gone.person].remove(gone)
        assert not self.order.cancel(gone.job)

    @rule(by=st.sampled_from("xy"))
    def pause(self, by: str) -> None:
        self.order.pause(f"{by} said so", by)
        self.paused.add(by)

    @rule(by=st.sampled_from("xy"))
    def resume(self, by: str) -> None:
        self.order.resume(by)
        self.paused.discard(by)

    @invariant()
    def counts_are_true(self) -> None:
        assert (self.order.waiting, self.order.running) == (len(self.waiting), len(self.running))
        assert (self.order.reason is None) == (not self.paused)
        assert all(self.order.is_waiting(each.job) for each in self.waiting)

    @invariant()
    def every_job_has_a_place_of_its_own(self) -> None:
        places = sorted(foresee(self.order, self.now, 2), key=lambda place: place.position)
        runs = [place.job for place in places if place.position == 0]
        assert sorted(runs) == sorted(self.running)
        waits = [place for place in places if place.position]
        assert sorted(place.job for place in waits) == sorted(each.job for each in self.waiting)
        assert [place.position for place in waits] == list(range(1, len(waits) + 1))


TestMachine = Machine.TestCase
TestMachine.settings = BUSY


@pytest.mark.parametrize("slots", [1, 3])
def test_ever_new_people_do_not_keep_a_persons_next_job_waiting(slots: int) -> None:
    coming = [Arrival(0.0, task(n, "ada"), 1.0) for n in range(10)]
    coming += [Arrival(n / slots, task(100 + n, f"{n}"), 1.0) for n in range(500)]
    served = simulate(Order(WIDE), coming, slots)
    ada = [at for at, each in enumerate(served) if each.task.person == "ada"]
    # Each of hers keeps one more of the others waiting, since they alone fill the engine.
    assert all(later - earlier <= 10 + 2 * n for n, (earlier, later) in enumerate(pairwise(ada)))


def test_a_long_job_of_one_does_not_let_anothers_backlog_go_before_a_third() -> None:
    coming = [Arrival(0.0, task(n, "ada", 1), 1.0) for n in range(100)]
    coming += [Arrival(0.5, task(200, "bob", 50), 50.0), Arrival(51.5, task(300, "cy"), 1.0)]
    [cy] = [each for each in simulate(Order(WIDE), coming, 1) if each.task.person == "cy"]
    assert cy.started - cy.came <= 2.0


@BUSY
@given(
    st.lists(st.tuples(durations, durations), min_size=2, max_size=60),
    seconds,
    slot_counts,
    st.floats(0, 300),
)
def test_who_is_new_waits_for_nobodys_second_job(
    jobs: list[tuple[float, float]], cost: int, slots: int, at: float
) -> None:
    order = Order(WIDE)
    coming = [Arrival(0.0, task(n, f"{n % 3}", est), took) for n, (est, took) in enumerate(jobs)]
    late = Arrival(at, task(1000, "new", cost), 1.0)
    served = simulate(order, [*coming, late], slots)
    between = Counter(
        each.task.person
        for each in served[: [each.task.job for each in served].index(1000)]
        if each.started > at
    )
    assert all(times <= 1 for times in between.values())


def test_who_comes_and_goes_leaves_nothing_behind() -> None:
    share: Share[int] = Share()
    for owner in range(10_000):
        share.activate(owner, owner)
        share.charge(owner, 1.0)
        share.activate(owner, owner)
        share.advance(1.0)
        share.deactivate(owner)
    assert len(share) == 0
    assert len(share._heap) + len(share._backlogged) + len(share._finish) <= 10 * SLACK


def test_who_is_passed_over_again_and_again_is_named_once() -> None:
    share: Share[str] = Share()
    for job, owner in enumerate("abc"):
        share.activate(owner, job)
    for _ in range(10):
        share.restore("a", share.pass_over("a"))
    assert share.firsts(2) == ["a", "b"]
    for _ in range(10 * SLACK):
        share.restore("a", share.pass_over("a"))
    assert len(share._heap) <= 2 * len(share) + SLACK + 1
