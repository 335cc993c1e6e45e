"""What moderators do: of a group its administrators, of Marble those in the settings."""

from __future__ import annotations

import re
from typing import Final

from bots.admission.rulebook import LISTED, MODERATED, OPEN
from bots.chat.commands import styles
from bots.chat.listings import act_lines
from bots.chat.moderation import NOTHING, change_rules, latest_acts, lift_ban, list_rules
from bots.chat.moderation import ban as ban_person
from bots.requests.options import Flag
from bots.requests.typed_options import read_style_words, split_message
from bots.telegram.address import PLATFORM
from bots.telegram.messages import ParsedMessage
from bots.telegram.request import Request
from bots.texts import LANGUAGES
from bots.worker.pausing import LONGEST
from engine.errors import OptionError, UnknownOption, UserError
from engine.recipe.limits import one_of

_WHO: Final = re.compile(rf"({PLATFORM}:-?\d{{1,20}})(?:\s+|$)")
_HOURS: Final = re.compile(r"(\d{1,4})(?:\s+|$)")
GROUP: Final = "group"  # what means all of it, said in one of its topics
ANSWERS: Final = {
    answer: answer == words.yes for words in LANGUAGES.values() for answer in (words.yes, words.no)
}
NAMES: Final = {rule.replace("_", "-"): rule for rule in (OPEN, *MODERATED)}  # as typed
FLAGS: Final = tuple(
    Flag(name=name, example=NOTHING[0], spoken=True, listed=rule in LISTED)
    for name, rule in NAMES.items()
)


async def ban(request: Request, parsed: ParsedMessage) -> str:
    """Ban a person here: `/ban 24 floods the queue` for a day."""
    by, place = request.asker.person, request.moderated_place
    who, rest = await _whom(request, parsed)
    found = _HOURS.match(rest)
    hours = int(found[1]) if found else None
    reason = " ".join(rest[found.end() if found else 0 :].split())[:LONGEST] or "–"
    await ban_person(request.app, who, by=by, place=place, reason=reason, hours=hours)
    return request.words.ban_done.format(who=who, reason=reason)


async def unban(request: Request, parsed: ParsedMessage) -> str | None:
    """Lift a ban."""
    who, _ = await _whom(request, parsed)
    by, place = request.asker.person, request.moderated_place
    lifted = await lift_ban(request.app, who, by=by, place=place)
    return (request.words.ban_lifted if lifted else request.words.no_ban).format(who=who)


async def _whom(request: Request, parsed: ParsedMessage) -> tuple[str, str]:
    """Return who is meant, by name or by the message replied to, and the other words.

    Of a picture it is whoever asked for it.
    """
    if named := _WHO.match(parsed.text):
        return named[1], parsed.text[named.end() :]
    if found := await request.shown_by(parsed.reply_to):
        return found[0].person, parsed.text
    if parsed.reply_to is None and parsed.replied_person is not None:
        return parsed.replied_person, parsed.text
    raise UserError(request.words.ban_whom)


async def log(request: Request, parsed: ParsedMessage) -> None:
    """List what moderators did here; in private, everywhere."""
    acts = await latest_acts(request.app, request.moderated_place)
    await request.say_list(act_lines(acts, request.words))


async def pause(request: Request, parsed: ParsedMessage) -> str | None:
    """Pause the queue, everywhere."""
    await request.app.pausing.pause(parsed.text, request.asker.person)
    return request.words.queue_paused.format(reason=parsed.text)


async def resume(request: Request, parsed: ParsedMessage) -> str | None:
    """Resume the queue."""
    found = await request.app.pausing.resume(request.asker.person)
    return request.words.queue_resumed if found else request.words.queue_not_paused


async def rules(request: Request, parsed: ParsedMessage) -> None:
    """List the rules in force here; `/rules group --steps 1-30` changes them in all topics."""
    if request.address.private:
        raise UserError(request.words.rules_in_groups)
    app, words, group = request.app, request.words, request.moderated_place
    whole, typed = _read(parsed.text)
    answer = typed.pop(OPEN, None)
    if answer is not None and answer.lower() not in ANSWERS:
        raise OptionError(OPEN, answer, one_of(ANSWERS))
    is_open = None if answer is None else ANSWERS[answer.lower()]
    place = group if whole else request.asker.place
    if typed or is_open is not None:
        await change_rules(app, place, typed, is_open, by=request.asker.person)
    called = {group: words.this_group}
    lines = await list_rules(app, place, words, here=words.this_topic, called=called)
    names = " ".join(f"`--{name}`" for name in NAMES)
    await request.say_list(lines, marked=words.telegram_rules_how.format(names=names))


def _read(text: str) -> tuple[bool, dict[str, str]]:
    """Return whether all of the group is meant, and the rules by their names as texts."""
    words, typed = split_message(" ".join(text.split()), FLAGS)
    for name, _ in typed:
        if name not in NAMES:
            raise UnknownOption(f"--{name}", (f"--{known}" for known in NAMES))
    if words and words.lower() != GROUP:
        raise UnknownOption(words, [GROUP, *(f"--{known}" for known in NAMES)])
    return bool(words), {NAMES[name]: value for name, value in typed}


async def style(request: Request, parsed: ParsedMessage) -> str | None:
    """List the styles; `add noir WORDS --no WORDS` keeps one for the group, `remove` removes it."""
    action, _, rest = parsed.text.partition(" ")
    name, _, typed = rest.strip().partition(" ")
    app, words, by = request.app, request.words, request.asker.person
    if action in ("add", "remove") and not await request.moderates():
        raise UserError(words.moderators_only)
    if action == "add":
        prompt, negative = read_style_words(typed, lines=True)
        kept = await app.styles.add(request.moderated_place, name, prompt, negative, by=by)
        await request.say("", marked=words.style_kept.format(name=kept.name))
    elif action == "remove":
        removed = await app.styles.remove(request.moderated_place, name, by=by)
        return words.style_removed.format(name=removed.name)
    elif action:
        raise UnknownOption(action, ["add", "remove"])
    else:
        lines = await styles(app, request.viewer, words)
        await request.say_list(lines, marked=words.style_how)
    return None
