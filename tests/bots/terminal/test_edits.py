"""Edits by words from the terminal, by command and in a chat."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bots.terminal.commands import read_edit
from bots.terminal.inputs import read_source
from engine.errors import OptionError, UnknownOption
from engine.formats.metadata import read_recipe
from engine.recipe.recipe import Recipe
from tests.bots.fakes import EDITING, alter
from tests.bots.terminal.conftest import Answer, Marble
from tests.bots.terminal.test_commands import path_of
from tests.describers import make_describer


@pytest.fixture(autouse=True)
def editing(monkeypatch: pytest.MonkeyPatch, marble: Marble) -> None:
    """Let the model `tiny` edit by words, with an engine that answers at once."""
    alter(monkeypatch, tiny=EDITING)
    monkeypatch.setenv("MARBLE_EXECUTOR", "tests.fakes.instant:make")


@pytest.fixture
def photo(tmp_path: Path) -> str:
    Image.new("RGB", (96, 64), "teal").save(tmp_path / "photo.jpg")
    return "photo.jpg"


def recipe_of(text: str, name: str) -> Recipe:
    return read_recipe(path_of(text, name).read_bytes()).recipe


def test_a_picture_is_edited_by_its_name_a_file_or_as_the_latest(
    marble: Marble, photo: str
) -> None:
    drawn = marble("imagine", "a cat", "--model", "tiny", "--seed", "7")
    sha256 = path_of(drawn.out, "1.1").stem
    for number, words in enumerate((["1.1", "make it bronze"], ["make", "it", "bronze"]), 2):
        edited = marble("edit", *words)
        assert (edited.code, edited.err) == (0, "")
        recipe = recipe_of(edited.out, f"{number}.1")
        assert (recipe.prompt, recipe.checkpoint) == ("make it bronze", "tiny")
        sha256, source = path_of(edited.out, f"{number}.1").stem, sha256
        assert recipe.references == (source,)
    assert "made from" in marble("show", "2").out
    edited = marble("edit", photo, "make it --steps 3 bronze", "--model", "tiny", "--with", "1")
    recipe = recipe_of(edited.out, "4.1")
    assert (recipe.prompt, recipe.steps, len(recipe.references)) == ("make it bronze", 3, 2)
    assert (recipe.width, recipe.height) == (96, 64)


def test_where_no_model_edits_the_answer_says_what_is_done_instead(
    marble: Marble, photo: str
) -> None:
    edited = marble("edit", photo, "make it bronze", "--size", "64")
    assert (
        "does not edit by words, so it draws anew from the picture, at strength 0.7" in edited.out
    )
    assert recipe_of(edited.out, "1.1").strength == 0.7


def test_the_owners_model_edits_and_is_checked_at_the_start(
    marble: Marble, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARBLE_EDIT_MODEL", "tiny")
    edited = marble("edit", photo, "make it bronze")
    assert recipe_of(edited.out, "1.1").checkpoint == "tiny"
    monkeypatch.setenv("MARBLE_EDIT_MODEL", "starter")
    refused = marble("edit", photo, "make it bronze")
    assert (refused.code, "MARBLE_EDIT_MODEL must be a model that edits" in refused.err) == (
        2,
        True,
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["no.png", "make it bronze"], "There is no file 'no.png'; edit takes a picture file"),
        (["photo.jpg"], "prompt must be a description of the picture"),
        (["make it bronze"], "You have no pictures yet"),
        (["photo.jpg", "a cat --image x.png"], "There is no option '--image'"),
        (["photo.jpg", "a cat", "--image", "x.png"], "There is no option '--image'"),
        (["photo.jpg", "a cat", "--with", "no.png"], "There is no file 'no.png'; --with takes"),
        (["photo.jpg", "a cat", "--no", "fog", "--model", "tiny"], "no option --negative"),
    ],
)
def test_bad_input_costs_one_sentence(
    marble: Marble, photo: str, words: list[str], sentence: str
) -> None:
    refused = marble("edit", *words)
    assert (refused.code, refused.out) == (2, "")
    assert sentence in refused.err
    assert refused.err.count("\n") == 1


def test_models_say_what_they_can_and_cannot_do(marble: Marble) -> None:
    lines = {line.split()[0]: line for line in marble("models").out.splitlines() if line}
    assert lines["tiny"].endswith(
        "64×64, 25 steps, always guidance 1, dpmpp_2m karras; edits pictures by words; "
        "without --negative, --vae, --rescale, --control"
    )
    assert "edits" not in lines["starter"]


def test_a_file_that_is_no_picture_is_not_taken_for_words(marble: Marble, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "cat.gif")
    refused = marble("edit", "cat.gif", "make it bronze", "--size", "64")
    assert refused.code == 2
    assert "The file is a GIF; send a PNG, JPEG or WebP picture." in refused.err
    assert read_source(["night.fall", "over the sea"]) == (None, "night.fall over the sea")
    assert read_source(["a" * 5000 + ".x"]) == (None, "a" * 5000 + ".x")


def test_words_and_options_of_an_edit_are_told_apart() -> None:
    assert read_source(["12.3", "make it bronze"]) == ("12.3", "make it bronze")
    assert read_source(["make", "it", "12"]) == (None, "make it 12")
    assert read_source([]) == (None, "")
    values, others = read_edit("make it bronze --with 4.1 --steps 3 --with hat.png")
    assert (values, others) == ({"prompt": "make it bronze", "steps": 3}, ["4.1", "hat.png"])
    with pytest.raises(UnknownOption):
        read_edit("make it bronze --mask red")
    with pytest.raises(OptionError, match="a description"):
        read_edit("--steps 3")


def test_weights_are_said_to_be_text_by_a_model_that_knows_none(marble: Marble) -> None:
    drawn = marble("imagine", "a (gold:1.3) cat BREAK", "--model", "tiny")
    assert "The model 'tiny' reads '(gold:1.3)', 'BREAK' as plain text: it knows no" in drawn.out
    assert "weights" not in marble("imagine", "a (gold:1.3) cat").out


def test_pictures_are_blended_by_names_and_files(marble: Marble, photo: str) -> None:
    assert marble("imagine", "a cat", "--size", "64").code == 0
    blended = marble("blend", "1", photo, "a", "hat", "--model", "tiny", "--steps", "3")
    assert (blended.code, blended.err) == (0, "")
    recipe = recipe_of(blended.out, "2.1")
    assert (recipe.prompt, recipe.steps, len(recipe.references)) == ("a hat", 3, 2)
    started = marble("blend", "1", "2.1", "--model", "starter")
    assert "starts from all of them laid over each other, at strength 0.7" in started.out
    assert recipe_of(started.out, "3.1").prompt == "a cat, a hat"
    for words in ([], ["1"], ["a", "cat"], ["1"] * 6):
        refused = marble("blend", *words)
        assert (refused.code, "Name two to five pictures" in refused.err) == (2, True)


def test_a_chat_blends_as_well(chat: Callable[[str], Answer]) -> None:
    answer = chat("a cat --size 64\na dog --size 64\n:blend 1 2 --steps 3\n:blend 1")
    assert "starts from all of them laid over each other" in answer.out
    assert "a cat, a dog" in answer.out
    assert "Name two to five pictures" in answer.out


def test_a_picture_is_described_in_words(
    marble: Marble, photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARBLE_CLIP_MODEL", "off")
    refused = marble("describe", photo)
    assert (refused.code, "MARBLE_DESCRIBE_MODEL" in refused.err) == (2, True)
    monkeypatch.setenv("MARBLE_DESCRIBE_MODEL", str(make_describer(tmp_path / "blip")))
    described = marble("describe", photo)
    assert (described.code, described.err) == (0, "")
    assert [line[:3] for line in described.out.splitlines()][:3] == ["1. ", "2. ", "3. "]
    missing = marble("describe", "no.png")
    assert "describe takes a picture file" in missing.err
