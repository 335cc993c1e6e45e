"""/imagine: words become a picture; without words, a form asks for them."""

from typing import Any

import discord

from bots.discord.commands.menus import open_start_form, read_attachment
from bots.discord.forms import TEXT, imagine_form, offered_in
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.requests.options import parse_values
from bots.requests.typed_options import Typed, read_request, write_options
from bots.requests.workflows import WORKFLOW, take_workflow
from engine.errors import UserError
from engine.recipe.limits import check_words


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

    workflow: one of the owner's, by which it is drawn, without a prompt by its own words. Errors
    in the words themselves are answered before anything else is done.
    """
    given = [(name, str(value)) for name, value in typed.items()]
    if workflow:
        given.append((WORKFLOW.name, workflow))
    words, options = read_request(prompt or "", given, [WORKFLOW])
    workflow, options = take_workflow(options)
    values = parse_values(options)
    if mask and not image:
        raise UserError(request.words.mask_alone)
    if not (words or workflow or mask) and _takes_form(request, options):
        await _open_form(handler, request, image, options)
        return
    if words or workflow is None:
        check_words(words)
        values["prompt"] = words
    async with handler.drawing(request):
        if image:
            await handler.app.gate.admit(request)  # nothing is fetched for who may not ask
            values["image"] = kept = await handler.studio.keep_image(await read_attachment(image))
            if mask:
                values["mask"] = await handler.studio.keep_mask(kept, await read_attachment(mask))
        if workflow is None:
            job = await handler.studio.imagine(values, request.asker, saved_by=request.person)
        else:
            job = await handler.app.workflows.draw(workflow, values, request.asker)
    await handler.placeholders.announce(request, job)


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
    """Ask for the words in a form that holds the options and the image typed without them."""
    if image:
        await open_start_form(handler, request, image, options)
        return
    handler.check_open(request)
    request.check_permissions()
    await handler.admit(request)
    form = imagine_form(options, await offered_in(handler, request), request.words)
    await request.interaction.response.send_modal(form)
