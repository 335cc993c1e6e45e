"""`marble models`: list, check and fetch models."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rich.console import Console
from rich.text import Text

from bots.operations.settings import Settings
from bots.presentation.lines import fit_text, size_of
from bots.requests.recipe_builder import lacking_options
from bots.service.app import engine_config
from bots.terminal.arguments import FAILED, OK
from bots.terminal.console import Listing, open_console, styled
from bots.texts import engine_room_of
from engine.check.device_trial import DeviceTrial
from engine.errors import BrokenModel, DeviceFault, MarbleError, UnknownModel, UserError, some
from engine.executors.config import SEPARATOR
from engine.models.catalogue import Catalogue, Checkpoint
from engine.models.downloads import find, offers
from engine.models.folders import FOLDERS, ModelKind
from engine.models.memory_plan import Fit, Plan, Room, plan
from engine.models.model_files import find_parts, list_parts
from engine.recipe.prompt_tags import plain
from engine.sentences import fill

OF_MODELS: Final = ("model", "form", "size")
# Folders of what is checked with a model that needs it.
WITH_MODELS: Final = (*FOLDERS[ModelKind.TEXT_ENCODER][0], *FOLDERS[ModelKind.TOKENIZER][0])
FINE: Final = Text("good", style="green")


async def models(arguments: argparse.Namespace, settings: Settings) -> None:
    """List the models with their defaults, and what lies beside them."""
    table, catalogue = Listing(*OF_MODELS, "memory", "draws with"), Catalogue(settings.models_dir)
    room, fault = None, ""
    try:
        room = await _room_for_models(settings.device)
    except DeviceFault as error:
        fault = str(error)
    for name in catalogue.names():
        try:
            checkpoint = catalogue.get(name)
            fit = _fit(plan(checkpoint, room)) if room else ""
            table.add(name, *_facts(checkpoint), fit, _defaults(checkpoint))
        except BrokenModel as error:
            table.add(name, *_facts(None), "", styled(error.reason, "red"))
    console = open_console()
    console.print(table)
    if fault:
        console.print(styled(f"Whether they fit is not known: {fault}", "red"))
    parts = [(name, kind) for kind, name in list_parts(settings.models_dir)]
    _print_below(console, ("part", "kind"), parts)


async def _room_for_models(wanted: str) -> Room:
    """Return what the first of some devices has for models."""
    async with DeviceTrial() as trial:
        first, *_ = await trial.names_of(wanted)
        return (await trial.look(first)).room


async def check(arguments: argparse.Namespace, settings: Settings) -> int:
    """Load models and what lies beside them; return 1 if one cannot be used.

    A model that is named draws a small picture, too.
    """
    from engine.check.models import examine, examine_parts  # with torch
    from engine.check.trial import try_out

    catalogue = Catalogue(settings.models_dir)
    if arguments.name:
        models, parts = _meant(catalogue, arguments.name)
    else:
        models, parts = catalogue.names(), list_parts(settings.models_dir)
    table, console, failures = Listing(*OF_MODELS, "verdict"), open_console(), 0
    stages: list[tuple[str, ...]] = []
    verdicts = examine(catalogue, models)
    config = engine_config(settings)
    config = replace(config, device=config.device.partition(SEPARATOR)[0])  # one is enough
    with console.status("Loading each model …"):
        while (verdict := await asyncio.to_thread(next, verdicts, None)) is not None:
            its = verdict.checkpoint
            if arguments.name and verdict.problem is None and its and its.has_vae:
                try:
                    for each in await asyncio.to_thread(try_out, its, config):
                        row = each.stage, f"{each.seconds:.1f}", size_of(each.memory)
                        stages.append((verdict.name, *row))
                except MarbleError as error:
                    verdict = replace(verdict, problem=str(error))
            failures += verdict.problem is not None
            unread = f"; nothing reads {some(verdict.unread)}" if verdict.unread else ""
            good = _verdict(verdict.problem, _lacking(verdict.checkpoint) + unread)
            table.add(verdict.name, *_facts(verdict.checkpoint), good)
        found = await asyncio.to_thread(list, examine_parts(settings.models_dir, parts))
    if models:
        console.print(table)
    _print_below(console, ("model", "stage", "seconds", "most memory"), stages)
    rows = [(each.name, each.kind, each.title, _verdict(each.problem)) for each in found]
    _print_below(console, ("part", "kind", "what it is", "verdict"), rows)
    return FAILED if failures or any(each.problem for each in found) else OK


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


def _print_below(
    console: Console, headings: tuple[str, ...], rows: Sequence[tuple[str | Text, ...]]
) -> None:
    """Print a table below another, if it has rows."""
    if rows:
        table = Listing(*headings)
        for row in rows:
            table.add(*row)
        console.print()
        console.print(table)


def _verdict(problem: str | None, more: str = "") -> Text:
    return styled(problem, "red") if problem else FINE + Text(more)


def _lacking(checkpoint: Checkpoint | None) -> str:
    """Return what a model lacks, as the end of a sentence on it."""
    return "" if checkpoint is None or checkpoint.has_vae else ", with a VAE that --vae names"


async def get(arguments: argparse.Namespace, settings: Settings) -> None:
    """Download a model into the folder of models, or list suggestions."""
    from engine.models.hub import fetch

    console = open_console()
    if arguments.name is None:
        table = Listing("offer", "GPU memory", "licence", "what it is")
        for each in offers():
            licence = f"{each.licence}; accept it on the hub first" if each.gated else each.licence
            table.add(each.name, f"{each.memory} GB" if each.memory else "", licence, each.title)
        console.print(table)
        return
    download = find(arguments.name)
    if settings.models_dir is None:
        raise UserError(
            "Models need a folder to be fetched into: make one, and name it with MARBLE_MODELS_DIR."
        )
    file = await asyncio.to_thread(fetch, download, settings.models_dir)
    # A file in the folder of models goes by its own name, a folder by what it was asked for.
    name = file.stem if download.file else download.name
    alone = download.home.partition("/")[0] not in WITH_MODELS
    console.print(f"{file.name} is here{f'; `marble models check {name}`' if alone else ''}.")


def _facts(checkpoint: Checkpoint | None) -> tuple[str, str]:
    """Return a model's family and size, as they are listed."""
    if checkpoint is None:
        return "", ""
    return checkpoint.title, size_of(checkpoint.size)


def _fit(planned: Plan) -> str | Text:
    """Return whether a model fits, in words."""
    text = fit_text(planned, engine_room_of("en"))
    return styled(text, "red") if planned.fit is Fit.NOT else text


def _defaults(checkpoint: Checkpoint) -> str:
    its, always = checkpoint.defaults, "guidance_scale" in checkpoint.lacks
    guidance = f"{'always ' if always else ''}guidance {plain(its.guidance_scale)}, "
    edits = "; edits pictures by words" if checkpoint.references else ""
    without = ", ".join(lacking_options(checkpoint))
    return (
        f"{its.width}×{its.height}, {fill('{n} {n:step|steps}', n=its.steps)}, {guidance}"
        f"{its.sampler} {its.schedule}{_lacking(checkpoint)}{edits}"
        f"{f'; without {without}' if without else ''}"
    )
