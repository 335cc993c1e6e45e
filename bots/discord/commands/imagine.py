"""/imagine: words become a picture; without words, a form asks for them."""

from functools import partial
from typing import Any

import discord

from bots.discord.commands.menus import open_start_form, read_attachment
from bots.discord.forms import TEXT, imagine_form, offered_in
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.requests.options import parse_values
from bots.requests.typed_options import Typed, read_request, write_options
from bots.requests.workflows import WORKFLOW, read_choices, values_of
from engine.errors import UserError


async def imagine(
    handler: Handler,
    request: InteractionRequest,
    prompt: str | None = None,
    image: discord.Attachment | None = None,
    mask: discord.Attachment | None = None,
    workflow: str | None = None,
    **typed: Any,
) -> None:
    """Draw what the words say, from a start image and under a mask if they are given.

    Words with permutations are a job for each. workflow: one of the owner's, by which it is drawn,
    without a prompt by its own words. Errors in the words themselves are answered before anything
    else is done.
    """
    request.typed = prompt or ""
    given = [(name, str(value)) for name, value in typed.items()]
    if workflow:
        given.append((WORKFLOW.name, workflow))
    if mask and not image:
        raise UserError(request.words.mask_alone)
    read = partial(read_request, given=given, more=[WORKFLOW])
    choices, workflow = read_choices(prompt or "", read)
    words, options = choices[0]
    wordless = len(choices) == 1 and not (words or workflow or mask)
    if wordless and _takes_form(request, options):
        return await _open_form(handler, request, image, options)
    wanted = [values_of(each, workflow) for each in choices]
    request.check_jobs(len(wanted))
    async with handler.drawing(request):
        start = {}
        if image:
            await handler.app.gate.admit(request)  # nothing is fetched for who may not ask
            start["image"] = kept = await handler.studio.keep_image(await read_attachment(image))
            if mask:
                start["mask"] = await handler.studio.keep_mask(kept, await read_attachment(mask))
        asked = [values | start for values in wanted]
        if workflow is None:
            jobs = await handler.studio.imagine_each(asked, request.asker, request.person)
        else:
            jobs = [await handler.app.workflows.draw(workflow, asked[0], request.asker)]
    await handler.placeholders.announce_each(request, jobs)


def _takes_form(request: InteractionRequest, options: Typed) -> bool:
    """Return whether a form can answer: Discord opens none after another."""
    command = request.interaction.type is discord.InteractionType.application_command
    return command and len(write_options(options)) <= TEXT


async def _open_form(
    handler: Handler,
    request: InteractionRequest,
    image: discord.Attachment | None,
    options: Typed,
) -> None:
    """Ask for the words in a form that holds the options and the image typed without them.

    Raises `UserError` for an option that means nothing.
    """
    parse_values(options)
    if image:
        await open_start_form(handler, request, image, options)
        return
    handler.check_open(request)
    request.check_permissions()
    await handler.admit(request)
    form = imagine_form(options, await offered_in(handler, request), request.words)
    await request.interaction.response.send_modal(form)
