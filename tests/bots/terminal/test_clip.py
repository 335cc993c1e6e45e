"""`marble clip index` and `marble history --like`: pictures found by what they show."""

import re
from pathlib import Path

import pytest

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
    assert found_in(marble("history", "--like", "1.1").out) == ["2.1"]
    assert len(found_in(marble("history", "--like", "x", "--limit", "1").out)) == 1
    assert re.search(r"match +-?0\.\d{3}", marble("show", "1").out)
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
