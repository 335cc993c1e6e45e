"""Where jobs run: the engine that costs least, suspects, restrictions, and what fairness keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from engine.queue.engines import Facts
from engine.queue.estimates import Speeds
from engine.queue.lines import SLACK
from engine.queue.order import Order
from engine.queue.placement import Found, Placement
from engine.queue.tasks import Limits, Priority, Task
from tests.engine.crowds import foresee, task
from tests.engine.fleet import Fleet

WIDE = Limits(running=10_000, waiting=100_000, length=100_000)


def order_of(*names: str, slots: int = 8, **facts: Facts) -> Order:
    """Return an order with engines that draw a unit in 1 s and load a model in 10 s."""
    order = Order(WIDE)
    for model in "mno":
        order.speeds.learn(task(0, model=model).work, 1.0)
        order.speeds.learn_loading(model, 10.0)
    for name in names:
        order.put(name, Facts(slots=slots, held=()))
    for name, told in facts.items():
        order.put(name, told)
    return order


def where(order: Order, *tasks: Task, now: float = 0.0) -> list[str]:
    """Submit tasks one by one and return on which engines they start."""
    found = []
    for each in tasks:
        order.submit(each)
        chosen = order.choose(now, 0)
        found.append(order.placed(chosen.job) if chosen else "")
    return found


def test_a_job_goes_where_its_model_is() -> None:
    order = order_of("a", "b")
    order.put("a", Facts(slots=8, held=("m",)))
    order.put("b", Facts(slots=8, held=("n",)))
    placed = where(order, task(1, model="n"), task(2, model="m"), task(3, model="n"))
    assert placed == ["b", "a", "b"]


def test_a_popular_model_spreads_when_its_backlog_outweighs_loading_it_elsewhere() -> None:
    order = order_of("a", "b")
    order.put("a", Facts(slots=8, held=("m",)))
    placed = where(order, *(task(n, seconds=4) for n in range(1, 6)))
    assert placed == ["a", "a", "a", "b", "a"]


def test_a_rare_model_removes_what_is_held_elsewhere_too() -> None:
    order = order_of("a", "b", "c")
    order.put("a", Facts(slots=8, held=("m",)))
    order.put("b", Facts(slots=8, held=("n",)))
    order.put("c", Facts(slots=8, held=("n",)))
    for job in range(1, 21):
        where(order, task(job, model="m" if job % 2 else "n"))
        order.done(job, 0.0)
    for name, model in (("a", "m"), ("b", "n"), ("c", "n")):
        order.put(name, Facts(slots=8, held=(model,)))
    assert where(order, task(99, model="o")) == ["b"]


def test_a_faster_kind_of_device_gets_the_job() -> None:
    order = Order(WIDE)
    order.put("a", Facts(slots=8, held=("m",), kind="slow"))
    order.put("b", Facts(slots=8, held=("m",), kind="fast"))
    order.speeds.learn(task(0).work, 8.0, kind="slow")
    order.speeds.learn(task(0).work, 2.0, kind="fast")
    assert where(order, *(task(n) for n in range(1, 6))) == ["b", "b", "b", "a", "b"]


def test_what_no_engine_with_room_has_is_passed_over_and_next_when_there_is_room() -> None:
    order = order_of(a=Facts(slots=1, has=frozenset("mx")), b=Facts(slots=1, has=frozenset("m")))
    needy = [replace(task(n, "ada"), needs=frozenset("x")) for n in (1, 2)]
    plain = [replace(task(n, "bob"), needs=frozenset("m")) for n in (3, 4, 5)]
    for each in (*needy, *plain):
        order.submit(each)
    assert [order.choose(0.0, 0), order.choose(0.0, 0)] == [needy[0], plain[0]]
    order.done(3, 1.0)
    assert order.choose(1.0, 0) == plain[1]  # ada's second is passed over
    order.done(1, 1.0)
    assert order.choose(1.0, 0) == needy[1]  # and not behind bob's third


def test_of_those_who_wait_for_an_engine_one_tries_again_and_the_others_follow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order = order_of(a=Facts(slots=1, has=frozenset("m")), b=Facts(slots=1, has=frozenset("mx")))
    needy = [replace(task(n, f"{n}"), needs=frozenset("mx")) for n in range(300)]
    assert where(order, *needy[:2]) == ["b", ""]
    for each in needy[2:]:
        order.submit(each)
    assert order.choose(0.0, 0) is None
    find, tries = order.engines.find, list[int]()

    def counted(task: Task, *rest: Any) -> Found | None:
        tries.append(task.job)
        return find(task, *rest)

    monkeypatch.setattr(order.engines, "find", counted)
    order.put("c", Facts(slots=1, has=frozenset("m")))
    assert order.choose(0.0, 0) is None
    assert tries == [1]
    order.put("d", Facts(slots=3, has=frozenset("mx")))
    assert [order.choose(0.0, 0) for _ in range(4)] == [*needy[1:4], None]
    assert tries[1:] == [1, 2, 3, 4]
    order.cancel(4)
    order.done(0, 1.0)
    order.cancel(5)
    assert order.choose(1.0, 0) == needy[6]


NEEDY = [replace(task(n, f"{n}"), needs=frozenset("mx")) for n in range(6)]
ALL = frozenset("mx")


def fill(order: Order, *tasks: Task, now: float = 0.0) -> list[int]:
    """Submit tasks and start what may start; return those jobs."""
    for each in tasks:
        order.submit(each)
    return [each.job for each in iter(lambda: order.choose(now, 0), None) if each]


def test_all_who_wait_for_a_file_start_once_every_engine_has_it() -> None:
    order = order_of(a=Facts(slots=1, has=ALL), b=Facts(slots=3, has=frozenset("m")))
    assert fill(order, *NEEDY) == [0]
    order.put("b", Facts(slots=3, has=ALL))
    assert fill(order) == [1, 2, 3]
    order.done(0, 1.0)
    assert fill(order) == [4]


def test_all_who_wait_for_a_kind_of_device_start_once_it_is_gone() -> None:
    order = order_of(a=Facts(slots=1, kind="A"), b=Facts(slots=3, kind="B"))
    assert fill(order, *(replace(task(n, f"{n}"), kind="A") for n in range(6))) == [0]
    order.put("a", Facts(slots=1, kind="A", alive=False))
    assert fill(order) == [1, 2, 3]


@pytest.mark.parametrize("restarts", [True, False])
def test_all_whose_model_did_not_fit_on_an_engine_start_there_once_it_starts_again(
    restarts: bool,
) -> None:
    order = order_of(a=Facts(slots=1), b=Facts(slots=3, held=("m",)))
    assert fill(order, task(0, "0")) == [0]
    order.too_large(0)
    order.done(0, 0.0, finished=False)
    assert fill(order, *(task(n, f"{n}") for n in range(1, 6))) == [1]
    if restarts:
        order.put("b", Facts(slots=3, alive=False))
        order.put("b", Facts(slots=3))
    else:
        order.engine_died("b")
    assert fill(order) == [2, 3, 4]


def test_who_waits_in_line_behind_one_whose_model_does_not_fit_starts() -> None:
    """The first, whose turn it is again, has to wait for other engines than the others do."""
    order = order_of(
        a=Facts(slots=1, has=ALL), b=Facts(slots=1, has=ALL), c=Facts(slots=1, has=frozenset("m"))
    )
    small = [replace(task(n, f"{n}", model="n"), needs=ALL) for n in (4, 5)]
    assert sorted(fill(order, *NEEDY[:4], *small)) == [0, 1]
    order.too_large(0)
    full = order.placed(0)
    order.done(0, 0.0, finished=False)
    assert fill(order) == [4]
    assert order.placed(4) == full


def test_who_waits_in_line_behind_one_that_reached_a_limit_starts() -> None:
    order = order_of(a=Facts(slots=1, has=ALL), b=Facts(slots=1, has=frozenset("m")))
    assert fill(order, *NEEDY[:3]) == [0]
    order.done(0, 1.0)
    order.count_elsewhere({"1": order.people.limits.running})
    assert fill(order) == [2]


def test_who_waits_for_an_engine_with_a_later_job_starts_the_first_once_its_cap_allows_it() -> None:
    order = order_of(a=Facts(slots=2, has=frozenset("m")), b=Facts(slots=1, has=ALL))
    capped = [replace(task(n, f"{n}"), caps=(("group", 1),)) for n in (10, 11)]
    assert fill(order, NEEDY[0], *capped, replace(NEEDY[1], job=12, person="11")) == [0, 10]
    order.done(10, 1.0)
    assert fill(order) == [11]


def test_who_waits_for_an_engine_starts_there_as_soon_as_it_takes_more_jobs() -> None:
    order = order_of(a=Facts(slots=1, has=ALL), b=Facts(slots=1, has=frozenset("m")))
    assert fill(order, *NEEDY) == [0]
    order.put("a", Facts(slots=4, has=ALL))
    assert fill(order) == [1, 2, 3]


def test_of_those_who_wait_for_an_engine_moderators_are_first() -> None:
    order = order_of(a=Facts(slots=1, has=ALL), b=Facts(slots=1, has=frozenset("m")))
    moderators = [
        replace(task(n, f"mod {n}", priority=Priority.MODERATOR), needs=ALL) for n in (8, 9)
    ]
    assert fill(order, NEEDY[0], *moderators, NEEDY[1]) == [8]
    order.done(8, 1.0)
    assert fill(order) == [0]
    order.done(0, 2.0)
    assert fill(order) == [9]


def test_a_suspect_has_one_engine_to_itself_and_the_other_goes_on() -> None:
    order = order_of("a", "b", slots=2)
    assert where(order, task(1), task(2, "bob")) == ["a", "b"]
    suspect = replace(task(3, "cy"), alone=True)
    order.submit(suspect)
    order.submit(task(4, "dan", seconds=3))
    order.submit(task(5, "eve"))
    assert order.choose(0.0, 0) == task(4, "dan", seconds=3)
    kept = {"a", "b"} - {order.placed(4)}
    assert order.choose(0.0, 0) is None  # the other is kept for the suspect
    order.done(1 if kept == {"a"} else 2, 1.0)
    assert order.choose(1.0, 0) == suspect
    assert {order.placed(3)} == kept
    assert order.choose(1.0, 0) is None


def test_a_job_that_an_engine_failed_goes_to_another_as_long_as_there_is_one() -> None:
    order = order_of("a", "b")
    [first] = where(order, task(1))
    assert order.avoid(1)
    order.done(1, 0.0, finished=False)
    [second] = where(order, task(1))
    assert {first, second} == {"a", "b"}
    assert not order.avoid(1)
    order.done(1, 0.0, finished=False)
    assert where(order, task(1)) != [""]


def test_an_engine_that_was_removed_with_a_job_is_gone_when_the_job_ends() -> None:
    order = order_of("a", "b")
    [name] = where(order, task(1))
    order.remove(name)
    assert order.engines.jobs(name) == 1
    order.done(1, 0.0, finished=False)
    with pytest.raises(KeyError):
        order.engines.facts(name)


def test_a_job_gets_the_kind_of_device_that_it_wants_while_one_is_there() -> None:
    order = order_of(
        a=Facts(slots=1, kind="A"), b=Facts(slots=1, kind="B"), c=Facts(slots=1, kind="B")
    )
    wants = [replace(task(n), kind="B") for n in (1, 2, 3)]
    assert where(order, *wants) == ["b", "c", ""]
    order.put("b", Facts(slots=1, kind="B", alive=False))
    order.put("c", Facts(slots=1, kind="B", alive=False))
    assert order.choose(0.0, 0) == wants[2]
    assert order.placed(3) == "a"


def test_a_job_that_waits_for_an_engine_to_start_is_passed_and_told_a_time() -> None:
    order = order_of(a=Facts(slots=1, kind="A"), b=Facts(slots=1, alive=False, starting=True))
    assert where(order, replace(task(1), kind="B")) == [""]
    assert where(order, task(2, "bob")) == ["a"]
    told = {each.job: each.ends_at for each in foresee(order, 0.0, 0)}
    assert told == {2: 11.0, 1: 12.0}
    order.remove("b")
    order.done(2, 1.0)
    assert order.choose(1.0, 0) == replace(task(1), kind="B")


def test_caps_of_a_person_hold_over_all_engines() -> None:
    order = order_of("a", "b")
    order.people.limits = Limits(running=2)
    assert where(order, *(task(n) for n in (1, 2, 3)))[2] == ""


def test_an_engine_that_died_takes_nothing_and_the_others_go_on() -> None:
    order = order_of("a", "b", slots=1)
    order.put("a", Facts(slots=1, alive=False))
    assert where(order, task(1), task(2)) == ["b", ""]
    order.put("a", Facts(slots=1))
    assert order.choose(0.0, 0) == task(2)


def test_ends_are_foretold_for_engines_of_different_speed() -> None:
    order = Order(WIDE)
    order.put("a", Facts(slots=1, held=("m",), kind="slow"))
    order.put("b", Facts(slots=1, held=("m",), kind="fast"))
    order.speeds.learn(task(0).work, 4.0, kind="slow")
    order.speeds.learn(task(0).work, 1.0, kind="fast")
    for job in range(1, 7):
        order.submit(task(job))
    ends = {each.job: each.ends_at for each in foresee(order, 0.0, 0)}
    assert ends == {1: 1.0, 2: 4.0, 3: 2.0, 4: 3.0, 5: 4.0, 6: 5.0}


def test_what_no_engine_can_run_has_a_place_and_no_time() -> None:
    away = Facts(slots=1, alive=False, has=frozenset())
    order = order_of(a=Facts(slots=1, has=frozenset("m")), b=away)
    order.submit(replace(task(1), needs=frozenset("x")))
    assert [(each.job, each.ends_at) for each in foresee(order, 0.0, 0)] == [(1, None)]


def test_a_job_whose_files_no_engine_has_waits_for_one_that_is_away() -> None:
    away = Facts(slots=1, alive=False, has=frozenset())
    order = order_of(a=Facts(slots=1, has=frozenset("m")), b=away)
    assert where(order, replace(task(1), needs=frozenset("xm"))) == [""]
    assert order.reason_for(1) == "No machine that draws now has x; one that is away may have it."
    order.put("b", replace(away, alive=True))
    assert order.choose(0.0, 0)
    assert order.lacks(1) == {"x"}


def test_a_model_that_does_not_fit_is_not_tried_there_again_until_the_engine_restarts() -> None:
    order = order_of("a", "b", slots=2)
    [first] = where(order, task(1))
    [other] = {"a", "b"} - {first}
    order.too_large(1)
    order.done(1, 0.0, finished=False)
    assert where(order, *(task(n) for n in (2, 3, 4))) == [other, other, ""]
    assert where(order, task(5, "bob", model="n")) == [first]
    order.done(2, 0.0)
    assert order.choose(0.0, 0) == task(4)
    assert order.engines.unfit(task(6)) == {first}
    order.engine_died(first)
    assert order.engines.unfit(task(6)) == set()


def test_a_job_without_memory_is_tried_on_another_kind_and_one_that_fails_on_few_engines() -> None:
    order = order_of()
    for kind in "AB":
        for n in range(5):
            order.put(f"{kind}{n}", Facts(slots=1, kind=kind, held=()))
    [first] = where(order, task(1))
    assert order.avoid(1, alike=True)
    order.done(1, 0.0, finished=False)
    assert where(order, task(1))[0][0] != first[0]
    order.done(1, 0.0, finished=False)
    order.forget(1)
    tries = 0
    while where(order, task(2)) and order.avoid(2):
        tries += 1
        order.done(2, 0.0, finished=False)
    assert tries == 2


def test_what_is_kept_of_engines_does_not_grow_with_the_jobs_they_had() -> None:
    order = order_of(*(f"{n}" for n in range(4)), slots=64)
    for job in range(1, 2001):
        order.submit(task(job))
        assert order.choose(float(job), 0)
        if job > 16:
            order.done(job - 16, float(job))
    lengths = [len(line._heap) for line in order.engines._lines.values()]
    assert max(lengths) <= 2 * 4 + SLACK
    assert order.engines._lines


def test_what_is_kept_of_classes_does_not_grow_with_the_files_that_engines_had() -> None:
    order = order_of(*(f"{n}" for n in range(4)))
    for n in range(200):
        order.put(f"{n % 4}", Facts(slots=8, has=frozenset({"m", f"new {n}"})))
        assert where(order, replace(task(n), needs=frozenset("m"))) != [""]
        order.done(n, 0.0)
    classes = order.engines._classes
    assert len(classes._numbers) == len(classes._sizes) == 4
    assert len(classes._able) <= 1


def test_the_one_engine_with_the_files_is_found_behind_hundreds_that_lack_them() -> None:
    """Hundreds have nothing to do and the one that can draw the job is done last."""
    order = order_of(*(f"{n}" for n in range(300)), slots=2)
    for n in range(300):
        order.put(f"{n}", Facts(slots=2, held=(), has=frozenset({f"own {n}"})))
    needy = [replace(task(n, model=f"own {n}"), needs=frozenset({f"own {n}"})) for n in (7, 207)]
    again = [replace(each, job=each.job + 1000) for each in needy]
    assert where(order, *needy, *again) == ["7", "207", "7", "207"]
    assert where(order, replace(needy[0], job=3000)) == [""]


def test_many_suspects_leave_engines_to_others() -> None:
    order = order_of(*(f"{n}" for n in range(20)))
    where(order, *(task(n, f"r{n}") for n in range(20)))
    for job in range(100, 130):
        order.submit(replace(task(job, f"s{job}"), alone=True))
    order.submit(task(200, "ada"))
    assert order.choose(0.0, 0) == task(200, "ada")


@pytest.mark.parametrize(("models", "most"), [("m", 20), ("mno", 40)])
@pytest.mark.parametrize("engines", [1, 2, 8])
def test_over_several_engines_nobody_is_further_behind_than_the_largest_job(
    engines: int, models: str, most: float
) -> None:
    """With several models, and by one job of their own while they wait for a full engine."""
    random = Random(engines)
    order = order_of(*(f"{n}" for n in range(engines)), slots=2)
    jobs = [(person, random.randint(1, 20)) for person in range(50) for _ in range(20)]
    for number, (person, seconds) in enumerate(jobs):
        order.submit(task(number, f"{person}", seconds, model=random.choice(models)))
    fleet = Fleet(order, {f"{n}": 1 for n in range(engines)}, load=10.0 * (len(models) - 1))
    got = {f"{n}": 0.0 for n in range(50)}
    for number, each in enumerate(fleet.play()):
        got[each.person] += each.work.width
        if number < 700 and number % 20 == 0:
            assert min(got.values()) >= sum(got.values()) / 50 - most - 1e-6


def loads(first_free: bool, mix: Sequence[str]) -> int:
    """Return how often two engines, which hold one model each, load for a mix of jobs."""
    order = order_of("0", "1", slots=2)
    for number, model in enumerate(mix):
        order.submit(task(number, f"{number % 7}", 4, model=model))
    fleet = Fleet(order, {"0": 1, "1": 1}, load=10.0, first_free=first_free)
    assert len(list(fleet.play())) == len(mix)
    return fleet.loads


def test_a_mix_of_two_models_on_two_engines_is_loaded_seldom() -> None:
    mix = Random(1).choices("mn", k=200)
    assert (loads(False, mix), loads(True, mix)) == (14, 103)


def test_speeds_of_kinds_are_remembered() -> None:
    speeds = Speeds()
    speeds.learn(task(0).work, 4.0, kind="slow")
    speeds.learn(task(0).work, 1.0, kind="fast")
    twin = Speeds(speeds.to_dict())
    assert [twin.seconds(task(0).work, kind) for kind in ("slow", "fast")] == [4.0, 1.0]
    other = task(0, model="other")
    twin.learn(other.work, 2.0, kind="fast")
    assert [twin.seconds(other.work, kind) for kind in ("slow", "fast")] == [8.0, 2.0]


def test_one_kind_of_device_is_estimated_as_all_together() -> None:
    speeds = Speeds()
    speeds.learn(task(0).work, 3.0)
    for seconds in (4.0, 1.0):
        speeds.learn(task(0).work, seconds, kind="only")
    assert speeds.seconds(task(0).work, "only") == speeds.seconds(task(0).work)


def of_two(job: int, first: str, second: str) -> Task:
    made = task(job, model=first)
    return replace(made, work=replace(made.work, second=second))


def test_a_job_with_two_models_does_not_remove_the_first_for_the_second() -> None:
    """What goes is the other model, though the first one of its own was used before that."""
    order = order_of("a", "b")
    order.speeds.learn_loading("o", 5.0)
    order.put("a", Facts(slots=8, held=("m", "n")))
    order.put("b", Facts(slots=8, held=("o", "p")))
    for number in range(20):  # so that m is popular
        order.submit(task(number))
        started = order.choose(0.0, 0)
        assert started
        order.done(started.job, 0.0, finished=False)
    order.put("a", Facts(slots=8, held=("m", "n")))
    assert where(order, of_two(30, "m", "o")) == ["a"]


def test_with_room_for_one_both_models_are_loaded_in_turn() -> None:
    placement = Placement()
    placement.put("a", Facts(slots=8, held=("o",)))
    assert placement.start(of_two(1, "m", "o"), "a", 1.0, 0.0) == (True, True)


def test_who_waits_for_a_kind_of_device_on_which_the_model_does_not_fit_starts_on_another() -> None:
    order = order_of(a=Facts(slots=1, kind="A"), b=Facts(slots=2, kind="B"))
    wants = [replace(task(n, f"{n}", model="n" if n == 1 else "m"), kind="A") for n in range(3)]
    assert fill(order, *wants) == [0]
    order.too_large(0)
    assert order.avoid(0)
    assert fill(order) == [2]  # behind 1, whose model may fit on a
    assert order.placed(2) == "b"


def test_a_kind_of_device_that_starts_is_waited_for_though_the_model_does_not_fit_on_another() -> (
    None
):
    starting = Facts(slots=1, alive=False, starting=True)
    order = order_of(a=starting, b=Facts(slots=1, kind="B"), c=Facts(slots=1, kind="B"))
    assert where(order, task(0)) == ["b"]
    order.too_large(0)
    order.done(0, 0.0, finished=False)
    assert where(order, replace(task(1), kind="A")) == [""]
    order.put("a", Facts(slots=1, kind="A"))
    assert order.choose(0.0, 0)
    assert order.placed(1) == "a"


def test_an_engine_that_a_cancelled_suspect_waited_for_takes_whoever_needs_it() -> None:
    order = order_of(a=Facts(slots=2, has=ALL), b=Facts(slots=1, has=frozenset("m")))
    suspect = replace(task(9, "cy", priority=Priority.MODERATOR), needs=ALL, alone=True)
    assert fill(order, NEEDY[0]) == [0]
    assert fill(order, suspect, NEEDY[1]) == []
    assert order.cancel(9)
    assert fill(order) == [1]


def test_files_of_an_engine_that_was_removed_with_a_job_are_not_waited_for() -> None:
    order = order_of(a=Facts(slots=1, has=ALL), b=Facts(slots=1, has=frozenset("m")))
    assert fill(order, NEEDY[0]) == [0]
    order.remove("a")
    assert fill(order, NEEDY[1]) == [1]  # and hears what is missing
    assert order.lacks(1) == {"x"}
