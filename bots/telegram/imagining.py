"""Words, and what they start from: a prompt, a result that is answered, a photo."""

from __future__ import annotations

from telegram import ForceReply

from bots.options import parse_values, split_message
from bots.preferences import values_for
from bots.telegram.acts import Target
from bots.telegram.addresses import message_key
from bots.telegram.errand import Errand
from bots.telegram.reading import Said
from engine.errors import UserError


async def imagine(errand: Errand, said: Said) -> str | None:
    """Draw what the words say; words that answer a result draw that with these words."""
    await errand.check_welcome()
    if said.answers is not None and not said.asked:
        key = message_key(errand.address.chat, said.answers)
        if found := await errand.app.storage.jobs.by_message(key):
            target = Target(job=found[0], picture=found[1], message=said.answers)
            return await _redraw(errand, said, target)
        if not errand.address.private and said.command is None:
            return None  # talk below something else that we said
    prompt, typed = split_message(said.text)
    if not prompt:
        return await _ask(errand)
    people = errand.app.storage.people
    values = await values_for(people, errand.asker.person, dict(typed))
    errand.begin(await errand.app.studio.imagine({**values, "prompt": prompt}, errand.asker))
    return None


async def _redraw(errand: Errand, said: Said, target: Target) -> str | None:
    prompt, typed = split_message(said.text)
    values = {**parse_values(typed), **({"prompt": prompt} if prompt else {})}
    if not values:
        raise UserError(errand.words.empty_prompt)
    errand.begin(await errand.app.studio.rerun(target.name, values, errand.asker))
    return None


async def _ask(errand: Errand) -> str | None:
    """Ask for the half that is missing."""
    await errand.say(errand.words.empty_prompt, ForceReply(selective=True))
    return None
