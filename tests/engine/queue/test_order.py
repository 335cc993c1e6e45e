from collections import Counter
from dataclasses import replace

import pytest

from engine.errors import UserError
from engine.queue.estimates import Work
from engine.queue.order import Order
from engine.queue.tasks import Cap, Limits, Priority, Task
from tests.engine.crowds import foresee, task

WIDE = Limits(running=100, waiting=10_000, length=10_000)


WORK = Work(model="m", width=1.0, calls=1.0)


def submit(order: Order, *tasks: Task) -> None:
    for each in tasks:
        order.submit(each)


def serve(order: Order, now: float = 0.0) -> list[int]:
    """Run all that waits, one at a time, each as long as was estimated; return the order."""
    served = []
    while chosen := order.choose(now, 1):
        now += order.speeds.seconds(chosen.work)
        order.done(chosen.job, now, finished=False)
        served.append(chosen.job)
    return served


def test_a_persons_jobs_keep_their_order() -> None:
    order = Order(WIDE)
    submit(order, *(task(n, seconds=10 - n) for n in range(1, 10)))
    assert serve(order) == list(range(1, 10))


def test_a_job_that_is_given_back_keeps_its_place_among_its_persons() -> None:
    order = Order(WIDE)
    submit(order, task(1, "bob"), *(task(n) for n in range(2, 6)))
    began = [order.choose(0.0, 3) for _ in range(3)]
    lost = [each for each in began if each and each.person == "ada"]
    assert [each.job for each in lost] == [2, 3]
    for each in reversed(lost):
        order.lost(each.job)
        order.done(each.job, 0.0, finished=False)
        order.submit(each)
    assert [each.job for each in order.tasks()] == [2, 3, 4, 5]
    assert [each.job for each in foresee(order, 0.0, 1) if each.position] == [2, 3, 4, 5]
    order.done(1, 0.0)
    assert serve(order) == [2, 3, 4, 5]


def test_a_job_that_is_given_back_keeps_its_place_behind_those_that_are_played() -> None:
    order = Order(WIDE)
    submit(order, *(task(n) for n in range(1, 5)))
    assert order.choose(0.0, 1) == task(1)
    order.done(1, 0.0, finished=False)
    order.submit(task(1))
    assert [each.job for each in foresee(order, 0.0, 1, played=0)] == [1, 2, 3, 4]


def test_who_comes_to_anothers_backlog_is_next() -> None:
    order = Order(WIDE)
    submit(order, *(task(n) for n in range(1, 101)))
    assert order.choose(0.0, 1) == task(1)
    order.submit(task(101, "bob", seconds=50))
    assert order.choose(0.0, 1) is None
    order.done(1, 1.0)
    assert order.choose(1.0, 1) == task(101, "bob", seconds=50)


def test_people_with_backlogs_take_turns_by_work() -> None:
    order = Order(WIDE)
    submit(order, *(task(n, "ada", seconds=3) for n in range(1, 11)))
    submit(order, *(task(n, "bob", seconds=1) for n in range(11, 41)))
    served = serve(order)[:20]
    assert sum(job <= 10 for job in served) == 5  # a third as many, three times as long


def test_who_was_away_has_saved_up_nothing() -> None:
    order = Order(WIDE)
    submit(order, *(task(n, "ada") for n in range(1, 51)))
    for now in range(30):
        chosen = order.choose(now, 1)
        assert chosen
        order.done(chosen.job, now + 1)
    submit(order, *(task(n, "bob") for n in range(101, 121)))
    first = serve(order, 30.0)[:10]
    assert sum(job > 100 for job in first) in (5, 6)


def test_who_comes_back_has_saved_up_nothing() -> None:
    order = Order(WIDE)
    submit(order, task(1, "bob"), *(task(n, "ada") for n in range(2, 60)))
    now = 0.0
    for _ in range(30):
        chosen = order.choose(now, 1)
        assert chosen
        now += 1.0
        order.done(chosen.job, now)
    submit(order, *(task(n, "bob") for n in range(101, 121)))
    assert sum(job > 100 for job in serve(order, now)[:10]) in (5, 6)


def test_what_was_is_forgotten_when_everybody_has_left() -> None:
    order = Order(WIDE)
    order.submit(task(1, "ada", seconds=100))
    serve(order)
    submit(order, *(task(n, "ada") for n in range(2, 12)), *(task(n, "bob") for n in range(12, 22)))
    assert sum(job < 12 for job in serve(order, 100.0)[:10]) == 5


