"""Measure the search by meaning: `python -m tests.bench.vectors`; prints one table.

--rows N     pictures (default 1,000,000); vectors are random, the hardest for int8
--tries N    questions of each kind (default 200); a tenth of them of plain numpy
--folder F   where the database and its files lie (default: a temporary folder)
--pairs N    jobs that are drawn beside indexing and without it (default 60), by the bundled models
--jobs       measure those alone

Rows are scanned in int8, and the best scored anew from the database: for certain the nearest at
width 64.
Plain numpy makes fp32 of the same rows, block by block, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from sqlalchemy import Connection, insert

from engine.executors.embedding import Embedding
from engine.models.catalogue import STARTER
from engine.pictures.images import to_png
from storage import NewJob, Storage
from storage.clock import utc_now
from storage.database.tables import jobs, pictures, vectors
from storage.jobs.intake import row_of
from storage.records import Tower
from storage.vectors import scan
from storage.vectors.scan import Floats, numkong_dots, numpy_dots
from storage.vectors.vectors import STORED, Vectors
from tests.bench.making_of import WARM, draw, drawer, interval
from tests.bench.storage import p
from tests.conftest import ROOT
from tests.factories import make_recipe, pixels

TOWERS: Final = (Tower("bench-narrow", 64), Tower("bench-wide", 512))
GOALS: Final = {64: 50, 512: 150}  # ms for 99 of 100 searches of 1,000,000 rows
EACH: Final = 4  # pictures of a job
CHUNK: Final = 2_500  # jobs that are stored at once
PEOPLE: Final = 100
BEST: Final = 10
COMPARED: Final = 50  # times that pictures are compared with a prompt
BUSY: Final = "import torch\ntorch.set_num_threads(1)\nx = torch.rand(700, 700)\nwhile True: x @ x"


def say(*columns: str) -> None:
    """Print one row of the table."""
    widths = (52, 12, 12, 34)
    line = "".join(f"{text:<{width}}" for text, width in zip(columns, widths, strict=False))
    sys.stdout.write(line.rstrip() + "\n")
    sys.stdout.flush()


def units(count: int, width: int, seed: int) -> Floats:
    """Return random vectors of length 1."""
    found = np.random.default_rng(seed).standard_normal((count, width), np.float32)
    return np.array(found / lengths(found), np.float32)


def lengths(rows: Floats) -> Floats:
    """Return the length of each row, [n, 1]."""
    return np.array(np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


async def fill(storage: Storage, count: int) -> None:
    """Store jobs with pictures, and a vector of each by either model."""
    people = [f"bench:{number}" for number in range(PEOPLE)]
    new = NewJob(recipe=make_recipe(), person="", place="bench", reply={})
    for person in people:  # the people and the place are stored with their first job
        await storage.jobs.add(replace(new, person=person))
    for start in range(PEOPLE + 1, PEOPLE + 1 + -(-count // EACH), CHUNK):
        numbers = range(start, min(start + CHUNK, PEOPLE + 1 + -(-count // EACH)))
        asked = [
            {"id": job, **row_of(replace(new, person=people[job % PEOPLE]), utc_now())}
            for job in numbers
        ]
        drawn = [
            {"job": job, "index": at, "sha256": f"{job * EACH + at:064x}", "seed": 1}
            | {"width": 256, "height": 256, "size": 1}
            for job in numbers
            for at in range(EACH)
        ]
        made = [
            {"job": each["job"], "picture": each["index"], "model": tower.name}
            | {"width": tower.width, "vector": row.astype(STORED).tobytes(), "match": None}
            for tower in TOWERS
            for each, row in zip(drawn, units(len(drawn), tower.width, start), strict=True)
        ]

        def add(c: Connection, a: Any = asked, b: Any = drawn, d: Any = made) -> None:
            c.execute(insert(jobs), a)
            c.execute(insert(pictures), b)
            c.execute(insert(vectors), d)

        await storage.database.write(add, 60)


def exact(tower: Tower, count: int, questions: Floats) -> list[set[str]]:
    """Return the names of the best pictures for each question, by fp32 over what is stored."""
    best: list[list[tuple[float, str]]] = [[] for _ in questions]
    last = PEOPLE + 1 + -(-count // EACH)
    for start in range(PEOPLE + 1, last, CHUNK):
        numbers = range(start, min(start + CHUNK, last))
        names = [f"{job}.{at + 1}" for job in numbers for at in range(EACH)]
        rows = units(len(names), tower.width, start).astype(STORED).astype(np.float32)
        for of, scores in zip(best, questions @ (rows / lengths(rows)).T, strict=True):
            top = np.argpartition(scores, -BEST)[-BEST:]
            of[:] = sorted([*of, *((float(scores[at]), names[at]) for at in top)])[-BEST:]
    return [{name for _, name in each} for each in best]


async def timed(act: Callable[[Floats], Awaitable[object]], questions: Floats) -> list[float]:
    """Return the seconds of each search."""
    times = []
    for question in questions:
        begin = time.perf_counter()
        await act(question)
        times.append(time.perf_counter() - begin)
    return times


@contextmanager
def a_busy_core() -> Iterator[None]:
    """Let another process compute meanwhile."""
    busy = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def resident() -> float:
    """Return the MB of memory of this process, with the pages of files mapped into it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def measure(home: Path, tower: Tower, count: int, tries: int) -> None:
    """Measure the searches with one model's vectors; each block is a process's after a restart."""
    questions = units(tries, tower.width, 0)
    what = f"width {tower.width}"
    goal = f"goal {GOALS[tower.width]} ms" if count == 1_000_000 else ""
    async with Storage.open(home) as storage:
        [made] = await timed(lambda q: storage.vectors.nearest(tower, q, BEST), questions[:1])
        say(f"{what}: first search, which makes the file", f"{made:.1f} s")
    async with Storage.open(home) as storage:
        before = resident()
        [first] = await timed(lambda q: storage.vectors.nearest(tower, q, BEST), questions[:1])
        memory = f"{resident() - before:.0f} MB, most of them the file's"
        say(f"{what}: first search after a restart", f"{first * 1000:.0f} ms", "", memory)
        rows = [
            {each.picture.name for each in await storage.vectors.nearest(tower, question, BEST)}
            for question in questions
        ]
        truth = exact(tower, count, questions)
        recall = sum(len(a & b) for a, b in zip(rows, truth, strict=True)) / (BEST * tries)
        say(f"{what}: recall@10 against fp32 over all", f"{recall:.4f}")
        for name, dots, some in (
            (f"{what}: all pictures, NumKong", numkong_dots, questions),
            (f"{what}: all pictures, plain numpy", numpy_dots, questions[: max(2, tries // 10)]),
        ):
            await report(name, storage.vectors, tower, dots, some, goal)
            goal = ""
        with a_busy_core():
            name = f"{what}: all pictures, NumKong, one core busy"
            await report(name, storage.vectors, tower, numkong_dots, questions)
        times = await timed(
            lambda q: storage.vectors.nearest_of(tower, "bench:1", q, BEST),
            questions[: max(2, tries // 10)],
        )
        own = f"{what}: one person's {count // PEOPLE:,}, exact"
        say(own, f"{p(times, 0.5):.1f}", f"{p(times, 0.99):.1f}")


async def report(
    name: str, store: Vectors, tower: Tower, dots: scan.Dots, questions: Floats, goal: str = ""
) -> None:
    """Measure searches by one arithmetic, and print their row."""
    store._files[tower]._dots = dots
    times = await timed(lambda q: store.nearest(tower, q, BEST), questions)
    say(name, f"{p(times, 0.5):.1f}", f"{p(times, 0.99):.1f}", goal)


async def forget(home: Path, count: int) -> None:
    """Delete a person, and look for their rows in the files."""
    async with Storage.open(home) as storage:
        begin = time.perf_counter()
        await storage.vectors.prune()
        pruned = time.perf_counter() - begin
        await storage.privacy.forget("bench:1")
        took = time.perf_counter() - begin - pruned
        for tower in TOWERS:
            left = await storage.vectors.nearest_of(
                tower, "bench:1", units(1, tower.width, 0)[0], 1
            )
            assert left == ()
        files = sorted(storage.vectors.folder.glob("*.rows"))
        rows = [
            np.memmap(f, scan.record_of(t.width), "r")
            for t in TOWERS
            for f in files
            if f.stem.endswith(f"-{t.width}")
        ]
        gone = [int((each["id"] == 0).sum()) for each in rows]
        say("looking through both files for what is gone", f"{pruned:.1f} s")
        say(
            "deleting a person",
            f"{took:.1f} s",
            "",
            f"rows overwritten: {gone[0]:,} and {gone[1]:,}",
        )


async def beside_jobs(pairs: int) -> None:
    """Measure how long `--best` compares pictures, and how indexing slows the drawing of jobs."""
    pngs = [to_png(Image.fromarray(pixels(n, 128, 128))) for n in range(EACH)]
    async with Embedding(STARTER) as embedding:

        async def compare(_: Floats) -> None:
            await embedding.text("a marble lion by the sea")
            await embedding.pictures(pngs)

        [first] = await timed(compare, units(1, 1, 0))
        say(f"--best: {EACH} pictures, the process started for them", f"{first * 1000:.0f}")
        times = await timed(compare, units(COMPARED, 1, 0))
        say(f"--best: {EACH} pictures", f"{p(times, 0.5):.1f}", f"{p(times, 0.99):.1f}")
        with drawer(ROOT) as process:
            for _ in range(WARM):
                draw(process)
            for title, resting in ((", one picture a job", True), (" without rest", False)):
                ratios = []
                for number in range(pairs):
                    seconds = {}
                    for indexed in (True, False) if number % 2 else (False, True):
                        files = pngs[: 1 if resting else EACH] if indexed else []
                        seconds[indexed] = await drawing(process, embedding, files, resting)
                    ratios.append(math.log(seconds[True] / seconds[False]))
                say(f"a job's time beside indexing{title}", interval(ratios))


async def drawing(
    process: subprocess.Popen[str], embedding: Embedding, files: list[bytes], resting: bool
) -> float:
    """Return the seconds of one job, while pictures are turned into vectors.

    resting: once; else again and again until the job is drawn.
    """
    drawn = asyncio.Event()

    async def index() -> None:
        await embedding.pictures(files)
        while not (resting or drawn.is_set()):
            await embedding.pictures(files)

    async with asyncio.TaskGroup() as tasks:
        if files:
            tasks.create_task(index(), name="index")
        begin = time.perf_counter()
        await asyncio.to_thread(draw, process)
        took = time.perf_counter() - begin
        drawn.set()
    return took


async def main() -> None:
    """Fill a database and measure it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--tries", type=int, default=200)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--jobs", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    say("beside jobs, ms", "p50", "p99")
    await beside_jobs(arguments.pairs)
    if arguments.jobs:
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        home = Path(folder) / "data"
        begin = time.perf_counter()
        async with Storage.open(home) as storage:
            await fill(storage, arguments.rows)
        took = f"{time.perf_counter() - begin:.0f} s"
        say(f"{arguments.rows:,} pictures, two vectors each, stored", took)
        say("search, ms", "p50", "p99")
        for tower in TOWERS:
            await measure(home, tower, arguments.rows, arguments.tries)
        await forget(home, arguments.rows)


if __name__ == "__main__":
    asyncio.run(main())
