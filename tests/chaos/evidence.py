"""Gather what the account is made of: from the database, from what people saw, and from the log."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from PIL import Image

from bots.presentation.fit import fit_composed
from bots.presentation.grid import compose
from bots.telegram.replies import PHOTO
from engine.recipe.recipe import Recipe
from tests.chaos.account import Asked, Kept, Seen
from tests.chaos.deeds import DISCORD, TELEGRAM, Deed
from tests.chaos.recovery import DOWN, Span, job_spans, logged_spans, shares
from tests.chaos.stage import Stage
from tests.chaos.witness import END, Sighting, State

ADMITTED: Final = re.compile(r"reply of job (\d+) is sent again")
TOLD: Final = 5.0  # seconds in which somebody is told something, where all is well


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Hold a job as the database has it, with the files of its pictures."""

    kept: Kept
    recipe: Recipe
    message: str | None
    event: str | None
    pictures: tuple[str, ...]
    error: str | None


def rows_of(stage: Stage) -> dict[int, Row]:
    """Return all jobs."""
    with closing(sqlite3.connect(stage.database)) as database:
        database.row_factory = sqlite3.Row
        files: dict[int, list[str]] = {}
        for each in database.execute('SELECT job, sha256 FROM pictures ORDER BY job, "index"'):
            files.setdefault(each["job"], []).append(each["sha256"])
        found = database.execute(
            "SELECT jobs.*, seen_events.id AS event, outbox.closed_at AS closed, outbox.delivered "
            "FROM jobs LEFT JOIN seen_events ON seen_events.job = jobs.id "
            "LEFT JOIN outbox ON outbox.job = jobs.id"
        )
        return {each["id"]: _row(each, files.get(each["id"], [])) for each in found}


def _row(found: sqlite3.Row, files: Iterable[str]) -> Row:
    kept = Kept(
        job=found["id"],
        status=found["status"],
        closed=found["closed"] is not None,
        delivered=bool(found["delivered"]),
    )
    return Row(
        kept=kept,
        recipe=Recipe.from_dict(json.loads(found["recipe"])),
        message=found["message"],
        event=found["event"],
        pictures=tuple(files),
        error=found["error"],
    )


def messages_of(stage: Stage) -> dict[str, int]:
    """Return which job each message shows that Marble recorded."""
    with closing(sqlite3.connect(stage.database)) as database:
        return dict(database.execute("SELECT id, job FROM messages").fetchall())


def unfinished(stage: Stage) -> str | None:
    """Say what Marble still has to do, or None."""
    questions = {
        "jobs wait or run": "SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')",
        "replies wait": "SELECT count(*) FROM outbox WHERE closed_at IS NULL",
        "letters wait": "SELECT count(*) FROM letters",
    }
    with closing(sqlite3.connect(stage.database)) as database:
        for what, question in questions.items():
            if count := database.execute(question).fetchone()[0]:
                return f"{count} {what}"
    return None


def admitted(log: str) -> frozenset[int]:
    """Return the jobs whose replies Marble said may come twice."""
    return frozenset(int(job) for job in ADMITTED.findall(log))


def seen_of(stage: Stage, messages: Mapping[str, int]) -> Iterator[Seen]:
    """Yield what people saw of jobs."""
    for sighting in stage.crowd.witness.seen.values():
        job = sighting.job or messages.get(sighting.key)
        waits = sighting.stands and sighting.state is State.WAITING
        if job is None and not waits:
            continue
        platform = sighting.key.partition(":")[0]
        yield Seen(
            key=sighting.key,
            job=job,
            ended=sighting.ended is not None,
            waits=waits,
            doubt=stage.in_doubt(platform, sighting.first, sighting.first + TOLD),
        )


def asked_of(stage: Stage, rows: Mapping[int, Row]) -> Iterator[Asked]:
    """Yield what became of each deed that Marble can have heard of."""
    jobs = {row.event: number for number, row in rows.items()}
    answered = {each.answers for each in stage.crowd.witness.seen.values()}
    for number, deed in enumerate(stage.crowd.deeds):
        if deed.event is not None:
            yield Asked(
                name=f"deed {number} ({deed.kind}, {deed.platform}, {deed.event})",
                heard=_heard(deed),
                answered=_answered(stage, deed, answered),
                job=jobs.get(deed.event),
                doubt=stage.in_doubt(deed.platform, deed.at, deed.at + TOLD),
            )


def _heard(deed: Deed) -> bool:
    """Say whether Marble is bound to answer: Telegram keeps what nobody takes, Discord not."""
    if deed.platform == TELEGRAM:
        return bool(deed.said or deed.query)  # a reaction that does nothing is answered by nothing
    return bool(deed.interaction and deed.interaction.acknowledged is not None)


