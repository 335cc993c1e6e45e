import asyncio
from pathlib import Path

import pytest

from bots.admission.gate import Gate
from bots.admission.prompt_hook import BROKEN, Hook, find_hook
from bots.admission.roles import Roles
from bots.admission.rules import Refusal
from bots.requests.studio import Asker
from engine.errors import SettingError
from engine.recipe.recipe import Recipe
from storage import Storage
from tests.factories import make_recipe

ADA = Asker(person="x:ada", place="x:1")


def no_dogs(recipe: Recipe, person: str, place: str) -> str | None:
    return f"No dogs, {person}." if "dog" in recipe.prompt else None


async def no_dogs_either(recipe: Recipe, person: str, place: str) -> str | None:
    return no_dogs(recipe, person, place)


def broken(recipe: Recipe, person: str, place: str) -> str | None:
    raise OSError("inner words")


async def endless(recipe: Recipe, person: str, place: str) -> str | None:
    await asyncio.Event().wait()
    return None


@pytest.mark.parametrize("hook", [no_dogs, no_dogs_either])
async def test_it_may_refuse_with_its_own_words(tmp_path: Path, hook: Hook) -> None:
    async with Storage.open(tmp_path) as storage:
        gate = Gate(storage, Roles(), {}, hook)
        await gate(make_recipe(prompt="a cat"), ADA)
        with pytest.raises(Refusal, match=r"^No dogs, x:ada\.$"):
            await gate(make_recipe(prompt="a dog"), ADA)
        await gate(make_recipe(prompt="a dog"), Asker(person="terminal:root", place="terminal"))


@pytest.mark.parametrize("hook", [broken, endless])
async def test_while_it_fails_nothing_is_taken_and_nothing_inner_is_told(
    tmp_path: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bots.admission.prompt_hook.PATIENCE", 0.01)
    async with Storage.open(tmp_path) as storage:
        with pytest.raises(Refusal) as refused:
            await Gate(storage, Roles(), {}, hook)(make_recipe(), ADA)
    assert str(refused.value) == BROKEN


def test_it_is_found_by_its_place() -> None:
    assert find_hook(None) is None
    assert find_hook(f"{__name__}:no_dogs") is no_dogs
    for place in ("no.such:thing", f"{__name__}:nothing"):
        with pytest.raises(SettingError, match="MARBLE_PROMPT_HOOK must be module:function"):
            find_hook(place)
