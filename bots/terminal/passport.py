"""`marble read` and `marble run`: recipes from files, Marble's, ComfyUI's and A1111's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from bots.terminal.escaping import escape
from engine.errors import GraphError, ImageError, OptionError
from engine.graphs import Given, Read, pictures_of, read_graph
from engine.headers import read_header
from engine.metadata import Reading, read_recipe

if TYPE_CHECKING:
    from bots.studio import Studio
    from storage.pictures import Pictures

# Where ComfyUI keeps the pictures that its graphs load, seen from a workflow's own folder.
PLACES = (".", "input", "../input", "../../input")


def read_file(name: str) -> bytes:
    """Return a file's bytes, or raise `OptionError`."""
    try:
        return Path(name).expanduser().read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OptionError("the file", name, f"one that can be read ({reason})") from None


def show(reading: Reading, console: Console) -> None:
    """Print a recipe, who wrote it, and what cannot be honoured."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column()
    table.add_row("written by", reading.source)
    for key, value in reading.recipe.to_dict().items():
        if key != "version" and value not in ("", None):
            table.add_row(key.replace("_", " "), escape(_plain(value)))
    console.print(table)
    note(reading.ignored, console)


def note(ignored: tuple[str, ...], console: Console) -> None:
    """Name what a recipe leaves out."""
    for each in ignored:
        console.print(f"[dim]Not honoured: {escape(each)}[/dim]", soft_wrap=True)


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)


def parse_graph(data: bytes) -> Any:
    """Read a workflow file as JSON, or raise `GraphError`."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise GraphError("The file holds no ComfyUI workflow: it is not valid JSON.") from None


async def read_workflow(file: Path, studio: Studio, pictures: Pictures) -> Read:
    """Read a workflow file and store the pictures that it loads, found beside it.

    Raises `UserError`.
    """
    graph = parse_graph(read_file(str(file)))
    given = {}
    for name in pictures_of(graph):
        data = await asyncio.to_thread(_find, file.parent, name)
        given[name] = await _keep(data, studio, pictures)
    return read_graph(graph, given)


def _find(folder: Path, name: str) -> bytes:
    for place in PLACES:
        path = folder / place / name
        if path.is_file():
            return path.read_bytes()
    raise GraphError(
        f"The ComfyUI workflow loads {name!r}, which is neither beside it nor in a folder `input`."
    )


async def _keep(data: bytes, studio: Studio, pictures: Pictures) -> Given:
    image = await studio.keep_image(data)
    header = read_header(await asyncio.to_thread(pictures.fetch, image))
    try:
        mask: str | None = await studio.keep_mask(image, "alpha")
    except ImageError:  # nothing in it is transparent
        mask = None
    return Given(image=image, width=header.width, height=header.height, mask=mask)


def read_picture(name: str) -> Reading:
    """Read the recipe in a picture or workflow file, or raise `UserError`."""
    data = read_file(name)
    if data.lstrip()[:1] == b"{":
        graph = parse_graph(data)
        read = read_graph(graph, dict.fromkeys(pictures_of(graph), UNSEEN))
        return Reading(read.recipe, "ComfyUI", read.ignored)
    return read_recipe(data)


# Stands for pictures of a workflow that is read, not run.
UNSEEN = Given(image="0" * 64, width=512, height=512, mask="0" * 64)
