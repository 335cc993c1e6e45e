"""python -m tests.chaos [--seconds 600] [--seed N] [--keep FOLDER] [--cluster]

--cluster draws on a local Ray cluster of three nodes, which break, too.

Exits with 1 where anything was lost, doubled beyond rule P3, stuck, or otherwise wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from tests.chaos.cluster import WEIGHTS, machines
from tests.chaos.plan import FAULTS, make_plan
from tests.chaos.report import report
from tests.chaos.run import run


def main() -> int:
    """Read the arguments, let chaos reign, and print the account."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--keep", type=Path, help="a new folder for the data and the log")
    parser.add_argument("--cluster", action="store_true", help="draw on a Ray cluster")
    given = parser.parse_args()
    sys.stdout.write(f"chaos for {given.seconds:g} s with seed {given.seed} …\n")
    sys.stdout.flush()
    faults = WEIGHTS if given.cluster else FAULTS
    plan = make_plan(given.seed, given.seconds, faults)
    with tempfile.TemporaryDirectory(prefix="marble-chaos-") as scratch:
        folder = given.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        where = machines(Path(scratch)) if given.cluster else nullcontext()
        with where as cluster:
            outcome = asyncio.run(run(plan, folder, mount=True, machines=cluster))
        if given.keep is None and outcome.problems:
            sys.stdout.write("the end of its log (--keep FOLDER keeps all of it):\n")
            sys.stdout.writelines(
                (folder / "serve.log").read_text().splitlines(keepends=True)[-20:]
            )
    sys.stdout.write(report(outcome))
    return int(bool(outcome.problems))


if __name__ == "__main__":
    sys.exit(main())
