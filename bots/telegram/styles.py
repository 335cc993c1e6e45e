"""/style: words that a group's administrators keep by a name, for everybody's pictures there."""

from __future__ import annotations

from bots.chat.listings import style_lines
from bots.requests.styles import read_words
from bots.telegram.errand import Errand
from bots.telegram.reading import Said
from engine.errors import UnknownOption, UserError
from storage.records import EVERYWHERE


async def style(errand: Errand, said: Said) -> str | None:
    """List the styles that hold here; `add noir WORDS --no WORDS` keeps one, `remove` removes."""
    act, _, rest = said.text.partition(" ")
    name, _, words = rest.strip().partition(" ")
    if act in ("add", "remove") and not await errand.moderates():
        raise UserError(errand.words.moderators_only)
    if act == "add":
        return await _add(errand, name, words)
    if act == "remove":
        return await _remove(errand, name)
    if act:
        raise UnknownOption(act, ["add", "remove"])
    styles = await errand.app.styles.list(errand.asker.place)
    lines = style_lines(styles, errand.words)
    await errand.say_list(lines, marked=errand.words.style_how)
    return None


async def _add(errand: Errand, name: str, words: str) -> str | None:
    prompt, negative = read_words(words, lines=True)
    place, by = _place(errand), errand.asker.person
    style = await errand.app.styles.add(place, name, prompt, negative, by=by)
    await errand.say("", marked=errand.words.style_kept.format(name=style.name))
    return None


async def _remove(errand: Errand, name: str) -> str | None:
    style = await errand.app.styles.remove(_place(errand), name, by=errand.asker.person)
    return errand.words.style_removed.format(name=style.name)


def _place(errand: Errand) -> str:
    """Return what styles are kept for: the whole group, or in private everywhere."""
    return EVERYWHERE if errand.address.private else errand.group
