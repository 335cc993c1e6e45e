"""A Bot API server on loopback: unmodified clients connect to it over HTTP.

It keeps chats, messages and files as Telegram does, holds every call to the Bot API's description
and limits (`spec`), counts messages against the flood limits, and breaks as a test tells it to
(`faults`). People act through `people`.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import ClientSession, web
from PIL import Image

from tests.conftest import PATIENCE
from tests.fakes.telegram import methods, spec
from tests.fakes.telegram.faults import Fault

TOKEN: Final = "123456789:AAcanary-canary-canary-canary-canary"
BOT: Final = 123456789
NAME: Final = "marble_test_bot"
GROUP: Final = (20, 60.0)  # messages in a group in any so many seconds
ALL: Final = (30, 1.0)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """Hold one call and how it was answered."""

    method: str
    values: Json
    status: int
    answer: str  # the description of an error
    at: float


@dataclass
class TelegramServer:
    """Be Telegram for one bot."""

    token: str = TOKEN
    calls: list[Call] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)  # calls that break the specification
    floods: list[Call] = field(default_factory=list)  # calls above the limits
    faults: list[Fault] = field(default_factory=list)
    updates: deque[Json] = field(default_factory=deque)
    offset: int = 0  # everything below it is forgotten
    chats: dict[int, Json] = field(default_factory=dict)
    administrators: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    strangers: set[tuple[int, int]] = field(default_factory=set)  # a chat, who is no member of it
    messages: dict[tuple[int, int], Json] = field(default_factory=dict)
    # Whose reply a message sent with ForceReply opens; None: everybody's.
    questions: dict[tuple[int, int], frozenset[int] | None] = field(default_factory=dict)
    deleted: set[tuple[int, int]] = field(default_factory=set)
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)  # callback query → what was shown
    commands: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    webhook: Json | None = None
    closed_topics: dict[tuple[int, int], str] = field(default_factory=dict)  # and how they refuse
    blocked: set[int] = field(default_factory=set)
    migrated: dict[int, int] = field(default_factory=dict)  # groups that became supergroups
    shown: Counter[tuple[int, int]] = field(default_factory=Counter)  # pictures by message
    limits: bool = True
    reads_all: bool = False  # privacy mode is off
    newer: bool = False  # it knows `spec.NEWER`
    allowed: frozenset[str] = frozenset()  # the updates that the bot asked for and that are known
    # Messages that one person sees, by chat and person; and commands that only the bot saw.
    ephemeral: dict[tuple[int, int], list[Json]] = field(default_factory=lambda: defaultdict(list))
    commanded: set[tuple[int, int]] = field(default_factory=set)  # chat, number
    inline: dict[str, Json] = field(default_factory=dict)  # messages sent through the bot, by id
    inline_answers: dict[str, Json] = field(default_factory=dict)  # inline query → its answer
    guests: dict[str, str] = field(default_factory=dict)  # guest query → the message that answers
    inline_mode: bool = True
    drafts: dict[tuple[int, int], str] = field(default_factory=dict)  # chat, draft → its text
    polls: int = 0  # a newer one ends an older one
    poll_cut: bool = False  # the latest was hung up on
    reached: str | None = None  # where the webhook is called, whatever its public address
    _next_update: int = 1000
    _next_message: int = 0
    _sent: dict[int | None, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None
    port: int = 0

    async def start(self) -> None:
        """Listen on a free port of this machine, or again on the one it had."""
        app = web.Application(client_max_size=100 * 2**20)
        app.router.add_route("*", "/bot{token}/{method}", self._serve)
        app.router.add_get("/file/bot{token}/{path:.+}", self._download)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cut every connection and listen no more."""
        assert self._runner
        self.change()
        await self._runner.cleanup()

    @property
    def environment(self) -> dict[str, str]:
        """Return the settings with which Marble finds this server."""
        base = f"http://127.0.0.1:{self.port}"
        return {
            "MARBLE_TELEGRAM_TOKEN": self.token,
            "MARBLE_TELEGRAM_API_BASE": base,
            "MARBLE_TELEGRAM_FILE_BASE": f"{base}/file",
        }

    @property
    def latest(self) -> int:
        """Return the number of the latest update."""
        return self._next_update

    @property
    def me(self) -> Json:
        """Return the bot as Telegram describes it."""
        return {
            "id": BOT,
            "is_bot": True,
            "first_name": "Marble",
            "username": NAME,
            "can_join_groups": True,
            "can_read_all_group_messages": self.reads_all,
            "supports_inline_queries": self.inline_mode,
        }

    def change(self) -> None:
        """Wake whoever waits for something."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Wait until something happens."""
        await self._changed.wait()

    async def until(self, true: Callable[[], Any], what: str = "") -> Any:
        """Wait until something holds, and return it."""
        async with asyncio.timeout(PATIENCE):
            while not (found := true()):
                await self.changed()
        return found

    async def answer_to(self, query: str) -> str:
        """Wait for the answer to a button, and return what it shows."""
        await self.until(lambda: query in self.answers)
        return self.answers[query]

    async def add_update(self, kind: str, body: Json) -> int:
        """Give the bot something to hear of, by its webhook where it has one."""
        self._next_update += 1
        update = {"update_id": self._next_update, kind: body}
        self.updates.append(update)
        self.change()
        if self.webhook:
            await self.call_webhook(update)
        return self._next_update

    async def call_webhook(self, update: Json, secret: str | None = None) -> int:
        """Call the webhook as Telegram does; return the status of its answer."""
        assert self.webhook
        headers = {"X-Telegram-Bot-Api-Secret-Token": secret or self.webhook["secret_token"]}
        async with (
            ClientSession() as session,
            session.post(self.webhook["reached"], json=update, headers=headers) as answer,
        ):
            if answer.status == 200 and update in self.updates:
                self.updates.remove(update)
            return answer.status

    def new_message(self, chat: int, **content: Any) -> Json:
        """Put a message into a chat."""
        self._next_message += 1
        message = {
            "message_id": self._next_message,
            "date": int(time.time()),
            "chat": self.chats[chat],
            **content,
        }
        self.messages[chat, self._next_message] = message
        return message

    def send_inline(self, result: Json) -> str:
        """Send a result of a query to some chat; return the message's id."""
        self._next_message += 1
        number = f"inline-{self._next_message}"
        content = {"text": result["input_message_content"]["message_text"]}
        if markup := result.get("reply_markup"):
            content["reply_markup"] = markup
        self.inline[number] = content
        self.change()
        return number

    def keep_file(self, data: bytes) -> str:
        """Keep a file and return its id."""
        file = f"file-{len(self.files) + 1}"
        self.files[file] = data
        return file

    def photo(self, data: bytes) -> list[Json]:
        """Return a photo's sizes as a message carries them."""
        width, height = Image.open(io.BytesIO(data)).size
        file = self.keep_file(data)
        sizes = {"width": width, "height": height, "file_size": len(data)}
        return [{"file_id": file, "file_unique_id": f"unique-{file}", **sizes}]

    def of_bot(self, chat: int | None = None) -> list[Json]:
        """Return the bot's messages that stand, the oldest first."""
        return [
            message
            for (where, _), message in self.messages.items()
            if message.get("from", {}).get("id") == BOT and chat in (None, where)
        ]

    def calls_of(self, *methods: str) -> list[Call]:
        """Return the calls of some methods that were answered well."""
        return [call for call in self.calls if call.method in methods and call.status == 200]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        form, files = await _read(request)
        try:
            values = spec.check(method, form, files, newer=self.newer)
        except spec.Refused as refusal:
            self.rejected.append(f"{method}: {refusal}")
            return self._error(method, dict(form), 400, f"Bad Request: {refusal}")
        if request.match_info["token"] != self.token:
            return self._error(method, values, 401, "Unauthorized")
        fault = next((each for each in self.faults if each.matches(method, values)), None)
        if fault is not None:
            self.change()
            if fault.before:
                await fault.before()
            if fault.page:
                self._note(Call(method, values, fault.status, "a page", time.monotonic()))
                text = "<html><body>Access denied</body></html>"
                return web.Response(text=text, status=fault.status, content_type="text/html")
            if fault.status:
                return self._error(method, values, fault.status, fault.says, fault.seconds)
            if fault.cut and not fault.takes:
                return self._cut(request)
        if seconds := self._flood(method, values):
            error = self._error(
                method, values, 429, f"Too Many Requests: retry after {seconds}", seconds
            )
            self.floods.append(self.calls[-1])
            return error
        try:
            methods.refuse_migrated(self, values)
            result = await getattr(methods, method)(self, values, files)
        except methods.Refusal as refusal:
            return self._error(
                method, values, refusal.status, refusal.says, migrated=refusal.migrated
            )
        if fault is not None and fault.after:
            await fault.after()
        self._note(Call(method, values, 200, "", time.monotonic()))
        if fault is not None and fault.cut:
            return self._cut(request)
        return web.json_response({"ok": True, "result": result})

    def _note(self, call: Call) -> None:
        self.calls.append(call)
        self.change()

    def _error(
        self,
        method: str,
        values: Json,
        status: int,
        says: str,
        seconds: int = 0,
        migrated: int = 0,
    ) -> web.Response:
        self._note(Call(method, values, status, says, time.monotonic()))
        body: Json = {"ok": False, "error_code": status, "description": says}
        if seconds:
            body["parameters"] = {"retry_after": seconds}
        if migrated:
            body["parameters"] = {"migrate_to_chat_id": migrated}
        return web.json_response(body, status=status)

    def _cut(self, request: web.Request) -> web.StreamResponse:
        """Break the connection instead of answering."""
        assert request.transport
        request.transport.close()
        return web.Response()

    def _flood(self, method: str, values: Json) -> int:
        """Return the seconds to wait for a message above the limits, else count it."""
        chat = values.get("chat_id")
        if not self.limits or not isinstance(chat, int):
            return 0
        if not method.startswith(("send", "edit")) or method == "sendChatAction":
            return 0
        now = time.monotonic()
        for lane, (most, seconds) in ((None, ALL), (chat, GROUP)):
            if lane is not None and lane > 0:
                continue
            times = self._sent[lane]
            while times and times[0] <= now - seconds:
                times.popleft()
            if len(times) >= most:
                return int(times[0] + seconds - now) + 1
        for lane in (None, chat):
            self._sent[lane].append(now)
        return 0

    async def _download(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["token"] != self.token:
            return web.Response(status=401)
        data = self.files.get(request.match_info["path"].removeprefix("files/"))
        return web.Response(status=404) if data is None else web.Response(body=data)


async def _read(request: web.Request) -> tuple[Mapping[str, str], dict[str, bytes]]:
    """Return a call's fields and the files that came with it."""
    form: dict[str, str] = {}
    files: dict[str, bytes] = {}
    if request.content_type == "multipart/form-data":
        boundary = request.headers["Content-Type"].rpartition("boundary=")[2].encode()
        for part in (await request.read()).split(b"--" + boundary)[1:-1]:
            head, _, content = part.removesuffix(b"\r\n").partition(b"\r\n\r\n")
            name = re.search(rb'[; ]name="([^"]+)"', head)
            assert name
            if b"filename=" in head:
                files[name[1].decode()] = content
            else:
                form[name[1].decode()] = content.decode()
    elif request.content_type == "application/json":
        form = {name: json.dumps(value) for name, value in (await request.json()).items()}
    else:
        form = {name: str(value) for name, value in (await request.post()).items()}
    return form, files
