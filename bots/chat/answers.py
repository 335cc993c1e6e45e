"""What people type who do not press: the names of buttons, and commands of other programs.

An answer to a picture that is a button's name, and nothing else, does what the button does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from bots.chat.actions import ACTIONS, BELOW_PICTURE, FOR_EACH, VARIATION
from bots.presentation.lines import name_of
from bots.texts import LANGUAGES
from storage import Job

# Below a grid: U1, V1, 1.
_LETTERS: Final = {ACTIONS[name].number.lower(): name for name in FOR_EACH}
_NUMBERED: Final = re.compile(r"(.*?) ?([1-9]\d?)\N{COMBINING ENCLOSING KEYCAP}?")
# What commands of other programs, Midjourney's among them, are called here.
COMMANDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("create", "draw", "dream", "generate", "paint"), "/imagine"),
    **dict.fromkeys(("archive", "gallery", "list"), "/history"),
    **dict.fromkeys(("favorites", "favourites"), "/history favourites"),
    **dict.fromkeys(("fast", "info", "jobs", "relax", "turbo"), "/queue"),
    **dict.fromkeys(("config", "options", "prefer", "preferences"), "/settings"),
    "stop": "/cancel",
}


def _names() -> Iterator[tuple[str, str]]:
    """Yield what each button may be called, in small letters, and its action."""
    for name in ("cancel", *(each for row in BELOW_PICTURE for each in row)):
        action = ACTIONS[name]
        labels = (action.label_in(words) for words in LANGUAGES.values())
        for called in (name.replace("_", " "), action.emoji, *action.reactions, *action.names):
            yield called.replace(VARIATION, ""), name
        for label in filter(None, labels):
            yield label.lower(), name


NAMES: Final[Mapping[str, str]] = dict(_names())


def plain_name(text: str) -> str:
    """Return a name as `NAMES` has it, however it is typed."""
    return " ".join(text.lower().replace(VARIATION, "").replace("_", " ").split())


def read_answer(text: str) -> tuple[str, int | None] | None:
    """Return the action that an answer to a picture names, and the number of the one it means.

    None for all that says more: it is words for a picture.
    """
    called = plain_name(text)
    if action := NAMES.get(called):
        return action, None
    if not (found := _NUMBERED.fullmatch(called)):
        return None
    action = _LETTERS.get(found[1]) or NAMES.get(found[1])
    return (action, int(found[2])) if action and ACTIONS[action].one else None


def read_button(text: str) -> tuple[str, int] | None:
    """Return the action and the number of `U1` or `V1`, which mean the latest grid by themselves.

    None for all other texts: behind no picture they are words.
    """
    found = _NUMBERED.fullmatch(text.strip().lower())
    action = _LETTERS.get(found[1]) if found and found[1] else None
    return (action, int(found[2])) if found and action else None


def numbered_in(job: Job, number: int) -> str:
    """Return the name of a job's picture of a number; of one that was made alone it is 1."""
    made = job.recipe.pictures
    return name_of(job, made[number - 1] if number <= len(made) else number - 1)


def instead_of(name: str, known: Collection[str]) -> str:
    """Return what another program's command is called here, if it is among those that are known."""
    found = COMMANDS.get(name, "")
    return found if found.partition(" ")[0] in known else ""
