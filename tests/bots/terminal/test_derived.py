"""Pictures from pictures by command: drawn, drawn again from their ids and files, or refused."""

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.bots.terminal.conftest import Marble
from tests.bots.terminal.test_commands import TINY, files, path_of


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


@pytest.fixture
def drawn(marble: Marble) -> Path:
    """Return the file of picture 1.1."""
    return path_of(marble("imagine", "a cat", "--seed", "7", "--size", "64", *TINY).out, "1.1")


DERIVED = {
    "vary": ("vary", "1"),
    "vary strongly": ("vary", "1.1", "--strong"),
    "the last": ("vary",),
    "upscale": ("upscale", "1"),
    "upscale plainly": ("upscale", "1", "--factor", "1.5", "--plain"),
    "upscale latents": ("upscale", "1", "--by", "latent", "--strength", "0.5"),
    "zoom": ("zoom", "1", "--factor", "1.5"),
    "pan": ("pan", "1", "left"),
    "pan the last": ("pan", "down"),
    "start image": ("imagine", "a dog", "--image", "1", "--strength", "0.4", *TINY),
}


@pytest.mark.parametrize("words", DERIVED.values(), ids=DERIVED)
def test_a_derived_picture_is_drawn_and_reruns_to_the_same_file(
    marble: Marble, drawn: Path, words: tuple[str, ...]
) -> None:
    first = marble(*words)
    assert (first.code, first.err) == (0, "")
    again = marble("rerun", "2")
    assert path_of(again.out, "3.1") == path_of(first.out, "2.1") != drawn
    # Its file and the picture store are enough, too.
    file = marble("rerun", str(path_of(first.out, "2.1")))
    assert path_of(file.out, "4.1") == path_of(first.out, "2.1")


def test_a_rerun_on_another_kind_of_device_says_so(marble: Marble, drawn: Path, data: Path) -> None:
    note = "Another kind of device drew this than the original: details may differ."
    assert note not in marble("rerun", "1").out
    with closing(sqlite3.connect(data / "marble.db")) as database, database:
        database.execute("UPDATE jobs SET device = 'NVIDIA H200' WHERE id = 1")
    assert note in marble("rerun", "1").out


def test_a_derived_picture_says_what_it_was_made_from(marble: Marble, drawn: Path) -> None:
    marble("zoom", "1.1")
    shown = marble("show", "2").out
    assert re.search(r"made from +1\.1", shown)
    assert re.search(r"margins +\S", shown)


def test_sizes_are_what_was_asked_for(marble: Marble, drawn: Path) -> None:
    sizes = {
        words: opened(path_of(marble(*words).out, f"{number}.1")).size
        for number, words in enumerate(
            [
                ("upscale", "1", "--plain"),
                ("upscale", "1", "--factor", "1.5", "--plain"),
                ("zoom", "1"),
                ("pan", "1", "right"),
                ("pan", "1", "up"),
            ],
            start=2,
        )
    }
    assert list(sizes.values()) == [(128, 128), (96, 96), (64, 64), (96, 64), (64, 96)]


def test_a_file_starts_a_picture_and_a_mask_keeps_the_rest(
    marble: Marble, drawn: Path, tmp_path: Path
) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    answer = marble(
        "imagine", "a dog", "--image", str(drawn), "--mask", "mask.png", *TINY, "--size", "64"
    )
    made = np.asarray(opened(path_of(answer.out, "2.1")))
    start = np.asarray(opened(drawn))
    assert np.array_equal(made[:, :32], start[:, :32])
    assert not np.array_equal(made[:, 34:], start[:, 34:])


def test_what_is_transparent_or_painted_over_is_a_mask(marble: Marble, tmp_path: Path) -> None:
    painted = Image.new("RGB", (64, 64), "white")
    painted.paste("red", (0, 0, 32, 64))
    painted.save(tmp_path / "painted.png")
    clear = Image.new("RGBA", (64, 64), (0, 0, 255, 255))
    clear.paste((0, 0, 0, 0), (0, 0, 32, 64))
    clear.save(tmp_path / "clear.png")
    for number, (file, mask) in enumerate((("painted.png", "red"), ("clear.png", "alpha")), 1):
        size = ("--size", "64")
        answer = marble("imagine", "a dog", "--image", file, "--mask", mask, *TINY, *size)
        made = np.asarray(opened(path_of(answer.out, f"{number}.1")))
        start = np.asarray(opened(tmp_path / file).convert("RGB"))
        assert np.array_equal(made[:, 32:], start[:, 32:])


def test_without_a_size_a_picture_takes_the_shape_of_its_start_image(
    marble: Marble, tmp_path: Path
) -> None:
    Image.new("RGB", (300, 150), "white").save(tmp_path / "wide.jpg")
    answer = marble("imagine", "a dog", "--image", "wide.jpg", *TINY)
    assert opened(path_of(answer.out, "1.1")).size == (128, 64)  # its shape, no side below 64


def test_a_start_image_that_is_gone_is_asked_for_by_name(
    marble: Marble, drawn: Path, tmp_path: Path
) -> None:
    made = path_of(marble("zoom", "1").out, "2.1")
    copy = tmp_path / "copy.png"
    copy.write_bytes(made.read_bytes())
    drawn.unlink()
    answer = marble("rerun", "copy.png")
    assert answer.code == 2
    assert drawn.stem[:12] in answer.err
    assert "give its file again" in answer.err


