"""/blend: several pictures are made one."""

from functools import partial

import discord

from bots.chat import actions
from bots.discord.commands.menus import read_attachment
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.requests.options import parse_values
from bots.requests.studio import BLENDED
from bots.requests.typed_options import read_request
from engine.errors import UserError


async def blend(
    handler: Handler,
    request: InteractionRequest,
    image: discord.Attachment | None = None,
    image2: discord.Attachment | None = None,
    image3: discord.Attachment | None = None,
    image4: discord.Attachment | None = None,
    image5: discord.Attachment | None = None,
    pictures: str = "",
    prompt: str = "",
) -> None:
    """Make one picture of Marble's own, named in `pictures`, and of images.

    The words, if there are any, say what it should show.
    """
    request.typed = prompt
    words, options = read_request(prompt)
    values = parse_values(options) | ({"prompt": words} if words else {})
    images = [each for each in (image, image2, image3, image4, image5) if each]
    names = pictures.replace(",", " ").split()
    if len(names) + len(images) not in BLENDED:
        raise UserError(request.words.blend_which)
    async with handler.drawing(request):
        targets = [await handler.find(request, "blend", name) for name in names]
        asked = (values, request.asker, request.person)
        given = [partial(read_attachment, image) for image in images]
        job = await actions.blend(handler.app, targets, given, *asked)
    await handler.placeholders.announce(request, job)
