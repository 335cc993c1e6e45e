import asyncio
import re
from pathlib import Path

import pytest

from storage import Storage
from tests.bots.terminal.conftest import Marble
from tests.models import make_model


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
        (("steps=1-30", "count=many"), "count must be a range like LOW-HIGH"),
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


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            "models=tny",
            "There is no model 'tny' (did you mean 'tiny'?); available models: starter, tiny.",
        ),
        ("models=starter, nope", "There is no model 'nope'; available models: starter, tiny."),
        ("lora=ink_v3", "There is no LoRA 'ink_v3' (did you mean 'Ink_v2'?); available: Ink_v2."),
        ("vae=nope", "There is no VAE 'nope'; none is installed."),
        ("control=nope", "There is no control model 'nope'; none is installed."),
        ("upscaler=lanzcos", "There is no upscaler 'lanzcos' (did you mean 'lanczos'?)"),
        ("sampler=eulr", "There is no sampler 'eulr' (did you mean 'euler'?)"),
        ("schedule=kerras", "There is no schedule 'kerras' (did you mean 'karras'?)"),
        ("fit=corp", "There is no fit 'corp' (did you mean 'crop'?)"),
    ],
)
def test_a_rule_names_what_is_there(marble: Marble, rule: str, said: str) -> None:
    answer = marble("rules", "discord:1", "steps=1-30", rule)
    assert (answer.code, said in answer.err) == (2, True), answer.err
    assert "steps             -\n" in marble("rules", "discord:1").out


def test_a_name_of_what_is_to_come_is_taken_where_that_is_said(marble: Marble) -> None:
    answer = marble("rules", "discord:1", "models=TINY, flux", "lora=ink_v2", "--ahead")
    assert answer.code == 0
    assert answer.err == (
        "marble: There is no model 'flux'; available models: starter, tiny. "
        "The rule waits for it.\n"
    )
    assert "models            tiny, flux\n" in answer.out
    assert "lora              Ink_v2\n" in answer.out
    assert "sampler" in marble("rules", "discord:1", "sampler=eulr", "--ahead").err
    assert "models            -\n" in marble("rules", "discord:1", "models=").out


def test_commas_alone_allow_no_name_at_all(marble: Marble) -> None:
    assert "lora              ,\n" in marble("rules", "discord:1", "lora=,").out


def test_the_owner_hears_of_what_moderators_asked_for_in_vain(marble: Marble, data: Path) -> None:
    async def narrow() -> None:
        async with Storage.open(data) as storage:
            await storage.people.change_place_settings("discord:1", {"policy.steps": [1, 9]})

    asyncio.run(narrow())
    assert marble("rules", "discord:1").err == ""
    answer = marble("rules", "discord:1", "steps=10-30")
    assert answer.err == (
        "marble: steps: its moderators asked for 1-9, of which you let nothing; what you let "
        "holds.\n"
    )
    assert "steps             10-30\n" in answer.out


def test_it_is_told_where_a_rule_was_set(marble: Marble, data: Path) -> None:
    marble("rules", "*", "steps=1-50")
    marble("rules", "discord:1", "keep_days=3650", "safety=spoiler")
    shown = marble("rules", "discord:1/2").out
    for line in (
        "steps             1-50  (*)",
        "keep_days         3650  (discord:1)",
        "safety            spoiler  (discord:1)",
        "per_minute        30",
    ):
        assert f"{line}\n" in shown
    assert "keep_days         3650\n" in marble("rules", "discord:1").out
    shown = marble("rules", "*", "safety=refuse").out
    assert "safety            refuse  (off in age-restricted channels)\n" in shown
    assert "safety            refuse  (*)\n" in marble("rules", "telegram:5").out
    shown = marble("rules", "discord:1/2", "keep_days=0").out
    assert "keep_days         -\n" in shown  # no limit, whatever the server says


def test_a_group_that_became_a_supergroup_is_asked_about_by_either_id(
    marble: Marble, data: Path
) -> None:
    marble("rules", "telegram:-5", "steps=1-9")

    async def move() -> None:
        async with Storage.open(data) as storage:
            await storage.people.move_place("telegram:-5", "telegram:-1005", reply={})

    asyncio.run(move())
    answer = marble("rules", "telegram:-5", "count=1-2")
    assert "telegram:-5 became a supergroup and is telegram:-1005 now" in answer.err
    assert marble("rules", "telegram:-1005").out == answer.out
    assert "steps             1-9\n" in answer.out
    assert "count             1-2\n" in answer.out
    assert marble("styles", "--place", "telegram:-5", "add", "gold", "gilded").code == 0
    assert "gold" in marble("styles", "--place", "telegram:-1005").out


def test_a_model_with_a_comma_in_its_name_can_be_in_a_rule(
    marble: Marble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gold, old", "tiny"):
        make_model(tmp_path / "own" / name)
    monkeypatch.setenv("MARBLE_MODELS_DIR", str(tmp_path / "own"))
    shown = marble("rules", "*", 'models="gold, old", tiny').out
    assert re.search(r'^models +"gold, old", tiny$', shown, re.M)
    assert marble("rules", "*", 'models="gold, old", tiny').out == shown, "as it is shown"
    assert marble("rules", "discord:1", "models=tiny").code == 0
    assert re.search(r"^models +tiny$", marble("rules", "discord:1").out, re.M)
