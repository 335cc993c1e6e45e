"""Figures as bars, drawn on the server: an SVG needs no script, and a table says the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 480  # of a plot, in its own units
HEIGHT: Final = 120
GAP: Final = 0.2  # of a bar's room


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: its edges in the plot's units, and its value."""

    x: float
    y: float
    width: float
    height: float
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Bars of several series on one scale, the first in front; most: the largest value.

    peak: at which place it is.
    """

    series: tuple[tuple[Bar, ...], ...]
    most: float
    peak: int
    width: int = WIDTH
    height: int = HEIGHT


def plot(*series: Sequence[float | None], top: float = 0.0) -> Plot:
    """Lay out series of values of the same places, from 0; nothing is drawn of None and 0.

    top: the value at the upper edge, where none is larger.
    """
    largest = [
        max((values[at] or 0 for values in series), default=0) for at in range(_count(series))
    ]
    most = max(largest, default=0)
    scale = max(most, top)
    room = WIDTH / max(1, len(largest))
    return Plot(
        series=tuple(
            tuple(_bar(at, value, room, scale) for at, value in enumerate(values) if value)
            for values in series
        ),
        most=most,
        peak=largest.index(most) if largest else 0,
    )


def _count(series: Sequence[Sequence[float | None]]) -> int:
    return len(series[0]) if series else 0


def _bar(at: int, value: float, room: float, scale: float) -> Bar:
    height = round(HEIGHT * value / scale, 2)
    return Bar(
        x=round((at + GAP / 2) * room, 2),
        y=round(HEIGHT - height, 2),
        width=round((1 - GAP) * room, 2),
        height=height,
        value=value,
    )
