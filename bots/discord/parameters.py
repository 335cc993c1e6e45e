"""Make slash commands' options from the one table of options."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any, Final

import discord
from discord import app_commands

from bots.discord.choices import LONGEST, choice, joined, whole
from bots.discord.handler import Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.translate import description_text, name_text
from bots.presentation.text import ELLIPSIS
from bots.requests.aspect import size_like
from bots.requests.options import OPTIONS, Option, find
from engine.errors import UserError
from engine.models.catalogue import STARTER

CHOICES: Final = 25  # that Discord shows at most
FILES: Final = frozenset({"model", "lora", "vae"})  # options whose values are names of files
ASPECTS: Final = ((1, 1), (3, 2), (2, 3), (4, 3), (3, 4), (16, 9), (9, 16))

Callback = Callable[..., Coroutine[Any, Any, None]]
Choices = list[app_commands.Choice[str]]
Complete = Callable[[discord.Interaction[Any], str], Coroutine[Any, Any, Choices]]
Offers = Sequence[tuple[str, str]]  # what is shown, and the value
Offer = Callable[[Handler, discord.Interaction[Any], str], Awaitable[Offers]]
Answer = Callable[..., Coroutine[Any, Any, None]]  # given the handler, the request, what was typed


def with_options(
    answer: Answer,
    handler: Handler,
    options: Iterable[Option] = OPTIONS,
    before: Sequence[Parameter] = (),
) -> Callback:
    """Return a callback, as discord.py reads it, that answers with the options as keywords."""

    async def command(interaction: discord.Interaction[Any], **typed: Any) -> None:
        async with handler.receive(InteractionRequest(interaction)) as request:
            given = {names.get(name, name): v for name, v in typed.items() if v is not None}
            for name in given.keys() & FILES:
                given[name] = await _whole(handler, name, given[name])
            await answer(handler, request, **given)

    options = tuple(options)
    names = {_identifier(option.name): option.name for option in options}
    itself = Parameter("interaction", Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [itself, *before, *(_parameter(option) for option in options)]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    shown = {each.name: names.get(each.name, each.name) for each in parameters[1:]}
    described = app_commands.describe(
        **{name: description_text(f":{own}") for name, own in shown.items()}
    )
    renamed = app_commands.rename(
        **{name: name_text(f":{own}", own) for name, own in shown.items()}
    )
    completed = app_commands.autocomplete(
        **{
            _identifier(option.name): completing(COMPLETIONS[option.name], handler)
            for option in options
            if option.name in COMPLETIONS
        }
    )
    chosen = app_commands.choices(
        **{
            _identifier(option.name): [_choice(each) for each in option.choices]
            for option in options
            if 0 < len(option.choices) <= CHOICES
        }
    )
    return chosen(completed(renamed(described(command))))


def prompt_parameter() -> Parameter:
    """Return the one option that must be given."""
    return Parameter("prompt", Parameter.KEYWORD_ONLY, annotation=str)


def file_parameter(name: str) -> Parameter:
    """Return an option that takes a file."""
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=discord.Attachment, default=None)


def _parameter(option: Option) -> Parameter:
    name = _identifier(option.name)
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=_annotation(option), default=None)


def _choice(text: str) -> app_commands.Choice[str]:
    return app_commands.Choice(name=text, value=text)


def _identifier(name: str) -> str:
    """Return an option's name as Python can have it."""
    return name.replace("-", "_")


def _annotation(option: Option) -> Any:
    if option.range is None:
        return str
    low, high = option.range.low, option.range.high
    if option.range.step is None:
        return app_commands.Range[float, float(low), float(high)]
    return app_commands.Range[int, int(low), int(high)]


def completing(offer: Offer, handler: Handler) -> Complete:
    """Return what discord.py asks for values while an option is typed."""

    async def complete(interaction: discord.Interaction[Any], text: str) -> Choices:
        offers = await offer(handler, interaction, text.strip())
        found = (choice(label, value) for label, value in offers)
        return [each for each in found if len(str(each.value)) <= LONGEST][:CHOICES]

    return complete


async def _models(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    return offered(text, handler.studio.models())


async def _vaes(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    return offered(text, ["own", *handler.studio.vaes()])


async def _loras(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    """Offer names for the last of several with commas between; what stands before is kept."""
    before, comma, last = text.rpartition(",")
    kept = f"{before}{comma} " if comma else ""
    known = offered(last.strip(), await asyncio.to_thread(handler.studio.loras))
    return [(f"{kept}{name}", joined(kept, name)) for name, _ in known]


async def _styles(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    request = InteractionRequest(interaction)
    await handler.add_place(request)
    return offered(text, await handler.studio.styles(request.place))


async def _sizes(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    """Offer shapes, in the size that the model draws well."""
    try:
        typed = getattr(interaction.namespace, "model", None) or STARTER
        model = handler.studio.model(await _whole(handler, "model", typed))
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
    """Return those names that hold what is typed so far."""
    return [(name, name) for name in names if text.lower() in name.lower()]


async def _whole(handler: Handler, option: str, text: str) -> str:
    """Return what was chosen for an option with whole names in it."""
    if ELLIPSIS not in text:
        return text
    studio = handler.studio
    known = {"model": studio.models, "lora": studio.loras, "vae": studio.vaes}[option]
    return whole(text, await asyncio.to_thread(known), listed=find(option).listed)


COMPLETIONS: Final[Mapping[str, Offer]] = {
    "model": _models,
    "lora": _loras,
    "vae": _vaes,
    "style": _styles,
    "size": _sizes,
}
