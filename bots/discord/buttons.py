"""Buttons and menus. All they need stands in their ids, so that they outlive restarts.

marble:ID:JOB          marble:dice:12
marble:ID:JOB.PICTURE  marble:upscale:12.3
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self

import discord
from discord import ButtonStyle, ui

from bots.presentation.lines import name_of
from bots.texts import Words
from storage import Job, Picture

PANS: Final = {"left": "⬅️", "right": "➡️", "up": "⬆️", "down": "⬇️"}
# Action of `bots.discord.actions` → its word in ids, where the two differ. Messages sent long ago
# carry these words, so they never change. Two are swapped: the id "pick" is the action show, which
# posts a picture with its buttons, and the id "show" is the action pick, which opens one of a page.
IDS: Final[Mapping[str, str]] = {
    "rerun": "again",
    "reroll": "dice",
    "vary_subtle": "subtle",
    "vary_strong": "strong",
    **{f"pan_{direction}": direction for direction in PANS},
    "show": "pick",
    "pick": "show",
    "original": "mail",
    "favourite": "star",
    "unfavourite": "unstar",
    "delete": "drop",
}
TEMPLATE: Final = r"marble:(?P<id>[a-z_]+):(?P<name>[\w.]+)"
MENU_TEMPLATE: Final = r"marble-menu:(?P<id>[a-z_]+)(?::(?P<name>[\w.]*))?"
KEYCAPS: Final = tuple(f"{n}\N{COMBINING ENCLOSING KEYCAP}" for n in range(1, 10))
IN_A_ROW: Final = 4  # pictures of a grid that get a button each; more get menus


def id_of(action: str) -> str:
    """Return what stands in ids for an action."""
    return IDS.get(action, action)


class ActionButton(ui.DynamicItem[ui.Button[Any]], template=TEMPLATE):
    """A button for an action on a job or on one of its pictures."""

    def __init__(self, id: str, name: str, item: ui.Button[Any]) -> None:
        self.action_id, self.name = id, name
        item.custom_id = f"marble:{id}:{name}"
        super().__init__(item)

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Make the button that somebody pressed, from its id alone."""
        assert isinstance(item, ui.Button)
        return cls(match["id"], match["name"], item)

    async def callback(self, interaction: discord.Interaction[Any]) -> Any:
        """Pass the press on to the client."""
        await interaction.client.press(interaction, self.action_id, self.name)


class ActionMenu(ui.DynamicItem[ui.Select[Any]], template=MENU_TEMPLATE):
    """A menu for an action on one of several pictures."""

    def __init__(self, id: str, name: str, item: ui.Select[Any]) -> None:
        self.action_id = id
        item.custom_id = f"marble-menu:{id}:{name}"
        super().__init__(item)

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Make the menu that somebody used, from its id alone."""
        assert isinstance(item, ui.Select)
        return cls(match["id"], match["name"] or "", item)

    async def callback(self, interaction: discord.Interaction[Any]) -> Any:
        """Pass the choice on to the client."""
        await interaction.client.press(interaction, self.action_id, self.item.values[0])


def button(
    action: str,
    name: str,
    label: str | None = None,
    emoji: str | None = None,
    style: ButtonStyle = ButtonStyle.secondary,
    row: int | None = None,
) -> ActionButton:
    """Return a button for an action."""
    item = ui.Button[Any](label=label, emoji=emoji, style=style, row=row)
    return ActionButton(id_of(action), name, item)


def menu(
    action: str,
    name: str,
    placeholder: str,
    options: Sequence[tuple[str, str]],
    row: int | None = None,
) -> ActionMenu:
    """Return a menu of (label, value) for an action; `name` only keeps menus apart."""
    items = [discord.SelectOption(label=label, value=value) for label, value in options]
    item = ui.Select[Any](placeholder=placeholder, options=items, row=row)
    return ActionMenu(id_of(action), name, item)


def view_of(*items: ui.Item[Any]) -> ui.View:
    """Return a view without a timeout."""
    view = ui.View(timeout=None)
    for item in items:
        view.add_item(item)
    return view


def cancel_view(job: Job, words: Words) -> ui.View:
    """Return the button of an unfinished job: cancel."""
    return view_of(button("delete", name_of(job), words.cancel, "❌"))


def failure_view(job: Job, words: Words) -> ui.View:
    """Return the button of a failed job: rerun."""
    return view_of(button("rerun", name_of(job), words.rerun, "🔁"))


def result_view(job: Job, pictures: Sequence[Picture], words: Words) -> ui.View:
    """Return the buttons below one picture, or below a grid of several."""
    alone = len(pictures) == 1
    return view_of(*(_single(job, pictures[0], words) if alone else _grid(job, pictures, words)))


def _single(job: Job, picture: Picture, words: Words) -> Iterator[ui.Item[Any]]:
    name = name_of(job, picture.index if job.recipe.count > 1 else None)
    yield button("rerun", name, words.same_seed, "🌱", row=0)
    yield button("reroll", name, words.new_seed, "🎲", row=0)
    yield button("edit", name, words.edit, "✏️", row=0)
    yield button("vary_subtle", name, words.vary_subtle, row=0)
    yield button("vary_strong", name, words.vary_strong, row=0)
    yield button("upscale", name, words.upscale, "🔍", row=1)
    yield button("zoom", name, words.zoom_out, "🔭", row=1)
    for direction, emoji in PANS.items():
        yield button(f"pan_{direction}", name, emoji=emoji, row=2)
    yield from _ends(name, words, row=3)


def _grid(job: Job, pictures: Sequence[Picture], words: Words) -> Iterator[ui.Item[Any]]:
    name = name_of(job)
    numbers = [(picture.index + 1, name_of(job, picture.index)) for picture in pictures]
    if len(pictures) <= IN_A_ROW:
        for number, each in numbers:
            yield button("upscale", each, f"U{number}", row=0)
            yield button("vary_subtle", each, f"V{number}", row=1)
            yield button("show", each, emoji=KEYCAPS[number - 1], row=2)
    else:
        choices = [(str(number), each) for number, each in numbers]
        yield menu("upscale", name, words.upscale, choices, row=0)
        yield menu("vary_subtle", name, words.vary_subtle, choices, row=1)
        yield menu("show", name, words.pick, choices, row=2)
    yield button("rerun", name, words.same_seed, "🌱", row=3)
    yield button("reroll", name, words.new_seed, "🔁", row=3)
    yield button("edit", name, words.edit, "✏️", row=3)
    yield from _ends(name, words, row=4)


def _ends(name: str, words: Words, row: int) -> Iterator[ui.Item[Any]]:
    yield button("recipe", name, words.recipe, "📜", row=row)
    yield button("original", name, emoji="✉️", row=row)
    yield button("favourite", name, words.favourite, "⭐", row=row)
    yield button("delete", name, words.delete, "❌", row=row)
