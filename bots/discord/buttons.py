"""Buttons and menus. All they need stands in their id, so that they outlive restarts and years.

marble:ACT:JOB          marble:dice:12
marble:ACT:JOB.PICTURE  marble:upscale:12.3
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Self

import discord
from discord import ButtonStyle, ui

from bots.presentation.lines import name_of
from bots.texts import Words
from storage import Job, Picture

TEMPLATE: Final = r"marble:(?P<act>[a-z_]+):(?P<name>[\w.]+)"
MENU_TEMPLATE: Final = r"marble-menu:(?P<act>[a-z_]+)(?::(?P<name>[\w.]*))?"
KEYCAPS: Final = tuple(f"{n}\N{COMBINING ENCLOSING KEYCAP}" for n in range(1, 10))
PANS: Final = {"left": "⬅️", "right": "➡️", "up": "⬆️", "down": "⬇️"}
IN_A_ROW: Final = 4  # pictures of a grid that get a button each; more get menus

Label = Callable[[Words], str]


class ActButton(ui.DynamicItem[ui.Button[Any]], template=TEMPLATE):
    """Do an act of the table on a job or on one of its pictures."""

    def __init__(self, act: str, name: str, item: ui.Button[Any] | None = None) -> None:
        self.act, self.name = act, name
        item = item or ui.Button()
        item.custom_id = f"marble:{act}:{name}"
        super().__init__(item)

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Make the button that somebody pressed, from its id alone."""
        assert isinstance(item, ui.Button)
        return cls(match["act"], match["name"], item)

    async def callback(self, interaction: discord.Interaction[Any]) -> Any:
        """Do it."""
        await interaction.client.desk.press(interaction, self.act, self.name)


class ActMenu(ui.DynamicItem[ui.Select[Any]], template=MENU_TEMPLATE):
    """Do an act on what somebody chooses among several."""

    def __init__(self, act: str, name: str, item: ui.Select[Any] | None = None) -> None:
        self.act = act
        item = item or ui.Select()
        item.custom_id = f"marble-menu:{act}:{name}"
        super().__init__(item)

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Make the menu that somebody used, from its id alone."""
        assert isinstance(item, ui.Select)
        return cls(match["act"], match["name"] or "", item)

    async def callback(self, interaction: discord.Interaction[Any]) -> Any:
        """Do it to what was chosen."""
        await interaction.client.desk.press(interaction, self.act, self.item.values[0])


def button(
    act: str,
    name: str,
    label: str | None = None,
    emoji: str | None = None,
    style: ButtonStyle = ButtonStyle.secondary,
    row: int | None = None,
) -> ActButton:
    """Return a button for an act."""
    return ActButton(act, name, ui.Button(label=label, emoji=emoji, style=style, row=row))


def menu(
    act: str,
    name: str,
    placeholder: str,
    options: Sequence[tuple[str, str]],
    row: int | None = None,
) -> ActMenu:
    """Return a menu of (label, value) for an act; `name` only keeps menus apart."""
    items = [discord.SelectOption(label=label, value=value) for label, value in options]
    return ActMenu(act, name, ui.Select(placeholder=placeholder, options=items, row=row))


def view_of(*items: ui.Item[Any]) -> ui.View:
    """Return a view that nothing ends."""
    view = ui.View(timeout=None)
    for item in items:
        view.add_item(item)
    return view


def cancel_view(job: Job, words: Words) -> ui.View:
    """Return what a job on its way has: a button that cancels it."""
    return view_of(button("drop", name_of(job), words.cancel, "❌"))


def failure_view(job: Job, words: Words) -> ui.View:
    """Return what a job has of which nothing came: a button that tries it again."""
    return view_of(button("again", name_of(job), words.rerun, "🔁"))


def result_view(job: Job, pictures: Sequence[Picture], words: Words) -> ui.View:
    """Return the buttons below one picture, or below a grid of several."""
    alone = len(pictures) == 1
    return view_of(*(_single(job, pictures[0], words) if alone else _grid(job, pictures, words)))


def _single(job: Job, picture: Picture, words: Words) -> Iterator[ui.Item[Any]]:
    name = name_of(job, picture.index if job.recipe.count > 1 else None)
    yield button("again", name, words.same_seed, "🌱", row=0)
    yield button("dice", name, words.new_seed, "🎲", row=0)
    yield button("edit", name, words.edit, "✏️", row=0)
    yield button("subtle", name, words.vary_subtle, row=0)
    yield button("strong", name, words.vary_strong, row=0)
    yield button("upscale", name, words.upscale, "🔍", row=1)
    yield button("zoom", name, words.zoom_out, "🔭", row=1)
    for direction, emoji in PANS.items():
        yield button(direction, name, emoji=emoji, row=2)
    yield from _ends(name, words, row=3)


def _grid(job: Job, pictures: Sequence[Picture], words: Words) -> Iterator[ui.Item[Any]]:
    name = name_of(job)
    numbers = [(picture.index + 1, name_of(job, picture.index)) for picture in pictures]
    if len(pictures) <= IN_A_ROW:
        for number, each in numbers:
            yield button("upscale", each, f"U{number}", row=0)
            yield button("subtle", each, f"V{number}", row=1)
            yield button("pick", each, emoji=KEYCAPS[number - 1], row=2)
    else:
        choices = [(str(number), each) for number, each in numbers]
        yield menu("upscale", name, words.upscale, choices, row=0)
        yield menu("subtle", name, words.vary_subtle, choices, row=1)
        yield menu("pick", name, words.pick, choices, row=2)
    yield button("again", name, words.same_seed, "🌱", row=3)
    yield button("dice", name, words.new_seed, "🔁", row=3)
    yield button("edit", name, words.edit, "✏️", row=3)
    yield from _ends(name, words, row=4)


def _ends(name: str, words: Words, row: int) -> Iterator[ui.Item[Any]]:
    yield button("recipe", name, words.recipe, "📜", row=row)
    yield button("mail", name, emoji="✉️", row=row)
    yield button("star", name, words.favourite, "⭐", row=row)
    yield button("drop", name, words.delete, "❌", row=row)
