"""What a job costs on an engine, and what removing a model for it is expected to cost."""

from __future__ import annotations

from typing import Final

from engine.queue.estimates import Speeds
from engine.queue.tasks import Task

WINDOW: Final = 16  # jobs that an eviction is weighed by
FADING: Final = 0.98  # weight of earlier jobs in a model's popularity, with each job that starts
LARGEST: Final = 1e100  # of these weights, before they are scaled down


class Costs:
    """What a task costs on each kind of device, in seconds: its own, and loads by model."""

    def __init__(self, task: Task, speeds: Speeds) -> None:
        self._work, self._speeds = task.work, speeds
        self._known: dict[str, tuple[float, dict[str, float]]] = {}

    def of(self, kind: str) -> tuple[float, dict[str, float]]:
        """Return the task's own seconds on a kind of device, and those of loading each model."""
        if kind not in self._known:
            loads = {model: self._speeds.loading(model, kind) for model in self._work.models}
            self._known[kind] = self._speeds.seconds(self._work, kind), loads
        return self._known[kind]

    def least_with_loading(self) -> float:
        """Return the least on an engine of a kind asked for that has to load a model."""
        return min(seconds + min(loads.values()) for seconds, loads in self._known.values())


class Popularity:
    """How often models are used, the latest jobs counting most."""

    def __init__(self) -> None:
        self._weights: dict[str, float] = {}
        self._unit, self._total = 1.0, 0.0

    def copy(self) -> Popularity:
        """Return an independent copy."""
        twin = Popularity()
        twin._weights, twin._unit, twin._total = dict(self._weights), self._unit, self._total
        return twin

    def count(self, model: str) -> None:
        """Count a job that starts."""
        self._weights[model] = self._weights.get(model, 0.0) + self._unit
        self._total = self._total + self._unit
        self._unit /= FADING
        if self._unit > LARGEST:
            self._weights = {m: w / self._unit for m, w in self._weights.items()}
            self._weights = {m: w for m, w in self._weights.items() if w > 1 / LARGEST}
            self._total, self._unit = sum(self._weights.values()), 1.0

    def chance(self, model: str) -> float:
        """Return the chance that one of the next `WINDOW` jobs wants a model."""
        share = self._weights.get(model, 0.0) / self._total if self._total else 0.0
        return min(1.0, share * WINDOW)
