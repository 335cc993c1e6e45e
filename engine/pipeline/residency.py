"""Which models are loaded: within a budget of device memory, the least recently used go first."""

from __future__ import annotations

import gc
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from functools import partial
from typing import Final, NamedTuple

import torch

from engine.device.backends import (
    CUDA,
    empty_cache,
    holds_fp8,
    is_out_of_memory,
    memory,
    precision,
)
from engine.device.out_of_memory import NO_MEMORY, Ladder, Rung
from engine.device.tensor_bytes import Evictable
from engine.errors import BrokenModel, EngineError, MarbleError, OutOfMemory, UserError
from engine.events import Stage
from engine.loading.model import Model
from engine.models.catalogue import Catalogue, Checkpoint
from engine.models.memory_plan import Fit, Plan, Room, plan
from engine.pipeline.costs import LARGE, Measure
from engine.pipeline.loaded_model import LoadedModel
from engine.sentences import Sentence

log = logging.getLogger(__name__)

SHARE: Final = 0.8  # of the device's memory for models; the rest is for activations
MOMENT: Final = 0.02  # seconds
REFUSED: Final = "refused"  # with a model's name: what is not loaded again for a while


Load = Callable[[Checkpoint, bool], Model]  # True: into main memory, not the device's


class _Wanted(NamedTuple):
    """A model that is to be loaded, under the name that recipes give it.

    state: of its files, before they are read; size: the bytes that it will take; planned: its plan,
    if it has one.
    """

    name: str
    checkpoint: Checkpoint
    state: Hashable
    size: int
    planned: Plan | None

    @property
    def in_turns(self) -> bool:
        """Return whether its parts fit on the device one at a time alone."""
        return self.planned is not None and self.planned.fit in (Fit.IN_TURNS, Fit.BY_GROUPS)

    @property
    def ways(self) -> list[tuple[Rung | None, bool]]:
        """Return how it is loaded, in turn: by which fallback, and whether into main memory."""
        ways = [(None, self.in_turns), (Rung.EMPTY_CACHE, self.in_turns)]
        return ways if self.in_turns else [*ways, (Rung.OFFLOAD, True)]


class _Loading(NamedTuple):
    """A model that the thread loads; left: the ways that are still to be tried."""

    wanted: _Wanted
    offloaded: bool
    left: Sequence[tuple[Rung | None, bool]]
    future: Future[Model]


class _Left(NamedTuple):
    """The ways that are still to be tried of a model for which memory ran out."""

    wanted: _Wanted
    ways: Sequence[tuple[Rung | None, bool]]


class _Refused(NamedTuple):
    """A model that could not be loaded, and what makes the error.

    used: the models whose jobs held the memory that it lacked; once one is done it is tried again.
    """

    wanted: _Wanted
    error: Callable[[], MarbleError]
    used: frozenset[str] = frozenset()