def test_moderators_pay_what_their_jobs_took_too() -> None:
    order = Order(WIDE)
    for n in range(1, 31):
        submit(order, task(n, f"{n}"), task(100 + n, "mod", priority=Priority.MODERATOR))
    now, seconds = 0.0, Counter[Priority]()
    while now < 30:
        chosen = order.choose(now, 1)
        assert chosen
        took = 3.0 if chosen.priority is Priority.MODERATOR else 1.0
        now += took
        seconds[chosen.priority] += int(took)
        order.done(chosen.job, now, finished=False)
    assert abs(seconds[Priority.MODERATOR] - seconds[Priority.PERSON]) <= 4


def test_a_hiccup_is_not_charged_in_full() -> None:
    order = Order(WIDE)
    submit(order, *(task(n, "ada") for n in range(1, 21)), *(task(n, "bob") for n in range(21, 41)))
    assert order.choose(0.0, 1) == task(1, "ada")
    order.done(1, 1000.0, finished=False)
    assert sum(job < 21 for job in serve(order, 1000.0)[:10]) >= 3


def test_loading_a_model_is_not_what_a_job_took() -> None:
    order = Order(WIDE)
    order.submit(task(1))
    order.choose(0.0, 1)
    order.drawing_began(1, 60.0, loaded=True)
    order.done(1, 62.0)
    assert order.speeds.seconds(task(2).work) == pytest.approx(2.0)


def test_loading_a_second_model_is_measured_and_charged_to_nobody() -> None:
    order, both = Order(WIDE), replace(WORK, second="n")
    order.submit(replace(task(1), work=both))
    order.choose(0.0, 1)
    order.drawing_began(1, 60.0, loaded=True)
    order.loading_began(1, 62.0)
    order.drawing_began(1, 92.0, loaded=True)
    order.done(1, 93.0)
    assert order.speeds.seconds(both) == pytest.approx(3.0)
    assert [order.speeds.loading(model) for model in ("m", "n")] == [60.0, 30.0]
    assert not order.speeds.has_measured("m")
    order.engine_died()
    order.submit(replace(task(2), work=both))
    assert [place.ends_at for place in foresee(order, 93.0, 1)] == pytest.approx([93.0 + 93.0])


def test_a_job_that_did_not_finish_teaches_nothing() -> None:
    order = Order(WIDE)
    order.submit(task(1))
    order.choose(0.0, 1)
    order.done(1, 1.0, finished=False)
    assert not order.speeds.has_measured("m")


def test_places_are_told_while_there_is_no_slot_and_while_paused() -> None:
    order = Order(WIDE)
    submit(order, task(1), task(2))
    order.pause("Back at noon.")
    assert [place.position for place in foresee(order, 0.0, 0)] == [1, 2]


def test_what_a_job_took_is_what_its_owner_pays() -> None:
    order = Order(WIDE)
    for n in range(1, 21):
        submit(order, task(n, "ada", model="slow"), task(100 + n, "bob"))
    now, seconds = 0.0, {"ada": 0.0, "bob": 0.0}
    while sum(seconds.values()) < 30:
        chosen = order.choose(now, 1)
        assert chosen
        took = 3.0 if chosen.work.model == "slow" else 1.0
        now += took
        seconds[chosen.person] += took
        order.done(chosen.job, now)
    assert abs(seconds["ada"] - seconds["bob"]) <= 4.0


def test_as_many_run_as_there_are_slots() -> None:
    order = Order(WIDE)
    submit(order, *(task(n) for n in range(1, 6)))
    assert [order.choose(0.0, 3) is not None for _ in range(4)] == [True, True, True, False]
    assert (order.running, order.waiting) == (3, 2)


def test_one_person_runs_no_more_than_may_and_keeps_nobody_else_from_running() -> None:
    order = Order(Limits(running=2, waiting=100, length=100))
    submit(order, *(task(n, "ada") for n in range(1, 6)), task(6, "bob"))
    started = [chosen.job for chosen in iter(lambda: order.choose(0.0, 8), None)]
    assert sorted(started) == [1, 2, 6]
    order.done(1, 1.0)
    assert order.choose(1.0, 8) == task(3, "ada")


def test_moderators_go_first_but_take_no_more_than_half() -> None:
    order = Order(WIDE)
    submit(order, *(task(n, f"person {n}") for n in range(1, 21)))
    submit(order, *(task(n, "mod", priority=Priority.MODERATOR) for n in range(101, 121)))
    served = serve(order)
    assert served[0] == 101
    assert sum(job > 100 for job in served[:10]) == 5


