"""The commands of `marble` that draw or show pictures, and `marble serve`."""

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from bots.operations.settings import Settings
from bots.requests.options import Values, parse_values
from bots.requests.typed_options import read_request
from bots.service.app import open_app
from bots.terminal.arguments import number, options_of, out_of, upscale_of, whole_number
from bots.terminal.console import open_console
from bots.terminal.inputs import INPUTS, TypedInputs, read_direction
from bots.terminal.recipe_files import read_picture, show_reading
from bots.terminal.session import Session
from engine.recipe.limits import check_words

log = logging.getLogger(__name__)


async def imagine(arguments: argparse.Namespace, settings: Settings) -> None:
    """Draw a prompt."""
    # All that can be wrong with the words themselves is said before anything is opened.
    values, inputs = _read(arguments.prompt, arguments)
    async with _session(arguments, settings) as session:
        values |= await inputs.keep(session.studio, session.store)
        await session.draw(session.studio.imagine(values, session.asker))


async def rerun(arguments: argparse.Namespace, settings: Settings) -> None:
    """Draw a job or one of its pictures again."""
    values, inputs = _read(arguments.prompt, arguments)
    async with _session(arguments, settings) as session:
        values |= await inputs.keep(session.studio, session.store)
        await session.rerun(arguments.id, values)


async def vary(arguments: argparse.Namespace, settings: Settings) -> None:
    """Draw a picture like another one."""
    async with _session(arguments, settings) as session:
        name = await session.named(arguments.id)
        await session.draw(session.studio.vary(name, session.asker, strong=arguments.strong))


async def upscale(arguments: argparse.Namespace, settings: Settings) -> None:
    """Make a picture larger."""
    how = upscale_of(arguments)
    async with _session(arguments, settings) as session:
        name = await session.named(arguments.id)
        await session.draw(session.studio.upscale(name, session.asker, **how))


async def zoom(arguments: argparse.Namespace, settings: Settings) -> None:
    """Show a picture from further away."""
    factor = number("--factor", arguments.factor)
    async with _session(arguments, settings) as session:
        name = await session.named(arguments.id)
        await session.draw(session.studio.zoom(name, session.asker, factor=factor))


async def pan(arguments: argparse.Namespace, settings: Settings) -> None:
    """Continue a picture to one side."""
    words = [word for word in (arguments.id, arguments.direction) if word is not None]
    names, direction = read_direction(words)
    async with _session(arguments, settings) as session:
        name = await session.named(names[0] if names else None)
        await session.draw(session.studio.pan(name, session.asker, direction))


async def read(arguments: argparse.Namespace, settings: Settings) -> None:
    """Print the recipe in a file, whichever program wrote it."""
    show_reading(*read_picture(arguments.file), open_console())


async def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Draw a ComfyUI workflow."""
    values, inputs = _read(None, arguments)
    async with _session(arguments, settings) as session:
        values |= await inputs.keep(session.studio, session.store)
        await session.run(Path(arguments.file), values)


async def history(arguments: argparse.Namespace, settings: Settings) -> None:
    """List the latest jobs."""
    limit = whole_number("limit", arguments.limit, 1, 1000)
    async with _session(arguments, settings) as session:
        await session.history(limit)


async def show(arguments: argparse.Namespace, settings: Settings) -> None:
    """Show a job's recipe and pictures."""
    async with _session(arguments, settings) as session:
        await session.show(arguments.id)


async def serve(arguments: argparse.Namespace, settings: Settings) -> None:
    """Draw for everybody until interrupted."""
    from bots.service import serve  # no other command needs what it imports

    if sys.stderr.isatty():
        sys.stderr.write("Marble is running. Ctrl-C stops it after running jobs, twice at once.\n")
    log.info("Marble is running")
    with suppress(asyncio.CancelledError):  # the way in which serving ends
        await serve.serve(settings)


async def chat(arguments: argparse.Namespace, settings: Settings) -> int:
    """Answer lines; from a pipe, the exit code says whether every line could be answered."""
    from bots.terminal.chat import converse

    async with _session(arguments, settings) as session:
        return await converse(session)


def _read(prompt: str | None, arguments: argparse.Namespace) -> tuple[Values, TypedInputs]:
    """Return the values and input pictures that were typed, those within a prompt, too."""
    typed = options_of(arguments)
    words: Values = {}
    if prompt is not None:
        text, typed = read_request(prompt, typed, INPUTS)
        check_words(text)
        words["prompt"] = text
    inputs, options = TypedInputs.take(typed)
    return words | parse_values(options), inputs


@asynccontextmanager
async def _session(arguments: argparse.Namespace, settings: Settings) -> AsyncIterator[Session]:
    copy_to, later = out_of(arguments), getattr(arguments, "later", False)
    console = open_console()
    async with open_app(settings) as app:
        session = Session(app, console, later=later, copy_to=copy_to)
        await session.close_abandoned()
        yield session
