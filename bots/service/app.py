"""The composition root: settings → storage → engine → studio; closed in reverse order."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Final

from bots.admission.gate import Gate
from bots.admission.prompt_hook import find_hook
from bots.admission.roles import Roles
from bots.admission.rulebook import Rules
from bots.operations.edit_model import find_edit_model
from bots.operations.ray_cluster import ray_settings
from bots.operations.settings import Settings
from bots.requests.descriptions import Descriptions
from bots.requests.likeness import Likeness
from bots.requests.studio import Studio
from bots.requests.styles import Stylebook
from bots.requests.workflow_folder import WorkflowFolder
from bots.requests.workflows import Workflows
from bots.service.commands import Commands
from bots.service.front_door import FrontDoor
from bots.service.indexing import Indexing
from bots.worker.engines_view import EngineBoard, engine_rows
from bots.worker.maintenance import Maintenance
from bots.worker.pausing import Pausing
from bots.worker.queue_view import limits_of, recall, remember, task_of
from bots.worker.worker import Worker
from engine.check.device_trial import DeviceTrial
from engine.errors import DeviceFault
from engine.executors import Health
from engine.executors.base import end_task
from engine.executors.choose import EXECUTORS, make_executor
from engine.executors.config import AUTO, SEPARATOR, EngineConfig
from engine.executors.embedding import Embedding
from engine.models.catalogue import STARTER, Catalogue
from engine.queue.queue import Queue
from engine.sentences import Sentence
from storage import DatabaseFault, Storage
from storage.errors import OthersPictures, PicturesFault

LOOK: Final = 1.0  # seconds between two searches for jobs that other processes added
AWAY: Final = Sentence("engines_away")
ENGINE: Final = "engine"  # who pauses the queue
UPKEEP: Final = 30  # looks between two searches for what dead processes left behind

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What adapters and the terminal use."""

    settings: Settings
    storage: Storage
    worker: Worker
    pausing: Pausing
    gate: Gate
    studio: Studio
    styles: Stylebook
    workflows: Workflows
    descriptions: Descriptions
    likeness: Likeness
    health: Callable[[], Health]  # of the engine
    commands: Commands
    front_door: FrontDoor = field(default_factory=FrontDoor)


def engine_config(settings: Settings) -> EngineConfig:
    """Return the engine's configuration."""
    return EngineConfig(
        models_dir=settings.models_dir,
        device=settings.device,
        batching=settings.batching,
        compile=settings.compile,
        pictures=settings.data_dir / "pictures",
        pictures_url=settings.pictures_url,
        notes=settings.data_dir / "engine",
        safety_model=settings.safety_model,
        safety_labels=settings.safety_labels,
    )


def roles_of(settings: Settings) -> Roles:
    """Return the owners and moderators of the settings."""
    return Roles(owners=settings.owners, moderators=settings.moderators)


def rules_of(settings: Settings) -> Rules:
    """Return the rules of places that have none of their own."""
    return {
        "per_minute": settings.per_minute,
        "place_per_minute": settings.place_per_minute,
        "daily": settings.daily_budget,
        "keep_days": settings.keep_days,
        "blocked": list(settings.blocked_words),
        "safety": settings.safety,
    }