def test_a_job_put_ahead_is_next_before_its_owners_others_and_moderators() -> None:
    order = Order(WIDE)
    submit(order, *(task(n, f"{n % 3}") for n in range(1, 31)))
    submit(order, *(task(n, "mod", priority=Priority.MODERATOR) for n in range(101, 104)))
    assert order.choose(0.0, 1)
    assert order.put_ahead(29)
    assert not order.put_ahead(29)
    assert [each.job for each in foresee(order, 0.0, 1)][1] == 29
    order.done(101, 1.0, finished=False)
    served = serve(order, 1.0)
    assert served[0] == 29
    assert sorted(served) == [*range(1, 31), 102, 103]


def test_a_copy_of_the_order_is_left_as_it_was_where_a_job_is_put_ahead() -> None:
    order = Order(WIDE)
    submit(order, task(1), task(2), task(3))
    twin = order.copy(10)
    assert order.put_ahead(3)
    assert serve(twin) == [1, 2, 3]
    assert serve(order) == [3, 1, 2]


def test_jobs_put_ahead_take_no_more_than_what_else_waits() -> None:
    order = Order(WIDE)
    submit(order, *(task(n, f"{n}") for n in range(1, 31)))
    for job in range(11, 31):
        order.put_ahead(job)
    served = serve(order)
    assert served[0] == 11
    assert sum(job > 10 for job in served[:10]) == 5


def test_a_job_put_ahead_keeps_all_limits() -> None:
    order = Order(Limits(running=1, waiting=9, length=9))
    submit(order, task(1), task(2), replace(task(3, "bob"), caps=(("x", 1),)))
    submit(order, replace(task(4, "cy"), caps=(("x", 1),)))
    assert order.choose(0.0, 4) == task(1)
    chosen = order.choose(0.0, 4)
    assert chosen
    assert chosen.job == 3
    for job in (2, 4):
        assert order.put_ahead(job)
    assert order.choose(0.0, 4) is None
    order.done(1, 1.0)
    chosen = order.choose(1.0, 4)
    assert chosen
    assert chosen.job == 2


def test_what_was_put_ahead_can_be_cancelled_and_what_does_not_wait_is_left() -> None:
    order = Order(WIDE)
    submit(order, task(1), task(2), task(3))
    assert order.choose(0.0, 1) == task(1)
    assert order.put_ahead(3)
    assert order.cancel(3)
    assert not any(map(order.put_ahead, (1, 3, 99)))
    order.done(1, 1.0)
    assert serve(order, 1.0) == [2]


def test_a_full_queue_says_how_long_it_is() -> None:
    order = Order(Limits(running=1, waiting=5, length=3))
    submit(order, task(1), task(2, "bob"), task(3, "cy"))
    with pytest.raises(UserError, match=r"full \(3 jobs"):
        order.reserve("dora")


def test_a_person_with_too_many_jobs_is_told_how_many_may_wait() -> None:
    order = Order(Limits(running=1, waiting=2, length=100))
    submit(order, task(1), task(2), task(3))
    order.choose(0.0, 1)
    with pytest.raises(UserError, match="2 jobs waiting"):
        order.reserve("ada")
    order.reserve("bob")
    order.cancel(3)
    order.reserve("ada")


def test_a_place_that_is_kept_counts_until_it_is_given_back() -> None:
    order = Order(Limits(running=1, waiting=1, length=2))
    order.reserve("ada")
    with pytest.raises(UserError, match="waiting, the most allowed"):
        order.reserve("ada")
    order.reserve("bob")
    with pytest.raises(UserError, match="queue is full"):
        order.reserve("cy")
    order.release("ada")
    order.reserve("ada")


def test_a_waiting_job_is_cancelled_once() -> None:
    order = Order(WIDE)
    submit(order, task(1), task(2), task(3))
    assert order.cancel(2)
    assert not order.cancel(2)
    assert not order.cancel(99)
    assert serve(order) == [1, 3]


def test_a_running_job_is_not_the_lines_to_cancel() -> None:
    order = Order(WIDE)
    order.submit(task(1))
    order.choose(0.0, 1)
    assert not order.cancel(1)
    order.done(1, 1.0, finished=False)
    order.done(1, 2.0)  # twice is once
    assert order.running == 0


