"""Forms that come back: what they describe is drawn."""

import asyncio
import hmac
from collections.abc import Mapping
from typing import Any

import discord

from bots.discord.commands.imagine import imagine
from bots.discord.commands.menus import read_attachment
from bots.discord.forms import (
    PICKED,
    TEMPLATE,
    fields_of,
    once_shown_of,
    seal_of,
    shown_of,
)
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.short_choices import whole_names
from bots.presentation.text import ELLIPSIS
from bots.requests.recipe_form import form_values
from engine.errors import UserError
from storage import Job


async def submit(handler: Handler, interaction: discord.Interaction[Any]) -> None:
    """Draw the picture that a form describes; forms of others are ignored.

    Forms may have been opened by an earlier process, and by an earlier version.
    """
    data: Mapping[str, Any] = interaction.data or {}
    found = TEMPLATE.fullmatch(str(data.get("custom_id")))
    if not found:
        return
    kind, about, seal = found["kind"], found["about"] or "", found["seal"] or ""
    async with handler.receive(InteractionRequest(interaction)) as request:
        fields = fields_of(data.get("components", ()))
        request.typed = fields.get("prompt", "")
        upload = _upload(interaction, fields.pop("image", ""))
        if ELLIPSIS in fields.get("model", ""):
            fields = await asyncio.to_thread(whole_names, handler.studio.builder, fields)
        if kind == "imagine":
            picked: dict[str, Any] = {name: fields[name] for name in PICKED if fields.get(name)}
            await imagine(handler, request, fields["prompt"], upload, **picked)
            return
        async with handler.drawing(request):
            if kind == "start":
                job = await _start(handler, request, about, seal, fields)
            elif kind == "words":
                job = await _edit(handler, request, about, fields, upload)
            else:
                job = await _change(handler, request, about, fields, upload, old=kind == "edit")
        await handler.placeholders.announce(request, job)


async def _start(
    handler: Handler, request: InteractionRequest, image: str, seal: str, fields: Mapping[str, str]
) -> Job:
    if not hmac.compare_digest(seal_of(handler, request.person, image), seal):
        raise UserError(request.words.unknown_form)
    values = {**form_values(fields), "image": image}
    return await handler.studio.imagine(values, request.asker, request.person)


async def _edit(
    handler: Handler,
    request: InteractionRequest,
    name: str,
    fields: Mapping[str, str],
    upload: discord.Attachment | None,
) -> Job:
    target = await handler.find(request, "edit", name)
    values = form_values(fields)
    others = [await _keep(handler, request, upload)] if upload else []
    return await handler.studio.edit(target.name, values, request.asker, request.person, others)


async def _change(
    handler: Handler,
    request: InteractionRequest,
    name: str,
    fields: Mapping[str, str],
    upload: discord.Attachment | None,
    *,
    old: bool,
) -> Job:
    """Draw a recipe with what was changed; old: the form has a field for each of its options."""
    target = await handler.find(request, "change", name)
    recipe = target.job.recipe
    if old:
        values = form_values(fields, once_shown_of(recipe))
    else:
        values = form_values(fields, *shown_of(recipe, handler.studio.lacks(recipe)))
    if upload:
        values["image"] = await _keep(handler, request, upload)
    return await handler.studio.rerun(target.name, values, request.asker)


async def _keep(handler: Handler, request: InteractionRequest, upload: discord.Attachment) -> str:
    await handler.app.gate.admit(request)  # nothing is fetched for who may not ask
    return await handler.studio.keep_image(await read_attachment(upload))


def _upload(interaction: discord.Interaction[Any], id: str) -> discord.Attachment | None:
    """Return what was uploaded with a form; discord.py reads it only for a form that it opened."""
    data: Mapping[str, Any] = interaction.data or {}
    found = data.get("resolved", {}).get("attachments", {}).get(id)
    return discord.Attachment(data=found, state=interaction._state) if found else None
