"""A posted file whose graph has several results: a menu chooses which is drawn."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bots.discord.results import KEPT, MOST, Results, readings_of
from bots.texts import EN
from engine.formats import metadata
from engine.formats.graphs.graph import Graph
from engine.formats.graphs.recipe import parse
from engine.formats.metadata import read_recipe
from tests.bots.discord.conftest import Marble
from tests.bots.workflow_graphs import marked, two_results
from tests.engine.formats import others
from tests.fakes.discord import FakeDiscord, Person

NOTE = "The graph has several results: Small (SaveImage, node 9) is taken, not Other seed (SaveImag"


def in_png(graph: object) -> bytes:
    return others.png({"prompt": json.dumps(graph)})


async def test_one_of_several_results_is_chosen_in_a_menu(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    found = bob.posts("two.png", in_png(two_results()))
    told = await ann.chooses("Recipe", found)
    assert NOTE in await told.said("several results")
    menu = told.message.buttons()["Draw another result"]
    assert [(each["label"], each["value"]) for each in menu["options"]] == [
        ("Small (SaveImage, node 9)", "9"),
        ("Other seed (SaveImage, node 61)", "61"),
    ]
    drawn = await ann.clicks("Draw another result", told, value="61")
    recipe = read_recipe(await drawn.picture()).recipe
    assert (recipe.seed, recipe.steps) == (7, 2)
    first = await ann.clicks("Draw another result", told, value="9")
    assert read_recipe(await first.picture()).recipe.steps == 4
    alone = await ann.chooses("Recipe", bob.posts("one.png", in_png(marked())))
    await alone.said("one.png")
    assert not alone.message.buttons()


async def test_a_choice_from_before_a_restart_is_answered_with_what_to_do(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    told = await ann.chooses("Recipe", bob.posts("two.png", in_png(two_results())))
    await told.said("several results")
    await marble.stop()
    await marble.start()
    gone = await ann.clicks("Draw another result", told, value="61")
    await gone.said("no longer known; use the menu")


def test_menus_hold_what_discord_takes_and_the_latest_choices_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = two_results()
    for number in range(100, 130):
        graph[str(number)] = {**graph["61"], "_meta": {"title": "x" * 200}}
        graph[str(number)]["inputs"] = {"images": [str(number + 100), 0], "filename_prefix": "x"}
        graph[str(number + 100)] = graph["62"]
    data = in_png(graph)
    reading = read_recipe(data)
    parsed: list[Any] = []

    def parsing(content: object) -> Graph:
        parsed.append(content)
        return parse(content)

    monkeypatch.setattr(metadata, "parse", parsing)
    found = readings_of(data, reading)
    assert (len(reading.results), len(found)) == (32, MOST)
    results = Results()
    for number in range(KEPT + 1):
        menu = results.offer(f"discord:{number}", found, reading.results, EN)
    assert all(len(option.label) <= 100 for option in menu.item.options)
    assert results.find("0", "9") is None
    assert results.find("1", "9") == found["9"]
    assert results.find("1", "gone") is None
    assert [*map(len, parsed)] == [len(graph)]  # once, not for each result
    assert readings_of(in_png(marked()), read_recipe(in_png(marked()))) == {}
