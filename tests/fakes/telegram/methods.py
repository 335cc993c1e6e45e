"""What each method of the Bot API does to the server's state; named as Telegram names them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.fakes.telegram import spec

if TYPE_CHECKING:
    from tests.fakes.telegram.server import TelegramServer

Json = dict[str, Any]
Files = dict[str, bytes]


class Refusal(Exception):
    """Carry how Telegram refuses a call."""

    def __init__(self, status: int, says: str, migrated: int = 0) -> None:
        self.status = status
        self.says = says
        self.migrated = migrated  # the supergroup that the group has become
        super().__init__(says)


def refuse_migrated(server: TelegramServer, values: Json) -> None:
    """Raise `Refusal` for whatever is wanted of a group that became a supergroup."""
    if new := server.migrated.get(values.get("chat_id", 0)):
        says = "Bad Request: group chat was upgraded to a supergroup chat"
        raise Refusal(400, says, migrated=new)


async def getMe(server: TelegramServer, values: Json, files: Files) -> Json:
    return server.me


async def getUpdates(server: TelegramServer, values: Json, files: Files) -> list[Json]:
    if server.webhook:
        raise Refusal(409, "Conflict: can't use getUpdates method while webhook is active")
    server.polls += 1
    poll = server.polls
    _allow(server, values)
    server.offset = max(server.offset, values.get("offset", 0))
    while server.updates and server.updates[0]["update_id"] < server.offset:
        server.updates.popleft()
    server.poll_cut = False
    server.change()
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(values.get("timeout", 0)):
                while not server.updates and poll == server.polls:
                    await server.changed()
    except asyncio.CancelledError:
        server.poll_cut = True
        server.change()
        raise
    if poll != server.polls:
        raise Refusal(
            409,
            "Conflict: terminated by other getUpdates request; make sure that only one bot "
            "instance is running",
        )
    return list(server.updates)[: values.get("limit", 100)]


async def deleteWebhook(server: TelegramServer, values: Json, files: Files) -> bool:
    server.webhook = None
    return True


async def setWebhook(server: TelegramServer, values: Json, files: Files) -> bool:
    # What a web server in front of Marble does is left out: it is reached where it listens.
    server.webhook = {**values, "reached": server.reached or values["url"]}
    _allow(server, values)
    return True


def _allow(server: TelegramServer, values: Json) -> None:
    """Note which updates are wanted; names that are not known are ignored."""
    server.allowed = spec.updates(server.newer) & set(values["allowed_updates"])


async def getWebhookInfo(server: TelegramServer, values: Json, files: Files) -> Json:
    webhook = server.webhook or {}
    failed = {key: webhook[key] for key in ("last_error_message",) if key in webhook}
    return {
        **failed,
        "url": webhook.get("url", ""),
        "has_custom_certificate": False,
        "pending_update_count": len(server.updates),
        "allowed_updates": sorted(server.allowed),
    }


async def sendMessage(server: TelegramServer, values: Json, files: Files) -> Json:
    if "ephemeral_message_parameters" in values:
        return _send_alone(server, values)
    return _send(server, values, text=values["text"])


async def sendMessageDraft(server: TelegramServer, values: Json, files: Files) -> bool:
    chat = values["chat_id"]
    if chat < 0:
        raise Refusal(400, "Bad Request: the method can be used only in private chats")
    server.drafts[chat, values["draft_id"]] = values.get("text", "")
    return True


async def sendPhoto(server: TelegramServer, values: Json, files: Files) -> Json:
    data = _file(server, values.get("photo", "attach://photo"), files)
    photo = server.photo(data)
    sent = _send(server, values, photo=photo, **_captioned(values), **_veiled(values))
    server.shown[values["chat_id"], sent["message_id"]] += 1
    return sent


async def sendAnimation(server: TelegramServer, values: Json, files: Files) -> Json:
    data = _file(server, values.get("animation", "attach://animation"), files)
    shown = _animation(server, data)
    return _send(server, values, **shown, **_captioned(values), **_veiled(values))


async def sendDocument(server: TelegramServer, values: Json, files: Files) -> Json:
    data = _file(server, values.get("document", "attach://document"), files)
    return _send(server, values, document=_document(server, data), **_captioned(values))


async def sendChatAction(server: TelegramServer, values: Json, files: Files) -> bool:
    chat = values["chat_id"]
    if chat not in server.chats or chat in server.blocked:
        raise Refusal(403, "Forbidden: bot can't initiate conversation with a user")
    return True


async def answerInlineQuery(server: TelegramServer, values: Json, files: Files) -> bool:
    server.inline_answers[values["inline_query_id"]] = values
    return True


async def answerGuestQuery(server: TelegramServer, values: Json, files: Files) -> Json:
    query = values["guest_query_id"]
    if server.guests.get(query, "") != "":
        raise Refusal(400, "Bad Request: QUERY_ID_INVALID")
    server.guests[query] = server.send_inline(values["result"])
    return {"inline_message_id": server.guests[query]}


async def editMessageText(server: TelegramServer, values: Json, files: Files) -> Json | bool:
    message = _found(server, values)
    if "text" not in message:
        raise Refusal(400, "Bad Request: there is no text in the message to edit")
    return _edit(server, message, values, text=values["text"])


async def editMessageCaption(server: TelegramServer, values: Json, files: Files) -> Json | bool:
    message = _found(server, values)
    if "text" in message:
        raise Refusal(400, "Bad Request: there is no caption in the message to edit")
    return _edit(server, message, values, caption=values.get("caption", ""))


async def editMessageMedia(server: TelegramServer, values: Json, files: Files) -> Json | bool:
    message, media = _found(server, values), values["media"]
    if "inline_message_id" in values and media["media"].startswith("attach://"):
        raise Refusal(400, "Bad Request: a new file can't be uploaded to an inline message")
    data = _file(server, media["media"], files)
    shown: Json
    if media["type"] == "photo":
        shown = {"photo": server.photo(data)}
    elif media["type"] == "animation":
        shown = _animation(server, data)
    else:
        shown = {"document": _document(server, data)}
    for name in ("text", "photo", "animation", "document", "caption", VEIL):
        message.pop(name, None)
    return _edit(server, message, values, **shown, **_captioned(media), **_veiled(media))


async def editMessageReplyMarkup(server: TelegramServer, values: Json, files: Files) -> Json | bool:
    return _edit(server, _found(server, values), values)


async def deleteMessage(server: TelegramServer, values: Json, files: Files) -> bool:
    key = values["chat_id"], values["message_id"]
    if server.messages.pop(key, None) is None:
        raise Refusal(400, "Bad Request: message to delete not found")
    server.deleted.add(key)
    return True


async def answerCallbackQuery(server: TelegramServer, values: Json, files: Files) -> bool:
    query = values["callback_query_id"]
    if query in server.answers:
        raise Refusal(
            400,
            "Bad Request: query is too old and response timeout expired or query ID is invalid",
        )
    server.answers[query] = values.get("text", "")
    return True


async def setMyCommands(server: TelegramServer, values: Json, files: Files) -> bool:
    scope = values.get("scope", {"type": "default"})["type"]
    server.commands[scope, values.get("language_code", "")] = values["commands"]
    return True


async def getChatMember(server: TelegramServer, values: Json, files: Files) -> Json:
    user = values["user_id"]
    if user < 0:  # a channel
        raise Refusal(400, "Bad Request: invalid user_id specified")
    admin = user in server.administrators[values["chat_id"]]
    about = {"user": {"id": user, "is_bot": False, "first_name": "Somebody"}}
    if (values["chat_id"], user) in server.strangers:
        return {"status": "left", **about}
    if not admin:
        return {"status": "member", **about}
    rights = dict.fromkeys(
        (
            *("can_be_edited", "is_anonymous", "can_manage_chat", "can_delete_messages"),
            *("can_manage_video_chats", "can_restrict_members", "can_promote_members"),
            *("can_change_info", "can_invite_users", "can_post_stories", "can_edit_stories"),
            "can_delete_stories",
        ),
        False,
    )
    return {"status": "administrator", **rights, **about}


async def getFile(server: TelegramServer, values: Json, files: Files) -> Json:
    file = values["file_id"]
    if file not in server.files:
        raise Refusal(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
    data = server.files[file]
    if len(data) > 20 * 2**20:
        raise Refusal(400, "Bad Request: file is too big")
    return {
        "file_id": file,
        "file_unique_id": f"unique-{file}",
        "file_size": len(data),
        "file_path": f"files/{file}",
    }


def _send(server: TelegramServer, values: Json, **content: Any) -> Json:
    chat = values["chat_id"]
    if chat not in server.chats:
        raise Refusal(400, "Bad Request: chat not found")
    if chat in server.blocked:
        raise Refusal(403, "Forbidden: bot was blocked by the user")
    answered = values.get("reply_parameters")
    if answered:
        found = server.messages.get((chat, answered["message_id"]))
        if found is not None:
            content["reply_to_message"] = {
                key: value for key, value in found.items() if key != "reply_to_message"
            }
        elif not answered.get("allow_sending_without_reply"):
            raise Refusal(400, "Bad Request: message to be replied not found")
    if thread := values.get("message_thread_id"):
        if refusal := server.closed_topics.get((chat, thread)):
            raise Refusal(400, f"Bad Request: {refusal}")
        content |= {"message_thread_id": thread, "is_topic_message": True}
    if entities := values.get("entities"):
        content["entities"] = entities
    markup = values.get("reply_markup", {})
    if "inline_keyboard" in markup:  # others are not part of the message
        content["reply_markup"] = markup
    for key in [key for key in server.drafts if key[0] == chat]:
        del server.drafts[key]  # a message takes their place
    sent = server.new_message(chat, **{"from": server.me}, **content)
    if markup.get("force_reply"):
        server.questions[chat, sent["message_id"]] = _asked(sent, markup, values)
    return sent


def _asked(sent: Json, markup: Json, values: Json) -> frozenset[int] | None:
    """Return whose reply a question opens: of a selective one who is mentioned or answered."""
    if not markup.get("selective") or sent["chat"]["id"] > 0:
        return None
    entities = values.get("entities", ())
    mentioned = {each["user"]["id"] for each in entities if each["type"] == "text_mention"}
    return frozenset(mentioned | {sent.get("reply_to_message", {}).get("from", {}).get("id")})


def _send_alone(server: TelegramServer, values: Json) -> Json:
    """Send what one person sees: by an administrator, or in answer to them."""
    chat, alone = values["chat_id"], values["ephemeral_message_parameters"]
    command = values.get("reply_parameters", {}).get(spec.EPHEMERAL)
    pressed = alone.get("callback_query_id") in server.answers
    if chat > 0 or not (
        server.me["id"] in server.administrators[chat]
        or pressed
        or (chat, command) in server.commanded
    ):
        raise Refusal(400, "Bad Request: BOT_NOT_ADMIN")
    seen = server.ephemeral[chat, alone["receiver_user_id"]]
    seen.append(
        {
            "message_id": 0,
            spec.EPHEMERAL: len(seen) + 1,
            "date": 1,
            "chat": server.chats[chat],
            "from": server.me,
            "text": values["text"],
        }
    )
    return seen[-1]


def _found(server: TelegramServer, values: Json) -> Json:
    if inline := values.get("inline_message_id"):
        if inline not in server.inline:
            raise Refusal(400, "Bad Request: MESSAGE_ID_INVALID")
        return server.inline[inline]
    if values["chat_id"] in server.blocked:
        raise Refusal(403, "Forbidden: bot was blocked by the user")
    message = server.messages.get((values["chat_id"], values["message_id"]))
    if message is None:
        raise Refusal(400, "Bad Request: message to edit not found")
    return message


def _edit(server: TelegramServer, message: Json, values: Json, **content: Any) -> Json | bool:
    before = dict(message)
    message.update(content)
    message.pop("reply_markup", None)
    if markup := values.get("reply_markup"):
        message["reply_markup"] = markup
    if message == before:
        raise Refusal(
            400,
            "Bad Request: message is not modified: specified new message content and reply markup "
            "are exactly the same as a current content and reply markup of the message",
        )
    return message if "chat" in message else True


VEIL = "has_media_spoiler"  # as a message has it


def _veiled(values: Json) -> Json:
    return {VEIL: True} if values.get("has_spoiler") else {}


def _captioned(values: Json) -> Json:
    return {"caption": values["caption"]} if values.get("caption") else {}


def _file(server: TelegramServer, named: str, files: Files) -> bytes:
    if named.startswith("attach://"):
        return files[named.removeprefix("attach://")]
    if named not in server.files:
        raise Refusal(400, "Bad Request: wrong file identifier/HTTP URL specified")
    return server.files[named]


def _document(server: TelegramServer, data: bytes) -> Json:
    file = server.keep_file(data)
    return {"file_id": file, "file_unique_id": f"unique-{file}", "file_size": len(data)}


def _animation(server: TelegramServer, data: bytes) -> Json:
    """Return a GIF as Telegram shows it, whose messages have it as a document, too."""
    file = _document(server, data)
    return {"animation": {**file, "width": 320, "height": 320, "duration": 4}, "document": file}
