"""Draw the rooms and who imports whom, for docs/architecture.md: `python -m tests.rooms`.

The picture is Mermaid, made from the table `ARROWS` of `tests/test_house.py`. An arrow is left out
where a longer way of arrows leads to the same room.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tests.test_house import ARROWS

BETWEEN = ("bots --> storage", "bots --> engine", "storage --> engine")


def longest_ways(arrows: dict[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Yield those arrows (room, imported room) that no longer way replaces; without circles."""

    def reached(room: str) -> set[str]:
        return {room}.union(*(reached(other) for other in arrows[room]))

    for room, imported in arrows.items():
        for other in sorted(imported):
            if not any(other in reached(between) for between in imported - {other}):
                yield room, other


def identifier(room: str) -> str:
    """Return a room's name in the picture's code."""
    return room.replace(".", "_")


def mermaid() -> Iterator[str]:
    """Yield the lines of the picture."""
    yield "graph TD"
    for package in ("bots", "storage", "engine"):
        arrows = {
            room: {f"{package}.{other}" for other in known.split()}
            for room, known in ARROWS.items()
            if room.startswith(f"{package}.") and room != "bots.__main__"
        }
        yield f"  subgraph {package}"
        for room in arrows:
            yield f'    {identifier(room)}["{room.partition(".")[2]}"]'
        for room, other in longest_ways(arrows):
            yield f"    {identifier(room)} --> {identifier(other)}"
        yield "  end"
    yield from (f"  {arrow}" for arrow in BETWEEN)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in mermaid()))
