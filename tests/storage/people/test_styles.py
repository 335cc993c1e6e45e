"""Styles: words that places keep by a name."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from storage import Storage
from storage.errors import TooManyStyles
from storage.people.styles import MOST
from tests.storage.conftest import a_job


async def test_a_place_knows_its_own_styles_and_those_of_what_it_lies_in(storage: Storage) -> None:
    styles = storage.styles
    await storage.people.add_place("x:1/2", "x:1")
    await styles.add("*", "noir", "for all", "", by="x:own")
    await styles.add("x:1", "noir", "for the server", "colour", by="x:mod")
    await styles.add("x:1", "gold", "gilded", "", by="x:mod")
    known = await styles.list("x:1/2")
    assert [(style.name, style.prompt) for style in known] == [
        ("gold", "gilded"),
        ("noir", "for the server"),
    ]
    assert [style.prompt for style in await styles.list("x:9")] == ["for all"]
    assert not await styles.remove("x:1/2", "noir", by="x:mod")
    assert await styles.remove("x:1", "noir", by="x:mod")
    assert [style.prompt for style in await styles.list("x:1/2")] == ["gilded", "for all"]


async def test_a_style_is_replaced_by_one_of_its_name_and_they_are_counted(
    storage: Storage,
) -> None:
    for number in range(MOST):
        await storage.styles.add("x:1", f"style-{number}", "words", "", by="x:mod")
    with pytest.raises(TooManyStyles, match="remove one"):
        await storage.styles.add("x:1", "one-more", "words", "", by="x:mod")
    await storage.styles.add("x:1", "style-0", "other words", "", by="x:mod")
    known = {style.name: style for style in await storage.styles.list("x:1")}
    assert len(known) == MOST
    assert known["style-0"].prompt == "other words"


async def test_who_made_a_style_gets_it_exported_and_is_forgotten_the_style_is_not(
    storage: Storage, tmp_path: Path
) -> None:
    await storage.styles.add("x:1", "noir", "hard shadows", "", by="x:mod")
    await storage.jobs.add(a_job(person="x:mod", style="noir"))
    await storage.exports.to_file("x:mod", tmp_path / "mod.zip")
    about = json.loads(zipfile.ZipFile(tmp_path / "mod.zip").read("person.json"))
    assert [style["name"] for style in about["styles"]] == ["noir"]
    assert about["jobs"][0]["style"] == "noir"
    await storage.privacy.forget("x:mod")
    [style] = await storage.styles.list("x:1")
    assert (style.prompt, style.made_by) == ("hard shadows", "forgotten")
