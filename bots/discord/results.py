"""The choice among the results of a ComfyUI graph in a file that somebody posted.

The file is not Marble's and nothing of it is stored, so that what was read is kept in memory, for
the latest choices; after a restart the menu says so.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

import discord
from discord import ui

from bots.presentation.text import cut
from bots.texts import Words
from engine.formats.metadata import read_results
from engine.formats.reading import Reading

MOST: Final = 25  # that a menu of Discord's has
LONGEST: Final = 100  # characters of a choice
KEPT: Final = 500  # choices

Readings = Mapping[str, Reading]  # by results


class ResultMenu(ui.DynamicItem[ui.Select[Any]], template=r"marble-result:(?P<key>\d+)"):
    """A menu of results."""

    def __init__(self, key: str, item: ui.Select[Any]) -> None:
        self.key = key
        item.custom_id = f"marble-result:{key}"
        super().__init__(item)

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """Make what somebody used, from its id alone."""
        assert isinstance(item, ui.Select)
        return cls(match["key"], item)

    async def callback(self, interaction: discord.Interaction[Any]) -> Any:
        """Pass the choice on to the client."""
        await interaction.client.choose_result(interaction, self.key, self.item.values[0])


class Results:
    """What was read of files with several results, by the interactions that showed them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Readings] = OrderedDict()

    def offer(
        self, event: str, readings: Readings, titles: Iterable[tuple[str, str]], words: Words
    ) -> ResultMenu:
        """Keep readings and return a menu of them; event: the interaction's."""
        key = event.rpartition(":")[2]
        self._kept[key] = readings
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        options = [
            discord.SelectOption(label=cut(title, LONGEST), value=name)
            for name, title in titles
            if name in readings
        ]
        return ResultMenu(key, ui.Select[Any](placeholder=words.choose_result, options=options))

    def find(self, key: str, result: str) -> Reading | None:
        """Return what was read of a result, None where it is not known any more."""
        return self._kept.get(key, {}).get(result)


def readings_of(data: bytes, reading: Reading) -> Readings:
    """Read each of a file's results that a menu can show; blocks."""
    names = [name for name, _ in reading.results if 0 < len(name) <= LONGEST]
    return read_results(data, names, MOST)
