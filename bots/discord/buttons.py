"""Buttons and menus. All they need stands in their ids, so that they outlive restarts.

marble:ID:JOB          marble:dice:12
marble:ID:JOB.PICTURE  marble:upscale:12.3
marble-menu:ID:NAME    marble-menu:upscale:12, where what is chosen names the picture
"""

import re
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, Self

import discord
from discord import ButtonStyle, ui

from bots.chat.actions import ACTIONS, FEW, FOR_ALL, FOR_EACH, KEYCAPS, below_picture
from bots.presentation.lines import name_of
from bots.texts import Words
from storage import Job, Picture

TEMPLATE: Final = r"marble(?:-menu)?:(?P<id>[a-z_]+)(?::(?P<name>[\w.]*))?"


def id_of(action: str) -> str:
    """Return what stands in ids for an action, or for a page, which goes by its own name."""
    return ACTIONS[action].discord if action in ACTIONS else action


class ActionItem(ui.DynamicItem[ui.Button[Any] | ui.Select[Any]], template=TEMPLATE):
    """A button or a menu for an action on a job or on one of its pictures."""

    def __init__(self, id: str, name: str, item: ui.Button[Any] | ui.Select[Any]) -> None:
        self.action_id, self.name = id, name
        kind = "marble-menu" if isinstance(item, ui.Select) else "marble"
        item.custom_id = f"{kind}:{id}:{name}"
        super().__init__(item)

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Make what somebody pressed or used, from its id alone."""
        assert isinstance(item, (ui.Button, ui.Select))
        return cls(match["id"], match["name"] or "", item)

    async def callback(self, interaction: discord.Interaction[Any]) -> Any:
        """Pass the press or the choice on to the client."""
        name = self.item.values[0] if isinstance(self.item, ui.Select) else self.name
        await interaction.client.press(interaction, self.action_id, name)


def button(
    action: str,
    name: str,
    label: str | None = None,
    emoji: str | None = None,
    style: ButtonStyle = ButtonStyle.secondary,
    row: int | None = None,
) -> ActionItem:
    """Return a button for an action."""
    item = ui.Button[Any](label=label, emoji=emoji, style=style, row=row)
    return ActionItem(id_of(action), name, item)


def menu(
    action: str,
    name: str,
    placeholder: str,
    options: Sequence[tuple[str, str]],
    row: int | None = None,
) -> ActionItem:
    """Return a menu of (label, value) for an action; `name` only keeps menus apart."""
    items = [discord.SelectOption(label=label, value=value) for label, value in options]
    item = ui.Select[Any](placeholder=placeholder, options=items, row=row)
    return ActionItem(id_of(action), name, item)


def action_button(
    action: str, name: str, words: Words, row: int | None = None, *, label: str | None = None
) -> ActionItem:
    """Return a button for an action of `bots.chat.actions`; label: another than its own."""
    found = ACTIONS[action]
    return button(action, name, label or found.label_in(words), found.emoji or None, row=row)


def result_buttons(
    job: Job, pictures: Sequence[Picture], words: Words, *, page: bool = False
) -> list[ActionItem]:
    """Return the buttons below one picture, or below a grid of several.

    page: whether there is a web page, on which some are done.
    """
    if len(pictures) == 1:
        name = name_of(job, pictures[0].index if job.recipe.count > 1 else None)
        return [*_rows(below_picture(page=page), name, words)]
    each = _buttons_for_each if len(pictures) <= FEW else _menus_for_each
    numbered = sorted(pictures, key=attrgetter("index"))
    return [*each(job, numbered, words), *_rows(FOR_ALL, name_of(job), words, len(FOR_EACH))]


def _rows(
    rows: Sequence[Sequence[str]], name: str, words: Words, first: int = 0
) -> Iterator[ActionItem]:
    for row, actions in enumerate(rows, first):
        yield from (action_button(action, name, words, row) for action in actions)


def _buttons_for_each(job: Job, pictures: Sequence[Picture], words: Words) -> Iterator[ActionItem]:
    for row, action in enumerate(FOR_EACH):
        for picture in pictures:
            number, before = picture.index + 1, ACTIONS[action].number
            label, emoji = (f"{before}{number}", None) if before else (None, KEYCAPS[number - 1])
            yield button(action, name_of(job, picture.index), label, emoji, row=row)


def _menus_for_each(job: Job, pictures: Sequence[Picture], words: Words) -> Iterator[ActionItem]:
    choices = [(str(each.index + 1), name_of(job, each.index)) for each in pictures]
    for row, action in enumerate(FOR_EACH):
        label = ACTIONS[action].label_in(words) or ""
        yield menu(action, name_of(job), label, choices, row)
