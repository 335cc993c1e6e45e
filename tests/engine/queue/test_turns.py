"""Whose turn it is, on both levels."""

from engine.queue.tasks import Priority
from engine.queue.turns import Turns


def test_who_is_passed_over_keeps_their_turn_where_all_others_are_parked() -> None:
    turns = Turns()
    for job, name in enumerate(("ada", "bob")):
        turns.update(Priority.PERSON, name, job)
    passed = turns.pass_over(Priority.PERSON, "ada")
    turns.park(Priority.PERSON, "bob", 1, 1)
    assert turns.next() is None
    turns.restore(passed)
    assert turns.next() == (Priority.PERSON, "ada")
    turns.charge(Priority.PERSON, "ada", 1.0)


def test_who_is_parked_again_and_again_is_counted_once() -> None:
    turns = Turns()
    for job, name in enumerate(("ada", "bob")):
        turns.update(Priority.PERSON, name, job)
        turns.park(Priority.PERSON, name, job, 1)
    for job in (2, 0):  # another job of hers is next for a while
        turns.update(Priority.PERSON, "ada", job)
        turns.park(Priority.PERSON, "ada", job, 1)
    assert turns.firsts(2) == {"ada", "bob"}
