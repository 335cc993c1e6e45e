"""Logging: sentences for a person at a terminal, JSON lines for a service that is collected.

Each line names the job and the epoch of the task that writes it (`about`). Neither people nor
prompts are logged, and secrets are taken out of every line.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

OURS: Final = ("bots", "engine", "storage", "marble")  # who may say more than warnings
# Libraries that would write addresses with tokens, people's words or the rows of the database.
TALKATIVE: Final[Mapping[str, int]] = {
    "discord": logging.INFO,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "telegram": logging.INFO,
}
HIDDEN: Final = "[hidden]"
SHORTEST: Final = 8  # characters; what is shorter would hide ordinary words
_about: ContextVar[Mapping[str, int]] = ContextVar("about", default={})  # noqa: B039  # never changed


class Redacting(logging.Formatter):
    """Formats as another formatter does, tracebacks included, without the secrets."""

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self._inner = inner
        # A token like 123:abc stands in some addresses as 123%3Aabc: its secret half is enough.
        parts = {part for secret in secrets for part in (secret, secret.rpartition(":")[2])}
        self._secrets = sorted((p for p in parts if len(p) >= SHORTEST), key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without secrets."""
        return self.redact(self._inner.format(record))

    def redact(self, text: str) -> str:
        """Return the text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


@contextmanager
def about(job: int, epoch: int) -> Iterator[None]:
    """Name a job and its epoch in what this task logs inside; log lines call it "attempt"."""
    before = _about.set({"job": job, "attempt": epoch})
    try:
        yield
    finally:
        _about.reset(before)


class Lines(logging.Formatter):
    """Writes a JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, level, logger, message, the job if there is one, and any traceback."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_about.get(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class Sentences(logging.Formatter):
    """Writes the kind of an error instead of its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line for a person."""
        error = record.exc_info[1] if record.exc_info else None
        why = f" ({type(error).__name__}: {error}; MARBLE_DEBUG=1 shows more)" if error else ""
        return f"marble: {record.getMessage()}{why}"


def set_up(debug: bool, secrets: Sequence[str] = (), *, service: bool = False) -> None:
    """Log to stderr: errors as one line each for a person at a terminal; more for a service, as
    JSON where stderr is no terminal.
    """
    collected = service and not sys.stderr.isatty()
    inner = Lines() if collected else logging.Formatter() if debug else Sentences()
    handler = logging.StreamHandler()
    handler.setFormatter(Redacting(inner, secrets))
    level = logging.DEBUG if debug else logging.WARNING if service else logging.ERROR
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, least in TALKATIVE.items():
        logging.getLogger(name).setLevel(max(level, least))
    for name in OURS:
        logging.getLogger(name).setLevel(
            logging.INFO if collected and not debug else logging.NOTSET
        )
