import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from bots.operations import logs

TOKEN = "123456:secret-half"


@pytest.fixture(autouse=True)
def levels_as_they_were() -> Iterator[None]:
    yield
    for name in logs.OURS:
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_service_logs_json_where_nobody_sits_before_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.set_up(False, service=True)
    logging.getLogger("bots.worker.worker").info("job %d: %s", 12, "rendered")
    logging.getLogger("httpx").info("GET https://somewhere")
    logging.getLogger("httpx").warning("odd")
    first, second = lines(capsys)
    assert first.pop("time").endswith("+00:00")
    assert first == {"level": "info", "logger": "bots.worker.worker", "message": "job 12: rendered"}
    assert second["logger"] == "httpx"


async def test_a_line_names_the_job_and_attempt_that_its_task_is_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.set_up(False, service=True)
    log = logging.getLogger("engine.anything")
    both = asyncio.Barrier(2)

    async def work(job: int) -> None:
        with logs.about(job, epoch=job + 1):
            await both.wait()
            log.info("at work")
        log.info("after")

    await asyncio.gather(work(1), work(2))
    found = [(line["message"], line.get("job"), line.get("attempt")) for line in lines(capsys)]
    assert sorted(found, key=str) == [
        ("after", None, None),
        ("after", None, None),
        ("at work", 1, 2),
        ("at work", 2, 3),
    ]


def test_secrets_are_taken_out_of_every_line_and_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.set_up(False, [TOKEN], service=True)
    try:
        raise ValueError(f"https://api/bot{TOKEN}/getMe")
    except ValueError:
        logging.getLogger("bots").exception("asking %s failed", TOKEN)
    said = capsys.readouterr().err
    assert "secret-half" not in said
    assert json.loads(said)["error"].startswith("Traceback")


def test_a_person_at_a_terminal_reads_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(False)
    logging.getLogger("bots").warning("nothing to worry about")
    try:
        raise ValueError("inner")
    except ValueError:
        logging.getLogger("bots").exception("It failed")
    said = capsys.readouterr().err
    assert said == "marble: It failed (ValueError: inner; MARBLE_DEBUG=1 shows more)\n"
