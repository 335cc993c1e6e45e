"""/rules: what a group's administrators hold it, or one of its topics, to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bots.admission.rulebook import LISTED, MODERATED, OPEN
from bots.chat.moderation import NOTHING, change_rules, list_rules
from bots.requests.options import Flag
from bots.requests.typed_options import split_message
from bots.telegram.errand import Errand
from bots.telegram.reading import Said
from bots.texts import LANGUAGES
from engine.errors import OptionError, UnknownOption, UserError
from engine.recipe.limits import one_of

GROUP: Final = "group"  # what means all of it, said in one of its topics
ANSWERS: Final = {
    answer: answer == words.yes for words in LANGUAGES.values() for answer in (words.yes, words.no)
}


def _flag(name: str) -> str:
    return name.replace("_", "-")


NAMES: Final = {_flag(name): name for name in (OPEN, *MODERATED)}
FLAGS: Final = tuple(
    Flag(name=name, example=NOTHING[0], spoken=True, listed=rule in LISTED)
    for name, rule in NAMES.items()
)


async def rules(errand: Errand, said: Said) -> str | None:
    """Show what holds here; `/rules group --steps 1-30` changes it, for all topics."""
    if errand.address.private:
        raise UserError(errand.words.rules_in_groups)
    whole, typed = _read(said.text)
    is_open = _read_answer(typed.pop(OPEN, None))
    topic = errand.address.thread is not None and not whole
    place = errand.asker.place if topic else errand.group
    app = errand.app
    if typed or is_open is not None:
        await change_rules(app, place, typed, is_open, by=errand.asker.person)
    names = " ".join(f"`--{name}`" for name in NAMES)
    how = errand.words.telegram_rules_how.format(names=names)
    await errand.say_list(await _shown(errand, place), marked=how)
    return None


def _read(text: str) -> tuple[bool, dict[str, str]]:
    """Return whether all of the group is meant, and the rules by their names as texts."""
    words, typed = split_message(" ".join(text.split()), FLAGS)
    for name, _ in typed:
        if name not in NAMES:
            raise UnknownOption(f"--{name}", (f"--{known}" for known in NAMES))
    if words and words.lower() != GROUP:
        raise UnknownOption(words, [GROUP, *(f"--{known}" for known in NAMES)])
    return bool(words), {NAMES[name]: value for name, value in typed}


def _read_answer(text: str | None) -> bool | None:
    if text is None:
        return None
    if text.lower() not in ANSWERS:
        raise OptionError(OPEN, text, one_of(ANSWERS))
    return ANSWERS[text.lower()]


async def _shown(errand: Errand, place: str) -> Sequence[str]:
    words, called = errand.words, {errand.group: errand.words.this_group}
    return await list_rules(errand.app, place, words, here=words.this_topic, called=called)
