import os
import re
from pathlib import Path
from typing import Any

import pytest

from bots.requests.derive import ZOOMS
from bots.terminal import commands
from bots.terminal.files import read_file
from engine.formats.metadata import read_recipe
from engine.recipe.limits import RANGES
from tests.bots.terminal.conftest import Marble

TINY = ("--model", "tiny", "--steps", "2")


def path_of(text: str, name: str) -> Path:
    found = re.search(rf"^  {re.escape(name)}  (\S+)$", text, re.M)
    assert found, text
    return Path(found[1])


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_words_become_a_picture_with_its_path_and_id(marble: Marble) -> None:
    answer = marble("imagine", "a", "marble", "scholar", "--seed", "7", *TINY)
    assert (answer.code, answer.err) == (0, "")
    assert "a marble scholar" in answer.out
    assert "seed 7" in answer.out
    recipe = read_recipe(path_of(answer.out, "1.1").read_bytes()).recipe
    assert (recipe.prompt, recipe.seed, recipe.checkpoint) == ("a marble scholar", 7, "tiny")


def test_words_after_an_option_belong_to_the_prompt(marble: Marble) -> None:
    assert "a cat in a hat" in marble("imagine", "a cat", *TINY, "in a hat").out


def test_the_same_seed_gives_the_same_file_and_another_another(marble: Marble) -> None:
    first = marble("imagine", "a cat", "--seed", "7", *TINY)
    same = marble("rerun")
    other = marble("rerun", "1", "--seed", "new")
    assert path_of(first.out, "1.1") == path_of(same.out, "2.1")
    assert path_of(first.out, "1.1") != path_of(other.out, "3.1")


def test_one_picture_of_a_grid_is_drawn_again_alone(marble: Marble) -> None:
    grid = marble("imagine", "a cat", "--seed", "7", "--count", "3", *TINY)
    again = marble("rerun", "1.3")
    assert path_of(grid.out, "1.3").read_bytes() == path_of(again.out, "2.3").read_bytes()
    assert len({path_of(grid.out, f"1.{n}") for n in (1, 2, 3)}) == 3


def test_a_size_that_the_model_does_not_draw_is_rounded_and_said(marble: Marble) -> None:
    answer = marble("imagine", "a cat", "--size", "100x67", *TINY)
    said = "The model 'tiny' draws 96×64 instead of 100×67 pixels: its sides are multiples of 8."
    assert said in answer.out
    assert "96×64 · 2 steps" in answer.out
    assert "instead of" not in marble("rerun").out


def test_a_rerun_takes_other_words_and_values(marble: Marble) -> None:
    marble("imagine", "a cat", "--seed", "7", *TINY)
    answer = marble("rerun", "1", "--prompt", "a dog", "--steps", "3", "--no", "fog")
    recipe = read_recipe(path_of(answer.out, "2.1").read_bytes()).recipe
    assert (recipe.prompt, recipe.negative_prompt) == ("a dog", "fog")
    assert (recipe.steps, recipe.seed) == (3, 7)


def test_options_in_quoted_words_mean_what_they_mean_elsewhere(marble: Marble) -> None:
    answer = marble("imagine", "a cat —seed 7 --no fog", "at night", *TINY)
    recipe = read_recipe(path_of(answer.out, "1.1").read_bytes()).recipe
    assert (recipe.prompt, recipe.seed, recipe.negative_prompt) == ("a cat", 7, "fog at night")
    shouted = marble("imagine", "a", "cat", "--SEED", "9,", "--no", "fog,", *TINY)
    recipe = read_recipe(path_of(shouted.out, "2.1").read_bytes()).recipe
    assert (recipe.prompt, recipe.seed, recipe.negative_prompt) == ("a cat", 9, "fog,")
    again = marble("rerun", "1", "--prompt", "art -- deco --seed 8")
    recipe = read_recipe(path_of(again.out, "3.1").read_bytes()).recipe
    assert (recipe.prompt, recipe.seed) == ("art -- deco", 8)
    for words, said in (
        (["imagine", "a cat --stepps 5"], "did you mean '--steps'"),
        (["imagine", "a cat --seed 7", "--seed", "8"], "--seed is given twice, as '8' and as '7'"),
        (
            ["imagine", "a cat", "--seed", "7", "--seed", "8"],
            "--seed is given twice, as '7' and as",
        ),
        (["imagine", "\u200b"], "a description of the picture"),
        (["rerun", "--prompt", "a cat --v 5"], "There is no option '--v'"),
        (["imagine", "a", "cat", "--v", "6", "--tile"], "no options '--v', '--tile'; leave them"),
        (["imagine", "cat::2", "dog"], "Weights are not written 'cat::2' here"),
        (["styles", "add", "odd", "gold --steps 5"], "There is no option '--steps'"),
    ):
        refused = marble(*words)
        assert (refused.code, said in refused.err) == (2, True), refused


