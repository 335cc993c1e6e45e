"""/imagine: words become a picture."""

from typing import Any, Final

import discord

from bots.discord.commands.menus import read_attachment
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.requests.options import parse_values
from bots.requests.typed_options import read_request
from bots.requests.workflows import WORKFLOW, take_workflow
from engine.errors import UserError
from engine.recipe.limits import check_words

OWN_WORDS: Final = "-"  # Discord wants a prompt: this one leaves a workflow's own


async def imagine(
    handler: Handler,
    request: InteractionRequest,
    prompt: str,
    image: discord.Attachment | None = None,
    mask: discord.Attachment | None = None,
    workflow: str | None = None,
    **typed: Any,
) -> None:
    """Draw what the words say, from a start image and under a mask if they are given.

    workflow: one of the owner's, by which it is drawn; `OWN_WORDS` then stand for its own. Errors
    in the words themselves are answered before anything else is done.
    """
    given = [(name, str(value)) for name, value in typed.items()]
    if workflow:
        given.append((WORKFLOW.name, workflow))
    words, options = read_request(prompt, given, [WORKFLOW])
    workflow, options = take_workflow(options)
    own_words = workflow is not None and words.strip() in ("", OWN_WORDS)
    if not own_words:
        check_words(words)
    values = parse_values(options)
    if mask and not image:
        raise UserError(request.words.mask_alone)
    async with handler.drawing(request):
        if image:
            await handler.app.gate.admit(request)  # nothing is fetched for who may not ask
            values["image"] = kept = await handler.studio.keep_image(await read_attachment(image))
            if mask:
                values["mask"] = await handler.studio.keep_mask(kept, await read_attachment(mask))
        if not own_words:
            values["prompt"] = words
        if workflow is None:
            job = await handler.studio.imagine(values, request.asker, saved_by=request.person)
        else:
            job = await handler.app.workflows.draw(workflow, values, request.asker)
    await handler.placeholders.announce(request, job)