BAD = {
    "a text": (("imagine", "a dog", "--image", "text.png"), "not a picture"),
    "an empty file": (("imagine", "a dog", "--image", "empty.png"), "is empty"),
    "a cut file": (("imagine", "a dog", "--image", "cut.png"), "damaged or incomplete"),
    "a film": (("imagine", "a dog", "--image", "film.gif"), "a GIF"),
    "a bomb": (("imagine", "a dog", "--image", "bomb.png"), "million in total are allowed"),
    "no file": (("imagine", "a dog", "--image", "nothing.png"), "a picture file, or a picture's"),
    "an address": (
        ("imagine", "a dog", "--image", f"https://example.com/cat.png?name={'x' * 300}"),
        "Marble fetches no pictures from the web; --image takes a picture file, or a picture's",
    ),
    "an address drawn again": (
        ("rerun", "HTTPS://example.com/cat"),
        "Marble fetches no pictures from the web; rerun takes a picture file",
    ),
    "an address of a mask": (
        ("imagine", "a", "--image", "1", "--mask", "http://example.com/cat.png"),
        "Marble fetches no pictures from the web; --mask takes",
    ),
    "a folder": (("imagine", "a dog", "--image", "."), "is a folder"),
    "a pipe": (("imagine", "a dog", "--image", "pipe.png"), "is no plain file"),
    "a file in a file": (("imagine", "a", "--image", "text.png/cat.png"), "There is no file"),
    "no mask's file": (("imagine", "a", "--image", "1", "--mask", "no.png"), "There is no file"),
    "no name of a file": (("imagine", "a", "--image", "x" * 300), "cannot be read (File name too"),
    "no picture of ours": (("imagine", "a dog", "--image", "99"), "There is no job 99"),
    "a mask alone": (("imagine", "a dog", "--mask", "black.png"), "used together with --image"),
    "a black mask": (("imagine", "a", "--image", "1", "--mask", "black.png"), "all black"),
    "a mask of another shape": (
        ("imagine", "a", "--image", "1", "--mask", "long.png"),
        "aspect ratio",
    ),
    "a mask of no colour": (
        ("imagine", "a", "--image", "1", "--mask", "puce7"),
        "a mask is a picture (a file,",
    ),
    "a mask of an absent colour": (
        ("imagine", "a", "--image", "1", "--mask", "#00ff00"),
        "Nothing",
    ),
    "alpha where there is none": (("imagine", "a", "--image", "1", "--mask", "alpha"), "transpar"),
    "no strength": (("imagine", "a dog", "--image", "1", "--strength", "0"), "between 0.01 and 1"),
    "too much strength": (("rerun", "1", "--image", "1", "--strength", "1.5"), "between 0.01 and"),
    "strength for nothing": (("imagine", "a dog", "--strength", "0.5"), "without a start image"),
    "a weight for nothing": (
        ("imagine", "a dog --iw 2"),
        "--iw weighs a start image: give that, too",
    ),
    "a weight for nothing drawn again": (
        ("rerun", "1", "--iw", ".5"),
        "--iw weighs a start image: give that, too",
    ),
    "a fit for nothing": (
        ("imagine", "a dog", "--fit", "pad"),
        "fit must be left out without a start image, not 'pad'",
    ),
    "no number": (("zoom", "1", "--factor", "far"), "--factor must be a number"),
    "too far": (("zoom", "1", "--factor", "99"), "factor must be between 1.1 and 4"),
    "nowhere": (("pan", "1", "away"), "one of left, right, up, down"),
    "no direction": (("pan", "1.3"), "Say one direction: left, right, up or down, like `pan 1.3"),
    "two directions": (("pan", "up", "left"), "Say one direction"),
    "a direction first": (("pan", "left", "1.3"), "There is no picture 1.3: job 1 has 1 picture"),
    "a picture that its job lacks": (("imagine", "a", "--image", "1.9"), "1 picture, 1.1."),
    "too large": (("upscale", "1", "--factor", "9"), "factor must be between 1 and 8"),
    "no such upscaler": (("upscale", "1", "--by", "lanczoss"), "did you mean 'lanczos'"),
    "two minds": (("upscale", "1", "--plain", "--strength", "0.5"), "takes no --strength"),
    "latents without a pass": (("upscale", "1", "--by", "latent", "--plain"), "second pass"),
}


@pytest.mark.parametrize(("words", "sentence"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_refused_in_one_sentence_before_any_work(
    marble: Marble, drawn: Path, data: Path, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    make_bad_files(tmp_path, drawn)
    before = [path for path in files(data) if path.suffix == ".png"]
    answer = marble(*words)
    assert answer.code == 2
    assert sentence in answer.err
    assert answer.err.count("\n") == 1
    assert "No pictures yet" not in marble("history").out
    assert marble("show", "2").code == 2
    # A start image may have been kept before its mask was refused; it is swept within the hour.
    assert len([path for path in files(data) if path.suffix == ".png"]) <= len(before) + 1


def make_bad_files(folder: Path, good: Path) -> None:
    (folder / "text.png").write_text("this is a text")
    (folder / "empty.png").write_bytes(b"")
    os.mkfifo(folder / "pipe.png")
    (folder / "cut.png").write_bytes(good.read_bytes()[:-2000])
    Image.new("P", (16, 16)).save(folder / "film.gif")
    Image.new("1", (9000, 9000)).save(folder / "bomb.png")
    Image.new("L", (64, 64)).save(folder / "black.png")
    Image.new("L", (64, 32), 255).save(folder / "long.png")
