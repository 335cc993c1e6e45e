"""/edit: a picture is changed by words."""

from typing import Any

import discord

from bots.discord.commands.menus import read_attachment
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.requests.options import parse_values
from bots.requests.typed_options import read_request
from engine.errors import UserError
from engine.recipe.limits import check_words


async def edit(
    handler: Handler,
    request: InteractionRequest,
    prompt: str,
    picture: str | None = None,
    image: discord.Attachment | None = None,
    another: discord.Attachment | None = None,
    **typed: Any,
) -> None:
    """Change one of Marble's pictures or an image; further images are what the words are about.

    Errors in the words themselves are answered before anything else is done.
    """
    request.typed = prompt
    words, options = read_request(prompt, [(name, str(value)) for name, value in typed.items()])
    check_words(words)
    values = {"prompt": words, **parse_values(options)}
    images = [each for each in (image, another) if each]
    if not (picture or images):
        raise UserError(request.words.edit_which)
    studio, by = handler.studio, request.person
    async with handler.drawing(request):
        target = await handler.find(request, "edit", picture) if picture else None
        if images:
            await handler.app.gate.admit(request)  # nothing is fetched for who may not ask
        given = [await studio.keep_image(await read_attachment(each)) for each in images]
        if target:
            job = await studio.edit(target.name, values, request.asker, by, given)
        else:
            job = await studio.edit_image(given[0], values, request.asker, by, given[1:])
    await handler.placeholders.announce(request, job)
