"""Who may see which picture."""

import ast
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bots.admission.gate import Gate
from bots.admission.roles import Roles
from bots.admission.rulebook import Safety
from bots.admission.visibility import SOME, UNCHECKED, UNSAFE, View, Withheld
from engine.events import Verdict
from storage import Picture, Storage
from storage.jobs.picture_files import Pictures
from tests.conftest import ROOT

SAFE, BAD, UNKNOWN = Verdict
TABLE = [
    # the rule, the verdict: is it shown, is it behind a spoiler
    (Safety.OFF, SAFE, True, False),
    (Safety.OFF, BAD, True, False),
    (Safety.OFF, UNKNOWN, True, False),
    (Safety.SPOILER, SAFE, True, False),
    (Safety.SPOILER, BAD, True, True),
    (Safety.SPOILER, UNKNOWN, True, True),
    (Safety.REFUSE, SAFE, True, False),
    (Safety.REFUSE, BAD, False, False),
    (Safety.REFUSE, UNKNOWN, False, False),
]


def stored(files: Pictures, *verdicts: Verdict) -> list[Picture]:
    return [
        Picture(
            job=1,
            index=index,
            seed=7,
            width=8,
            height=8,
            size=5,
            sha256=files.add(b"png %d" % index),
            verdict=verdict,
        )
        for index, verdict in enumerate(verdicts)
    ]


@pytest.mark.parametrize(("rule", "verdict", "shown", "veiled"), TABLE)
def test_what_a_rule_makes_of_a_verdict(
    tmp_path: Path, rule: Safety, verdict: Verdict, shown: bool, veiled: bool
) -> None:
    files = Pictures(tmp_path)
    [picture] = stored(files, verdict)
    seen = View(files, rule)
    assert (seen.shows(picture), seen.needs_spoiler([picture])) == (shown, veiled)
    assert seen.previews is (rule is Safety.OFF)
    if shown:
        assert seen.read(picture) == b"png 0"
    else:
        with pytest.raises(Withheld) as caught:
            seen.read(picture)
        assert caught.value.said == (UNSAFE if verdict is BAD else UNCHECKED)
    if shown and not veiled:
        assert seen.read_openly(picture) == b"png 0"
    else:
        with pytest.raises(Withheld):
            seen.read_openly(picture)


def test_of_several_those_that_may_not_be_seen_are_blank_and_the_rest_keep_their_places(
    tmp_path: Path,
) -> None:
    files = Pictures(tmp_path)
    pictures = stored(files, SAFE, BAD, UNKNOWN, SAFE)
    strict = View(files, Safety.REFUSE)
    first, second, third, fourth = strict.read_all(pictures)
    assert (first, fourth) == (b"png 0", b"png 3")
    assert second == third
    assert second.startswith(b"\x89PNG")
    assert (strict.note(pictures), strict.note(pictures[:1])) == (SOME, "")
    with pytest.raises(Withheld):
        strict.read_all(pictures[1:3])
    veiled = View(files, Safety.SPOILER)
    assert veiled.read_all(pictures) == [b"png 0", b"png 1", b"png 2", b"png 3"]
    assert (veiled.needs_spoiler(pictures), veiled.needs_spoiler(pictures[:1])) == (True, False)


@pytest.mark.parametrize(
    ("places", "place", "adult", "rule"),
    [
        ({}, "x:1", False, Safety.SPOILER),
        ({}, "x:1", True, Safety.OFF),
        ({"x:1": "refuse"}, "x:1", True, Safety.REFUSE),
        ({"x:0": "refuse"}, "x:1", False, Safety.REFUSE),
        ({"x:0": "refuse"}, "x:1", True, Safety.REFUSE),
        ({"*": "refuse"}, "x:1", True, Safety.OFF),
        ({"*": "off"}, "x:1", False, Safety.OFF),
        ({"x:1": "off"}, "x:2", False, Safety.SPOILER),
    ],
)
async def test_the_nearest_rule_holds_and_adults_see_all_that_their_place_does_not_forbid(
    tmp_path: Path, places: dict[str, str], place: str, adult: bool, rule: Safety
) -> None:
    async with Storage.open(tmp_path) as storage:
        await storage.people.add_place("x:1", "x:0")
        for each, text in places.items():
            await storage.people.change_place_settings(each, {"rules.safety": text})
        gate = Gate(storage, Roles(), {"safety": "spoiler"})
        assert (await gate.view(place, lambda each: adult and each == place)).rule is rule
        assert (await gate.view(place, lambda each: adult and each == "x:0")).rule is (
            rule if place == "x:1" else Safety.SPOILER
        )


def attributes(path: Path) -> Sequence[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]


@pytest.mark.parametrize("chat", ["discord", "telegram"])
def test_no_chat_reads_pictures_but_through_a_view(chat: str) -> None:
    """So that whatever way is added next, the verdict holds on it."""
    for path in sorted((ROOT / "bots" / chat).rglob("*.py")):
        for used in attributes(path):
            assert "storage.jobs.picture_files" not in used, f"{path.name}: {used}"
        assert "storage.jobs.picture_files" not in path.read_text(encoding="utf-8"), path.name


def test_a_rule_says_nothing_of_a_picture_by_its_number(tmp_path: Path) -> None:
    """A copy of a picture (a rerun, an enlargement) has a verdict of its own."""
    files = Pictures(tmp_path)
    [picture] = stored(files, SAFE)
    copy = replace(picture, job=2, verdict=BAD)
    seen = View(files, Safety.REFUSE)
    assert [seen.shows(each) for each in (picture, copy)] == [True, False]
