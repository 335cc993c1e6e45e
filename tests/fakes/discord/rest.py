"""The REST API, as far as a bot of commands, buttons and reactions needs it."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from aiohttp import web

from tests.fakes.discord.world import (
    ATTACH,
    EPHEMERAL,
    IN_THREADS,
    LOADING,
    SEND,
    THREADS,
    VIEW_CHANNEL,
    Attachment,
    Channel,
    Interaction,
    Message,
    member,
)

if TYPE_CHECKING:
    from tests.fakes.discord.server import FakeDiscord

MESSAGE, DEFER, DEFER_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9
GONE: Final = 499  # nobody reads that answer
CONTENT_LIMIT: Final = 2000
FIELDS: Final = 5  # of a form
FOLLOW_UPS: Final = 5  # of an interaction where only a person has installed the app
SUBMITTED: Final = 5  # the interaction of a form that comes back
Body = dict[str, Any]
BODY: Final[Any] = web.RequestKey("body", object)
FILES: Final[Any] = web.RequestKey("files", object)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refused(Exception):
    """Carry an API error: an HTTP status and Discord's own code."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def answer(body: Any, status: int = 200) -> web.Response:
    # Exactly this type: with a charset behind it discord.py takes the body for text.
    return web.Response(
        body=json.dumps(body).encode(), status=status, content_type="application/json"
    )


def _check_form(interaction: Interaction, form: Body) -> None:
    """Refuse a form as Discord does where its published description says nothing."""
    fields = [row["component"] for row in form["components"]]
    named = [field["custom_id"] for field in fields]
    options = [[each["value"] for each in field.get("options", ())] for field in fields]
    chosen = [sum(bool(each.get("default")) for each in f.get("options", ())) for f in fields]
    unique = all(len(each) == len({*each}) for each in (named, *options))
    if interaction.kind == SUBMITTED or len(fields) > FIELDS or not unique or max(chosen) > 1:
        raise Refused(400, 50035, "Invalid Form Body")