def test_each_choice_in_braces_is_drawn_and_copied(marble: Marble, tmp_path: Path) -> None:
    answer = marble("imagine", "a", "{red,", "blue}", "cat", "--out", "cat.png", *TINY)
    assert (answer.code, answer.err) == (0, "")
    assert "That makes 2 jobs, one for each choice in braces." in answer.out
    drawn = [read_recipe(path_of(answer.out, name).read_bytes()).recipe for name in ("1.1", "2.1")]
    assert [recipe.prompt for recipe in drawn] == ["a red cat", "a blue cat"]
    copies = [read_recipe(Path(name).read_bytes()).recipe for name in ("cat.png", "cat-2.png")]
    assert copies == drawn
    later = marble("imagine", "a {red, blue} cat", "--later", *TINY)
    assert "Job 3 waits" in later.out
    assert "Job 4 waits" in later.out


def test_names_longer_than_a_files_may_be_are_refused_in_a_sentence(marble: Marble) -> None:
    marble("imagine", "a cat", *TINY)
    long = "7" * 300
    for words, said in (
        (["--out", f"{long}.png"], "--out must be a file in a folder that exists"),
        (["--image", long], "cannot be read"),
        (["--image", f"{long}.png"], "cannot be read"),
        (["--image", "1.1", "--mask", f"a{long}"], "mask"),
    ):
        answer = marble("imagine", "a cat", *words, *TINY)
        assert (answer.code, answer.err.count("\n")) == (2, 1), answer
        assert said in answer.err


def test_choices_in_braces_that_share_a_picture_read_and_keep_it_once(
    marble: Marble, monkeypatch: pytest.MonkeyPatch
) -> None:
    marble("imagine", "a cat", "--seed", "7", "--out", "cat.png", *TINY)
    marble("imagine", "a cat", "--seed", "8", "--out", "dog.png", *TINY)
    read: list[str] = []

    def reading(name: str, *more: Any) -> bytes:
        read.append(name)
        return read_file(name, *more)

    monkeypatch.setattr(commands, "read_file", reading)
    answer = marble("imagine", "a {red, blue} cat --image cat.png", "--strength", "0.5", *TINY)
    assert (answer.code, read) == (0, ["cat.png"]), answer.err
    names = ("3.1", "4.1")
    first, second = (read_recipe(path_of(answer.out, name).read_bytes()).recipe for name in names)
    assert first.image == second.image is not None
    assert (first.prompt, second.prompt) == ("a red cat", "a blue cat")
    marble("imagine", "a {red, blue} cat --image {cat.png, dog.png}", "--strength", "0.5", *TINY)
    assert read[1:] == ["cat.png", "dog.png"]


def test_a_workflow_or_file_starts_from_a_picture_that_is_given(
    marble: Marble, tmp_path: Path
) -> None:
    marble("imagine", "a cat", "--seed", "7", "--out", "cat.png", *TINY)
    answer = marble("run", "cat.png", "--image", "1.1", "--strength", "0.5")
    assert answer.code == 0, answer.err
    recipe = read_recipe(path_of(answer.out, "2.1").read_bytes()).recipe
    assert recipe.image is not None


