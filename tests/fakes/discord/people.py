"""People: what they do reads as what it is.

reply = await ann.imagine("a marble scholar", count=4)
await reply.picture()
await ann.clicks("V2")
await ann.reacts("🎲")
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.conftest import PATIENCE
from tests.fakes.discord.world import DM, Attachment, Channel, Interaction, Message, User, member

if TYPE_CHECKING:
    from tests.fakes.discord.server import FakeDiscord

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 2, 3, 4, 5
STRING, INTEGER, BOOLEAN, USER, CHANNEL, NUMBER, ATTACHMENT = 3, 4, 5, 6, 7, 10, 11
GROUP: Final = 1
BUTTON, SELECT, TEXT, UPLOAD = 2, 3, 4, 19


@dataclass(eq=False)
class Reply:
    """What the bot answered to one deed, as it is now."""

    person: Person
    interaction: Interaction | None = None
    sent: Message | None = None

    @property
    def message(self) -> Message:
        """Return the message that shows the answer; after a refusal, the follow-up."""
        if self.sent:
            return self.sent
        assert self.interaction
        messages = [self.interaction.original, *self.interaction.followups]
        there = [each for each in messages if each is not None and not each.deleted]
        assert there, "there is no answer"
        return there[-1]

    @property
    def text(self) -> str:
        return self.message.content

    @property
    def ephemeral(self) -> bool:
        return self.message.ephemeral

    @property
    def acknowledged(self) -> float:
        """Return the seconds that the acknowledgement took."""
        assert self.interaction
        assert self.interaction.acknowledged is not None
        return self.interaction.acknowledged

    async def said(self, words: str = "") -> str:
        """Wait for an answer with these words and return its text."""

        def found() -> bool:
            messages: list[Message | None] = [self.sent]
            if self.interaction:
                messages += [self.interaction.original, *self.interaction.followups]
            there = [each for each in messages if each and not each.deleted]
            return bool(there) and not there[-1].loading and words in there[-1].content

        await self.person.discord.until(found, f"an answer with {words!r}")
        return self.text

    async def picture(self, seconds: float = PATIENCE) -> bytes:
        """Wait for the finished picture, which alone has buttons to rerun it."""

        def finished() -> bool:
            message = self.message
            return bool(message.attachments) and any(
                item["custom_id"].partition(":")[2].startswith("again")
                for item in message.buttons().values()
                if "custom_id" in item
            )

        await self.person.discord.until(finished, "the picture", seconds)
        return self.message.attachments[0].data


@dataclass(eq=False)
class Person:
    """Do what people do in a channel; `last` is the latest answer they got."""

    discord: FakeDiscord
    user: User
    channel: Channel
    last: Reply | None = None
    installed_by_user: bool = False
    app_permissions: int | None = None
    replies: list[Reply] = field(default_factory=list)

    @property
    def id(self) -> int:
        return self.user.id

    def at(self, channel: Channel) -> Person:
        """Return the same person in another channel."""
        there = Person(self.discord, self.user, channel, installed_by_user=self.installed_by_user)
        there.replies = self.replies
        return there

    def in_dm(self) -> Person:
        """Return the same person in direct messages with the bot."""
        return self.at(self.discord.dm_with(self.user))

    async def imagine(self, prompt: str, **options: Any) -> Reply:
        return await self.types("imagine", prompt=prompt, **options)

    async def types(self, command: str, **options: Any) -> Reply:
        """Use a slash command such as `history` or `mydata export`."""
        return await self._does(await self.typed(command, options))

    async def typed(self, command: str, options: Mapping[str, Any]) -> Interaction:
        """Return a slash command that is typed, but not sent yet."""
        name, _, sub = command.partition(" ")
        known = self._command(name, 1)
        resolved: dict[str, Any] = {}
        parts = [known, *(_entry(known["options"], part) for part in sub.split())]
        given = [
            self._option(_entry(parts[-1].get("options", []), key), value, resolved)
            for key, value in options.items()
        ]
        for part in reversed(parts[1:]):
            given = [{"name": part["name"], "type": part["type"], "options": given}]
        data = {"id": known["id"], "name": name, "type": 1, "options": given}
        return self._interaction(COMMAND, {**data, "resolved": resolved} if resolved else data)

    async def completes(self, command: str, option: str, text: str, **others: Any) -> list[str]:
        """Return the values that are offered while somebody types into an option."""
        interaction = await self.typed(command, {**others, option: text})
        interaction.kind = AUTOCOMPLETE
        given = interaction.data["options"]
        while given[0]["type"] <= 2:
            given = given[0]["options"]
        given[-1] = {"name": option, "type": STRING, "value": text, "focused": True}
        await self.sends(interaction)
        await self.discord.until(lambda: interaction.answer, "completion")
        assert interaction.answer
        return [choice["value"] for choice in interaction.answer["choices"]]

    async def chooses(self, menu: str, on: Reply | Message | None = None) -> Reply:
        """Use a context menu on a message."""
        message = self._message(on)
        known = self._command(menu, 3)
        target = str(message.id)
        resolved = {"messages": {target: message.json(self.discord.url)}}
        data = {"id": known["id"], "name": menu, "type": 3, "target_id": target}
        return await self._does(self._interaction(COMMAND, {**data, "resolved": resolved}))

    async def clicks(
        self, label: str, on: Reply | Message | None = None, *, value: str | None = None
    ) -> Reply:
        """Press the button with this label or emoji, or choose a value of a menu."""
        message = self._message(on)
        items = message.buttons()
        assert label in items, f"no {label!r} among {list(items)}"
        item = items[label]
        data = {"custom_id": item["custom_id"], "component_type": item["type"]}
        if item["type"] == SELECT:
            values = [option["value"] for option in item["options"]]
            data["values"] = [value or values[0]]
        return await self._does(self._interaction(COMPONENT, data, message))

    async def forges(self, custom_id: str, on: Reply | Message) -> Reply:
        """Press a button that Marble did not put on a message: it stands there from now on."""
        message, label = self._message(on), custom_id
        item = {"type": BUTTON, "style": 2, "label": label, "custom_id": custom_id}
        message.components = [{"type": 1, "components": [item]}]
        return await self.clicks(label, message)

    async def submits(self, modal: Reply, **fields: str | Attachment) -> Reply:
        """Fill in a form's fields by their custom id, leave the others, and send it."""
        interaction = self.submitted(modal, **fields)
        return await self._does(interaction)

    def submitted(self, modal: Reply, **fields: str | Attachment) -> Interaction:
        """Return a form that is filled in, but not sent yet."""
        assert modal.interaction
        answer = modal.interaction.answer
        assert answer, "there is no form"
        assert answer["type"] == 9
        resolved: dict[str, Any] = {}
        rows = []
        for row in answer["components"]:
            item = row.get("component") or row["components"][0]
            entered = self._entered(item, fields.pop(item["custom_id"], None), resolved)
            filled = {"type": item["type"], "custom_id": item["custom_id"], "id": 1, **entered}
            if "component" in row:
                rows.append({"type": row["type"], "id": 1, "component": filled})
            else:
                rows.append({"type": row["type"], "id": 1, "components": [filled]})
        assert not fields, f"no such fields: {list(fields)}"
        data = {"custom_id": answer["custom_id"], "components": rows, "resolved": resolved}
        return self._interaction(MODAL_SUBMIT, data, modal.interaction.message)

    def _entered(
        self, item: dict[str, Any], value: str | Attachment | None, resolved: dict[str, Any]
    ) -> dict[str, Any]:
        """Return what one field of a form holds; None leaves it as it opened."""
        if item["type"] == UPLOAD:
            if value is None:
                return {"values": []}
            return {"values": [self._upload(value, resolved)]}
        if item["type"] == TEXT:
            text = item.get("value", "") if value is None else value
            assert len(str(text)) <= item["max_length"], "Discord refuses what is too long"
            return {"value": text}
        known = [option["value"] for option in item["options"]]
        chosen = [option["value"] for option in item["options"] if option.get("default")]
        if value is not None:
            assert value in known, f"no choice {value!r} among {known}"
            chosen = [str(value)]
        return {"values": chosen} if item["type"] == SELECT else {"value": (*chosen, None)[0]}

    async def reacts(
        self, emoji: str, on: Reply | Message | None = None, *, times: int = 1
    ) -> None:
        """Put a reaction on a message."""
        message = self._message(on)
        message.reactions.add((self.user.id, emoji))
        event = {**self._reaction(message, emoji), "message_author_id": str(message.author.id)}
        if self.channel.guild:
            event["member"] = member(self.user)
        await self.discord.gateway.emit("MESSAGE_REACTION_ADD", event, times=times)

    async def takes_back(self, emoji: str, on: Reply | Message | None = None) -> None:
        """Take a reaction off a message."""
        message = self._message(on)
        message.reactions.discard((self.user.id, emoji))
        await self.discord.gateway.emit("MESSAGE_REACTION_REMOVE", self._reaction(message, emoji))

    async def gets_reply_to(self, message: Message | Reply) -> Reply:
        """Wait for a message that replies to another and was not seen before."""
        target = message.message if isinstance(message, Reply) else message
        seen = {id(reply.sent) for reply in self.replies}

        def found() -> Message | None:
            for each in self.discord.messages.values():
                new = id(each) not in seen and not (each.deleted or each.by_interaction)
                if each.reference is target and new:
                    return each
            return None

        sent = await self.discord.until(found, "a reply")
        return self._remember(Reply(self, sent=sent))

    async def gets_dm(self, words: str = "") -> Reply:
        """Wait for a direct message with these words that was not seen before."""
        seen = {id(reply.sent) for reply in self.replies}

        def found() -> Message | None:
            for each in self.discord.messages.values():
                private = each.channel.kind == DM and each.channel.recipient is self.user
                if private and id(each) not in seen and words in each.content:
                    return each
            return None

        sent = await self.discord.until(found, f"a direct message with {words!r}")
        reply = Reply(self, sent=sent)
        self.replies.append(reply)
        return reply

    def uploads(self, filename: str, data: bytes) -> Attachment:
        """Choose a file for an option."""
        upload = Attachment(filename, data)
        self.discord.uploads[upload.id] = upload
        return upload

    def posts(self, filename: str, data: bytes) -> Message:
        """Write a message that holds a file and nothing of Marble's."""
        file = Attachment(filename, data)
        return self.discord.keep(Message(self.channel, self.user, attachments=[file]))

    def _remember(self, reply: Reply) -> Reply:
        self.replies.append(reply)
        self.last = reply
        return reply

    def _message(self, on: Reply | Message | None) -> Message:
        on = on or self.last
        assert on is not None, "there is no message yet"
        return on.message if isinstance(on, Reply) else on

    def _command(self, name: str, kind: int) -> dict[str, Any]:
        for command in self.discord.commands:
            if command["name"] == name and command["type"] == kind:
                return command
        raise AssertionError(f"no command {name!r} is registered")

    def _option(self, known: dict[str, Any], value: Any, resolved: dict[str, Any]) -> Any:
        """Return a typed value, refused here where Discord itself would refuse it."""
        kind = known["type"]
        if kind == ATTACHMENT:
            value = self._upload(value, resolved)
        elif kind == USER:
            resolved.setdefault("users", {})[str(value.id)] = value.user.json
            value = str(value.id)
        elif kind == CHANNEL:
            entry = {**value.json, "permissions": "0", "name": "channel"}
            resolved.setdefault("channels", {})[str(value.id)] = entry
            value = str(value.id)
        expected = {INTEGER: (int,), NUMBER: (int, float), BOOLEAN: (bool,)}.get(kind, (str,))
        assert isinstance(value, expected), f"{known['name']} takes no {value!r}"
        if "max_length" in known:
            assert len(str(value)) <= known["max_length"], "Discord refuses what is too long"
        assert value >= known.get("min_value", value), f"{known['name']} is too small"
        assert value <= known.get("max_value", value), f"{known['name']} is too large"
        if choices := known.get("choices"):
            assert value in [choice["value"] for choice in choices], f"no choice {value!r}"
        return {"name": known["name"], "type": kind, "value": value}

    def _upload(self, file: Any, resolved: dict[str, Any]) -> str:
        """Note a file that goes with an interaction, and return its id."""
        url = f"{self.discord.url}/attachments/1/{file.id}/{file.filename}"
        entry = {
            "id": str(file.id),
            "filename": file.filename,
            "size": len(file.data),
            "url": url,
            "proxy_url": url,
            "content_type": "image/png",
            "ephemeral": True,
        }
        resolved.setdefault("attachments", {})[str(file.id)] = entry
        return str(file.id)

    def _interaction(
        self, kind: int, data: dict[str, Any], message: Message | None = None
    ) -> Interaction:
        return Interaction(
            self.user,
            self.channel,
            kind,
            data,
            message,
            installed_by_user=self.installed_by_user,
            app_permissions=self.app_permissions,
        )

    def _reaction(self, message: Message, emoji: str) -> dict[str, Any]:
        event = {
            "user_id": str(self.user.id),
            "channel_id": str(message.channel.id),
            "message_id": str(message.id),
            "emoji": {"id": None, "name": emoji},
            "burst": False,
            "type": 0,
        }
        guild = message.channel.guild
        return {**event, "guild_id": str(guild.id)} if guild else event

    async def sends(self, interaction: Interaction, times: int = 1) -> None:
        """Send it, or let it be delivered several times."""
        if guild := self.channel.guild:
            await self.discord.gateway.introduce(guild, self.id)
        interaction.began = time.monotonic()
        self.discord.interactions[interaction.id] = interaction
        payload = interaction.json(self.discord.bot.id, self.discord.url)
        await self.discord.gateway.emit("INTERACTION_CREATE", payload, times=times)

    async def _does(self, interaction: Interaction) -> Reply:
        """Do it, and wait for the acknowledgement."""
        await self.sends(interaction)
        await self.discord.until(lambda: interaction.acknowledged is not None, "an acknowledgement")
        return self._remember(Reply(self, interaction=interaction))


def _entry(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise AssertionError(f"no option {name!r} among {[entry['name'] for entry in entries]}")