class Rest:
    """Answer requests from what the fake knows, and change it."""

    def __init__(self, discord: FakeDiscord) -> None:
        self.discord = discord

    def routes(self) -> list[web.RouteDef]:
        api = "/api/v10"
        commands = f"{api}/applications/{{application}}"
        hook = f"{api}/webhooks/{{application}}/{{token}}"
        messages = f"{api}/channels/{{channel}}/messages"
        return [
            web.get(f"{api}/users/@me", self.me),
            web.get(f"{api}/users/@me/guilds", self.my_guilds),
            web.get(f"{api}/gateway/bot", self.gateway),
            web.get(f"{api}/oauth2/applications/@me", self.application),
            web.get(f"{commands}/commands", self.get_commands),
            web.put(f"{commands}/commands", self.put_commands),
            web.get(f"{commands}/guilds/{{guild}}/commands", self.get_commands),
            web.put(f"{commands}/guilds/{{guild}}/commands", self.put_commands),
            web.post(f"{api}/interactions/{{id}}/{{token}}/callback", self.callback),
            web.post(hook, self.follow_up),
            web.get(f"{hook}/messages/{{message}}", self.get_by_hook),
            web.patch(f"{hook}/messages/{{message}}", self.edit_by_hook),
            web.delete(f"{hook}/messages/{{message}}", self.delete_by_hook),
            web.post(messages, self.send),
            web.get(f"{messages}/{{message}}", self.get_message),
            web.patch(f"{messages}/{{message}}", self.edit),
            web.delete(f"{messages}/{{message}}", self.delete),
            web.post(f"{api}/users/@me/channels", self.open_dm),
            web.get(f"{api}/users/{{user}}", self.user),
            web.get(f"{api}/channels/{{channel}}", self.channel),
            web.get(f"{api}/guilds/{{guild}}/members/{{user}}", self.member),
            web.get("/attachments/{channel}/{id}/{name}", self.download),
        ]

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the token, play faults, validate bodies, and turn refusals into answers."""
        path = unquote(request.path).removeprefix("/api/v10")
        if not request.path.startswith("/api/"):
            return await handler(request)
        self.discord.requests.append((time.monotonic(), request.method, path))
        if fault := self.discord.faults.answer(request.method, path):
            await request.read()
            await self.discord.happened()
            return fault
        try:
            if "/webhooks/" not in path and "/interactions/" not in path:
                self._check_token(request)
            body, files = await _read(request)
            if body is not None:
                self.discord.specification.keep(request.method, path, body)
            request[BODY], request[FILES] = body or {}, files
            response = await handler(request)
            if self.discord.faults.loses(request.method, path) and request.transport:
                request.transport.abort()
            return response
        except Refused as refused:
            body = {"message": refused.message, "code": refused.code}
            return answer(body, refused.status)
        except ConnectionResetError:  # the client was killed while it sent this
            return web.Response(status=GONE)
        finally:
            await self.discord.happened()

    def _check_token(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bot {self.discord.token}":
            raise Refused(401, 0, "401: Unauthorized")

    async def me(self, request: web.Request) -> web.Response:
        return answer(self.discord.bot.json)

    async def my_guilds(self, request: web.Request) -> web.Response:
        return answer(
            [
                {"id": str(each.id), "name": each.name, "permissions": str(each.permissions)}
                for each in self.discord.guilds
                if each.joined
            ]
        )

    async def gateway(self, request: web.Request) -> web.Response:
        return answer(self.discord.gateway.about)

    async def user(self, request: web.Request) -> web.Response:
        return answer(self._user(int(request.match_info["user"])).json)

    async def channel(self, request: web.Request) -> web.Response:
        found = self.discord.channels.get(int(request.match_info["channel"]))
        if found is None or not found.visible:
            raise Refused(404, 10003, "Unknown Channel")
        return answer(found.json)

    async def member(self, request: web.Request) -> web.Response:
        user = int(request.match_info["user"])
        for guild in self.discord.guilds:
            if guild.id == int(request.match_info["guild"]) and guild.joined:
                if user in guild.members:
                    return answer(member(self.discord.people[user]))
                raise Refused(404, 10007, "Unknown Member")
        raise Refused(403, 50001, "Missing Access")

    async def application(self, request: web.Request) -> web.Response:
        bot = self.discord.bot
        return answer(
            {
                "id": str(bot.id),
                "name": bot.name,
                "description": "",
                "icon": None,
                "bot_public": True,
                "bot_require_code_grant": False,
                "owner": {"id": "1", "username": "owner", "discriminator": "0", "avatar": None},
                "verify_key": "0",
                "flags": 0,
                "integration_types_config": {"0": {}, "1": {}},
            }
        )

    async def get_commands(self, request: web.Request) -> web.Response:
        return answer(self.discord.commands)

    async def put_commands(self, request: web.Request) -> web.Response:
        self.discord.syncs += 1
        application = str(self.discord.bot.id)
        self.discord.commands = [
            {
                "dm_permission": True,
                "default_member_permissions": None,
                **command,
                "id": str(self.discord.bot.id + number),
                "application_id": application,
                "version": "1",
                "type": command.get("type", 1),
                "description": command.get("description", ""),
            }
            for number, command in enumerate(request[BODY], start=1)
        ]
        return answer(self.discord.commands)

    async def callback(self, request: web.Request) -> web.Response:
        interaction = self.discord.interactions.get(int(request.match_info["id"]))
        late = interaction and time.monotonic() - interaction.began > self.discord.in_time
        if interaction is None or late or interaction.deaf:
            raise Refused(404, 10062, "Unknown interaction")
        if interaction.acknowledged is not None:
            interaction.refusals += 1
            raise Refused(400, 40060, "Interaction has already been acknowledged.")
        body = request[BODY]
        self._answer(interaction, body["type"], body.get("data") or {}, request[FILES])
        interaction.acknowledged = time.monotonic() - interaction.began
        interaction.first = body["type"]
        told: Body = {"id": str(interaction.id), "type": interaction.kind}
        shown: Body = {"type": body["type"]}
        if message := interaction.original:
            told |= {
                "response_message_id": str(message.id),
                "response_message_loading": message.loading,
                "response_message_ephemeral": message.ephemeral,
            }
            shown["message"] = message.json(self.discord.url)
        return answer({"interaction": told, "resource": shown})

    def _answer(self, interaction: Interaction, kind: int, data: Body, files: list[Any]) -> None:
        if kind in (MESSAGE, DEFER):
            flags = data.get("flags", 0) | (LOADING if kind == DEFER else 0)
            message = Message(interaction.channel, self.discord.bot, by_interaction=interaction)
            message.reference = interaction.message
            message.flags = flags
            message.seen_by = interaction.user if flags & EPHEMERAL else None
            if kind == MESSAGE:
                self._fill(message, data, files)
            interaction.original = self.discord.keep(message)
        elif kind in (UPDATE, DEFER_UPDATE):
            interaction.original = interaction.message
            if kind == UPDATE and interaction.message:
                self._fill(interaction.message, data, files)
        else:
            if kind == MODAL:
                _check_form(interaction, data)
            interaction.answer = {"type": kind, **data}

    async def follow_up(self, request: web.Request) -> web.Response:
        interaction = self._hook(request)
        original = interaction.original
        if original and original.loading and not original.deleted:
            # The first follow-up of a deferred answer becomes that answer, as visible as it was.
            message = original
        else:
            alone = interaction.installed_by_user and interaction.channel.recipient is None
            if alone and len(interaction.followups) == FOLLOW_UPS:
                raise Refused(400, 40094, "This interaction has reached its follow up messages")
            flags = request[BODY].get("flags", 0)
            message = Message(interaction.channel, self.discord.bot, by_interaction=interaction)
            message.flags = flags
            message.seen_by = interaction.user if flags & EPHEMERAL else None
            interaction.followups.append(self.discord.keep(message))
        self._fill(message, request[BODY], request[FILES])
        return answer(message.json(self.discord.url))

    async def get_by_hook(self, request: web.Request) -> web.Response:
        return answer(self._hooked(request).json(self.discord.url))

    async def edit_by_hook(self, request: web.Request) -> web.Response:
        message = self._hooked(request)
        self._edit(message, request)
        return answer(message.json(self.discord.url))

    async def delete_by_hook(self, request: web.Request) -> web.Response:
        self._hooked(request).deleted = True
        return web.Response(status=204)

    async def send(self, request: web.Request) -> web.Response:
        channel = self._channel(request, SEND)
        body = request[BODY]
        if channel.recipient and not channel.recipient.takes_dms:
            raise Refused(403, 50007, "Cannot send messages to this user")
        nonce = body.get("nonce")
        for message in self.discord.messages.values():
            if nonce is not None and body.get("enforce_nonce") and message.nonce == nonce:
                return answer(message.json(self.discord.url))
        message = Message(channel, self.discord.bot, nonce=nonce)
        if reference := body.get("message_reference"):
            target = self.discord.messages.get(int(reference["message_id"]))
            if (target is None or target.deleted) and reference.get("fail_if_not_exists", True):
                raise Refused(400, 50035, "Unknown message")
            message.reference = target
        self._fill(message, body, request[FILES])
        self.discord.keep(message)
        return answer(message.json(self.discord.url))

    async def get_message(self, request: web.Request) -> web.Response:
        return answer(self._message(request).json(self.discord.url))

    async def edit(self, request: web.Request) -> web.Response:
        message = self._message(request)
        self._edit(message, request)
        return answer(message.json(self.discord.url))

    async def delete(self, request: web.Request) -> web.Response:
        message = self._message(request)
        message.deleted = True
        return web.Response(status=204)

    async def open_dm(self, request: web.Request) -> web.Response:
        person = self._user(int(request[BODY]["recipient_id"]))
        return answer(self.discord.dm_with(person).json)

    async def download(self, request: web.Request) -> web.Response:
        wanted = int(request.match_info["id"])
        self.discord.downloads.append(wanted)
        found = self.discord.uploads.get(wanted)
        for message in self.discord.messages.values():
            for each in message.attachments:
                found = each if each.id == wanted else found
        if found is None:
            raise web.HTTPNotFound
        return web.Response(body=found.data, content_type="application/octet-stream")

    def _user(self, user: int) -> Any:
        found = self.discord.people.get(user)
        if found is None:
            raise Refused(404, 10013, "Unknown User")
        return found

    def _channel(self, request: web.Request, needed: int = 0) -> Channel:
        channel = self.discord.channels.get(int(request.match_info["channel"]))
        if channel is None:
            raise Refused(404, 10003, "Unknown Channel")
        guild = channel.guild
        can_see = guild is None or (guild.joined and guild.permissions & VIEW_CHANNEL)
        if not (channel.visible and can_see):
            raise Refused(403, 50001, "Missing Access")
        if needed & SEND and channel.kind in THREADS:
            needed ^= SEND | IN_THREADS
        needed |= ATTACH if request[FILES] else 0
        if guild and guild.permissions & needed != needed:
            raise Refused(403, 50013, "Missing Permissions")
        return channel

    def _message(self, request: web.Request) -> Message:
        channel = self._channel(request)
        message = self.discord.messages.get(int(request.match_info["message"]))
        if message is None or message.deleted or message.channel is not channel:
            raise Refused(404, 10008, "Unknown Message")
        if message.ephemeral:
            raise Refused(404, 10008, "Unknown Message")
        return message

    def _hook(self, request: web.Request) -> Interaction:
        number = int(request.match_info["token"].removeprefix("token-"))
        interaction = self.discord.interactions.get(number)
        if interaction is None or interaction.deaf:
            raise Refused(404, 10015, "Unknown Webhook")
        if interaction.expired:
            raise Refused(401, 50027, "Invalid Webhook Token")
        return interaction

    def _hooked(self, request: web.Request) -> Message:
        interaction = self._hook(request)
        name = request.match_info["message"]
        theirs = {each.id: each for each in interaction.followups}
        if interaction.original:
            theirs[interaction.original.id] = interaction.original
        message = interaction.original if name == "@original" else theirs.get(int(name))
        if message is None or message.deleted:
            raise Refused(404, 10008, "Unknown Message")
        return message

    def _edit(self, message: Message, request: web.Request) -> None:
        self._fill(message, request[BODY], request[FILES])
        message.edits.append(time.monotonic())

    def _fill(self, message: Message, body: Body, files: list[tuple[str, bytes]]) -> None:
        """Write what a request says into a message; what it leaves out stays as it was."""
        guild = message.channel.guild
        limit = guild.filesize_limit if guild else 10 * 2**20
        if sum(len(data) for _, data in files) > min(limit, self.discord.body_limit):
            raise Refused(413, 40005, "Request entity too large")
        if len(body.get("content") or "") > CONTENT_LIMIT:
            raise Refused(400, 50035, "Invalid Form Body")
        kept = {each.id: each for each in message.attachments}
        if "attachments" in body:
            found = []
            for entry in body["attachments"]:
                number = int(entry["id"])
                if number in kept:
                    found.append(kept[number])
                else:
                    name, data = files[number]
                    found.append(Attachment(name, data, entry.get("description")))
            message.attachments = found
            message.showed |= {each.filename for each in found}
            message.held += found
        if "content" in body:
            message.content = body["content"] or ""
        if "components" in body:
            message.components = body["components"] or []
        message.flags &= ~LOADING


async def _read(request: web.Request) -> tuple[Any, list[tuple[str, bytes]]]:
    """Return a request's JSON and its files in order."""
    if request.content_type == "application/json":
        return json.loads(await request.read()), []
    if request.content_type != "multipart/form-data":
        return None, []
    body: Any = None
    files: dict[int, tuple[str, bytes]] = {}
    async for part in await request.multipart():
        data = bytes(await part.read())  # type: ignore[union-attr]
        name = str(part.name)  # type: ignore[union-attr]
        if name == "payload_json":
            body = json.loads(data)
        else:
            index = int(name.removeprefix("files[").removesuffix("]"))
            files[index] = (str(part.filename), data)  # type: ignore[union-attr]
    return body, [files[index] for index in sorted(files)]