def test_history_and_show_tell_what_was_drawn_from_what(marble: Marble) -> None:
    assert "No pictures yet" in marble("history").out
    marble("imagine", "a [bold]cat[/bold]", "--seed", "7", *TINY)
    marble("rerun", "1.1")
    history = marble("history").out
    assert re.search(r"^2 .*delivered +7 +a \[bold\]cat\[/bold\]", history, re.M)
    assert history.index("\n2 ") < history.index("\n1 ")
    shown = marble("show", "2").out
    assert re.search(r"made from +1\.1", shown)
    assert path_of(shown, "2.1").exists()


def test_a_copy_is_saved_where_it_was_asked_for(marble: Marble, tmp_path: Path) -> None:
    marble("imagine", "a cat", "--count", "2", "--out", "cat.png", *TINY)
    assert (tmp_path / "cat.png").read_bytes() != (tmp_path / "cat-2.png").read_bytes()
    assert marble("show", "1.2", "--out", "second.png").code == 0
    assert (tmp_path / "second.png").read_bytes() == (tmp_path / "cat-2.png").read_bytes()


def test_a_copy_that_cannot_be_written_is_said_and_loses_no_picture(
    marble: Marble, tmp_path: Path
) -> None:
    (tmp_path / "cat-2.png").mkdir()
    answer = marble("imagine", "a cat", "--count", "3", "--out", "cat.png", *TINY)
    assert answer.code == 2
    stored = path_of(answer.out, "1.2")
    assert stored.is_file()
    assert "The copy cat-2.png cannot be written (Is a directory); its picture is " in answer.err
    assert answer.err.rstrip(".\n").endswith(stored.name)
    assert (tmp_path / "cat-3.png").is_file()
    assert re.search(r"^1 .*delivered", marble("history").out, re.M)


def test_a_picture_file_is_remade_from_the_recipe_it_carries(
    marble: Marble, tmp_path: Path
) -> None:
    marble("imagine", "a cat", "--seed", "7", "--count", "2", "--out", "cat.png", *TINY)
    second = path_of(marble("rerun", "cat-2.png").out, "2.2")
    assert second.read_bytes() == (tmp_path / "cat-2.png").read_bytes()
    assert "a dog" in marble("rerun", "cat.png", "--prompt", "a dog").out
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    answer = marble("rerun", "broken.png")
    assert (answer.code, answer.err) == (
        2,
        "marble: The file is no PNG, JPEG, WebP, AVIF or GIF picture, and no text that a program "
        "writes about one.\n",
    )