def test_a_paused_queue_starts_nothing_until_everybody_who_paused_it_resumes() -> None:
    order = Order(WIDE)
    order.submit(task(1))
    order.pause("The disk is full.", by="disk")
    order.pause("Back at noon.", by="owner")
    assert order.reason == "The disk is full."
    order.resume("disk")
    assert order.reason == "Back at noon."
    assert order.choose(0.0, 1) is None
    order.resume("owner")
    assert not order.reason
    assert order.choose(0.0, 1) == task(1)


def test_a_job_submitted_twice_waits_once() -> None:
    order = Order(WIDE)
    submit(order, task(1), task(1))
    assert order.waiting == 1
    order.choose(0.0, 1)
    order.submit(task(1))
    assert (order.waiting, order.running) == (0, 1)


def test_places_and_times_follow_from_what_was_measured() -> None:
    order = Order(WIDE)
    order.speeds.learn(task(0).work, 2.0)  # 2 s a second of estimate
    submit(order, task(1, seconds=3), task(2), task(3, "bob"))
    order.choose(10.0, 1)
    places = {place.job: place for place in foresee(order, 12.0, 1)}
    assert [places[job].position for job in (3, 2)] == [1, 2]
    assert [places[job].ends_at for job in (3, 2)] == pytest.approx([18.0, 20.0])
    assert order.waiting == 2  # looking ahead changes nothing


def test_no_time_is_told_before_anything_was_measured() -> None:
    order = Order(WIDE)
    order.speeds.learn(task(0).work, 1.0)
    submit(order, task(1), task(2, model="new"), task(3))
    assert [place.ends_at for place in foresee(order, 0.0, 1)] == [1.0, None, None]


def drawing(job: int, seconds: float = 1.0, model: str = "m", person: str = "ada") -> Task:
    """Make a task that draws so long and decodes one megapixel."""
    return Task(job=job, person=person, work=Work(model=model, width=seconds, calls=1, pixels=1.0))


def run(order: Order, task: Task, at: float, *, load: float, draw: float, decode: float) -> float:
    """Let a job run through its stages; return when it ended."""
    order.submit(task)
    assert order.choose(at, 1) == task
    order.drawing_began(task.job, at + load, loaded=load > 0)
    order.decoding_began(task.job, at + load + draw)
    end = at + load + draw + decode
    order.done(task.job, end)
    return end


def test_loading_and_decoding_are_learnt_apart_and_told_beforehand() -> None:
    order = Order()
    now = run(order, drawing(1), 0.0, load=30.0, draw=2.0, decode=3.0)
    order.submit(drawing(2, seconds=5.0))  # five times the steps: the model is warm
    assert [place.ends_at for place in foresee(order, now, 1)] == pytest.approx([now + 13.0])
    order.engine_died()
    assert [place.ends_at for place in foresee(order, now, 1)] == pytest.approx([now + 43.0])
    order.choose(now, 1)
    later = now + 10.0  # a third of the loading
    assert [place.ends_at for place in foresee(order, later, 1)] == pytest.approx([now + 43.0])
    order.drawing_began(2, now + 20.0, loaded=True)  # it went faster this time
    assert [place.ends_at for place in foresee(order, now + 20.0, 1)] == pytest.approx([now + 33.0])


def test_of_several_jobs_of_a_cold_model_the_first_loads_it() -> None:
    order = Order()
    now = run(order, drawing(1), 0.0, load=30.0, draw=2.0, decode=0.0)
    order.engine_died()
    for job in (2, 3):
        order.submit(drawing(job))
    ends = [place.ends_at for place in foresee(order, now, 1)]
    assert ends == pytest.approx([now + 32.0, now + 34.0])


def test_nobody_pays_for_the_loading_of_a_model() -> None:
    order = Order()
    run(order, drawing(1), 0.0, load=30.0, draw=2.0, decode=0.0)
    order.engine_died()
    order.submit(drawing(2))
    order.submit(drawing(3, person="bob"))
    assert order.choose(100.0, 1) == drawing(2)
    order.drawing_began(2, 200.0, loaded=True)
    order.done(2, 202.0)
    order.submit(drawing(4))
    assert [task.job for _ in range(2) if (task := order.choose(202.0, 2))] == [3, 4]


def test_a_model_that_was_not_loaded_after_all_stays_cold() -> None:
    order = Order()
    now = run(order, drawing(1), 0.0, load=30.0, draw=2.0, decode=0.0)
    order.engine_died()
    order.submit(drawing(2))
    order.choose(now, 1)
    order.done(2, now + 1.0, finished=False)  # cancelled while it was being loaded
    order.submit(drawing(3))
    assert [p.ends_at for p in foresee(order, now + 1.0, 1)] == pytest.approx([now + 33.0])


