"""The fake itself: it refuses what Telegram refuses."""

import io
import json
from typing import Any

import pytest
from PIL import Image

from tests.fakes.telegram import spec

PHOTO = {"chat_id": "1", "photo": "attach://photo"}


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("1", (width, height)).save(out, "PNG")
    return out.getvalue()


def buttons(**button: Any) -> str:
    return json.dumps({"inline_keyboard": [[{"text": "x", **button}]]})


@pytest.mark.parametrize(
    ("method", "form", "says"),
    [
        ("sendMessage", {"chat_id": "1", "text": "x" * 4097}, "too long"),
        ("sendMessage", {"chat_id": "1", "text": "🗿" * 2049}, "too long"),
        ("sendMessage", {"chat_id": "1", "text": " "}, "empty"),
        ("sendMessage", {"chat_id": "1", "text": "<x>", "parse_mode": "HTML"}, "entities"),
        ("sendPhoto", {**PHOTO, "caption": "x" * 1025}, "caption"),
        (
            "sendMessage",
            {"chat_id": "1", "text": "x", "reply_markup": buttons(callback_data="é" * 33)},
            "DATA",
        ),
        ("sendMessage", {"chat_id": "1", "text": "x", "reply_markup": buttons()}, "TYPE"),
        (
            "setMessageReaction",
            {
                "chat_id": "1",
                "message_id": "1",
                "reaction": json.dumps([{"type": "emoji", "emoji": "🎲"}]),
            },
            "REACTION",
        ),
        (
            "setMyCommands",
            {"commands": json.dumps([{"command": "Imagine", "description": "x"}])},
            "COMMAND",
        ),
    ],
)
def test_words_above_the_limits_are_refused(method: str, form: dict[str, str], says: str) -> None:
    with pytest.raises(spec.Refused, match=says):
        spec.check(method, form, {"photo": png(8, 8)})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (png(9_000, 1_001), "DIMENSIONS"),
        (png(210, 10), "DIMENSIONS"),
        (b"no picture", "PROCESS"),
        (png(8, 8) + bytes(11 * 2**20), "too big"),
    ],
)
def test_photos_that_telegram_does_not_take_are_refused(data: bytes, says: str) -> None:
    with pytest.raises(spec.Refused, match=says):
        spec.check("sendPhoto", PHOTO, {"photo": data})
    spec.check("sendPhoto", PHOTO, {"photo": png(8, 8)})


@pytest.mark.parametrize(
    ("method", "form", "says"),
    [
        ("sendMesage", {}, "no method"),
        ("sendMessage", {"text": "x"}, "needs chat_id"),
        ("sendMessage", {"chat_id": "1", "text": "x", "txet": "y"}, "no field txet"),
        ("editMessageText", {"chat_id": "1", "message_id": "one", "text": "x"}, "message_id"),
        (
            "sendMessage",
            {"chat_id": "1", "text": "x", "reply_parameters": json.dumps({"massage_id": 1})},
            "reply_parameters",
        ),
        (
            "editMessageMedia",
            {"chat_id": "1", "media": json.dumps({"type": "photo", "media": "attach://other"})},
            "not sent",
        ),
    ],
)
def test_calls_that_the_description_does_not_know_are_refused(
    method: str, form: dict[str, str], says: str
) -> None:
    if spec.description() is None:
        pytest.skip("no published specifications: set MARBLE_SHARED_DIR")
    with pytest.raises(spec.Refused, match=says):
        spec.check(method, form, {})


@pytest.mark.parametrize(
    ("method", "form"),
    [
        ("sendMessageDraft", {"chat_id": "1", "draft_id": "2", "text": "x", "can_stop": "true"}),
        (
            "sendMessage",
            {
                "chat_id": "-1",
                "text": "x",
                "ephemeral_message_parameters": json.dumps({"receiver_user_id": 1}),
                "reply_parameters": json.dumps({"ephemeral_message_id": 3}),
            },
        ),
        (
            "setMyCommands",
            {
                "commands": json.dumps(
                    [{"command": "settings", "description": "x", "is_ephemeral": True}]
                )
            },
        ),
    ],
)
def test_only_a_newer_server_knows_what_came_after_the_description(
    method: str, form: dict[str, str]
) -> None:
    if spec.description() is None:
        pytest.skip("no published specifications: set MARBLE_SHARED_DIR")
    with pytest.raises(spec.Refused, match=r"no field|needs"):
        spec.check(method, form, {})
    spec.check(method, form, {}, newer=True)
