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
