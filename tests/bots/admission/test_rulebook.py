"""Names in rules: those of what is there, in full."""

from pathlib import Path

import pytest

from bots.admission.rulebook import FILES, NAMED, WORKFLOWS, complete_names
from engine.errors import UnknownPart
from engine.recipe.limits import CHOICES


def test_every_rule_of_names_is_held_against_something() -> None:
    assert all((rule in CHOICES) is (rule not in ("models", WORKFLOWS, *FILES)) for rule in NAMED)


def test_names_are_told_in_full_and_other_rules_are_left(models: Path) -> None:
    typed = {"models": "Starter ，TINY", "lora": "ink_v2.safetensors", "vae": ",", "steps": "1-9"}
    found, missing = complete_names(models, typed)
    assert found == {"models": "starter, tiny", "lora": "Ink_v2", "vae": ",", "steps": "1-9"}
    assert missing == []


def test_what_is_not_there_is_an_error_or_waited_for(models: Path) -> None:
    typed = {"lora": "Ink_v2, Ink_v3"}
    with pytest.raises(UnknownPart, match=r"no LoRA 'Ink_v3' \(did you mean 'Ink_v2'\?\)"):
        complete_names(models, typed)
    found, [error] = complete_names(models, typed, ahead=True)
    assert found == typed
    assert "no LoRA 'Ink_v3'" in str(error)
