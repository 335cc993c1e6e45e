"""One run: chaos for so long, then quiet, then the account."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientSession

from engine.events import Picture
from engine.executors.child import ChildExecutor
from engine.executors.config import EngineConfig
from engine.spec import Spec
from tests.chaos import evidence, faults
from tests.chaos.account import Account, judge
from tests.chaos.cluster import Machines
from tests.chaos.plan import Event, Plan
from tests.chaos.service import EARLY, GRACE, KILLED, SERVES, TOLD, TWICE, Service
from tests.chaos.stage import CLOCK, Stage, a_stage
from tests.conftest import ROOT

QUIET: Final = 300.0  # seconds after which everything must have ended that was asked for
SETTLED: Final = 2.0  # seconds for which nothing must be left to do
SAMPLE: Final = 3  # jobs that are drawn again
SLACK: Final = 20.0  # seconds beyond the grace time that closing may take on a busy machine
TWO_DAYS: Final = 2 * 86_400
# Exit codes, by why it ended; systemd starts it again after 1.
RIGHT: Final = {
    TOLD: (0,),
    TWICE: (0, -signal.SIGTERM),
    EARLY: (0, -signal.SIGTERM),
    KILLED: (-signal.SIGKILL,),
    "": (1,),
}
METRIC: Final = re.compile(r'^marble_replies_total\{outcome="possibly twice"\} (\d+)', re.M)
# What may lie in the data folder: all else is a file that somebody left behind.
KNOWN: Final = re.compile(
    r"marble\.db(-wal|-shm|-using|-workers)?|discord-unanswered\.jsonl|pictures|engine|backups|"
    r"pictures/../[0-9a-f]{64}\.png|pictures/..|engine/[\w.-]+\.json|engine/serving-workers|"
    r"backups/.*"
)


@dataclass(eq=False)
class Outcome:
    """Hold what a run showed; `wrong` lists what must not be, beside the account."""

    plan: Plan
    command: str = "make chaos"
    account: Account = field(default_factory=Account)
    faults: Counter[str] = field(default_factory=Counter)
    deeds: Counter[str] = field(default_factory=Counter)
    latencies: Mapping[str, Sequence[float]] = field(default_factory=dict)
    ends: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)  # what people were told
    starts: int = 0
    drained: float = 0.0  # seconds from the last fault to the end of all work
    recovery: Mapping[str, float] = field(default_factory=dict)  # … by what they went into
    redrawn: int = 0
    disk: str = ""
    wrong: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """Return everything that no promise allows."""
        return [*self.account.wrong, *self.wrong]


async def run(
    plan: Plan, folder: Path, *, mount: bool, machines: Machines | None = None, **settings: str
) -> Outcome:
    """Let a plan happen in a folder, and return the account of it.

    machines: where it draws, if not on this one.
    """
    outcome = Outcome(plan, "make chaos-cluster" if machines else "make chaos")
    made = a_stage(folder, plan.seconds, mount=mount, machines=machines, **settings)
    async with made as stage:
        outcome.disk = stage.disk.kind
        keeping = asyncio.create_task(stage.service.keep(), name="chaos-service")
        try:
            await stage.ready()
            await _let_happen(stage, plan)
            healed = time.time()
            await _settle(stage, outcome)
            drained = healed + outcome.drained
            await _compare_metric(stage, outcome)
            await stage.service.stop()
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
        stage.crowd.witness.look()
        outcome.recovery = evidence.recovery(stage, healed, drained)
        await _judge(stage, outcome)
    return outcome


async def _let_happen(stage: Stage, plan: Plan) -> None:
    """Let people do what they do, and break what breaks, each in its own time."""
    began = stage.began = time.monotonic()

    async def play(events: Sequence[Event], act: Callable[[Event], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as acts:
            for event in events:
                await asyncio.sleep(began + event.at - time.monotonic())
                acts.create_task(_do(act, event), name=f"chaos {event.kind}")

    async with asyncio.TaskGroup() as both:
        both.create_task(play(plan.deeds, stage.crowd.do), name="chaos-deeds")
        both.create_task(play(plan.faults, lambda e: faults.do(stage, e)), name="chaos-faults")


async def _do(act: Callable[[Event], Awaitable[None]], event: Event) -> None:
    await act(event)


async def _settle(stage: Stage, outcome: Outcome) -> None:
    """End all faults, and wait until nothing is left to do; or say what is."""
    stage.heal()
    began = quiet = time.monotonic()
    while (now := time.monotonic()) - quiet < SETTLED:
        left = _left_to_do(stage)
        if left:
            quiet = now
        if left and now - began > QUIET:
            outcome.drained = now - began
            outcome.wrong.append(f"{left} after {QUIET:.0f} s without a fault")
            return
        await asyncio.sleep(0.2)
    outcome.drained = quiet - began


def _left_to_do(stage: Stage) -> str | None:
    if not stage.service.up.is_set():
        return "it does not run"
    try:
        return evidence.unfinished(stage)
    except sqlite3.Error as error:
        return f"the database cannot be read ({error})"


async def _compare_metric(stage: Stage, outcome: Outcome) -> None:
    """Hold the metric to the log; each process counts for itself, so only the last one's."""
    with suppress(ClientError, OSError):
        async with (
            ClientSession() as session,
            session.get(f"http://127.0.0.1:{stage.metrics_port}/metrics") as answer,
        ):
            found = METRIC.search(await answer.text())
        last = stage.service.marble.log.rpartition(SERVES)[2]
        said = len(evidence.ADMITTED.findall(last))
        if found is None or int(found[1]) != said:
            outcome.wrong.append(f"the metric counts {found and found[1]} repeats, the log {said}")


