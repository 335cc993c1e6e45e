"""Make slash commands' options from the one table of options."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from inspect import Parameter
from typing import Any, Final

import discord
from discord import app_commands

from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.short_choices import LONGEST, choice, joined, whole
from bots.presentation.text import ELLIPSIS
from bots.requests.aspect import size_like
from bots.requests.options import OPTIONS, Option, find
from engine.errors import UserError
from engine.models.catalogue import STARTER

CHOICES: Final = 25  # that Discord shows at most
NAMES: Final = {option.name.replace("-", "_"): option.name for option in OPTIONS}
FILES: Final = frozenset({"model", "lora", "vae"})  # options whose values are names of files
ASPECTS: Final = ((1, 1), (3, 2), (2, 3), (4, 3), (3, 4), (16, 9), (9, 16))

Callback = Callable[..., Coroutine[Any, Any, None]]
Choices = list[app_commands.Choice[str]]
Complete = Callable[[discord.Interaction[Any], str], Coroutine[Any, Any, Choices]]
Offers = Sequence[tuple[str, str]]  # what is shown, and the value
Offer = Callable[[Handler, discord.Interaction[Any], str], Awaitable[Offers]]
Answer = Callable[..., Coroutine[Any, Any, None]]  # given the handler, the request, what was typed


def parameter(option: Option) -> Parameter:
    """Return an option as a parameter of a command's callback."""
    kind: Any = str
    if option.range:
        number = float if option.range.step is None else int
        low, high = number(option.range.low), number(option.range.high)
        kind = app_commands.Range[number, low, high]
    name = option.name.replace("-", "_")
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=None)


def with_values(
    handler: Handler,
    options: Iterable[Option],
    offers: Mapping[str, Offer],
    callback: Callback,
) -> Callback:
    """Let discord.py offer values: the choices of options where they are few, else by text."""
    completed = {name: completing(offer, handler) for name, offer in offers.items()}
    chosen = {}
    for option in options:
        name = option.name.replace("-", "_")
        if option.name in COMPLETIONS:
            completed[name] = completing(COMPLETIONS[option.name], handler)
        if 0 < len(option.choices) <= CHOICES:
            chosen[name] = [app_commands.Choice(name=each, value=each) for each in option.choices]
    return app_commands.choices(**chosen)(app_commands.autocomplete(**completed)(callback))


async def typed_values(handler: Handler, typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed by the options' own names, with whole names of files."""
    found = {NAMES.get(name, name): value for name, value in typed.items() if value is not None}
    for name in found.keys() & FILES:
        found[name] = await _whole(handler, name, found[name])
    return found


def completing(offer: Offer, handler: Handler) -> Complete:
    """Return the function that discord.py asks for values while an option is typed."""

    async def complete(interaction: discord.Interaction[Any], text: str) -> Choices:
        offers = await offer(handler, interaction, text.strip())
        found = (choice(label, value) for label, value in offers)
        return [each for each in found if len(str(each.value)) <= LONGEST][:CHOICES]

    return complete


async def _models(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    return offered(text, handler.studio.catalogue.names())


async def _vaes(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    return offered(text, ["own", *handler.studio.builder.vaes.names()])


async def _loras(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    """Offer names for the last of a list with commas between; the others are kept."""
    before, comma, last = text.rpartition(",")
    kept = f"{before}{comma} " if comma else ""
    known = offered(last.strip(), await asyncio.to_thread(handler.studio.builder.loras.names))
    return [(f"{kept}{name}", joined(kept, name)) for name, _ in known]


async def _styles(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    request = InteractionRequest(interaction)
    await handler.add_place(request)
    return offered(text, await handler.studio.styles(request.place))


async def _sizes(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    """Offer shapes, in sizes with as many pixels as the model's own."""
    try:
        typed = getattr(interaction.namespace, "model", None) or STARTER
        model = handler.studio.catalogue.get(await _whole(handler, "model", typed))
    except UserError:  # a name that is still being typed
        return []
    area, found = model.defaults.width * model.defaults.height, []
    for across, down in ASPECTS:
        width, height = size_like(across, down, area)
        size = f"{width}x{height}"
        label = f"{across}:{down} ({width}×{height})"
        if text.lower() in f"{label} {size}":
            found.append((label, size))
    return found


def offered(text: str, names: Iterable[str]) -> Offers:
    """Return the names that contain the text typed so far."""
    return [(name, name) for name in names if text.lower() in name.lower()]


async def _whole(handler: Handler, option: str, text: str) -> str:
    """Return the value of an option with whole names in place of short forms."""
    if ELLIPSIS not in text:
        return text
    files = handler.studio.builder
    names = {"model": files.catalogue.names, "lora": files.loras.names, "vae": files.vaes.names}
    return whole(text, await asyncio.to_thread(names[option]), listed=find(option).listed)


COMPLETIONS: Final[Mapping[str, Offer]] = {
    "model": _models,
    "lora": _loras,
    "vae": _vaes,
    "style": _styles,
    "size": _sizes,
}
