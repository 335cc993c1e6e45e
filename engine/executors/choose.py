"""The executors, by their name in the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final

from engine.errors import SettingError
from engine.executors import Executor
from engine.executors.child import ChildExecutor
from engine.executors.config import EngineConfig
from engine.executors.inprocess import InProcessExecutor

EXECUTORS: Final[Mapping[str, Callable[[EngineConfig], Executor]]] = {
    "child": ChildExecutor,
    "inprocess": InProcessExecutor,
}


def make_executor(kind: str, config: EngineConfig) -> Executor:
    """Return the executor of that name, or made by `module:factory`; raises `SettingError`."""
    if kind in EXECUTORS:
        return EXECUTORS[kind](config)
    module, _, name = kind.partition(":")
    try:
        factory: Callable[[EngineConfig], Executor] = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        allowed = f"{', '.join(EXECUTORS)} or module:factory ({error})"
        raise SettingError("MARBLE_EXECUTOR", kind, allowed) from None
    return factory(config)