async def _judge(stage: Stage, outcome: Outcome) -> None:
    """Fill in everything that can be told once Marble has ended."""
    rows = evidence.rows_of(stage)
    outcome.account = judge(
        [row.kept for row in rows.values()],
        evidence.seen_of(stage, evidence.messages_of(stage)),
        evidence.asked_of(stage, rows),
        evidence.admitted(stage.service.marble.log),
    )
    outcome.faults, outcome.starts = stage.done, stage.service.starts
    outcome.failures = Counter(row.error for row in rows.values() if row.error)
    outcome.deeds = Counter(deed.kind for deed in stage.crowd.deeds)
    outcome.latencies = evidence.latencies(stage, rows)
    outcome.ends = Counter(stage.service.ends)
    outcome.wrong += evidence.crossed(stage, rows)
    outcome.wrong += evidence.wrong_pictures(stage, rows)
    outcome.wrong += _ends(stage.service)
    outcome.wrong += _refused_calls(stage)
    outcome.wrong += _secrets(stage)
    outcome.wrong += await _redraw(stage, rows, outcome)
    outcome.wrong += await _left_behind(stage)


def _ends(service: Service) -> list[str]:
    """Return the ends of the process that were not as they should be."""
    found = [
        f"it ended with exit code {code} ({why or 'by itself'})"
        for why, code in service.ends
        if code not in RIGHT.get(why, ())
    ]
    slow = [seconds for seconds in service.drains if seconds > GRACE + SLACK]
    return found + [f"it took {seconds:.0f} s to end" for seconds in slow]


def _refused_calls(stage: Stage) -> list[str]:
    """Return the calls that break a platform's own description."""
    stage.discord.specification.verify()
    rejected = [*stage.telegram.rejected, *map(str, stage.discord.specification.rejected)]
    return [f"a call breaks the specification: {each}" for each in rejected]


def _secrets(stage: Stage) -> list[str]:
    """Return where a token stands in the log."""
    secret = stage.telegram.token.partition(":")[2]
    log = stage.service.marble.log
    return ["a token stands in the log"] if secret in log or stage.discord.token in log else []


async def _redraw(stage: Stage, rows: Mapping[int, evidence.Row], outcome: Outcome) -> list[str]:
    """Draw some jobs again, and compare them byte by byte."""
    drawn = [row for row in rows.values() if row.pictures]
    sample = drawn[:: max(1, len(drawn) // SAMPLE)][:SAMPLE]
    wrong = []
    # With the measurements of the service: they decide how many rows a call has.
    config = EngineConfig(pictures=stage.data / "pictures", notes=stage.notes)
    async with ChildExecutor(config) as executor:
        for row in sample:
            spec = Spec(job=row.kept.job, epoch=1, recipe=row.recipe, alone=False)
            events = [event async for event in executor.run(spec) if isinstance(event, Picture)]
            folder = stage.data / "pictures"
            kept = [(folder / name[:2] / f"{name}.png").read_bytes() for name in row.pictures]
            if [each.png for each in sorted(events, key=lambda e: e.index)] != kept:
                wrong.append(f"job {row.kept.job}, drawn again, gives other pictures")
    outcome.redrawn = len(sample)
    return wrong


async def _left_behind(stage: Stage) -> list[str]:
    """Sweep, as is done at night, two days later; return all that is left that must not be."""
    (stage.folder / "clock").write_text(str(TWO_DAYS))
    sweeping = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SWEEP, str(stage.data)),
        env={**os.environ, "PYTHONPATH": f"{CLOCK}:{ROOT}", "CHAOS_CLOCK": f"{stage.folder}/clock"},
        stdout=asyncio.subprocess.PIPE,
    )
    said = (await sweeping.communicate())[0].decode().strip()
    wrong = [] if said == "ok" else [f"after the sweep: {said}"]
    wrong += [f"process {each} still runs" for each in stage.service.left()]
    files = [str(each.relative_to(stage.data)) for each in stage.data.rglob("*")]
    wrong += [f"the file {each} is left" for each in files if not KNOWN.fullmatch(each)]
    with closing(sqlite3.connect(stage.database)) as database:
        checked = database.execute("PRAGMA quick_check").fetchone()[0]
    return wrong if checked == "ok" else [*wrong, f"the database is damaged: {checked}"]


SWEEP: Final = """
import asyncio, sys
from pathlib import Path
from storage import Storage

async def sweep() -> None:
    async with Storage.open(Path(sys.argv[1])) as storage:
        await storage.care.sweep()
        await storage.worker.requeue_lost()
        report = await storage.care.check(deep=True)
        left = [f"{report.orphans} files that no row names"] if report.orphans else []
        print("; ".join([*report.problems, *left]) or "ok")

asyncio.run(sweep())
"""
