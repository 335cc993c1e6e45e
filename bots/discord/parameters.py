"""Make slash commands' options from the one table of options."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands

from bots.discord.translate import description_text, name_text
from bots.options import OPTIONS, Option
from engine.checkpoints import STARTER
from engine.errors import UserError

if TYPE_CHECKING:
    from bots.discord.desk import Desk

CHOICES: Final = 25  # that Discord shows at most
PROMPT: Final = 2000  # characters
ASPECTS: Final = ((1, 1), (3, 2), (2, 3), (4, 3), (3, 4), (16, 9), (9, 16))
GRAIN: Final = 8  # pixels

Callback = Callable[..., Coroutine[Any, Any, None]]
Choices = list[app_commands.Choice[str]]
Complete = Callable[[discord.Interaction[Any], str], Coroutine[Any, Any, Choices]]


def with_options(
    callback: Callback,
    desk: Desk,
    options: Iterable[Option] = OPTIONS,
    before: Sequence[Parameter] = (),
) -> Callback:
    """Return a callback that takes the options as keyword arguments, as discord.py reads them."""

    async def command(interaction: discord.Interaction[Any], **typed: Any) -> None:
        given = {names.get(name, name): value for name, value in typed.items() if value is not None}
        await callback(interaction, **given)

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
            _identifier(option.name): _completion(option, desk)
            for option in options
            if _completes(option)
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


def _completes(option: Option) -> bool:
    return option.name in ("model", "size")


def _completion(option: Option, desk: Desk) -> Complete:
    if option.name == "model":
        return _models(desk)
    return _sizes(desk)


def _models(desk: Desk) -> Complete:
    async def complete(
        interaction: discord.Interaction[Any], text: str
    ) -> list[app_commands.Choice[str]]:
        names = [name for name in desk.studio.models() if text.lower() in name.lower()]
        return [app_commands.Choice(name=each[:100], value=each) for each in names[:CHOICES]]

    return complete


def _sizes(desk: Desk) -> Complete:
    """Offer aspects, in the size that the model draws well."""

    async def complete(
        interaction: discord.Interaction[Any], text: str
    ) -> list[app_commands.Choice[str]]:
        try:
            model = desk.studio.model(getattr(interaction.namespace, "model", None) or STARTER)
        except UserError:  # a name that is still being typed
            return []
        area, found = model.defaults.width * model.defaults.height, []
        for aspect in ASPECTS:
            width, height = of_aspect(aspect, area)
            label = f"{aspect[0]}:{aspect[1]} ({width}×{height})"
            if text.lower() in f"{label} {width}x{height}":
                found.append(app_commands.Choice(name=label, value=f"{width}x{height}"))
        return found

    return complete


def of_aspect(aspect: tuple[int, int], area: int) -> tuple[int, int]:
    """Return a width and height of an aspect and about an area, in steps that a model takes."""
    scale = (area / (aspect[0] * aspect[1])) ** 0.5
    width, height = (max(GRAIN, round(side * scale / GRAIN) * GRAIN) for side in aspect)
    return width, height