@asynccontextmanager
async def open_app(settings: Settings, *, serving: bool = False) -> AsyncIterator[App]:
    """Open everything, and close it in reverse order whatever happens inside.

    Jobs that still run at the end go back to the queue. A process that is `serving` also draws
    the jobs that wait in the database and those that dead processes left, from its start on. Any
    other draws only its own jobs.
    """
    catalogue = Catalogue(settings.models_dir)
    edit_model = find_edit_model(settings, catalogue)
    async with (
        Storage.open(settings.data_dir, settings.database_url, settings.pictures_url) as storage,
        make_executor(
            settings.executor, engine_config(settings), ray_settings(settings)
        ) as executor,
        Embedding(settings.clip_model) as embedding,
    ):
        speeds = await recall(storage, settings)
        queue = Queue(lambda: executor.slots, limits_of(settings), speeds)
        hook = find_hook(settings.prompt_hook)
        gate = Gate(storage, roles_of(settings), rules_of(settings), hook)
        pausing = Pausing(storage.moderation, queue, gate.roles)
        await pausing.look()
        most = settings.running_per_person if serving else None
        likeness = Likeness(storage, embedding)
        worker = Worker(
            storage,
            executor,
            queue,
            partial(task_of, settings),
            gate.caps,
            most=most,
            match=likeness.matches,
        )
        if serving:
            await _sweep(storage)
            await take_in(storage, worker)
        async with AsyncExitStack() as tasks:
            tasks.push_async_callback(remember, speeds, settings)
            await tasks.enter_async_context(_running(worker.run(), "marble-worker"))
            await tasks.enter_async_context(_running(pausing.run(), "marble-pausing"))
            if serving:
                devices = report_devices(settings)
                await tasks.enter_async_context(_running(devices, "marble-devices"))
                board = EngineBoard(settings, storage.worker.name)
                tasks.push_async_callback(board.clear)
                upkeep = _upkeep(storage, worker, settings, board, executor.health)
                await tasks.enter_async_context(_running(upkeep, "marble-upkeep"))
                maintenance = Maintenance(storage, queue, settings)
                await tasks.enter_async_context(_running(maintenance.run(), "marble-maintenance"))
            else:
                watching = _watch_engine(queue, executor.health)
                await tasks.enter_async_context(_running(watching, "marble-engine-watch"))
            workflows = WorkflowFolder(settings.workflows_dir)
            if serving:  # a thousand take seconds once, and Discord's completion waits for three
                ahead = _look_ahead(workflows)
                await tasks.enter_async_context(_running(ahead, "marble-workflows"))
            if serving and settings.clip_model:
                indexing = Indexing(likeness, worker.rendered)
                await tasks.enter_async_context(_running(indexing.run(), "marble-indexing"))
            commands = Commands(gate.roles)
            tasks.push_async_callback(commands.close)
            towers = embedding if settings.clip_model == STARTER else None
            descriptions = Descriptions(settings.describe_model, towers)
            tasks.push_async_callback(descriptions.close)
            studio = Studio(
                catalogue,
                storage,
                worker,
                gate=gate,
                default_count=gate.default_count,
                edit_model=edit_model,
            )
            yield App(
                settings=settings,
                storage=storage,
                worker=worker,
                pausing=pausing,
                gate=gate,
                studio=studio,
                styles=Stylebook(storage, gate),
                workflows=Workflows(workflows, studio, storage.pictures, gate),
                descriptions=descriptions,
                likeness=likeness,
                health=executor.health,
                commands=commands,
            )


async def _sweep(storage: Storage) -> None:
    """Remove pictures that no job names; a store that cannot be used is no reason to stop."""
    try:
        await storage.care.sweep()
    except (PicturesFault, OthersPictures) as error:
        log.error("%s", error)


async def _look_ahead(workflows: WorkflowFolder) -> None:
    """Read the workflows before anybody asks for one."""
    await asyncio.to_thread(workflows.look)


async def take_in(storage: Storage, worker: Worker) -> None:
    """Queue the jobs that dead processes were running, and those that wait in the database."""
    await storage.worker.requeue_lost()
    await worker.take_in()


async def report_devices(settings: Settings) -> None:
    """Log which of the devices that are named cannot be used, before the first job fails by it.

    A process of its own tries them, since this one never imports torch. What `auto` and `cpu` mean
    is always there, and on a cluster each machine has its own.
    """
    named = [name for name in settings.device.split(SEPARATOR) if name not in (AUTO, "cpu")]
    if not named or settings.executor not in EXECUTORS:
        return
    async with DeviceTrial() as trial:
        for name in named:
            try:
                await trial.look(name)
            except DeviceFault as error:
                log.error("MARBLE_DEVICE: %s: %s", name, error)


def watch_engine(queue: Queue, health: Health, *, owner: bool = False) -> None:
    """Say why nothing starts while no engine can be reached; go on once one can.

    owner: whether it is said to the owner, who can mend the cause.
    """
    if health.waits and not health.alive:
        queue.pause(Sentence("no_engine_yet", why=health.waits) if owner else AWAY, ENGINE)
    else:
        queue.resume(ENGINE)


async def _watch_engine(queue: Queue, health: Callable[[], Health]) -> None:
    while True:
        watch_engine(queue, health(), owner=True)
        await asyncio.sleep(LOOK)


async def _upkeep(
    storage: Storage,
    worker: Worker,
    settings: Settings,
    board: EngineBoard,
    health: Callable[[], Health],
) -> None:
    last = 0
    for look in count(1):
        await board.show(engine_rows(health(), worker.queue.order), worker.places)
        await asyncio.sleep(LOOK)
        watch_engine(worker.queue, health())
        try:
            if look % UPKEEP == 0:
                await take_in(storage, worker)
                await remember(worker.queue.order.speeds, settings)
            last = await worker.take_in(last)
            await worker.look_ahead()
            await worker.stop_ended()
            await worker.look_elsewhere()
        except DatabaseFault as fault:
            log.warning("the queue could not be checked: %s", fault)


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Run a task until the end of the block, which is cut short if the task fails."""
    task, inside = asyncio.create_task(work, name=name), asyncio.current_task()
    assert inside is not None

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception():
            log.critical("%s failed; Marble stops", name)
            inside.cancel()

    task.add_done_callback(ended)
    try:
        yield
    finally:
        await end_task(task)
