"""Consoles and tables for the terminal that print texts unchanged and unshortened.

rich reads markup in texts, turns `:dog:` into an emoji, and shortens what is too long for a column.
Marble's consoles and tables are all made here, without that. Nothing is wrapped or padded for a
width where the output is no terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import IO, Any, Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from bots.terminal.escaping import printable

UNBOUNDED: Final = 2**24  # columns of what is no terminal
GAP: Final = 2  # columns between two of a listing


class PlainConsole(Console):
    """Prints texts as they are: no markup, no emoji codes, no highlighting, no control codes."""

    def render_str(self, text: str, **how: Any) -> Text:
        """Return a text as rich shows it; `how` is rich's own, but for what changes words."""
        shown = {"markup": False, "emoji": False, "highlight": False, "highlighter": None}
        return super().render_str(printable(text), **{**how, **shown})


def open_console(file: IO[str] | None = None, *, soft_wrap: bool = False) -> Console:
    """Return a console on a file, or on standard output.

    soft_wrap: leave it to the terminal to break long lines.
    """
    console = PlainConsole(file=file, soft_wrap=soft_wrap, highlight=False)
    if not console.is_terminal:
        console.width = UNBOUNDED
    return console


def styled(text: str, style: str) -> Text:
    """Return a text in a style of rich's, as it is typed."""
    return Text(printable(text), style=style)


class Listing:
    """A table without lines. Nothing in it is shortened: what is too long goes on below."""

    def __init__(self, *headings: str) -> None:
        self._headings = headings
        self._rows: list[tuple[Text, ...]] = []

    def add(self, *cells: str | Text) -> None:
        """Add a row."""
        texts = (each if isinstance(each, Text) else styled(each, "none") for each in cells)
        self._rows.append(tuple(texts))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it by rich in a terminal, and elsewhere line by line, without a width."""
        if console.is_terminal:
            yield self._table()
        elif lines := list(self._lines()):
            yield Text("\n".join(lines), no_wrap=True, overflow="ignore")

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=bool(self._headings))
        for heading in self._headings or [""] * max(map(len, self._rows), default=0):
            table.add_column(heading, overflow="fold")
        for row in self._rows:
            table.add_row(*row)
        return table

    def _lines(self) -> Iterator[str]:
        rows = [tuple(cell.plain for cell in row) for row in self._rows]
        rows = [self._headings, *rows] if self._headings else rows
        broken = [tuple(cell.split("\n") for cell in row) for row in rows]
        widths = [
            max((cell_len(line) for cell in column for line in cell), default=0)
            for column in zip_longest(*broken, fillvalue=[])
        ]
        for row in broken:
            for cells in zip_longest(*row, fillvalue=""):
                padded = (
                    cell + " " * (width + GAP - cell_len(cell))
                    for cell, width in zip(cells, widths, strict=False)
                )
                yield "".join(padded).rstrip(" ")
