"""The executors, by their name in the settings, with one engine for each device."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Final

from engine.errors import SettingError
from engine.executors import Executor
from engine.executors.child import ChildExecutor
from engine.executors.config import AUTO, SEPARATOR, EngineConfig
from engine.executors.inprocess import InProcessExecutor
from engine.executors.pool import Make, Pool
from engine.executors.ray_connection import RaySettings
from engine.executors.ray_executor import RayExecutor

CHILD: Final = "child"
EXECUTORS: Final[Mapping[str, Callable[[EngineConfig], Executor]]] = {
    CHILD: ChildExecutor,
    "inprocess": InProcessExecutor,
}
RAY: Final = "ray"  # engines on the machines of a cluster


def make_executor(kind: str, config: EngineConfig, ray: RaySettings | None = None) -> Executor:
    """Return the executor of that name, or made by `module:factory`; raises `SettingError`.

    ray: where a cluster is, for the executor of that name.
    """
    if kind == RAY:
        return RayExecutor(config, ray)
    names = config.device.split(SEPARATOR)
    if kind == CHILD and (len(names) > 1 or names == [AUTO]):
        return _pool(config, names)
    if kind in EXECUTORS:
        if len(names) > 1:
            allowed = f"one device where MARBLE_EXECUTOR is {kind}"
            raise SettingError("MARBLE_DEVICE", config.device, allowed)
        return EXECUTORS[kind](config)
    module, _, name = kind.partition(":")
    try:
        factory: Callable[[EngineConfig], Executor] = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        allowed = f"{', '.join(EXECUTORS)}, {RAY} or module:factory ({error})"
        raise SettingError("MARBLE_EXECUTOR", kind, allowed) from None
    return factory(config)


def _pool(config: EngineConfig, names: Sequence[str]) -> Pool:
    """Return a pool with a child process for each device; `auto` grows to all of the machine."""
    threads = threads_each(names)

    def make(name: str) -> Make:
        return partial(ChildExecutor, replace(config, device=name, threads=threads))

    return Pool({name: make(name) for name in names}, grow=make if names == [AUTO] else None)


def threads_each(names: Sequence[str]) -> int:
    """Return the threads of each engine on the CPU: several divide its processors, one has all."""
    engines = sum(name.startswith("cpu") for name in names)
    return max(1, (os.cpu_count() or 1) // engines) if engines > 1 else 0
