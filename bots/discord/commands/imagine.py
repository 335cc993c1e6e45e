"""/imagine: words become a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from bots.discord.attachments import read_attachment
from bots.discord.commands.define import define
from bots.discord.parameters import file_parameter, prompt_parameter, with_options
from bots.discord.visits import Click, Refusal
from bots.requests.options import parse_values
from bots.requests.preferences import values_for
from bots.requests.studio import Asker
from bots.requests.typed_options import read_request
from engine.recipe.limits import check_words
from storage import Job

if TYPE_CHECKING:
    from bots.discord.desk import Desk


def add(tree: app_commands.CommandTree[Any], desk: Desk) -> None:
    """Add the command."""

    async def imagine(interaction: discord.Interaction[Any], prompt: str, **typed: Any) -> None:
        visit = Click(interaction)
        image, mask = typed.pop("image", None), typed.pop("mask", None)
        given = [(name, str(value)) for name, value in typed.items()]

        async def ask(asker: Asker) -> Job:
            if image:  # nothing is fetched for who may not ask
                await desk.admit(visit)
            values = await values_for(desk.storage, visit.person, visit.place, dict(options))
            if image:
                values["image"] = kept = await desk.studio.keep_image(await read_attachment(image))
                if mask:
                    drawn = await read_attachment(mask)
                    values["mask"] = await desk.studio.keep_mask(kept, drawn)
            return await desk.studio.imagine({**values, "prompt": words}, asker)

        async with desk.receive(visit):
            # What is wrong with the words themselves is said before anything else is done.
            words, options = read_request(prompt, given)
            check_words(words)
            parse_values(options)
            if mask and not image:
                raise Refusal(visit.words.mask_alone)
            await desk.draw(visit, ask)

    before = [prompt_parameter(), *(file_parameter(name) for name in ("image", "mask"))]
    tree.add_command(define("imagine", with_options(imagine, desk, before=before)))
