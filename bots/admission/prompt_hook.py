"""The prompt hook: a function of the owner's own that may refuse a request, whatever it looks at.

`MARBLE_PROMPT_HOOK=module:function`. It is called with the recipe, the person and the place before
a job is committed, and returns None or one sentence why not; it may be async. It fails closed:
while it raises or takes too long, nothing is taken from those whom rules bind.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from bots.admission.rules import Refusal
from engine.errors import SettingError
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence

log = logging.getLogger(__name__)

PATIENCE: Final = 10.0  # seconds that it may take
BROKEN: Final = Sentence("unchecked")

Hook = Callable[[Recipe, str, str], Any]  # recipe, person, place → a sentence, or None


def find_hook(place: str | None) -> Hook | None:
    """Return the function at `module:function`, or raise `SettingError`."""
    if place is None:
        return None
    module, _, name = place.partition(":")
    try:
        hook: Hook = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        allowed = f"module:function of a function that can be imported ({error})"
        raise SettingError("MARBLE_PROMPT_HOOK", place, allowed) from None
    return hook


async def ask(hook: Hook, recipe: Recipe, person: str, place: str) -> None:
    """Call the hook; raise `Refusal` with what it returns, or because it failed."""
    try:
        async with asyncio.timeout(PATIENCE):
            if inspect.iscoroutinefunction(hook):
                answer = await hook(recipe, person, place)
            else:
                answer = await asyncio.to_thread(hook, recipe, person, place)
    except Exception as error:
        log.exception("the prompt hook failed")
        raise Refusal(BROKEN) from error
    if answer:
        raise Refusal(str(answer))
