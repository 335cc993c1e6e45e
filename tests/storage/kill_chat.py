"""A chat server for the kill test: it hands out commands and counts the replies people see."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

POISON = "poison"


@dataclass
class ChatServer:
    """Speak JSON lines; commands are repeated until the offset moves past them, as Telegram's."""

    prompts: list[str]
    offset: int = 0
    placeholders: dict[int, int] = field(default_factory=dict)  # message → command
    replies: dict[int, str] = field(default_factory=dict)  # message → what it became
    requests: int = 0
    on_request: Callable[[], None] = lambda: None
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen and return the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def outcome(self, command: int) -> list[str]:
        """Return every final reply to a command."""
        shown = (message for message, of in self.placeholders.items() if of == command)
        return [self.replies[message] for message in shown if message in self.replies]

    def answered(self) -> Counter[int]:
        """Return how many final replies each command has."""
        return Counter(self.placeholders[message] for message in self.replies)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self.requests += 1
                answer = getattr(self, f"_{(request := json.loads(line)).pop('do')}")(**request)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
                self.on_request()
        except ConnectionError:
            pass  # killed in the middle of a sentence
        finally:
            writer.close()

    def _updates(self, offset: int, limit: int) -> list[Any]:
        self.offset = max(self.offset, offset)
        return [
            {"id": number, "prompt": self.prompts[number]}
            for number in range(self.offset, min(self.offset + limit, len(self.prompts)))
        ]

    def _placeholder(self, command: int) -> int:
        message = len(self.placeholders) + 1
        self.placeholders[message] = command
        return message

    def _edit(self, message: int, text: str) -> bool:
        self.replies[message] = text
        if len(self.answered()) == len(self.prompts):
            self.finished.set()
        return True
