"""/imagine: words become a picture."""

from typing import Any

import discord

from bots.discord.commands.menus import read_attachment
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.requests.options import parse_values
from bots.requests.typed_options import read_request
from engine.errors import UserError
from engine.recipe.limits import check_words


async def imagine(
    handler: Handler,
    request: InteractionRequest,
    prompt: str,
    image: discord.Attachment | None = None,
    mask: discord.Attachment | None = None,
    **typed: Any,
) -> None:
    """Draw what the words say, from a start image and under a mask if they are given.

    Errors in the words themselves are answered before anything else is done.
    """
    words, options = read_request(prompt, [(name, str(value)) for name, value in typed.items()])
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
        values["prompt"] = words
        job = await handler.studio.imagine(values, request.asker, saved_by=request.person)
    await handler.placeholders.announce(request, job)
