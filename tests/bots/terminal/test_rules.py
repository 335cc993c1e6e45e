from tests.bots.terminal.conftest import Marble


def test_rules_are_changed_and_shown(marble: Marble) -> None:
    shown = marble("rules", "*").out
    assert "per_minute        30\n" in shown
    assert "steps             -\n" in shown
    answer = marble("rules", "discord:1", "steps=1-30", "blocked=bad, worse", "per_minute=3")
    assert (answer.code, answer.err) == (0, "")
    shown = marble("rules", "discord:1").out
    for line in ("steps             1-30", "blocked           bad, worse", "per_minute        3"):
        assert f"{line}\n" in shown
    assert "steps             -\n" in marble("rules", "discord:2").out
    assert "steps             -\n" in marble("rules", "discord:1", "steps=").out


def test_a_rule_that_cannot_be_read_changes_nothing(marble: Marble) -> None:
    for words, said in (
        (("steps=1-30", "count=many"), "count must be like LOW-HIGH"),
        (("colour=red",), "A rule must be one of per_minute"),
        (("steps",), "A rule is written like steps=1-30"),
    ):
        answer = marble("rules", "discord:1", *words)
        assert (answer.code, said in answer.err) == (2, True), answer.err
    assert "steps             -\n" in marble("rules", "discord:1").out


def test_rules_of_no_place_are_refused_and_without_one_it_is_everywhere(marble: Marble) -> None:
    for place in ("nowhere", "discrod:1", "", "discord:", "steps=1-30"):
        answer = marble("rules", place, "steps=1-30")
        assert (answer.code, "A place must be like discord:SERVER" in answer.err) == (2, True)
        assert marble("styles", "--place", place).code == 2
    assert marble("rules").out == marble("rules", "*").out
    for place in ("discord:1/2", "discord:@me/2", "telegram:-100/7", "terminal"):
        assert marble("rules", place).code == 0
