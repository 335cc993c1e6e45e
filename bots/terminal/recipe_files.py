"""Recipes in files, Marble's, ComfyUI's and A1111's, for `marble read` and `marble run`."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from bots.operations.settings import Settings
from bots.presentation.lines import NO_WORDS
from bots.requests.loaded_pictures import OURS, describe, find_beside
from bots.requests.workflow_file import read_content, workflow_in
from bots.terminal.console import Listing, open_console, styled
from bots.terminal.files import read_file
from bots.terminal.output import recipe_table
from engine.errors import (
    LONGEST_PATH,
    GraphError,
    ImageError,
    MetadataError,
    UserError,
    shorten,
)
from engine.formats.a1111.writer import no_line_reasons
from engine.formats.comfy.limits import graph_differences, no_graph_reasons
from engine.formats.graphs.node_values import LoadedPicture
from engine.formats.graphs.recipe import pictures_of
from engine.formats.metadata import graph_in
from engine.formats.reading import Reading, called
from engine.models.catalogue import Catalogue, Checkpoint
from engine.pictures.image_header import read_image_header
from engine.recipe.recipe import Recipe

if TYPE_CHECKING:
    from bots.requests.studio import Studio
    from storage.jobs.picture_files import Pictures

WORKFLOW: Final = ".json"
LARGEST: Final = 64 * 2**20  # bytes of a file that is looked at


async def read(arguments: argparse.Namespace, settings: Settings) -> None:
    """Print the recipe in a picture or workflow file, whichever program wrote it."""
    data, graph, loaded = _content(arguments.file)
    given, names = _stand_ins(loaded, Path(arguments.file).parent)
    reading, console = read_content(data, given, arguments.result, graph), open_console()
    console.print(reading_table(reading, names))
    if missing := reading.missing:
        console.print(styled(f"Missing: {called(missing)}.", "dim"), soft_wrap=True)
    if reading.refused is not None:
        console.print(styled(f"Cannot be drawn: {reading.refused}", "dim"), soft_wrap=True)
    note_ignored(reading.ignored, console)
    if reading.source == "Marble" and not (reading.missing or reading.refused):
        recipe = reading.recipe
        models = [await asyncio.to_thread(_described, each, settings) for each in recipe.models]
        _show_other_formats(recipe, console, *models)


def reading_table(reading: Reading, names: Mapping[str, str] | None = None) -> Listing:
    """Return what a file says, and where each value stands in it; names: as for `recipe_table`."""
    values = reading.to_dict().items()
    facts = {name: NO_WORDS if value == "" else value for name, value in values}
    facts = {"written by": reading.source, **facts}
    return recipe_table(facts, names, reading.where)


async def read_workflow(
    file: Path, studio: Studio, pictures: Pictures, result: str | None = None
) -> Reading:
    """Read a workflow or picture file, and store the pictures that it loads, found beside it.

    result: as for `read_recipe`. Raises `UserError`.
    """
    data, graph, loaded = await asyncio.to_thread(_content, str(file))
    given: dict[str, LoadedPicture] = {}
    for name, channels in loaded.items():
        try:
            image = await _find(file.parent, name, studio, pictures)
        except ImageError as error:  # which does not say with which file
            what = f"The ComfyUI workflow loads {shorten(name)}, which cannot be used"
            raise GraphError(f"{what}: {error}") from None
        if image:
            given[name] = await describe(image, channels, studio, pictures)
        elif graph is not None:  # a picture may hold another line beside its graph
            where = "neither beside it nor in a folder `input`"
            raise GraphError(f"The ComfyUI workflow loads {shorten(name)}, which is {where}.")
    return await asyncio.to_thread(read_content, data, given, result, graph)


def _content(name: str) -> tuple[bytes, Any, dict[str, set[str]]]:
    """Return a file's bytes, its graph if it is a workflow, and the pictures that a graph loads.

    Raises `UserError`.
    """
    data = _read(name)
    if (graph := workflow_in(data)) is not None:
        loaded: dict[str, set[str]] = {}
        with suppress(GraphError):  # said where it is read; it may be no graph at all
            loaded = pictures_of(graph)
        return data, graph, loaded
    if Path(name).suffix.lower() == WORKFLOW:
        raise GraphError("The file holds no ComfyUI workflow, which is a JSON object with nodes.")
    with suppress(MetadataError):  # said where the recipe is read, if nothing else can be
        if (graph := graph_in(data)) is not None:
            return data, None, pictures_of(graph)
    return data, None, {}


def _read(name: str) -> bytes:
    data = read_file(name, LARGEST, "name a picture or a workflow")
    if len(data) > LARGEST:
        most = f"{LARGEST >> 20} MiB at most"
        raise UserError(f"The file {shorten(name, LONGEST_PATH)} is too large; it may have {most}.")
    return data


def note_ignored(ignored: tuple[str, ...], console: Console) -> None:
    """Print the parts of a recipe that are ignored."""
    for each in ignored:
        console.print(styled(f"Could not be used: {each}", "dim"), soft_wrap=True)


def _described(name: str, settings: Settings) -> Checkpoint | None:
    """Return a model of a recipe, None where it is not here."""
    with suppress(UserError):
        return Catalogue(settings.models_dir).get(name)
    return None


def _show_other_formats(
    recipe: Recipe,
    console: Console,
    checkpoint: Checkpoint | None,
    second: Checkpoint | None = None,
) -> None:
    """Print what ComfyUI and A1111 cannot read of one of our pictures, and why."""
    for what, reasons in (
        ("No ComfyUI graph", no_graph_reasons(recipe, checkpoint, second)),
        ("The ComfyUI graph is nearly the same", graph_differences(recipe, checkpoint)),
        ("No A1111 line", no_line_reasons(recipe)),
    ):
        for why in reasons:
            console.print(styled(f"{what}: {why}.", "dim"), soft_wrap=True)


async def _find(folder: Path, name: str, studio: Studio, pictures: Pictures) -> str | None:
    """Return the stored name of a picture that a workflow loads: one of ours, or a file's."""
    if OURS.fullmatch(name):
        ours = name.removesuffix(".png")
        if await asyncio.to_thread(pictures.has, ours):
            return ours
    if file := find_beside(folder, name):
        return await studio.keep_image(await asyncio.to_thread(_read, str(file)))
    return None


def _stand_ins(
    wanted: dict[str, set[str]], folder: Path
) -> tuple[dict[str, LoadedPicture], dict[str, str]]:
    """Return placeholders for pictures that are not stored, and their names by sha256.

    Their sizes are those of the files, where these lie beside the workflow.
    """
    given: dict[str, LoadedPicture] = {}
    names: dict[str, str] = {}
    for name, channels in wanted.items():
        if OURS.fullmatch(name):
            continue
        image = _stand_in(name, names)
        masks = {c: _stand_in(f"{name} ({c})", names) for c in channels}
        size: dict[str, int] = {}
        if file := find_beside(folder, name):
            with suppress(UserError):
                header = read_image_header(_read(str(file)))
                size = {"width": header.width, "height": header.height}
        given[name] = LoadedPicture(image=image, masks=masks, unseen=not size, **size)
    return given, names


def _stand_in(name: str, names: dict[str, str]) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
    names[digest] = name
    return digest
