"""What each command of `marble` does, once its arguments are read."""

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from rich.console import Console

from bots.operations.settings import Settings
from bots.requests.options import Values, parse_values
from bots.requests.typed_options import read_request
from bots.service.app import open_app
from bots.service.serve import serve as work
from bots.terminal.chat import Conversation
from bots.terminal.cli import BAD_INPUT, OK, number, options_of, out_of, upscale_of, whole_number
from bots.terminal.console import open_console
from bots.terminal.db import run as look_after
from bots.terminal.doctor import doctor
from bots.terminal.given import PICTURES, Given, where_to
from bots.terminal.models import run as look_at_models
from bots.terminal.passport import read_picture
from bots.terminal.passport import show as show_reading
from bots.terminal.rules import rules
from bots.terminal.session import Session
from bots.terminal.setup import setup
from bots.terminal.styles import run as look_at_styles
from bots.terminal.top import top
from bots.terminal.watch import pause, queue, resume
from engine.recipe.limits import check_words

log = logging.getLogger(__name__)

__all__ = [
    "chat",
    "db",
    "doctor",
    "history",
    "imagine",
    "models",
    "pan",
    "pause",
    "queue",
    "read",
    "rerun",
    "resume",
    "rules",
    "run",
    "serve",
    "setup",
    "show",
    "styles",
    "top",
    "upscale",
    "vary",
    "zoom",
]


async def imagine(arguments: argparse.Namespace, settings: Settings) -> int:
    """Draw what the words say."""
    # All that can be wrong with the words themselves is said before anything is opened.
    values, given = _read(arguments.prompt, arguments)
    copy_to = out_of(arguments)
    async with _session(settings, later=arguments.later) as (session, _):
        values |= await session.given(given)
        await session.imagine(values, copy_to)
    return OK


async def rerun(arguments: argparse.Namespace, settings: Settings) -> int:
    """Draw a job or one of its pictures again."""
    values, given = _read(arguments.prompt, arguments)
    copy_to = out_of(arguments)
    async with _session(settings, later=arguments.later) as (session, _):
        values |= await session.given(given)
        await session.rerun(arguments.id, values, copy_to)
    return OK


async def vary(arguments: argparse.Namespace, settings: Settings) -> int:
    """Draw a picture like another one."""
    copy_to = out_of(arguments)
    async with _session(settings, later=arguments.later) as (session, _):
        await session.vary(arguments.id, strong=arguments.strong, copy_to=copy_to)
    return OK


async def upscale(arguments: argparse.Namespace, settings: Settings) -> int:
    """Make a picture larger."""
    copy_to, how = out_of(arguments), upscale_of(arguments)
    async with _session(settings, later=arguments.later) as (session, _):
        await session.upscale(arguments.id, how, copy_to=copy_to)
    return OK


async def zoom(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show a picture from further away."""
    copy_to, factor = out_of(arguments), number("--factor", arguments.factor)
    async with _session(settings, later=arguments.later) as (session, _):
        await session.zoom(arguments.id, factor, copy_to=copy_to)
    return OK


async def pan(arguments: argparse.Namespace, settings: Settings) -> int:
    """Continue a picture to one side."""
    copy_to = out_of(arguments)
    words = [word for word in (arguments.id, arguments.direction) if word is not None]
    names, direction = where_to(words)
    async with _session(settings, later=arguments.later) as (session, _):
        await session.pan(names[0] if names else None, direction, copy_to=copy_to)
    return OK


async def read(arguments: argparse.Namespace, settings: Settings) -> int:
    """Say what a picture was made from, whoever made it."""
    reading, names = read_picture(arguments.file)
    show_reading(reading, open_console(), names)
    return OK


async def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Draw what a ComfyUI workflow says."""
    values, given = _read(None, arguments)
    copy_to = out_of(arguments)
    async with _session(settings, later=arguments.later) as (session, _):
        values |= await session.given(given)
        await session.run(Path(arguments.file), values, copy_to)
    return OK


async def history(arguments: argparse.Namespace, settings: Settings) -> int:
    """List the latest jobs."""
    limit = whole_number("limit", arguments.limit, 1, 1000)
    async with _session(settings) as (session, _):
        await session.history(limit)
    return OK


async def show(arguments: argparse.Namespace, settings: Settings) -> int:
    """Show a job's recipe and pictures."""
    copy_to = out_of(arguments)
    async with _session(settings) as (session, _):
        await session.show(arguments.id, copy_to)
    return OK


async def serve(arguments: argparse.Namespace, settings: Settings) -> int:
    """Draw for everybody until interrupted."""
    if sys.stderr.isatty():
        sys.stderr.write("Marble serves; Ctrl-C ends it in good order, twice at once.\n")
    log.info("Marble serves")
    # To be told to stop is how serving ends well.
    with suppress(asyncio.CancelledError):
        await work(settings)
    return OK


async def db(arguments: argparse.Namespace, settings: Settings) -> int:
    """Look after the database."""
    return await look_after(arguments, settings)


async def models(arguments: argparse.Namespace, settings: Settings) -> int:
    """List or check the models."""
    return await look_at_models(arguments, settings)


async def styles(arguments: argparse.Namespace, settings: Settings) -> int:
    """List, add or remove styles."""
    return await look_at_styles(arguments, settings)


async def chat(arguments: argparse.Namespace, settings: Settings) -> int:
    """Talk; from a pipe, the exit code tells whether every line could be answered."""
    async with _session(settings) as (session, console):
        conversation = Conversation(session, console)
        await conversation.run()
    return BAD_INPUT if conversation.failures and not console.is_terminal else OK


def _read(prompt: str | None, arguments: argparse.Namespace) -> tuple[Values, Given]:
    """Return the values and pictures that were typed, those among a prompt's words, too."""
    typed = options_of(arguments)
    words: Values = {}
    if prompt is not None:
        text, typed = read_request(prompt, typed, PICTURES)
        check_words(text)
        words["prompt"] = text
    given, options = Given.take(typed)
    return words | parse_values(options), given


@asynccontextmanager
async def _session(
    settings: Settings, *, later: bool = False
) -> AsyncIterator[tuple[Session, Console]]:
    console = open_console()
    async with open_app(settings) as app:
        session = Session(app, console, later=later)
        await session.recover()
        yield session, console