def test_no_more_of_a_group_run_than_may_and_others_go_ahead() -> None:
    order = Order(Limits(running=9))
    capped = (("hall", 2),)
    for job, (person, caps) in enumerate(
        [("a", capped), ("a", capped), ("b", capped), ("b", ()), ("c", capped)], 1
    ):
        order.submit(Task(job=job, person=person, work=WORK, caps=caps))
    started = [task.job for task in iter(lambda: order.choose(0.0, 9), None)]
    assert sorted(started) == [1, 3, 4]  # b's second job is in no group: it passes the first
    assert [place.job for place in foresee(order, 0.0, 9)] != []
    order.done(4, 1.0)
    assert order.choose(1.0, 9) is None
    order.done(1, 2.0)
    assert order.choose(2.0, 9) is not None
    assert order.choose(2.0, 9) is None
    for job in (2, 3, 5):
        order.done(job, 3.0)
    last = order.choose(3.0, 9)
    assert last is not None
    order.done(last.job, 4.0)
    assert (order.running, order.waiting) == (0, 0)


def test_a_persons_own_cap_holds_back_that_person_alone() -> None:
    order = Order(Limits(running=9))
    for job, person in enumerate("aabb", 1):
        order.submit(Task(job=job, person=person, work=WORK, caps=((f"{person} here", 1),)))
    first = [task.person for task in iter(lambda: order.choose(0.0, 9), None)]
    assert sorted(first) == ["a", "b"]


def start_all(order: Order, now: float = 0.0) -> list[int]:
    return [task.job for task in iter(lambda: order.choose(now, 9), None)]


def hall_of(people: int) -> Order:
    """Return an order where so many people have a job each of a group of which one may run."""
    order = Order(Limits(running=9, length=10_000))
    for job in range(people):
        order.submit(Task(job=job, person=f"{job}", work=WORK, caps=(("hall", 1),)))
    assert start_all(order) == [0]
    return order


def test_an_end_in_a_full_group_looks_at_few_of_those_who_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order, looked = hall_of(500), list[str]()
    look = order.people.next_task

    def counted(name: str, priority: Priority) -> tuple[Task | None, dict[Cap, int]]:
        looked.append(name)
        return look(name, priority)

    monkeypatch.setattr(order.people, "next_task", counted)
    for job in range(20):
        order.done(job, 1.0 + job)
        assert start_all(order, 1.0 + job) == [job + 1]
    assert len(looked) / 20 < 20


def test_who_is_woken_and_leaves_lets_the_next_of_a_full_group_start() -> None:
    order = hall_of(5)
    order.done(0, 1.0)
    assert order.cancel(1)
    assert order.cancel(2)
    assert start_all(order, 1.0) == [3]


def test_who_paid_less_meanwhile_is_before_others_who_wait_for_a_full_group() -> None:
    order = Order(Limits(running=9))
    hall = (("hall", 1),)
    order.submit(Task(job=0, person="ada", work=WORK, caps=hall))
    order.submit(Task(job=1, person="bob", work=WORK))
    order.submit(Task(job=2, person="cy", work=WORK))
    assert sorted(start_all(order)) == [0, 1, 2]
    for job, person in enumerate(("bob", "cy"), 3):
        order.submit(Task(job=job, person=person, work=WORK, caps=hall))
    assert start_all(order) == []
    order.done(2, 0.0, finished=False)  # it took no time, so that cy has paid nothing
    order.done(1, 9.0)
    order.done(0, 9.0)
    assert start_all(order, 9.0) == [4]


def test_a_suspect_waits_until_nothing_runs_and_nothing_runs_beside_it() -> None:
    order = Order(WIDE)
    submit(order, task(1, "a"), replace(task(2, "b"), alone=True), task(3, "c"))
    assert order.choose(0.0, 9) == task(1, "a")
    assert not any(order.choose(0.0, 9) for _ in range(3)), (
        "nobody is let past it, or it waits long"
    )
    assert [place.job for place in foresee(order, 0.0, 9)] == [1, 2, 3]
    order.done(1, 1.0)
    suspect = order.choose(1.0, 9)
    assert suspect is not None
    assert suspect.job == 2
    assert not order.wants(9)
    assert order.choose(1.0, 9) is None
    assert [place.job for place in foresee(order, 1.0, 9)] == [2, 3]
    order.done(2, 2.0)
    assert order.choose(2.0, 9) == task(3, "c")