class Residency:
    """The loaded models; the least recently used are evicted when a new one needs room.

    Large models are loaded in a thread of their own, so that the jobs of others go on meanwhile:
    nothing that loads may change torch's defaults, which are those of all threads. beside: what
    else counts in the budget, dropped after idle models; room: what there is on the device and
    beside it, to which plans of flow models are made (None: without plans).
    """

    def __init__(
        self,
        catalogue: Catalogue,
        load: Load,
        measure: Measure,
        ladder: Ladder,
        budget: int,
        beside: Sequence[Evictable] = (),
        room: Room | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._load = load
        self._measure = measure
        self._ladder = ladder
        self._budget = budget
        self._beside = beside
        self._room = room
        # What was loaded by each name, its files' state, and the bytes that it took.
        self._made_from: dict[str, tuple[Checkpoint, Hashable, int]] = {}
        self._loaded_models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="marble-load")
        self._loading: _Loading | None = None
        self._waiting: _Wanted | None = None  # which model there was no room for when last asked
        self._left: _Left | None = None
        self._refused: dict[str, _Refused] = {}
        ladder.make_room = self.evict_idle

    def get(self, name: str) -> LoadedModel | None:
        """Return a loaded model and mark it as used last, or None; raises `UserError`.

        One whose files were replaced is evicted as soon as no job uses it.
        """
        loaded_model = self._loaded_models.get(name)
        if loaded_model is None:
            return None
        if not loaded_model.users and self._is_outdated(name, loaded_model):
            self._drop(name)
            return None
        self._loaded_models.move_to_end(name)
        return loaded_model

    def _is_outdated(self, name: str, loaded_model: LoadedModel) -> bool:
        """Return whether files that it was loaded from have changed, or what describes it."""
        checkpoint = self._catalogue.get(name)
        made_from = self._made_from[name][:2]
        return loaded_model.changed or made_from != (checkpoint, checkpoint.state)

    def check(self, name: str) -> Checkpoint:
        """Describe a model that will be loaded later, or raise `UserError` where it cannot be."""
        loaded_model = self._loaded_models.get(name)
        return loaded_model.model.checkpoint if loaded_model else self._wanted(name).checkpoint

    def load(self, name: str) -> LoadedModel | None:
        """Load a model, or raise `UserError`; one that cannot fit is refused unloaded.

        Returns None while models in use leave no room, and while a large one is being loaded: ask
        again. With no other model in use it is loaded in any case.
        """
        if self.at_work:
            return None
        its = self._loading is not None and self._loading.wanted.name == name
        error = self._keep_loaded()
        if its and error and not _ran_out(error):
            raise error
        if its and not error:
            return self._loaded_models[name]
        if (waiting := self._still_waiting(name)) and not self._has_room(waiting):
            return None
        wanted = self._wanted(name)
        if not self._has_room(wanted):
            self._waiting = wanted
            return None
        self._waiting = None
        ways = wanted.ways
        if self._left and self._left.wanted == wanted:
            ways = [*self._left.ways]
        self._left = None
        if wanted.checkpoint.size >= LARGE:
            self._submit(wanted, ways)
            return None
        loads = [(rung, partial(self._load_now, wanted, offloaded)) for rung, offloaded in ways]
        try:
            return self._add(wanted, self._ladder.climb(Stage.LOAD, loads))
        except (BrokenModel, OutOfMemory) as error:
            self._refuse(wanted, error)
            raise

    def _wanted(self, name: str) -> _Wanted:
        """Describe what is to be loaded by that name, or raise `UserError`."""
        checkpoint = self._catalogue.get(name)
        state = checkpoint.state
        self._check_refused(name, checkpoint, state)
        planned = self._plan(checkpoint)
        *before, size = self._made_from.get(name, (None, None, 0))
        if before != [checkpoint, state]:
            size = planned.on_device if planned else checkpoint.size
        return _Wanted(name, checkpoint, state, size, planned)

    def _still_waiting(self, name: str) -> _Wanted | None:
        """Return what is to be loaded by that name if it was described, and its files are as they
        were: jobs ask with each tick.
        """
        waiting = self._waiting
        if waiting and waiting.name == name and waiting.checkpoint.state == waiting.state:
            return waiting
        return None

    def _has_room(self, wanted: _Wanted) -> bool:
        """Evict idle models until there is room for another; return whether there is.

        With no other model it is loaded in any case.
        """
        if not self._make_main_room(wanted):
            return False
        self.make_room(wanted.size)
        return self._used() + wanted.size <= self._budget or not self._loaded_models

    def _plan(self, checkpoint: Checkpoint) -> Plan | None:
        """Return the plan of a flow model, or raise `OutOfMemory` where it cannot fit."""
        # Others have no smaller forms, and have always been tried.
        if self._room is None or not checkpoint.family.parts:
            return None
        planned = plan(checkpoint, self._room)
        if planned.fit is Fit.NOT:
            needed, there = (f"{size / 1e9:.1f}" for size in planned.tightest)
            name = checkpoint.name
            raise OutOfMemory(Sentence("model_too_large", name=name, needed=needed, there=there))
        return planned

    def _make_main_room(self, wanted: _Wanted) -> bool:
        """Evict idle models until main memory holds one whose parts take turns on the device.

        Returns whether it does: models in use may be there.
        """
        planned = wanted.planned
        if planned is None or not wanted.in_turns or planned.room.main is None:
            return True
        idle = [name for name in self._idle() if self._loaded_models[name].in_main_memory]
        while self._main_used() + planned.whole > planned.room.main and idle:
            self._drop(idle.pop(0))
        return self._main_used() + planned.whole <= planned.room.main

    @property
    def held(self) -> list[str]:
        """Return the models that are loaded, the least recently used first."""
        return list(self._loaded_models)

    @property
    def loading(self) -> bool:
        """Return whether the thread is loading a model."""
        return self._loading is not None

    @property
    def at_work(self) -> bool:
        """Return whether the thread is busy, rather than waiting for who takes its model."""
        return self._loading is not None and not self._loading.future.done()

    def wait(self) -> None:
        """Wait a moment for the model that is being loaded."""
        if self._loading:
            wait_for([self._loading.future], MOMENT)

    def close(self) -> None:
        """End the thread once it has loaded what it is loading, which is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._loading = None

    def _submit(self, wanted: _Wanted, ways: Sequence[tuple[Rung | None, bool]]) -> None:
        """Let the thread load a model in the first of these ways."""
        rung, offloaded = ways[0]
        self._ladder.step(Stage.LOAD, rung)
        future = self._thread.submit(self._load_alone, wanted.checkpoint, offloaded)
        self._loading = _Loading(wanted, offloaded, ways[1:], future)

    def _keep_loaded(self) -> BaseException | None:
        """Keep the model that the thread has loaded, whoever asks next; return why there is none.

        If memory ran out the ways that are left are kept, for who asks for it again. Any other
        error is kept, too; one that was not expected is logged while its traceback is there.
        """
        if self._loading is None or self.at_work:
            return None
        wanted, offloaded, left, future = self._loading
        self._loading = None
        error = future.exception()
        if error is None:
            self._add(wanted, self._loaded(wanted, offloaded, future.result()))
            return None
        if not (_ran_out(error) or isinstance(error, MarbleError)):
            log.error("the model %r could not be loaded", wanted.name, exc_info=error)
        # Its frames refer to what was loaded so far, and the future to the error.
        del future
        error.__traceback__ = error.__cause__ = error.__context__ = None
        if _ran_out(error):
            gc.collect()
            empty_cache()
            if left:
                self._left = _Left(wanted, left)
            else:
                self._refuse(wanted, OutOfMemory(NO_MEMORY))
            return error
        known = (
            error
            if isinstance(error, MarbleError)
            else EngineError(f"{type(error).__name__}: {error}")
        )
        self._refuse(wanted, known)
        return known

    @torch.inference_mode()
    def _load_alone(self, checkpoint: Checkpoint, offloaded: bool) -> Model:
        return self._load(checkpoint, offloaded)

    def _load_now(self, wanted: _Wanted, offloaded: bool) -> LoadedModel:
        return self._loaded(wanted, offloaded, self._load(wanted.checkpoint, offloaded))

    def _loaded(self, wanted: _Wanted, offloaded: bool, model: Model) -> LoadedModel:
        return LoadedModel(
            model,
            self._catalogue.models_dir,
            self._measure,
            self._ladder,
            partial(self.make_room, owner=wanted.name),
            offloaded=offloaded,
            in_turns=wanted.in_turns,
            by_groups=wanted.planned.by_groups if wanted.planned else (),
        )

    def _add(self, wanted: _Wanted, loaded_model: LoadedModel) -> LoadedModel:
        self._loaded_models[wanted.name] = loaded_model
        self._made_from[wanted.name] = wanted.checkpoint, wanted.state, loaded_model.size
        self.make_room(0, wanted.name)  # it may be larger than its file
        return loaded_model

    def _refuse(self, wanted: _Wanted, error: MarbleError) -> None:
        """Remember for a while why a model cannot be loaded, for the others that wait for it."""
        # Not the error itself: its frames refer to what was loaded so far.
        used: frozenset[str] = frozenset()
        match error:
            case OutOfMemory():
                again: Callable[[], MarbleError] = partial(OutOfMemory, NO_MEMORY)
                used = self._in_use
            case BrokenModel():
                again = partial(BrokenModel, error.name, error.reason, error.kind)
            case UserError():
                again = partial(UserError, error.said)
            case _:
                again = partial(EngineError, str(error))
        self._refused[wanted.name] = _Refused(wanted, again, used)
        self._ladder.short.add((wanted.name, REFUSED))

    def _check_refused(self, name: str, checkpoint: Checkpoint, state: Hashable) -> None:
        """Raise why a model could not be loaded, as long as nothing has changed."""
        refused = self._refused.get(name)
        if refused and (name, REFUSED) in self._ladder.short:
            before = refused.wanted
            same = (before.checkpoint, before.state) == (checkpoint, state)
            if same and refused.used <= self._in_use:
                raise refused.error()
        self._refused.pop(name, None)

    @property
    def _in_use(self) -> frozenset[str]:
        return frozenset(name for name, each in self._loaded_models.items() if each.users)

    def evict_idle(self) -> None:
        """Evict all models that no job uses, and all parts loaded beside models.

        The text encoders of the others go to main memory.
        """
        self._keep_loaded()
        for name in self._idle():
            self._drop(name)
        for loaded_model in self._with_text():
            loaded_model.send_text_away()
        for each in self._beside:
            each.drop()

    def make_room(self, size: int, owner: str | None = None) -> None:
        """Free the device until `size` bytes more fit in the budget, as far as others than the
        owner can.

        Text encoders go to main memory where that is enough, used or not: whoever has begun a job
        has encoded its words. Else idle models are evicted. If that is not enough, what is loaded
        beside models is dropped.
        """
        self._keep_loaded()
        idle = [name for name in self._idle() if name != owner]
        while (lacking := self._used() + size - self._budget) > 0:
            with_text = self._with_text(owner)
            if with_text and (not idle or lacking <= sum(each.text_size for each in with_text)):
                with_text[0].send_text_away()
            elif idle:
                self._drop(idle.pop(0))
            else:
                break
        if self._used() + size > self._budget:
            for each in self._beside:
                each.drop()

    def _with_text(self, owner: str | None = None) -> list[LoadedModel]:
        """Return the models whose text encoders main memory has room for, idle ones first.

        None where main memory is the device's own.
        """
        main = self._room.main if self._room else None
        if main is None:
            return []
        left = main - self._main_used()
        others = [each for name, each in self._loaded_models.items() if name != owner]
        others.sort(key=lambda each: each.users > 0)
        return [each for each in others if 0 < each.text_size <= left]

    def _idle(self) -> list[str]:
        return [
            name for name, loaded_model in self._loaded_models.items() if not loaded_model.users
        ]

    def _drop(self, name: str) -> None:
        log.info("the model %r is evicted", name)
        del self._loaded_models[name]
        # torch's compiler makes reference circles: collect now, not when the collector runs.
        gc.collect()
        empty_cache()

    def _main_used(self) -> int:
        """Return the bytes of models in main memory, beside the device's own."""
        wanted = self._loading.wanted if self._loading else None
        coming = wanted.planned.whole if wanted and wanted.planned and wanted.in_turns else 0
        return coming + sum(each.in_main_memory for each in self._loaded_models.values())

    def _used(self) -> int:
        models = sum(each.size for each in self._loaded_models.values())
        coming = self._loading.wanted.size if self._loading else 0
        return models + coming + sum(each.size for each in self._beside)


def _ran_out(error: BaseException) -> bool:
    return isinstance(error, (RuntimeError, MemoryError)) and is_out_of_memory(error)


def budget(device: torch.device) -> int:
    """Return the bytes that models may take on a device."""
    return int(SHARE * memory(device))


def room(device: torch.device) -> Room:
    """Return what there is for models on a device; only CUDA's memory lies apart from the main one.

    Models that are found to compute faster in fp32 take about as much as in half precision: what
    would not fit stays as it is stored.
    """
    main = budget(torch.device("cpu")) if device.type == CUDA else None
    return Room(
        budget=budget(device),
        value_bytes=precision(device).itemsize,
        main=main,
        holds_fp8=holds_fp8(device),
    )
