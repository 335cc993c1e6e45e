"""`marble clip index` and `marble history --like`: pictures found by what they show."""

import re
from pathlib import Path

import pytest
from PIL import Image

from engine.finish.towers import load_towers
from tests.bots.terminal.conftest import Marble
from tests.bots.terminal.test_commands import TINY, path_of
from tests.towers import make_towers


@pytest.fixture
def towers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_towers(tmp_path / "towers")
    monkeypatch.setenv("MARBLE_CLIP_MODEL", str(folder))
    return folder


def found_in(out: str) -> list[str]:
    return re.findall(r"^(\d+\.\d+)  +-?[01]\.\d{3}  ", out, re.M)


def test_older_pictures_are_indexed_and_found(marble: Marble, towers: Path) -> None:
    first = marble("imagine", "a lion", "--seed", "7", "--count", "2", *TINY)
    marble("imagine", "a bear", "--seed", "8", *TINY)
    path_of(first.out, "1.2").unlink()
    answer = marble("clip", "index")
    assert answer.code == 0
    assert re.search(r"^1\.2 is left out: its file is missing$", answer.out, re.M)
    assert re.search(r"^2 pictures have vectors by towers@[0-9a-f]{8}\.$", answer.out, re.M)
    again = marble("clip", "index")
    assert "2 pictures have vectors" in again.out
    assert sorted(found_in(marble("history", "--like", "a lion").out)) == ["1.1", "2.1"]
    for name in ("1.1", " #1.1 "):
        assert found_in(marble("history", "--like", name).out) == ["2.1"]
    refused = marble("history", "--like", " ")
    assert (refused.code, refused.err) == (
        2,
        "marble: like must be a description of the picture, not ' '.\n",
    )
    assert len(found_in(marble("history", "--like", "x", "--limit", "1").out)) == 1
    assert re.search(r"^match +1\.1 \(-?0\.\d{3}\)$", marble("show", "1").out, re.M)
    assert re.search(r"^match +-?0\.\d{3}$", marble("show", "1.1").out, re.M)
    assert "match" not in marble("show", "1.2").out


def test_where_nothing_compares_pictures_one_sentence_says_so(
    marble: Marble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARBLE_CLIP_MODEL", "off")
    for words in (("history", "--like", "a lion"), ("clip", "index")):
        answer = marble(*words)
        assert answer.code == 2
        assert answer.err.count("\n") == 1
        assert "MARBLE_CLIP_MODEL" in answer.err


def test_another_models_index_is_not_used(
    marble: Marble, towers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marble("imagine", "a lion", *TINY)
    marble("clip", "index")
    monkeypatch.setenv("MARBLE_CLIP_MODEL", str(make_towers(tmp_path / "others", seed=1)))
    answer = marble("history", "--like", "a lion")
    assert answer.code == 2
    assert "`marble clip index`" in answer.err
    assert "1 picture has a vector by others@" in marble("clip", "index").out
    assert found_in(marble("history", "--like", "a lion").out) == ["1.1"]


def shown_in(out: str) -> list[str]:
    return re.findall(r"^  (\d+\.\d+)  \S+$", out, re.M)


def test_of_several_pictures_the_best_is_shown_first_also_later_and_drawn_again(
    marble: Marble, towers: Path
) -> None:
    answer = marble("imagine", "--best", "a", "lion", "--seed", "7", "--count", "4", *TINY)
    names = [f"1.{number}" for number in range(1, 5)]
    loaded = load_towers(str(towers))
    images = [Image.open(path_of(answer.out, name)).convert("RGB") for name in names]
    cosines = loaded.pictures(images) @ loaded.texts(["a lion"])[0]
    matches = dict(zip(names, cosines, strict=True))
    ordered = sorted(names, key=lambda name: -matches[name])
    assert ordered != names
    assert shown_in(answer.out) == ordered
    told = ", ".join(f"{name} ({matches[name]:.3f})" for name in ordered)
    assert f"Best match first: {told}." in answer.out
    shown = marble("show", "1")
    assert shown_in(shown.out) == ordered
    assert told in shown.out
    again = marble("rerun", "1")
    assert shown_in(again.out) == [name.replace("1.", "2.", 1) for name in ordered]
    usual = marble("rerun", "1", "--best", "off")
    assert shown_in(usual.out) == ["3.1", "3.2", "3.3", "3.4"]
    assert "Best match" not in usual.out


def test_where_nothing_compares_pictures_they_come_as_drawn_with_a_sentence(
    marble: Marble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARBLE_CLIP_MODEL", "off")
    answer = marble("imagine", "a lion --best --n 2", *TINY)
    assert shown_in(answer.out) == ["1.1", "1.2"]
    assert "Nothing could compare the pictures with the prompt" in answer.out
