"""`marble making-of`: a page, an animation and a strip of a picture, or one sentence why not."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from bots.texts import MAKING_OF
from engine.making_of.record import put_into, read_from
from tests.bots.terminal.conftest import Marble
from tests.bots.terminal.test_commands import TINY, path_of

SAME, OTHER = MAKING_OF["en"].same, MAKING_OF["en"].other


@pytest.fixture
def drawn(marble: Marble) -> Path:
    """Return the file of picture 1.1."""
    return path_of(marble("imagine", "a cat", "--seed", "7", *TINY).out, "1.1")


def test_a_picture_is_drawn_again_and_its_page_written(
    marble: Marble, drawn: Path, tmp_path: Path
) -> None:
    answer = marble("making-of", "1")
    assert (answer.code, answer.err) == (0, "")
    again = path_of(answer.out, "2.1").read_bytes()
    assert again == put_into(drawn.read_bytes(), read_from(again))
    for suffix in ("html", "webp", "png"):
        assert f"  making-of-1.1.{suffix}\n" in answer.out
    page = (tmp_path / "making-of-1.1.html").read_text()
    assert "How 1.1 was made" in page
    assert SAME in page
    for name, kind in (("making-of-1.1.webp", "WEBP"), ("making-of-1.1.png", "PNG")):
        with Image.open(tmp_path / name) as image:
            assert image.format == kind
    assert "made from" in marble("show", "2").out


def test_the_page_goes_where_it_is_wanted_and_the_animation_may_be_a_gif(
    marble: Marble, drawn: Path, tmp_path: Path
) -> None:
    (tmp_path / "pages").mkdir()
    answer = marble("making-of", "--output", "pages/cat.html", "--gif")
    assert (answer.code, answer.err) == (0, "")
    found = sorted(path.name for path in (tmp_path / "pages").iterdir())
    assert found == ["cat.gif", "cat.html", "cat.png"]


def test_one_of_several_pictures_is_the_same_and_so_is_a_making_ofs_own(
    marble: Marble, tmp_path: Path
) -> None:
    marble("imagine", "a cat", "--seed", "7", "--count", "3", *TINY)
    refused = marble("making-of", "1")
    assert refused.code == 2
    assert "Job 1 has 3 pictures; choose one" in refused.err
    assert marble("making-of", "1.3").code == 0
    assert marble("making-of", "2").code == 0
    for name in ("1.3", "2.3"):
        assert SAME in (tmp_path / f"making-of-{name}.html").read_text()


def test_a_picture_that_differs_now_is_said_to(
    marble: Marble, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.formats.metadata.LEVEL", 1)  # as another version may write
    assert marble("making-of", "1").code == 0
    page = (tmp_path / "making-of-1.1.html").read_text()
    assert OTHER in page
    assert SAME not in page


def test_a_picture_whose_file_is_gone_still_has_a_making_of(
    marble: Marble, drawn: Path, tmp_path: Path
) -> None:
    drawn.unlink()
    assert marble("making-of", "1").code == 0
    assert SAME in (tmp_path / "making-of-1.1.html").read_text()


def test_a_making_of_whose_own_file_is_gone_has_one_too(
    marble: Marble, drawn: Path, tmp_path: Path
) -> None:
    path_of(marble("making-of", "1").out, "2.1").unlink()
    answer = marble("making-of", "2")
    assert (answer.code, answer.err) == (0, "")
    assert MAKING_OF["en"].unknown in (tmp_path / "making-of-2.1.html").read_text()


def test_what_cannot_be_made_again_is_refused_in_a_sentence(
    marble: Marble, drawn: Path, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marble("upscale", "1", "--plain")
    marble("vary", "1")
    some = tmp_path / "some"
    shutil.copytree(models, some)
    monkeypatch.setenv("MARBLE_MODELS_DIR", str(some))
    drawn.unlink()  # from which 3.1 starts
    (some / "tiny").rename(some / "other")
    for words, said in (
        (["1.4"], "There is no picture 1.4"),
        (["77"], "77"),
        (["2.1"], "2.1 was only enlarged"),
        (["1", "--output", "page.pdf"], "a name that ends in .html"),
        (["1", "--output", "nowhere/page.html"], "a file in a folder that exists"),
        (["1", "--output", f"{'n' * 300}.html"], "a file in a folder that exists"),
        (["1"], "tiny"),
    ):
        answer = marble("making-of", *words)
        assert (answer.code, answer.err.count("\n")) == (2, 1), answer
        assert said in answer.err
    (some / "other").rename(some / "tiny")
    answer = marble("making-of", "3")
    assert answer.code == 2
    assert "is not stored here" in answer.err
    assert "2.1" in marble("show", "2").out
    assert not list(tmp_path.glob("making-of*"))
