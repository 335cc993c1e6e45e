"""The protocol between parent and child process: frames of JSON and bytes over a socket.

    4 bytes: the header's length · 4 bytes: the payload's · the header, JSON · the payload

Pictures and previews are payloads: 1.5 MB take about a millisecond, and no files are left behind
when a process dies. Nothing is unpickled. Standard library only.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, Final, NamedTuple

from engine.errors import Cancelled, EngineError, Lost, MarbleError, OutOfMemory, UserError
from engine.events import Ended, Key, Picture, Progress, Report, Stage, Verdict
from engine.sentences import Sentence

LENGTHS: Final = struct.Struct("!II")
CANCELLED: Final = "cancelled"
BARE: Final = "%(message)s"  # of log records that are sent: who receives one adds the rest
LIMIT: Final = 2**28  # bytes of a frame's part; anything longer is invalid

# Errors cross as the first of these classes that they are instances of, else as `EngineError`.
ERRORS: Final[Mapping[str, type[UserError | Lost | EngineError]]] = {
    "memory": OutOfMemory,
    "user": UserError,
    "lost": Lost,
    "engine": EngineError,
}


class Frame(NamedTuple):
    """One message."""

    header: Mapping[str, Any]
    payload: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the frame as it is sent."""
        header = json.dumps(self.header).encode()
        return LENGTHS.pack(len(header), len(self.payload)) + header + self.payload


def read(stream: BinaryIO) -> Frame:
    """Read a frame from a blocking stream; raises `EOFError` at its end."""
    lengths = _lengths(_exactly(stream, LENGTHS.size))
    header, payload = (_exactly(stream, length) for length in lengths)
    return Frame(json.loads(header), payload)


async def receive(stream: asyncio.StreamReader) -> Frame:
    """Read a frame from a stream of asyncio; raises `EOFError` at its end."""
    lengths = _lengths(await stream.readexactly(LENGTHS.size))
    header, payload = [await stream.readexactly(length) for length in lengths]
    return Frame(json.loads(header), payload)


def _lengths(data: bytes) -> tuple[int, int]:
    header, payload = LENGTHS.unpack(data)
    if max(header, payload) > LIMIT:
        raise EOFError("not a frame")
    return header, payload


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size) if size else b""
    if len(data) < size:
        raise EOFError
    return data


def pack(report: Report) -> Frame:
    """Write a report into a frame."""
    news = report.news
    header: dict[str, Any] = {"job": report.key.job, "epoch": report.key.epoch}
    if isinstance(news, Progress):
        header |= {"progress": news.stage, "step": news.step, "total": news.total}
        return Frame(header, news.preview or b"")
    if isinstance(news, Picture):
        header |= {"picture": news.index, "width": news.width, "height": news.height}
        header["verdict"] = news.verdict
        return Frame(header, news.png)
    said = news.error.said if isinstance(news.error, UserError) else None
    if isinstance(said, Sentence):
        header["said"] = said.to_dict()
    return Frame(header | {"ended": news.error and _kind(news.error), "text": str(news.error)})


def unpack(frame: Frame) -> Report:
    """Read a report out of a frame."""
    header, payload = frame
    return Report(Key(header["job"], header["epoch"]), _news(header, payload))


def _news(header: Mapping[str, Any], payload: bytes) -> Progress | Picture | Ended:
    if "progress" in header:
        return Progress(
            stage=Stage(header["progress"]),
            step=header["step"],
            total=header["total"],
            preview=payload or None,
        )
    if "picture" in header:
        return Picture(
            index=header["picture"],
            width=header["width"],
            height=header["height"],
            png=payload,
            verdict=Verdict(header["verdict"]),
        )
    kind = header["ended"]
    text, said = header["text"], header.get("said")
    if kind == CANCELLED:
        return Ended(Cancelled())
    return Ended(ERRORS[kind](Sentence.read(text, said) if said else text) if kind else None)


def _kind(error: MarbleError) -> str:
    if isinstance(error, Cancelled):
        return CANCELLED
    return next((name for name, kind in ERRORS.items() if isinstance(error, kind)), "engine")
