"""Read files of every form that strangers have changed at random: `make bench-mutations`.

Prints a line for each form: how many files, readings and refusals, other errors (there must be
none), and the most processor time of a file. What took long is timed again, alone.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from tests.engine.formats.mutations import FORMS, SLOW, Tally, read_case, read_cases

CHUNK = 1_000  # files a process reads before it reports
AGAIN = 3  # times that a slow file is read; the fastest counts


def main() -> None:
    """Print the table; exit with 1 where an error was not one of Marble's own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=600_000, help="of files")
    parser.add_argument("--seed", type=int, default=1, help="the same one makes the same files")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that read")
    given = parser.parse_args()
    tallies = {name: Tally() for name in FORMS}
    with ProcessPoolExecutor(given.processes) as pool:
        for part in pool.map(read_cases, repeat(given.seed), _chunks(given.count)):
            for name, tally in part.items():
                tallies[name].add(tally)
    slow = {number: _alone(given.seed, number) for t in tallies.values() for number in t.slow}
    print(f"{'':26}{'files':>8}{'readings':>10}{'refusals':>10}{'others':>8}{'slowest':>10}")  # noqa: T201
    total = Tally()
    for name, tally in tallies.items():
        total.add(tally)
        _show(name, tally)
    _show("all", total)
    print(f"{len(slow)} took more than {SLOW} s of processor time; alone:")  # noqa: T201
    for number, seconds in slow.items():
        still = "still slow" if seconds > SLOW else "not slow"
        print(f"  case {number}: {seconds:.3f} s, {still}")  # noqa: T201
    for fault in total.faults:
        print(fault)  # noqa: T201
    sys.exit(1 if total.faults else 0)


def _chunks(count: int) -> Iterator[range]:
    for start in range(0, count, CHUNK):
        yield range(start, min(count, start + CHUNK))


def _alone(seed: int, number: int) -> float:
    return min(read_case(seed, number)[1].slowest for _ in range(AGAIN))


def _show(name: str, tally: Tally) -> None:
    counts = f"{tally.files:8,}{tally.readings:10,}{tally.refusals:10,}{len(tally.faults):8,}"
    print(f"{name:26}{counts}{tally.slowest:8.3f} s")  # noqa: T201


if __name__ == "__main__":
    main()
