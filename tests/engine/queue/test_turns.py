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
