"""/describe: what a picture shows in words, with buttons that draw them."""

import re
from typing import Any, Final, Self

import discord
from discord import ui

from bots.chat.suggestions import describe as describe_picture
from bots.chat.suggestions import numbered, read_target, suggestion_in
from bots.discord.commands.menus import read_attachment
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.replies import CONTENT, Reply
from bots.presentation.text import cut, escape_markdown
from engine.errors import UserError

SPOILER: Final = "||"  # Discord's markdown, in front of and behind what only a press shows


class SuggestionButton(
    ui.DynamicItem[ui.Button[Any]], template=r"marble-suggestion:(?P<number>\d)"
):
    """A button that draws one of the descriptions above it."""

    def __init__(self, number: str) -> None:
        self.number = number
        super().__init__(
            ui.Button(label=number, emoji="🖼️", custom_id=f"marble-suggestion:{number}")
        )

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Make what somebody pressed, from its id alone."""
        return cls(match["number"])

    async def callback(self, interaction: discord.Interaction[Any]) -> Any:
        """Pass the press on to the client."""
        await interaction.client.draw_suggestion(interaction, self.number)


async def describe(
    handler: Handler,
    request: InteractionRequest,
    picture: str | None = None,
    image: discord.Attachment | None = None,
) -> None:
    """Say in words what one of Marble's pictures or an image shows, to the person alone."""
    if (picture is None) == (image is None):
        raise UserError(request.words.describe_which)
    await handler.admit(request)  # nothing is fetched for who may not ask
    mark = ""
    if image:
        data = await read_attachment(image)
    else:
        target = await handler.find(request, "describe", picture or "")
        data, spoiler = await read_target(target, await handler.view(request))
        mark = SPOILER if spoiler else ""
    found = await describe_picture(handler.app, request.asker, data, request.words)
    lines = numbered(f"{mark}{escape_markdown(each)}{mark}" for each in found)
    buttons = [SuggestionButton(str(number)) for number in range(1, len(found) + 1)]
    title = request.words.described
    text = cut("\n".join([title, *lines]), CONTENT)
    await request.answer(Reply(content=text, buttons=buttons))


async def draw_suggestion(handler: Handler, request: InteractionRequest, number: str) -> None:
    """Draw one of the descriptions that a message lists."""
    message = request.interaction.message
    text = suggestion_in(message.content if message else "", number, request.words)
    shown = text.removeprefix(SPOILER).removesuffix(SPOILER)
    values = {"prompt": re.sub(r"\\(.)", r"\1", shown)}
    async with handler.drawing(request):
        job = await handler.studio.imagine(values, request.asker, request.person)
    await handler.placeholders.announce(request, job)