def _answered(stage: Stage, deed: Deed, answered: set[str | None]) -> bool:
    if deed.query:
        return deed.query in stage.telegram.answers
    if deed.said:
        return deed.said in answered
    if (asked := deed.interaction) is None:
        return True
    told = [asked.original, *asked.followups]
    return any(each and not each.loading for each in told)


def crossed(stage: Stage, rows: Mapping[int, Row]) -> Iterator[str]:
    """Yield jobs that are not what was asked for, and prompts that were drawn as two jobs."""
    asked = {deed.event: deed for deed in stage.crowd.deeds if deed.seed is not None}
    seeds: dict[int, int] = {}
    for number, row in rows.items():
        deed = asked.get(row.event)
        if deed and deed.seed != row.recipe.seed:
            yield f"job {number} has seed {row.recipe.seed}, {deed.seed} was asked for"
        if deed and seeds.setdefault(row.recipe.seed, number) != number:
            yield f"jobs {seeds[row.recipe.seed]} and {number} come from one deed"


def wrong_pictures(stage: Stage, rows: Mapping[int, Row]) -> Iterator[str]:
    """Yield the results whose pixels are not those that are kept for their job."""
    for sighting in stage.crowd.witness.seen.values():
        row = rows.get(sighting.job or 0)
        if sighting.picture is not None and row and not _is_right(stage, sighting, row):
            yield f"{sighting.key} does not show the pictures of job {sighting.job}"


def _is_right(stage: Stage, sighting: Sighting, row: Row) -> bool:
    assert sighting.picture is not None
    if len(row.pictures) == 1:
        return hashlib.sha256(sighting.picture).hexdigest() == row.pictures[0]
    folder = stage.data / "pictures"
    pngs = [(folder / name[:2] / f"{name}.png").read_bytes() for name in row.pictures]
    grid = fit_composed(compose(pngs), PHOTO).data  # far below anybody's limits
    return _pixels(grid) == _pixels(sighting.picture)


def _pixels(picture: bytes) -> tuple[tuple[int, int], bytes]:
    with Image.open(io.BytesIO(picture)) as image:
        return (image.size, image.convert("RGB").tobytes())


def latencies(stage: Stage, rows: Mapping[int, Row]) -> dict[str, list[float]]:
    """Return seconds, sorted: from a deed to the first sign of life, and to its end."""
    ends: dict[int, float] = {}
    for each in stage.crowd.witness.seen.values():
        if each.job is not None and each.ended is not None:
            ends[each.job] = min(each.ended, ends.get(each.job, each.ended))
    jobs = {row.event: number for number, row in rows.items()}
    found: dict[str, list[float]] = {
        "Discord: to the acknowledgement": [
            deed.interaction.acknowledged
            for deed in stage.crowd.deeds
            if deed.interaction and deed.interaction.acknowledged is not None
        ]
    }
    for platform in (DISCORD, TELEGRAM):
        found[f"{platform.title()}: to the job's end"] = [
            ends[jobs[deed.event]] - deed.at
            for deed in stage.crowd.deeds
            if deed.platform == platform and jobs.get(deed.event) in ends
        ]
    return {name: sorted(values) for name, values in found.items() if values}


def recovery(stage: Stage, begins: float, ends: float) -> dict[str, float]:
    """Return where the seconds between the last fault and the end of all work went, by kind.

    begins, ends: by the time of day. What Marble wrote while its clock was off is only as right.
    """
    spans = list(logged_spans(stage.service.marble.log, ends))
    spans += [Span(DOWN, *each) for each in stage.service.absences(ends)]
    with closing(sqlite3.connect(stage.database)) as database:
        for times in database.execute(
            "SELECT jobs.created_at, jobs.started_at, jobs.finished_at, outbox.closed_at "
            "FROM jobs LEFT JOIN outbox ON outbox.job = jobs.id"
        ):
            spans += job_spans([_seconds(each) for each in times], ends)
    return shares(begins, ends, spans)


def _seconds(written: str | None) -> float | None:
    return (
        None if written is None else datetime.fromisoformat(written).replace(tzinfo=UTC).timestamp()
    )


def states(stage: Stage) -> dict[str, int]:
    """Count what the messages of jobs say at the end."""
    counts: dict[str, int] = {}
    for each in stage.crowd.witness.seen.values():
        if each.state in END and each.stands:
            counts[each.state.value] = counts.get(each.state.value, 0) + 1
    return counts
