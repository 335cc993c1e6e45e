"""Prometheus metrics: jobs, stages, the queue, the engine, replies. No person, no prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from bots.service.adapters import Service
from bots.worker.engines_view import UP, EngineRow, engine_rows
from bots.worker.progress import Observer
from engine.events import Stage, Verdict
from engine.executors import Health

SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
# What the engine counts besides its ticks is what was done when memory ran out.
TICKS: Final = ("ticks", "rows", "padding")


class Metrics(Observer):
    """Counts events of the worker, and reads other values at each scrape.

    oldest: seconds that the job that came first has waited; it and the backlog are read before.
    """

    def __init__(self, service: Service) -> None:
        self.oldest = 0.0
        self.backlog: dict[str, int] = {}  # replies that wait, by adapter
        self._service = service
        self._registry = registry = CollectorRegistry()
        self._jobs = Counter(
            "marble_jobs",
            "Attempts at jobs that ended, by outcome.",
            ["outcome"],
            registry=registry,
        )
        self._stages = Histogram(
            "marble_stage_seconds",
            "Seconds that jobs spent in each stage of the engine, shared with others.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._verdicts = Counter(
            "marble_pictures",
            "Finished pictures, by what the safety check said of them.",
            ["verdict"],
            registry=registry,
        )
        self.lag = Gauge(
            "marble_loop_lag_seconds",
            "Most seconds by which the event loop was late in the last minute.",
            registry=registry,
        )
        registry.register(self)

    def stage(self, stage: Stage, seconds: float) -> None:
        """Count a stage of a job."""
        self._stages.labels(stage).observe(seconds)

    def ended(self, outcome: str) -> None:
        """Count the end of an attempt."""
        self._jobs.labels(outcome).inc()

    def judged(self, verdict: Verdict) -> None:
        """Count a picture."""
        self._verdicts.labels(verdict).inc()

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield values that others keep; called by the registry."""
        yield from self._queue()
        health = self._service.app.health()
        yield from _engine(health)
        yield from _engines(engine_rows(health, self._service.app.worker.queue.order))
        yield from self._replies()

    def _queue(self) -> Iterator[Metric]:
        order = self._service.app.worker.queue.order
        jobs = GaugeMetricFamily("marble_queue_jobs", "Jobs at hand.", labels=["state"])
        jobs.add_metric(["waiting"], order.waiting)
        jobs.add_metric(["running"], order.running)
        yield jobs
        age = "Seconds that the oldest waiting job has waited."
        yield GaugeMetricFamily("marble_queue_age_seconds", age, value=self.oldest)
        paused = "1 while nothing starts."
        yield GaugeMetricFamily("marble_queue_paused", paused, value=bool(order.reason))

    def _replies(self) -> Iterator[Metric]:
        delivery = self._service.delivery
        replies = CounterMetricFamily(
            "marble_replies", "Replies, by what became of them.", labels=["outcome"]
        )
        replies.add_metric(["delivered"], delivery.delivered)
        replies.add_metric(["abandoned"], delivery.abandoned)
        replies.add_metric(["possibly twice"], delivery.possible_duplicates)
        yield replies
        waits = "Times that a platform asked to wait."
        yield CounterMetricFamily("marble_rate_limit_waits", waits, value=delivery.waits)
        waiting = GaugeMetricFamily("marble_outbox", "Replies that wait.", labels=["adapter"])
        for adapter, count in self.backlog.items():
            waiting.add_metric([adapter], count)
        yield waiting
        up = GaugeMetricFamily("marble_adapter_up", "1 for a chat that works.", labels=["adapter"])
        for each in self._service.adapters:
            up.add_metric([each.name], each.name not in self._service.ailing())
        yield up
        label = ["adapter", "connection"]
        there = GaugeMetricFamily(
            "marble_connection_up", "1 for a lasting connection that is there.", labels=label
        )
        latency = GaugeMetricFamily(
            "marble_connection_latency_seconds", "Time to the answer to a heartbeat.", labels=label
        )
        for each in self._service.adapters:
            for state in each.connections():
                there.add_metric([each.name, state.name], state.away is None)
                if isfinite(state.latency):
                    latency.add_metric([each.name, state.name], state.latency)
        yield from (there, latency)


def _engines(rows: Sequence[EngineRow]) -> Iterator[Metric]:
    """Yield what differs between engines; what all have in common is in `_engine`."""
    label = ["engine"]
    up = GaugeMetricFamily("marble_engines_up", "1 for an engine that works.", labels=label)
    deaths = CounterMetricFamily("marble_engines_deaths", "Deaths, by engine.", labels=label)
    jobs = GaugeMetricFamily("marble_engines_jobs", "Running jobs, by engine.", labels=label)
    held = GaugeMetricFamily(
        "marble_engines_models", "1 for each model that is loaded.", labels=["engine", "model"]
    )
    for row in rows:
        up.add_metric([row.device], row.state == UP)
        deaths.add_metric([row.device], row.restarts)
        jobs.add_metric([row.device], row.jobs)
        for model in row.models:
            held.add_metric([row.device, model], 1)
    yield from (up, deaths, jobs, held)


def _engine(health: Health) -> Iterator[Metric]:
    yield GaugeMetricFamily("marble_engine_up", "1 while it takes jobs.", value=health.alive)
    yield CounterMetricFamily("marble_engine_deaths", "Deaths so far.", value=health.restarts)
    for name in TICKS:
        about = f"{name} of calls of the network since the engine's start."
        yield GaugeMetricFamily(f"marble_engine_{name}", about, value=health.counts.get(name, 0))
    rungs = GaugeMetricFamily(
        "marble_engine_out_of_memory",
        "What was done when memory ran out, since the engine's start.",
        labels=["rung"],
    )
    for name, count in health.counts.items():
        if name not in TICKS:
            rungs.add_metric([name], count)
    yield rungs
