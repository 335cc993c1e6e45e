"""Pictures in the terminal, read back from what was written by small terminals of our own."""

import io
import os
import re
import struct
import time
from base64 import standard_b64decode
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console, Group
from rich.live import Live

from bots.presentation import grid
from bots.terminal.pictures import (
    CELL,
    KITTY_CHUNK,
    MARGIN,
    TALLEST,
    TRUE_COLOUR,
    Protocol,
    Screen,
    choose,
    colours,
    encode,
    encode_blocks,
    encode_iterm,
    encode_kitty,
    encode_sixel,
    fit,
    half_block_preview,
    measure,
    show,
)
from bots.terminal.progress import LiveProgress
from engine.events import Picture as Finished
from engine.events import Progress, Stage

Pixels = npt.NDArray[np.uint8]
LEVELS = (0, 95, 135, 175, 215, 255)
SCREEN = Screen(80, 24)


class Terminal(io.StringIO):
    """Be a stream that says it is a terminal, of this encoding."""

    def __init__(self, encoding: str = "utf-8", is_terminal: bool = True) -> None:
        super().__init__()
        self._encoding, self._is_terminal = encoding, is_terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._is_terminal


def noise(width: int, height: int, seed: int = 3) -> Image.Image:
    """Return an image in which every pixel differs from its neighbours."""
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def png_of(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def read_kitty(text: str) -> tuple[dict[str, str], bytes]:
    """Return the keys of the first command and the joined data, as kitty puts them together."""
    commands = re.findall(r"\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\", text)
    assert "".join(f"\x1b_G{keys};{data}\x1b\\" for keys, data in commands) == text
    assert all(len(data) <= KITTY_CHUNK for _, data in commands)
    assert all(len(data) % 4 == 0 for _, data in commands)
    keys = [dict(pair.split("=") for pair in found.split(",")) for found, _ in commands]
    assert [int(found.pop("m")) for found in keys] == [1] * (len(keys) - 1) + [0]
    assert not any(keys[1:])
    return keys[0], standard_b64decode("".join(data for _, data in commands))


def read_sixel(text: str) -> Pixels:
    """Draw a sixel text as a VT340 would; pixels never drawn stay magenta."""
    found = re.fullmatch(r'\x1bP7;1q"1;1;(\d+);(\d+)(.*)\x1b\\', text, re.DOTALL)
    assert found
    width, height = int(found[1]), int(found[2])
    image = np.full((height, width, 3), (255, 0, 255), np.uint8)
    colours: dict[int, list[int]] = {}
    x = y = current = 0
    for token in re.findall(r"#\d+(?:;\d+){4}|#\d+|!\d+[?-~]|[?-~]|\$|-", found[3]):
        if token[0] == "#":
            current, *definition = (int(number) for number in token[1:].split(";"))
            if definition:
                colours[current] = [round(value * 255 / 100) for value in definition[1:]]
        elif token in "$-":
            x, y = 0, y + 6 * (token == "-")
        else:
            count = int(token[1:-1]) if token[0] == "!" else 1
            for bit in range(6):
                if (ord(token[-1]) - 63) >> bit & 1:
                    image[y + bit, x : x + count] = colours[current]
            x += count
            assert x <= width
    return image


def read_colour(numbers: list[int]) -> tuple[int, int, int]:
    """Take a colour off the front of SGR's numbers: `2;r;g;b` or `5;n`."""
    if numbers.pop(0) == 2:
        return numbers.pop(0), numbers.pop(0), numbers.pop(0)
    index = numbers.pop(0) - 16
    if index >= 216:
        return (8 + 10 * (index - 216),) * 3
    return LEVELS[index // 36], LEVELS[index // 6 % 6], LEVELS[index % 6]


def read_blocks(text: str) -> Pixels:
    """Draw lines of ▀ as a terminal would, two pixels a cell."""
    rows: list[list[tuple[int, int, int]]] = []
    for line in text.split("\n"):
        assert line.endswith("\x1b[0m")
        upper, lower = [], []
        for escape, blocks in re.findall(r"\x1b\[([\d;]+)m(▀+)", line):
            numbers = [int(number) for number in escape.split(";")]
            pair = {numbers.pop(0): read_colour(numbers) for _ in range(2)}
            upper += [pair[38]] * len(blocks)
            lower += [pair[48]] * len(blocks)
        rows += [upper, lower]
    return np.array(rows, np.uint8)


# --- Encoders -----------------------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=3 * KITTY_CHUNK))
@settings(deadline=None)
def test_kitty_receives_the_very_file(png: bytes) -> None:
    keys, data = read_kitty(encode_kitty(png, 40, 20))
    assert data == png
    assert keys == {"a": "T", "f": "100", "q": "2", "c": "40", "r": "20"}


def test_iterm_receives_the_very_file() -> None:
    found = re.fullmatch(r"\x1b\]1337;File=([^:]*):([^\x07]*)\x07", encode_iterm(b"png", 40, 20))
    assert found
    assert standard_b64decode(found[2]) == b"png"
    assert dict(pair.split("=") for pair in found[1].split(";")) == {
        "inline": "1",
        "size": "3",
        "width": "40",
        "height": "20",
        "preserveAspectRatio": "1",
    }


@pytest.mark.parametrize("size", [(1, 1), (5, 6), (7, 13), (40, 12), (12, 40)])
def test_sixel_of_few_colours_is_exact_but_for_its_percents(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (10, 200, 30))
    image.paste((250, 120, 0), (size[0] // 2, size[1] // 3, size[0], size[1]))
    drawn = read_sixel(encode_sixel(image))
    # Sixel says colours in hundredths: half a step is 1.3 of 255.
    assert np.abs(drawn.astype(int) - np.asarray(image)).max() <= 2


def test_sixel_of_many_colours_is_what_pillow_made_of_them() -> None:
    image = noise(64, 50)
    ours = read_sixel(encode_sixel(image))
    assert not re.search(r"\?[$-]", encode_sixel(image)), "empty sixels before a line's end"
    pillow = np.asarray(image.quantize(256).convert("RGB"))
    assert np.abs(ours.astype(int) - pillow).max() <= 2


def test_sixel_of_an_even_picture_is_short_and_of_a_large_one_quick() -> None:
    assert len(encode_sixel(Image.new("RGB", (600, 600), "white"))) < 1200
    began = time.process_time()
    encode_sixel(noise(640, 640))
    assert time.process_time() - began < 5


@pytest.mark.parametrize("size", [(1, 1), (6, 4), (16, 16), (5, 10)])
def test_blocks_of_true_colour_are_exact(size: tuple[int, int]) -> None:
    image = noise(*size)
    drawn = read_blocks(encode_blocks(image, size[0], -(-size[1] // 2), TRUE_COLOUR))
    if size[1] % 2 == 0:
        assert np.array_equal(drawn, np.asarray(image))
    else:
        assert drawn.shape == (size[1] + 1, size[0], 3)


def test_blocks_of_256_colours_are_the_nearest() -> None:
    greys = [(8 + 10 * i,) * 3 for i in range(24)]
    palette = np.array([(r, g, b) for r in LEVELS for g in LEVELS for b in LEVELS] + greys)
    image = noise(16, 16)
    drawn = read_blocks(encode_blocks(image, 16, 8, 256)).astype(int)
    wanted = np.asarray(image).astype(int)
    far = np.linalg.norm(wanted[:, :, None] - palette, axis=-1).min(axis=-1)
    assert np.allclose(np.linalg.norm(wanted - drawn, axis=-1), far)


def test_blocks_say_a_colour_once_for_a_run() -> None:
    assert encode_blocks(Image.new("RGB", (30, 2)), 30, 1, TRUE_COLOUR).count("\x1b[") == 2


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 200), st.integers(1, 200))
def test_fitting_fills_the_box_and_keeps_the_shape(w: int, h: int, bw: int, bh: int) -> None:
    width, height = fit((w, h), (bw, bh))
    assert 1 <= width <= bw
    assert 1 <= height <= bh
    assert width == bw or height == bh
    assert abs(width * h - height * w) <= max(w, h)


# --- Choosing -----------------------------------------------------------------------------------

KITTY = {"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1", "COLORTERM": "truecolor"}


@pytest.mark.parametrize(
    ("env", "protocol"),
    [
        (KITTY, Protocol.KITTY),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, Protocol.KITTY),
        ({"TERM": "xterm-ghostty", "TERM_PROGRAM": "ghostty"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Protocol.ITERM),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, Protocol.ITERM),
        ({"TERM": "foot"}, Protocol.SIXEL),
        ({"TERM": "mlterm-256color"}, Protocol.SIXEL),
        ({"TERM": "contour"}, Protocol.SIXEL),
        ({"TERM": "xterm-256color"}, Protocol.BLOCKS),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, Protocol.BLOCKS),
        ({}, Protocol.BLOCKS),
        (KITTY | {"TMUX": "/tmp/tmux-0/default,1,0", "TERM": "tmux-256color"}, Protocol.BLOCKS),
        (KITTY | {"TERM": "screen"}, Protocol.BLOCKS),
        # an editor's terminal, started from kitty
        ({"TERM": "xterm", "TERM_PROGRAM": "vscode", "KITTY_WINDOW_ID": "1"}, Protocol.BLOCKS),
        ({"TERM": "dumb"}, Protocol.OFF),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, Protocol.OFF),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, Protocol.BLOCKS),
        (KITTY | {"NO_COLOR": "1"}, Protocol.KITTY),  # it is about the colours of text
    ],
)
def test_terminal_is_known_by_its_environment(env: dict[str, str], protocol: Protocol) -> None:
    assert choose("auto", env, Terminal()) is protocol


@pytest.mark.parametrize("mode", Protocol)
def test_setting_overrides_the_guess(mode: Protocol) -> None:
    assert choose(mode, {"TERM": "screen", "NO_COLOR": "1"}, Terminal()) is mode


@pytest.mark.parametrize("mode", ["auto", *Protocol])
def test_what_is_no_terminal_is_never_written_to(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", KITTY)
    stream = Terminal(is_terminal=False)
    assert choose(mode, KITTY, stream) is Protocol.OFF
    show(png_of(noise(4, 4)), stream, mode)
    assert stream.getvalue() == ""


def test_blocks_need_a_letter_that_can_be_written() -> None:
    assert choose("auto", {}, Terminal("latin-1")) is Protocol.OFF
    assert choose("auto", KITTY, Terminal("latin-1")) is Protocol.KITTY


@pytest.mark.parametrize(
    ("env", "count"),
    [
        ({"COLORTERM": "truecolor"}, TRUE_COLOUR),
        ({"COLORTERM": "24bit"}, TRUE_COLOUR),
        ({"TERM": "xterm-direct"}, TRUE_COLOUR),
        ({"WT_SESSION": "1"}, TRUE_COLOUR),
        ({"TERM": "xterm-256color"}, 256),
    ],
)
def test_colours_are_what_the_terminal_says(env: dict[str, str], count: int) -> None:
    assert colours(env) == count


# --- Showing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 64), (64, 128), (256, 64)])
def test_every_protocol_fits_the_screen_and_keeps_the_shape(size: tuple[int, int]) -> None:
    png, room = png_of(noise(*size)), SCREEN.rows - MARGIN
    keys, _ = read_kitty(encode(png, Protocol.KITTY, SCREEN, TRUE_COLOUR))
    boxes = [(int(keys["c"]) * CELL[0], int(keys["r"]) * CELL[1])]
    boxes.append(read_sixel(encode(png, Protocol.SIXEL, SCREEN, TRUE_COLOUR)).shape[1::-1])
    blocks = read_blocks(encode(png, Protocol.BLOCKS, SCREEN, TRUE_COLOUR)).shape
    boxes.append((blocks[1] * CELL[0], blocks[0] * CELL[1] // 2))
    for width, height in boxes:
        assert width <= SCREEN.columns * CELL[0]
        assert height <= room * CELL[1]
        assert width / height == pytest.approx(size[0] / size[1], rel=0.1)


def test_tall_screen_is_not_filled() -> None:
    screen = Screen(300, 200)
    keys, _ = read_kitty(encode(png_of(noise(8, 8)), Protocol.KITTY, screen, TRUE_COLOUR))
    assert int(keys["r"]) == TALLEST


@pytest.mark.parametrize("mode", [Protocol.KITTY, Protocol.ITERM, Protocol.SIXEL, Protocol.BLOCKS])
def test_show_writes_that_protocol_and_ends_its_line(mode: Protocol) -> None:
    stream = Terminal()
    show(png_of(noise(8, 8)), stream, mode)
    begins = {Protocol.KITTY: "\x1b_G", Protocol.ITERM: "\x1b]1337;", Protocol.SIXEL: "\x1bP"}
    assert stream.getvalue().startswith(begins.get(mode, "\x1b[38;"))
    assert stream.getvalue().endswith("\n")


def test_size_is_asked_of_the_terminal_itself() -> None:
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    leader, follower = os.openpty()
    with os.fdopen(leader, "w"), os.fdopen(follower, "w") as stream:
        fcntl.ioctl(stream, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 900, 540))
        assert measure(stream) == Screen(100, 30, (9, 18))
        fcntl.ioctl(stream, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        assert measure(stream) == Screen(100, 30, CELL)


def test_size_of_what_is_no_terminal_is_the_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("LINES", "20")
    assert measure(io.StringIO()) == Screen(70, 20, CELL)


# --- Previews -----------------------------------------------------------------------------------


CELL_TEXT = re.compile(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀\x1b\[0m")


def console(width: int = 40, no_color: bool = False, colour: bool = True) -> Console:
    """Return a console that writes into a `Terminal`, whatever terminal the tests run in."""
    system: Literal["truecolor"] | None = "truecolor" if colour else None
    return Console(
        file=Terminal(),
        width=width,
        force_terminal=True,
        color_system=system,
        no_color=no_color,
        legacy_windows=False,
        _environ={},
    )


def rendered(screen: Console) -> str:
    assert isinstance(screen.file, Terminal)
    return screen.file.getvalue()


def last_frame(screen: Console, width: int, height: int) -> Pixels:
    """Draw the last half-block image of this size in pixels that was written to a console."""
    cells = CELL_TEXT.findall(rendered(screen))[-width * height // 2 :]
    pairs = np.array(cells, int).reshape(height // 2, width, 2, 3)
    return pairs.transpose(0, 2, 1, 3).reshape(height, width, 3).astype(np.uint8)


def test_preview_draws_every_pixel() -> None:
    image, screen = noise(32, 32), console()
    screen.print(half_block_preview(png_of(image), screen))
    assert np.array_equal(last_frame(screen, 32, 32), np.asarray(image))


def test_preview_in_a_live_display_gives_way_to_the_next() -> None:
    first, second, screen = noise(32, 32), noise(32, 32, seed=4), console()
    preview = half_block_preview(png_of(first), screen)
    with Live(preview, console=screen, auto_refresh=False) as live:
        live.refresh()
        assert np.array_equal(last_frame(screen, 32, 32), np.asarray(first))
        live.update(half_block_preview(png_of(second), screen), refresh=True)
        assert np.array_equal(last_frame(screen, 32, 32), np.asarray(second))


def test_preview_fits_a_narrow_console_and_is_not_wrapped_by_a_narrower_one() -> None:
    screen, narrower = console(width=10), console(width=6)
    preview = half_block_preview(png_of(noise(64, 64)), screen)
    for each in (screen, narrower):
        each.print(Group(preview))  # as in a live display
        lines = re.sub(r"\x1b\[[\d;]*m", "", rendered(each)).splitlines()
        assert lines == ["▀" * each.width] * 5


def test_finished_pictures_are_laid_out_once_however_often_progress_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    laid_out: list[int] = []

    def compose(pngs: Sequence[bytes], *more: Any) -> Image.Image:
        laid_out.append(len(pngs))
        return composed(pngs, *more)

    composed = grid.compose
    monkeypatch.setattr(grid, "compose", compose)
    done = tuple(
        Finished(index=index, width=8, height=8, png=png_of(noise(8, 8))) for index in range(2)
    )
    with LiveProgress(console(), previews=True) as progress:
        for number in range(6):
            shown = done[: 1 if number < 4 else 2]
            progress.show(Progress(stage=Stage.DENOISE, step=number, total=6, finished=shown))
    assert laid_out == [1, 2]


@pytest.mark.parametrize("options", [{"no_color": True}, {"colour": False}])
def test_preview_without_colours_is_empty(options: dict[str, bool]) -> None:
    screen = console(**options)
    screen.print(half_block_preview(png_of(noise(8, 8)), screen))
    assert "▀" not in rendered(screen)
