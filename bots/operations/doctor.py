"""`marble doctor`: look at everything that Marble stands on, and say in a line each what is wrong
and what helps.

A check is a function of the settings that yields findings. `checks_of` lists them in the order in
which one thing stands on another, by name, so that nobody pays for a library that they do not use.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Final

from bots.admission.rulebook import POLICY, PREFIX, Safety
from bots.admission.rules import time_text
from bots.operations import proxy
from bots.operations.edit_model import EDIT_MODEL, find_edit_model
from bots.operations.settings import OTHERS, PROXY, VARIABLES, Settings, unknown_settings
from engine.check.device_trial import DeviceSilent, DeviceTrial, NoTorch
from engine.errors import BrokenModel, DeviceFault, UserError, nearest
from engine.files.private import MIN_FREE
from engine.models.catalogue import STARTER, Catalogue

RELEASED: Final = datetime(2026, 11, 1, tzinfo=UTC)  # no honest clock is before this
AHEAD: Final = timedelta(minutes=2)  # that a job of another machine may seem to come from
COMFORT: Final = 2 * 2**30  # bytes under which it is time to think of it
PLAIN: Final = 2 * 2**30  # bytes of memory that Marble and the bundled model want
GIGABYTE: Final = 2**30


class State(StrEnum):
    """How serious a finding is."""

    GOOD = "ok"
    POOR = "look"  # Marble works, but not as it might
    BAD = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding: its subject, the result, and a remedy."""

    what: str
    state: State
    text: str
    cure: str = ""

    def __str__(self) -> str:
        cure = f": {self.cure}" if self.cure else ""
        return f"{self.state:<5} {self.what:<10} {self.text}{cure}"

    @classmethod
    def read(cls, line: str) -> Finding | None:
        """Return the finding of a line that `str` wrote, its remedy at the end of its text.

        None for any other line.
        """
        state, what, text = [*line.split(None, 2), "", "", ""][:3]
        return cls(what, State(state), text) if text and state in {*State} else None


OWN: Final = (
    *("python", "settings", "modes", "proxy", "disk"),
    *("database", "device", "models", "safety", "descriptions", "towers"),
)


def checks_of(settings: Settings) -> Iterator[str]:
    """Yield `module:function` of each check that is wanted, in their order."""
    draws_here = settings.executor != "ray"  # else the cluster's devices count, which Ray tells
    yield from (f"{__name__}:check_{name}" for name in OWN if name != "device" or draws_here)
    if settings.workflows_dir:
        yield "bots.requests.workflow_doctor:check_workflows"
    if settings.pictures_url:
        yield "bots.operations.picture_store:check_pictures"
    if settings.executor == "ray":
        yield "bots.operations.ray_cluster:check_ray"
    if settings.web_address:
        yield "bots.web.doctor:check_web"
    if settings.discord_token:
        yield "bots.discord.doctor:check_discord"
    if settings.telegram_token:
        yield "bots.telegram.doctor:check_telegram"


async def examine(settings: Settings, checks: Iterable[str]) -> AsyncIterator[Finding]:
    """Yield what every check finds; one that fails itself is a finding, too."""
    for check in checks:
        module, _, name = check.partition(":")
        try:
            async for finding in getattr(import_module(module), name)(settings):
                yield finding
        except UserError as error:
            yield Finding(name.removeprefix("check_"), State.BAD, str(error))
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            yield Finding(name.removeprefix("check_"), State.BAD, text)


async def check_python(settings: Settings) -> AsyncIterator[Finding]:
    """Look at Python's version."""
    yield Finding("python", State.GOOD, ".".join(map(str, sys.version_info[:3])))


async def check_settings(settings: Settings) -> AsyncIterator[Finding]:
    """Look for settings whose names mean nothing: a rule that was meant to hold does not."""
    unknown = unknown_settings()
    for name in unknown:
        near = nearest(name, VARIABLES)
        text, cure = f"there is no setting {name}{near}", "see .env.example for all settings"
        yield Finding("settings", State.POOR, text, cure)
    if not unknown:
        yield Finding("settings", State.GOOD, "all settings are known")


async def check_modes(settings: Settings, env_file: Path = Path(".env")) -> AsyncIterator[Finding]:
    """Look at who else can read what is secret or private."""
    if os.name != "posix":
        return
    for path, bits in ((env_file, OTHERS), (settings.data_dir, stat.S_IRWXO)):
        if not path.exists():
            yield Finding("privacy", State.GOOD, f"{path} does not exist yet")
        elif path.stat().st_mode & bits:
            mode = "600" if path.is_file() else "700"
            cure = f"`chmod {mode} {path}`"
            yield Finding("privacy", State.POOR, f"others can read {path}", cure)
        else:
            yield Finding("privacy", State.GOOD, f"only you can read {path}")


