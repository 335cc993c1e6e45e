"""Show a picture in the terminal, as well as that terminal can.

- kitty graphics: https://sw.kovidgoyal.net/kitty/graphics-protocol/
- iTerm2 inline images: https://iterm2.com/documentation-images.html
- sixel: https://vt100.net/docs/vt3xx-gp/chapter14.html
- half blocks: each cell is one ▀, whose two colours make two square pixels.

Nothing asks the terminal what it can do: an answer that comes late, or never, would end up in what
the person types. The environment says enough, and a setting overrides it.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import struct
from base64 import standard_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import groupby, product
from typing import Final, TextIO

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.text import Text


class Protocol(StrEnum):
    """Name the ways of showing a picture; with `auto`, the values of the setting."""

    KITTY = "kitty"
    ITERM = "iterm"
    SIXEL = "sixel"
    BLOCKS = "blocks"
    OFF = "off"


# The first variable that begins so decides. TERM comes first: it travels through ssh and is not
# inherited by another terminal that is started from this one, unlike the windows' own variables.
TERMINALS: Final = (
    ("TERM", "dumb", Protocol.OFF),
    ("TMUX", "", Protocol.BLOCKS),  # multiplexers let no picture through unless told to
    ("STY", "", Protocol.BLOCKS),
    ("ZELLIJ", "", Protocol.BLOCKS),
    ("TERM", "tmux", Protocol.BLOCKS),
    ("TERM", "screen", Protocol.BLOCKS),
    ("TERM", "xterm-kitty", Protocol.KITTY),
    ("TERM", "xterm-ghostty", Protocol.KITTY),
    ("TERM", "foot", Protocol.SIXEL),
    ("TERM", "mlterm", Protocol.SIXEL),
    ("TERM", "contour", Protocol.SIXEL),
    ("TERM", "yaft", Protocol.SIXEL),
    ("TERM_PROGRAM", "WezTerm", Protocol.KITTY),
    ("TERM_PROGRAM", "ghostty", Protocol.KITTY),
    ("TERM_PROGRAM", "iTerm", Protocol.ITERM),
    ("TERM_PROGRAM", "mintty", Protocol.ITERM),
    ("TERM_PROGRAM", "", Protocol.BLOCKS),
    ("LC_TERMINAL", "iTerm2", Protocol.ITERM),
    ("KITTY_WINDOW_ID", "", Protocol.KITTY),
)
TRUE_COLOUR: Final = 2**24
CELL: Final = (10, 20)  # pixels, where the terminal does not say
MARGIN: Final = 3  # lines left for the prompt and what is said about the picture
TALLEST: Final = 32  # lines; more only blurs
PREVIEW: Final = (32, 16)  # columns and lines of a guess at a picture, at most
KITTY_CHUNK: Final = 4096  # bytes of base64 in one escape sequence
SIXEL_COLOURS: Final = 256
RUN: Final = re.compile(rb"(.)\1{3,}", re.DOTALL)

# xterm's colours from number 16 on: a cube of 6×6×6, and 24 greys.
CUBE: Final = product((0, 95, 135, 175, 215, 255), repeat=3)
XTERM: Final = np.array([*CUBE, *((8 + 10 * grey,) * 3 for grey in range(24))])

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]  # width, height
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Screen:
    """A terminal's size in cells, and one cell's in pixels."""

    columns: int
    rows: int
    cell: Size = CELL


def show(png: bytes, stream: TextIO, mode: str) -> None:
    """Write a picture to a terminal, by "auto" or a `Protocol`.

    The picture keeps its shape and leaves room for the prompt.
    """
    protocol = choose(mode, os.environ, stream)
    if protocol is not Protocol.OFF:
        stream.write(encode(png, protocol, measure(stream), colours(os.environ)) + "\n")
        stream.flush()


def choose(mode: str, env: Mapping[str, str], stream: TextIO) -> Protocol:
    """Choose how to show pictures on a stream: never on one that is no terminal."""
    if not stream.isatty():
        return Protocol.OFF
    protocol = _guess(env) if mode == "auto" else Protocol(mode)
    unwritable = protocol is Protocol.BLOCKS and not "▀".encode(stream.encoding, "ignore")
    return Protocol.OFF if unwritable else protocol


def colours(env: Mapping[str, str]) -> int:
    """Return how many colours the terminal says it has: 2^24 or 256."""
    said = env.get("COLORTERM") in ("truecolor", "24bit") or "WT_SESSION" in env
    return TRUE_COLOUR if said or env.get("TERM", "").endswith("-direct") else 256


def measure(stream: TextIO) -> Screen:
    """Ask the operating system for the size of a stream's terminal, in cells and in pixels."""
    try:
        import fcntl
        import termios

        answer = fcntl.ioctl(stream.fileno(), termios.TIOCGWINSZ, bytes(8))
        rows, columns, width, height = struct.unpack("HHHH", answer)
    except (ImportError, OSError, ValueError):  # Windows, or a stream without a terminal
        rows = columns = width = height = 0
    if not (rows and columns):
        columns, rows = shutil.get_terminal_size()
    cell = (width // columns, height // rows)
    return Screen(columns, rows, cell if all(cell) else CELL)


def encode(png: bytes, protocol: Protocol, screen: Screen, colours: int) -> str:
    """Encode a picture for a terminal by any protocol but `OFF`, fitted to its size."""
    image = Image.open(io.BytesIO(png))
    rows = max(1, min(screen.rows - MARGIN, TALLEST))
    if protocol is Protocol.BLOCKS:
        return encode_blocks(image, screen.columns, rows, colours)
    size = fit(image.size, (screen.columns * screen.cell[0], rows * screen.cell[1]))
    if protocol is Protocol.SIXEL:
        return encode_sixel(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    columns, rows = (max(1, round(size[axis] / screen.cell[axis])) for axis in (0, 1))
    encoder = encode_kitty if protocol is Protocol.KITTY else encode_iterm
    return encoder(png, columns, rows)


def fit(size: Size, box: Size) -> Size:
    """Scale a size to the largest of the same shape in a box."""
    scale = min(box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def encode_kitty(png: bytes, columns: int, rows: int) -> str:
    """Encode a PNG for kitty's protocol, scaled to this many cells.

    Both sizes are given: WezTerm does not derive one from the other.
    """
    data = standard_b64encode(png).decode("ascii")
    text = []
    for at in range(0, len(data), KITTY_CHUNK):
        # q=2: no answers, which would be read as typed.
        keys = "" if at else f"a=T,f=100,q=2,c={columns},r={rows},"
        more = int(at + KITTY_CHUNK < len(data))
        text.append(f"\x1b_G{keys}m={more};{data[at : at + KITTY_CHUNK]}\x1b\\")
    return "".join(text)


def encode_iterm(png: bytes, columns: int, rows: int) -> str:
    """Encode a PNG for iTerm2's protocol, fitted into this many cells."""
    data = standard_b64encode(png).decode("ascii")
    keys = f"inline=1;size={len(png)};width={columns};height={rows};preserveAspectRatio=1"
    return f"\x1b]1337;File={keys}:{data}\x07"


def encode_sixel(image: Image.Image) -> str:
    """Encode an image as sixel, pixel for pixel, in up to 256 colours of its own."""
    paletted = image.convert("RGB").quantize(SIXEL_COLOURS)
    palette = np.reshape(paletted.getpalette() or [], (-1, 3))
    percent = (palette * 100 + 127) // 255
    used: list[int] = np.unique(np.asarray(paletted)).tolist()
    registers = "".join("#{};2;{};{};{}".format(i, *percent[i].tolist()) for i in used)
    body = b"-".join(_bands(np.asarray(paletted))).decode("ascii")
    # 7: square pixels; 1: pixels not drawn stay as they are.
    return f'\x1bP7;1q"1;1;{image.width};{image.height}{registers}{body}\x1b\\'


def encode_blocks(image: Image.Image, columns: int, rows: int, colours: int) -> str:
    """Encode an image as lines of ▀ with escape sequences, fitted into this many cells.

    `colours` is 2^24 or 256.
    """
    colour = "2;{0[0]};{0[1]};{0[2]}".format if colours == TRUE_COLOUR else _nearest_of_256
    width, height = fit(image.size, (columns, 2 * rows))
    height += height % 2
    small = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    pixels = [[colour(tuple(pixel)) for pixel in row] for row in np.asarray(small).tolist()]
    lines = []
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        runs = groupby(zip(upper, lower, strict=True))
        line = (f"\x1b[38;{top};48;{bottom}m{'▀' * len(list(run))}" for (top, bottom), run in runs)
        lines.append(f"{''.join(line)}\x1b[0m")
    return "\n".join(lines)


def half_block_preview(image: bytes, console: Console) -> Text:
    """Return a JPEG or PNG in half blocks for rich's Live; nothing on a console without colours."""
    if console.options.ascii_only or console.no_color or console.color_system is None:
        return Text()
    columns, rows = PREVIEW
    opened = Image.open(io.BytesIO(image))
    blocks = encode_blocks(opened, min(columns, console.width), rows, TRUE_COLOUR)
    return Text.from_ansi(blocks, no_wrap=True, overflow="crop")


def _bands(colour: Pixels) -> Iterator[bytes]:
    """Yield the sixels of each six lines: colour after colour, drawn over the same band."""
    columns = np.arange(colour.shape[1])
    for top in range(0, len(colour), 6):
        band = colour[top : top + 6]
        used, place = np.unique(band, return_inverse=True)
        # A sixel's character is 63 and a bit for each of its six pixels; one row a colour.
        sixels = np.full((len(used), len(columns)), 63, np.uint8)
        for y, row in enumerate(place.reshape(band.shape)):
            sixels[row, columns] += 1 << y
        yield b"$".join(
            b"#%d%b" % (number, _shorten(drawn.tobytes()))
            for number, drawn in zip(used.tolist(), sixels, strict=True)
        )


def _shorten(sixels: bytes) -> bytes:
    """Write runs as `!count sixel`, and leave out what is empty to the right."""
    return RUN.sub(lambda run: b"!%d%b" % (len(run[0]), run[1]), sixels.rstrip(b"?"))


def _guess(env: Mapping[str, str]) -> Protocol:
    found = (p for name, start, p in TERMINALS if env.get(name) and env[name].startswith(start))
    protocol = next(found, Protocol.BLOCKS)
    return Protocol.OFF if protocol is Protocol.BLOCKS and env.get("NO_COLOR") else protocol


@lru_cache(maxsize=4096)
def _nearest_of_256(colour: Colour) -> str:
    return f"5;{16 + np.square(np.subtract(XTERM, colour)).sum(axis=1).argmin()}"
