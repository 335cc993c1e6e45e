"""Where a pipeline runs, behind one interface."""

import threading
from collections.abc import AsyncGenerator
from typing import Protocol

from engine.events import Event
from engine.recipe import Recipe


class Executor(Protocol):
    """Run one recipe at a time, wherever that may be."""

    def run(self, recipe: Recipe, stop: threading.Event) -> AsyncGenerator[Event]:
        """Yield the recipe's events as they happen, one `Picture` for each of its pictures.

        Raise `Cancelled` within one step of `stop` being set, `UserError` where the recipe cannot
        be drawn and people may know why.
        """
        ...