async def check_proxy(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the proxy to each address."""
    addresses = {
        "Discord": settings.discord_api_base if settings.discord_token else "",
        "Telegram": settings.telegram_api_base if settings.telegram_token else "",
        "the hub": os.environ.get("HF_ENDPOINT") or proxy.HUB,
    }
    ways: dict[str | None, list[str]] = {}
    for name, address in addresses.items():
        if address:
            ways.setdefault(proxy.proxy_for(settings, address), []).append(name)
    for way, names in ways.items():
        text = f"{proxy.show(way) if way else 'no proxy'} is used to reach {', '.join(names)}"
        if way:
            text += f" (from {PROXY if settings.proxy else 'the environment'})"
        yield Finding("proxy", State.GOOD, text)


async def check_disk(settings: Settings) -> AsyncIterator[Finding]:
    """Look at how much room there is for pictures."""
    folder = settings.data_dir.absolute()
    there = (path for path in (folder, *folder.parents) if path.exists())
    nearest = next(there, Path(folder.anchor))
    free = shutil.disk_usage(nearest).free
    cure = f"free space on the disk of {nearest}, or run `marble db prune --older-than 90d`"
    if not os.access(nearest, os.W_OK):
        cure = f"give it to the user who runs Marble: `chown -R USER {nearest}`"
        yield Finding("disk", State.BAD, f"{nearest} cannot be written", cure)
    elif free < MIN_FREE:
        yield Finding("disk", State.BAD, "less than 64 MB are free; no jobs are accepted", cure)
    elif free < COMFORT:
        yield Finding("disk", State.POOR, f"{free / GIGABYTE:.1f} GB are free", cure)
    else:
        yield Finding("disk", State.GOOD, f"{free / GIGABYTE:.0f} GB are free")


async def check_database(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the database and, by its newest job, at the clock."""
    from storage.care.diagnosis import look

    now = datetime.now(UTC)
    newest = None
    try:
        found = await look(settings.data_dir, settings.database_url)
    except UserError as error:
        yield Finding("database", State.BAD, str(error))
    else:
        newest = found.newest
        state = "is intact" if found.there else "will be created at the first start"
        upgrade = "; the next start upgrades it and keeps a backup" if found.old else ""
        yield Finding("database", State.GOOD, f"{found.where} {state}{upgrade}")
    cure = "set the clock (`timedatectl set-ntp true`)"
    if now < RELEASED:
        yield Finding("clock", State.BAD, f"it says {now:%Y-%m-%d}, which is in the past", cure)
    elif newest and newest > now + AHEAD:
        text = f"the newest job is from {time_text(newest)}, which is in the future"
        yield Finding("clock", State.BAD, text, cure)
    else:
        yield Finding("clock", State.GOOD, time_text(now))


async def check_device(settings: Settings) -> AsyncIterator[Finding]:
    """Try each device that has an engine, and look at its memory."""
    async with DeviceTrial() as trial:
        try:
            names = await trial.names_of(settings.device)
        except DeviceFault as error:
            yield Finding("device", State.BAD, str(error).rstrip("."), _cure_for(error))
            return
        for name in names:
            label = f"{name}: " if len(names) > 1 else ""
            try:
                found = await trial.look(name)
            except DeviceFault as error:
                text, cure = str(error).rstrip("."), _cure_for(error, name)
                # What says what helps says which device it is, too.
                yield Finding("device", State.BAD, label + text if cure else text, cure)
                continue
            size = f"{found.memory / GIGABYTE:.0f} GB"
            text = f"{label}{found.name} with torch {found.torch}, {size}"
            yield Finding("device", State.GOOD, text)
            if found.memory < PLAIN:
                cure = "close other programs, or use a machine with more"
                text = f"{label}{size} is little even for the bundled model"
                yield Finding("memory", State.POOR, text, cure)
        for warning in dict.fromkeys(trial.warnings):
            yield Finding("device", State.POOR, f"torch warns: {warning}")


def _cure_for(error: DeviceFault, device: str = "") -> str:
    """Return what helps against the fault of a device; "" where the fault says so itself."""
    if isinstance(error, DeviceSilent):
        return ""
    if isinstance(error, NoTorch):
        return 'install it (README, "Your GPU") into the environment that runs `marble`'
    if device.startswith("cpu"):  # there are not so many processors
        return "correct MARBLE_DEVICE"
    return 'set MARBLE_DEVICE=auto, or install torch for your GPU (README, "Your GPU")'


async def check_models(settings: Settings) -> AsyncIterator[Finding]:
    """Read the description of every model."""
    catalogue = await asyncio.to_thread(Catalogue, settings.models_dir)
    good = []
    for name in await asyncio.to_thread(catalogue.names):
        try:
            good.append((await asyncio.to_thread(catalogue.get, name)).name)
        except BrokenModel as error:
            state = State.BAD if name == STARTER else State.POOR
            cure = "download it again, or remove it from the folder; the others work"
            yield Finding("models", state, str(error).rstrip("."), cure)
    if good:
        yield Finding("models", State.GOOD, ", ".join(good))
    try:
        edits = await asyncio.to_thread(find_edit_model, settings, catalogue)
    except UserError as error:
        cure = f"set {EDIT_MODEL} to another model, or to none"
        yield Finding("edits", State.BAD, str(error).rstrip("."), cure)
    else:
        if edits:
            yield Finding("edits", State.GOOD, f"{edits} edits pictures by words")


async def check_safety(settings: Settings) -> AsyncIterator[Finding]:
    """Try the image safety check, and look for places that want it where there is none."""
    wanting = await _places_that_want_it(settings)
    name = settings.safety_model
    if name:
        try:
            classifier = await asyncio.to_thread(import_module, "engine.finish.safety")
            labels = await asyncio.to_thread(classifier.examine, name, settings.safety_labels)
        except UserError as error:
            hidden = f"; no picture is shown openly in {', '.join(wanting)}" if wanting else ""
            cure = "see MARBLE_SAFETY_MODEL and MARBLE_SAFETY_LABELS"
            yield Finding("safety", State.BAD, f"{str(error).rstrip('.')}{hidden}", cure)
        else:
            text = f"{name} works; its labels are {', '.join(labels)}"
            cure = "set MARBLE_SAFETY, or `marble rules PLACE safety=refuse`"
            if wanting:
                yield Finding("safety", State.GOOD, text)
            else:
                yield Finding("safety", State.POOR, f"{text}, but no place uses it", cure)
    elif wanting:
        text = f"no picture can be checked, so none is shown openly in {', '.join(wanting)}"
        yield Finding("safety", State.BAD, text, "set MARBLE_SAFETY_MODEL, or safety=off there")
    else:
        yield Finding("safety", State.GOOD, "pictures are not checked (MARBLE_SAFETY_MODEL)")


async def check_descriptions(settings: Settings) -> AsyncIterator[Finding]:
    """Try the model that describes pictures, if there is one."""
    if not settings.describe_model:
        return
    try:
        module = await asyncio.to_thread(import_module, "engine.finish.describe")
        await asyncio.to_thread(module.examine, settings.describe_model)
    except UserError as error:
        yield Finding("describe", State.BAD, str(error).rstrip("."), "see MARBLE_DESCRIBE_MODEL")
    else:
        yield Finding("describe", State.GOOD, f"by {settings.describe_model}")


async def check_towers(settings: Settings) -> AsyncIterator[Finding]:
    """Try the model that compares pictures with words, if there is one."""
    if not settings.clip_model:
        text = "pictures are not compared with words (MARBLE_CLIP_MODEL)"
        yield Finding("clip", State.GOOD, text)
        return
    try:
        module = await asyncio.to_thread(import_module, "engine.finish.towers")
        found = await asyncio.to_thread(module.examine, settings.clip_model)
    except UserError as error:
        yield Finding("clip", State.BAD, str(error).rstrip("."), "see MARBLE_CLIP_MODEL")
    else:
        yield Finding("clip", State.GOOD, f"pictures are compared with words by {found}")


async def _places_that_want_it(settings: Settings) -> list[str]:
    """Return the places whose rule holds unsafe pictures back, as far as they can be looked up."""
    from storage.care.diagnosis import look

    wanting = {"*"} if settings.safety != Safety.OFF else set()
    chosen: Mapping[str, Mapping[str, object]] = {}
    with suppress(UserError):  # the check of the database reports it
        chosen = (await look(settings.data_dir, settings.database_url)).places
    for place, kept in chosen.items():
        rules = {kept.get(prefix + "safety") for prefix in (PREFIX, POLICY)} - {None}
        if rules - {Safety.OFF}:
            wanting.add(place)
        elif rules and place == "*":
            wanting.discard(place)
    return sorted(wanting)
