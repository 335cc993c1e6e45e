"""Define commands by functions of the handler and the request; options come from their table."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from inspect import Parameter, Signature, signature
from typing import Any, Final

import discord
from discord import app_commands

from bots.discord.handler import Answer, Handler
from bots.discord.interaction import InteractionRequest
from bots.discord.registration import description_text, name_text
from bots.discord.short_choices import LONGEST, NAMES, choice, joined, whole
from bots.presentation.text import ELLIPSIS
from bots.requests.aspect import ASPECTS, size_like
from bots.requests.options import Option
from bots.texts import EN
from engine.errors import UserError
from engine.models.catalogue import STARTER, Checkpoint

CHOICES: Final = 25  # that Discord shows at most

Command = app_commands.Command[Any, ..., None]
Choices = list[app_commands.Choice[str]]
Complete = Callable[[discord.Interaction[Any], str], Coroutine[Any, Any, Choices]]
Offers = Sequence[tuple[str, str]]  # what is shown, and the value
Offer = Callable[[Handler, discord.Interaction[Any], str], Awaitable[Offers]]


def define(
    handler: Handler,
    key: str,
    answer: Answer,
    *,
    defer: bool = True,
    options: Sequence[Option] = (),
    offers: Mapping[str, Offer] = {},
) -> Command:
    """Return the command of a key such as `mydata export`; its options are the answer's parameters.

    defer: see `Handler.answering`. options: taken beside those, and given to the answer as
    keywords. offers: what is offered while an own option is typed. An option is described by
    `command:option`, else by `:option`, of its whole command.
    """
    callback = handler.answering(answer, defer=defer)
    callback.__signature__ = _signature(answer, options)  # type: ignore[attr-defined]
    command: Command = app_commands.Command(
        name=name_text(key), description=description_text(key), callback=callback
    )
    keys = {each.name: _key(key, each.name) for each in command.parameters}
    described = {name: description_text(found) for name, found in keys.items()}
    renamed = {name: name_text(found, found.partition(":")[2]) for name, found in keys.items()}
    app_commands.describe(**described)(command)
    app_commands.rename(**renamed)(command)
    for option in options:
        if option.name in COMPLETIONS:
            command.autocomplete(option.name)(_completing(COMPLETIONS[option.name], handler))
        elif len(option.choices) > CHOICES:
            command.autocomplete(option.name)(_completing(_one_of(option.choices), handler))
        elif option.choices:
            choices = [app_commands.Choice(name=each, value=each) for each in option.choices]
            app_commands.choices(**{option.name: choices})(command)
    for name, offer in offers.items():
        command.autocomplete(name)(_completing(offer, handler))
    return command


def _key(command: str, option: str) -> str:
    own = f"{command.partition(' ')[0]}:{option}"
    return own if own in EN.commands else f":{NAMES.get(option, option)}"


def _signature(answer: Answer, options: Iterable[Option]) -> Signature:
    """Return the signature of a command's callback: the answer's own parameters and the options."""
    parameters = [Parameter("interaction", Parameter.POSITIONAL_OR_KEYWORD)]
    for each in list(signature(answer, eval_str=True).parameters.values())[2:]:
        if each.kind is not Parameter.VAR_KEYWORD:
            parameters.append(each.replace(kind=Parameter.KEYWORD_ONLY))
    for option in options:
        kind: Any = str
        if option.range:
            number = float if option.range.step is None else int
            low, high = number(option.range.low), number(option.range.high)
            kind = app_commands.Range[number, low, high]
        name = option.name.replace("-", "_")
        parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=None))
    return Signature(parameters)


def _completing(offer: Offer, handler: Handler) -> Complete:
    """Return the function that discord.py asks for values while an option is typed."""

    async def complete(interaction: discord.Interaction[Any], text: str) -> Choices:
        offers = await offer(handler, interaction, text.strip())
        found = (choice(label, value) for label, value in offers)
        return [each for each in found if len(str(each.value)) <= LONGEST][:CHOICES]

    return complete


def _one_of(names: Iterable[str]) -> Offer:
    """Return what offers names that are more than Discord shows."""

    async def offer(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
        return offered(text, names)

    return offer


async def _models(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    return offered(text, handler.studio.catalogue.names())


async def _refiners(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    return offered(text, ["none", *handler.studio.catalogue.names()])


async def _vaes(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    if "vae" in await _lacking(handler, interaction):
        return []
    return offered(text, ["own", *handler.studio.builder.vaes.names()])


async def _loras(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    """Offer names for the last of a list with commas between; the others are kept."""
    if "loras" in await _lacking(handler, interaction):
        return []
    before, comma, last = text.rpartition(",")
    kept = f"{before}{comma} " if comma else ""
    known = offered(last.strip(), await asyncio.to_thread(handler.studio.builder.loras.names))
    return [(f"{kept}{name}", joined(kept, name)) for name, _ in known]


async def _styles(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    request = InteractionRequest(interaction)
    await handler.add_place(request)
    return offered(text, await handler.studio.styles(request.place))


async def workflows(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    """Offer the owner's workflows that may be used in the place."""
    request = InteractionRequest(interaction)
    await handler.add_place(request)
    return offered(text, [each.name for each in await handler.app.workflows.offered(request.place)])


async def _sizes(handler: Handler, interaction: discord.Interaction[Any], text: str) -> Offers:
    """Offer shapes, in sizes with as many pixels as the model's own."""
    model = await _model(handler, interaction)
    if model is None:
        return []
    area, found = model.defaults.width * model.defaults.height, []
    for across, down in ASPECTS:
        width, height = size_like(across, down, area, model.multiple)
        size = f"{width}x{height}"
        label = f"{across}:{down} ({width}×{height})"
        if text.lower() in f"{label} {size}":
            found.append((label, size))
    return found


async def _lacking(handler: Handler, interaction: discord.Interaction[Any]) -> frozenset[str]:
    """Return the fields of a recipe that the chosen model does not have."""
    model = await _model(handler, interaction)
    return model.lacks if model else frozenset()


async def _model(handler: Handler, interaction: discord.Interaction[Any]) -> Checkpoint | None:
    """Return the model that is chosen beside what is typed; None for a name still being typed."""
    typed = getattr(interaction.namespace, "model", None) or STARTER
    try:
        if ELLIPSIS in typed:
            typed = whole(typed, await asyncio.to_thread(handler.studio.catalogue.names))
        return handler.studio.catalogue.get(typed)
    except UserError:
        return None


def offered(text: str, names: Iterable[str]) -> Offers:
    """Return the names that contain the text typed so far."""
    return [(name, name) for name in names if text.lower() in name.lower()]


COMPLETIONS: Final[Mapping[str, Offer]] = {
    "model": _models,
    "refiner": _refiners,
    "lora": _loras,
    "vae": _vaes,
    "style": _styles,
    "size": _sizes,
}
