"""Print a run: what broke, what people did, how long they waited, and the account."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.chaos.run import Outcome


def report(outcome: Outcome) -> str:
    """Return all of it as text."""
    return "".join(f"{line}\n" for line in _lines(outcome))


def _lines(outcome: Outcome) -> Iterator[str]:
    account, plan = outcome.account, outcome.plan
    yield f"faults ({outcome.faults.total()}; the disk is {outcome.disk})"
    yield from (f"  {count:5}  {kind}" for kind, count in outcome.faults.most_common())
    yield f"deeds ({outcome.deeds.total()})"
    yield from (f"  {count:5}  {kind}" for kind, count in outcome.deeds.most_common())
    yield f"the process ({outcome.starts} starts)"
    for (why, code), count in sorted(outcome.ends.items()):
        yield f"  {count:5}  ended with exit code {code} ({why or 'by itself'})"
    yield "seconds (median, 95 of 100, longest)"
    for name, values in outcome.latencies.items():
        yield f"  {_figures(values)}  {name}"
    yield "the account"
    yield f"  {account.jobs:5}  jobs in"
    yield from (f"  {count:5}  … {status}" for status, count in sorted(account.ends.items()))
    yield from (f"  {count:5}    … {reason}" for reason, count in outcome.failures.items())
    for name in ("lost", "doubled", "ambiguous", "stuck", "orphaned", "ignored", "unheard"):
        found: tuple[str, ...] = getattr(account, name)
        yield f"  {len(found):5}  {name}"
        yield from (f"           {each}" for each in found)
    yield f"  {outcome.redrawn:5}  drawn again, byte by byte the same"
    yield f"  {outcome.drained:5.1f}  seconds from the last fault to the end of all work"
    yield from (f"  {seconds:7.1f}  … {kind}" for kind, seconds in outcome.recovery.items())
    yield from (f"WRONG  {problem}" for problem in outcome.problems)
    again = f"{outcome.command} SECONDS={plan.seconds:g} SEED={plan.seed}"
    yield f"{'WRONG' if outcome.problems else 'all well'}; again: {again}"


def _figures(values: Sequence[float]) -> str:
    places = (len(values) // 2, len(values) * 95 // 100, len(values) - 1)
    return " ".join(f"{values[place]:6.2f}" for place in places)