def test_a_lost_file_is_said_and_can_be_drawn_again(marble: Marble) -> None:
    lost = path_of(marble("imagine", "a cat", "--seed", "7", *TINY).out, "1.1")
    lost.unlink()
    answer = marble("show", "1")
    assert answer.code == 2
    assert "picture 1.1 cannot be read (No such file" in answer.err
    assert marble("rerun", "1.1").code == 0
    assert lost.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["imagine", "a cat", "--size", "63"], "size must be a whole number between 64 and"),
        (["imagine", "a cat", "--steps", "0"], "steps must be a whole number between 1 and 150"),
        (["imagine", "a cat", "--sampler", "eulr"], "sampler must be one of euler"),
        (["imagine", "a cat", "--seed", "-1"], "seed must be a whole number from 0"),
        (["imagine", "a cat", "--seed", "abc"], "seed must be a whole number from 0"),
        (["imagine", "a cat", "--guidance", "nan"], "guidance must be between 0 and 30"),
        (["imagine", "x" * 10_000], "prompt must be at most 2,000 characters"),
        (["imagine", ""], "prompt must be a description of the picture"),
        (["imagine"], "prompt must be a description of the picture"),
        (["imagine", "a cat", "--model", "tinny"], "no model 'tinny' (did you mean 'tiny'?)"),
        (["styles", "add", "noir", "--prompt", "film"], "There is no option '--prompt'.\n"),
        (["queue", "--onc"], "no option '--onc' (did you mean '--once'?)"),
        (["imagine", "a cat", "--stepps", "4"], "no option '--stepps' (did you mean '--steps'?)"),
        (["imagine", "a cat", "--seed"], "expected one argument"),
        (["imagine", "a cat", "--out", "no/such/folder/cat.png"], "--out must be"),
        (["imagine", "a cat", "--later", "--out", "cat.png"], "with --later there is none yet"),
        (
            ["imagine", "a cat", "--out", "cat.gif"],
            "ends in .png, .jpg, .jpeg, .webp, not 'cat.gif'",
        ),
        (["rerun", "99"], "no job 99"),
        (["rerun", "1.0"], "no picture '1.0'"),
        (["rerun"], "no pictures yet"),
        (
            ["rerun", f"{'far/' * 30}nope.png"],
            f"There is no file '{'far/' * 30}nope.png'; rerun takes a picture file, or",
        ),
        (["rerun", "1", "2"], "does not know what to do with '2'"),
        (["show", "twelve"], "no picture 'twelve'"),
        (["history", "--limit", "0"], "limit must be a whole number between 1 and 1000"),
        (["histroy"], "invalid choice: 'histroy'"),
        ([], "required"),
    ],
)
def test_bad_input_costs_one_sentence_and_leaves_nothing(
    marble: Marble, data: Path, words: list[str], sentence: str
) -> None:
    answer = marble(*words)
    assert answer.code == 2
    assert sentence in answer.err
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("marble: ")
    assert "Traceback" not in answer.err
    assert not answer.out
    assert not [path for path in files(data) if path.suffix == ".png"]
    if words[:1] != ["history"]:
        assert "No pictures yet" in marble("history").out


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("MARBLE_MODELS_DIR", "no/such/folder", "MARBLE_MODELS_DIR must be a folder"),
        ("MARBLE_DEVICE", "gpu", "MARBLE_DEVICE must be auto, cpu"),
        ("MARBLE_DATABASE_URL", "oracle://ada:secret@host/x", "MARBLE_DATABASE_URL"),
    ],
)
def test_a_bad_setting_costs_one_sentence(
    marble: Marble, data: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(key, value)
    answer = marble("imagine", "a cat", *TINY)
    assert answer.code == 2
    assert sentence in answer.err
    assert "secret" not in answer.err
    assert answer.err.count("\n") == 1
    assert not files(data)


def test_a_data_folder_that_cannot_be_written_costs_one_sentence(
    marble: Marble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    places = [tmp_path / "file" / "data"]
    if os.geteuid() != 0:  # root may write anywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        places.append(tmp_path / "locked" / "data")
    for place in places:
        monkeypatch.setenv("MARBLE_DATA_DIR", str(place))
        answer = marble("imagine", "a cat", *TINY)
        assert answer.code == 2
        assert str(place) in answer.err or "MARBLE_DATA_DIR must be a folder" in answer.err
        assert answer.err.count("\n") == 1


def test_a_broken_model_folder_fails_in_one_sentence(
    marble: Marble, data: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine" / "odd" / "unet").mkdir(parents=True)
    (tmp_path / "mine" / "odd" / "model_index.json").write_text(
        '{"_class_name": "StableDiffusionPipeline"}'
    )
    monkeypatch.setenv("MARBLE_MODELS_DIR", str(tmp_path / "mine"))
    answer = marble("imagine", "a cat", "--model", "odd")
    assert answer.code == 2
    assert "'odd' cannot be loaded: unet/config.json is missing" in answer.err
    assert answer.err.count("\n") == 1


def test_help_and_version_answer(marble: Marble, capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in (
        (["--help"], "imagine"),
        (["--version"], "marble 0."),
        (["imagine", "--help"], "cat-2.png"),
        (["upscale", "--help"], "{0.low:g} to {0.high:g}".format(RANGES["factor"])),
        (["zoom", "--help"], f"{ZOOMS.low:g} to {ZOOMS.high:g}"),
        (["db", "forget", "--help"], "delete everything stored about a person"),
    ):
        with pytest.raises(SystemExit) as end:
            marble(*words)
        assert end.value.code == 0
        assert expected in capsys.readouterr().out
