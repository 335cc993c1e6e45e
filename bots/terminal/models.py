"""`marble models`: list, check and fetch models."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from bots.operations.settings import Settings
from bots.terminal.console import Listing, open_console, styled
from engine.errors import BrokenModel, UnknownModel, UserError, some
from engine.models.catalogue import Catalogue, Checkpoint
from engine.models.downloads import DOWNLOADS, find
from engine.models.folders import ModelKind
from engine.models.model_files import find_parts, list_parts

GIGABYTE: Final = 1_000_000_000
FINE: Final = Text("good", style="green")


async def models(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run a command of `marble models`; return its exit code: 1 if a model cannot be used."""
    act = {None: _list, "check": _check, "get": _get}[arguments.act]
    return await act(arguments, settings)


async def _list(arguments: argparse.Namespace, settings: Settings) -> int:
    table, catalogue = _table("draws with"), Catalogue(settings.models_dir)
    for name in catalogue.names():
        try:
            checkpoint = catalogue.get(name)
            _add(table, name, checkpoint, _defaults(checkpoint))
        except BrokenModel as error:
            _add(table, name, None, _red(error.reason))
    console = open_console()
    console.print(table)
    parts = [(name, kind) for kind, name in list_parts(settings.models_dir)]
    _print_parts(console, ("part", "kind"), parts)
    return 0


async def _check(arguments: argparse.Namespace, settings: Settings) -> int:
    from engine.check.models import examine, examine_parts  # with torch

    catalogue = Catalogue(settings.models_dir)
    if arguments.name:
        models, parts = _meant(catalogue, arguments.name)
    else:
        models, parts = catalogue.names(), list_parts(settings.models_dir)
    table, console, failures = _table("verdict"), open_console(), 0
    verdicts = examine(catalogue, models)
    with console.status("Loading each model …"):
        while (verdict := await asyncio.to_thread(next, verdicts, None)) is not None:
            failures += verdict.problem is not None
            more = _lacking(verdict.checkpoint) + _unread(verdict.unread)
            _add(table, verdict.name, verdict.checkpoint, _verdict(verdict.problem, more))
        found = await asyncio.to_thread(list, examine_parts(settings.models_dir, parts))
    if models:
        console.print(table)
    rows = [(each.name, each.kind, each.title, _verdict(each.problem)) for each in found]
    _print_parts(console, ("part", "kind", "what it is", "verdict"), rows)
    return 1 if failures or any(each.problem for each in found) else 0


def _meant(
    catalogue: Catalogue, names: Sequence[str]
) -> tuple[list[str], list[tuple[ModelKind, str]]]:
    """Return the models and the parts that names mean; raises `UserError` for one of neither."""
    models, parts = [], []
    for name in names:
        found = find_parts(catalogue.models_dir, name)
        parts += found
        try:
            models.append(catalogue.resolve(name))
        except UnknownModel:
            if not found:
                raise
    return models, parts


def _print_parts(
    console: Console, headings: tuple[str, ...], rows: Sequence[tuple[str | Text, ...]]
) -> None:
    """List files beside the models, if there are any."""
    if rows:
        console.print()
        console.print(_table_of(headings, rows))


def _verdict(problem: str | None, more: str = "") -> Text:
    return _red(problem) if problem else FINE + Text(more)


def _unread(names: Sequence[str]) -> str:
    return f"; nothing reads {some(names)}" if names else ""


def _lacking(checkpoint: Checkpoint | None) -> str:
    """Return what a model lacks, as the end of a sentence on it."""
    return "" if checkpoint is None or checkpoint.has_vae else ", with a VAE that --vae names"


async def _get(arguments: argparse.Namespace, settings: Settings) -> int:
    from engine.models.hub import fetch

    console = open_console()
    if arguments.name is None:
        rows = [
            (each.name, f"{each.memory} GB" if each.memory else "", each.title)
            for each in DOWNLOADS
        ]
        console.print(_table_of(("offer", "GPU memory", "what it is"), rows))
        return 0
    download = find(arguments.name)
    if settings.models_dir is None:
        raise UserError(
            "Models need a folder to be fetched into: make one, and name it with MARBLE_MODELS_DIR."
        )
    file = await asyncio.to_thread(fetch, download, settings.models_dir)
    # A file in the folder of models goes by its own name, everything else by what it was asked for.
    name = file.stem if download.home == "checkpoints" else download.name
    console.print(f"{file.name} is here; `marble models check {name}`.")
    return 0


def _table(last: str) -> Listing:
    return Listing("model", "form", "size", last)


def _table_of(headings: Iterable[str], rows: Iterable[tuple[str | Text, ...]]) -> Listing:
    table = Listing(*headings)
    for row in rows:
        table.add(*row)
    return table


def _add(table: Listing, name: str, checkpoint: Checkpoint | None, last: str | Text) -> None:
    facts: Iterable[str] = ("", "")
    if checkpoint:
        facts = checkpoint.family.title, _size(checkpoint.size)
    table.add(name, *facts, last)


def _defaults(checkpoint: Checkpoint) -> str:
    its = checkpoint.defaults
    return (
        f"{its.width}×{its.height}, {its.steps} steps, guidance {its.guidance_scale:g}, "
        f"{its.sampler} {its.schedule}{_lacking(checkpoint)}"
    )


def _red(reason: str) -> Text:
    return styled(reason, "red")


def _size(count: int) -> str:
    return f"{count / GIGABYTE:.2f} GB" if count >= GIGABYTE / 10 else f"{count / 1e6:.0f} MB"
