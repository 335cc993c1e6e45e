import asyncio
import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bots.operations.settings import load_settings
from bots.presentation.lines import duration, waiting_line
from bots.terminal.places import person
from bots.terminal.progress import LiveProgress
from bots.texts import EN
from bots.worker.queue_view import load_queue
from engine.events import Waiting
from storage import NewJob, Storage
from tests.bots.terminal.conftest import Marble
from tests.factories import add_claimed, make_recipe


def ask(data: Path, *people: str) -> None:
    """Add a job of each of these people, as other processes do."""

    async def add() -> None:
        async with Storage.open(data) as storage:
            for person in people:
                new = NewJob(recipe=make_recipe(count=2), person=person, place="discord")
                await storage.jobs.add(new)

    asyncio.run(add())


def test_an_empty_queue_says_so(marble: Marble) -> None:
    answer = marble("queue")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == "Nothing is running or waiting.\n"


def test_what_waits_is_listed_in_fair_order(marble: Marble, data: Path) -> None:
    ask(data, "discord:ada", "discord:ada", "discord:[bold]bob")
    answer = marble("queue", "--once")
    rows = re.findall(r"^(\d+) +(\d+) +(\S+) ", answer.out, re.M)
    assert rows == [
        ("1", "1", "discord:ada"),
        ("2", "3", "discord:[bold]bob"),
        ("3", "2", "discord:ada"),
    ]
    assert "2 × 64×64, 4 steps, starter" in answer.out


def test_looking_takes_nothing(marble: Marble, data: Path) -> None:
    ask(data, "discord:ada")
    marble("queue")
    assert re.search(r"^1 +1 +discord:ada", marble("queue").out, re.M)


def test_a_pause_is_shown_with_its_reason_until_somebody_resumes(
    marble: Marble, data: Path
) -> None:
    assert "not paused" in marble("resume").out
    assert "The queue is paused until" in marble("pause", "A new", "card [soon]").out
    assert re.fullmatch(
        rf"Paused for \d+ s by {re.escape(person())}: A new card \[soon\]\n"
        r"Nothing is running or waiting\.\n",
        marble("queue").out,
    )
    ask(data, "discord:ada")
    assert "A new card [soon]" in marble("queue").out
    assert "The queue has been resumed" in marble("resume").out
    assert "Paused" not in marble("queue").out
    answer = marble("pause", " ")
    assert (answer.code, "The reason must be" in answer.err) == (2, True)


@pytest.mark.parametrize(("terminal", "lines"), [(False, 2), (True, 0)])
def test_where_no_live_line_is_a_pause_is_told_once_for_each_reason(
    capsys: pytest.CaptureFixture[str], terminal: bool, lines: int
) -> None:
    console = Console(file=StringIO(), force_terminal=terminal)
    with LiveProgress(console, previews=False) as progress:
        for reason in (None, "A new card.", "A new card.", "Back at noon."):
            progress.show(Waiting(position=1, reason=reason))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == lines
    assert said[:1] == ["Marble is paused: A new card; Ctrl-C cancels."][:lines]


def test_a_job_whose_process_died_is_shown_as_waiting(marble: Marble, data: Path) -> None:
    """The database says that it runs until somebody takes it back; people are told the truth."""

    async def begin() -> None:
        async with Storage.open(data) as storage:
            new = NewJob(recipe=make_recipe(), person="discord:ada", place="discord")
            job = await add_claimed(storage, new)
            assert await storage.worker.lost() == frozenset()
            async with Storage.open(data) as other:
                assert await other.worker.lost() == frozenset()
                settings = load_settings({"MARBLE_DATA_DIR": str(data)})
                [running] = (await load_queue(other, settings)).entries
            assert (running.job.id, running.position) == (job.id, 0)

    asyncio.run(begin())
    answer = marble("queue")
    assert re.search(
        r"^1 +1 +discord:ada .*\(again: the process that drew it died", answer.out, re.M
    )
    assert "running" not in answer.out

    async def take_back() -> None:
        async with Storage.open(data) as storage:
            await storage.worker.requeue_lost()

    asyncio.run(take_back())
    told = re.search(r"^1 +1 +discord:ada .*\(alone: a process", marble("queue").out, re.M)
    assert told, "why others wait for it"


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        (Waiting(position=1), "next in line"),
        (Waiting(position=1, eta=7.6), "next in line, about 8 s"),
        (Waiting(position=12, eta=200), "number 12 in line, about 3 min"),
        (Waiting(position=2, reason="Back at noon."), "number 2 in line, paused: Back at noon."),
    ],
)
def test_the_live_line_says_place_and_time(waiting: Waiting, said: str) -> None:
    assert waiting_line(waiting, EN) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "1 s"), (59.6, "60 s"), (99.4, "99 s"), (119, "2 min"), (7300, "2 h")],
)
def test_lengths_of_time_are_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds, EN) == said
