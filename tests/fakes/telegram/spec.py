"""Hold every call to the Bot API's own description, and to the limits that it only tells in words.

The description is not part of the project: where it is absent, calls are held to the limits only.
It is that of Bot API 10.0. What later ones added and Marble uses is `NEWER`, our own extension by
Telegram's pages of 10.2 and 10.3; only a server that is `newer` knows it.
"""

from __future__ import annotations

import copy
import io
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from PIL import Image
from telegram.constants import ReactionEmoji

from tests.conftest import TELEGRAM_SPEC

Json = dict[str, Any]
Files = Mapping[str, bytes]

TEXT: Final = 4096  # UTF-16 units
CAPTION: Final = 1024
ALERT: Final = 200
CALLBACK: Final = 64  # bytes
COPY: Final = 256
PHOTO: Final = 10 * 2**20  # bytes
SIDES: Final = 10_000  # width + height
RATIO: Final = 20
UPLOAD: Final = 50 * 2**20
EMOJI: Final = frozenset(emoji.value for emoji in ReactionEmoji)
COMMAND: Final = re.compile(r"[a-z0-9_]{1,32}")
EPHEMERAL: Final = "ephemeral_message_id"


def _optional(name: str, *types: str) -> dict[str, Any]:
    return {"name": name, "types": list(types), "required": False, "description": ""}


NEWER: Final[Mapping[str, list[dict[str, Any]]]] = {  # fields, by method or type
    "sendMessageDraft": [_optional("can_stop", "Boolean"), _optional("keep_on_stop", "Boolean")],
    "sendMessage": [_optional("ephemeral_message_parameters", "EphemeralMessageParameters")],
    "EphemeralMessageParameters": [
        {**_optional("receiver_user_id", "Integer"), "required": True},
        _optional("callback_query_id", "String"),
        _optional("replace_callback_query_message", "Boolean"),
    ],
    "ReplyParameters": [_optional("message_id", "Integer"), _optional(EPHEMERAL, "Integer")],
    "BotCommand": [_optional("is_ephemeral", "Boolean")],
}
NEWER_UPDATES: Final = ("stopped_message_generation",)
# The rest of `Update` that tests have to do with, where the description is absent.
UPDATES: Final = (
    *("message", "callback_query", "message_reaction"),
    *("inline_query", "chosen_inline_result", "guest_message"),
)


class Refused(Exception):
    """Carry what Telegram would say about a call that breaks its rules."""


@cache
def description() -> Json | None:
    """Return the Bot API's description, or None where it is absent."""
    return json.loads(TELEGRAM_SPEC.read_text("utf-8")) if TELEGRAM_SPEC.is_file() else None


@cache
def _described(newer: bool) -> Json | None:
    """Return the description that a server goes by."""
    api = copy.deepcopy(description())
    for name, fields in NEWER.items() if api and newer else ():
        assert api is not None
        kind = "methods" if name in api["methods"] else "types"
        found = api[kind].setdefault(name, {})
        new = {field["name"] for field in fields}
        kept = [field for field in found.get("fields", []) if field["name"] not in new]
        found["fields"] = kept + fields
    return api


def updates(newer: bool) -> frozenset[str]:
    """Return the names of updates that a server knows."""
    api = description()
    known = UPDATES if api is None else [each["name"] for each in api["types"]["Update"]["fields"]]
    return frozenset((*known, *(NEWER_UPDATES if newer else ())))


def check(method: str, form: Mapping[str, str], files: Files, *, newer: bool = False) -> Json:
    """Return a call's parameters as values, or raise `Refused`."""
    api = _described(newer)
    if api is None:
        values: Json = {name: _loose(text) for name, text in form.items()}
    else:
        if method not in api["methods"]:
            raise Refused(f"there is no method {method}")
        fields = [
            *api["methods"][method].get("fields", []),
            *(NEWER.get(method, []) if newer else []),
        ]
        values = {name: _read(text, _field(fields, name, method)) for name, text in form.items()}
        _check_fields(values | dict(files), fields, method, files, api)
    _check_limits(method, values, files)
    return values


def _field(fields: list[Json], name: str, where: str) -> Json:
    for field in fields:
        if field["name"] == name:
            return field
    raise Refused(f"{where} has no field {name}")


def _loose(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read(text: str, field: Json) -> Any:
    """Read a form's text as one of a field's types."""
    for kind in field["types"]:
        if kind in ("String", "InputFile"):
            return text
        try:
            value = json.loads(text)
        except ValueError:
            continue
        if kind == "Integer" and isinstance(value, int) and not isinstance(value, bool):
            return value
        if kind == "Boolean" and isinstance(value, bool):
            return value
        if kind == "Float" and isinstance(value, (int, float)):
            return value
        if kind not in ("Integer", "Boolean", "Float") and isinstance(value, (dict, list)):
            return value
    raise Refused(f"{field['name']} must be {' or '.join(field['types'])}, not {text[:40]!r}")


def _check_fields(values: Json, fields: list[Json], where: str, files: Files, api: Json) -> None:
    """Hold an object to its fields: none unknown, none missing, each of its type."""
    for field in fields:
        name = field["name"]
        if name in values:
            _check_value(values[name], field["types"], f"{where}.{name}", files, api)
        elif field["required"] and name not in files:
            raise Refused(f"{where} needs {name}")
    for name in values.keys() - {field["name"] for field in fields} - files.keys():
        raise Refused(f"{where} has no field {name}")


def _check_value(value: Any, kinds: list[str], where: str, files: Files, api: Json) -> None:
    complaints = []
    for kind in kinds:
        try:
            return _check_kind(value, kind, where, files, api)
        except Refused as refusal:
            complaints.append(str(refusal))
    raise Refused("; ".join(complaints))


def _check_kind(value: Any, kind: str, where: str, files: Files, api: Json) -> None:
    simple: Mapping[str, tuple[type, ...]] = {
        "Integer": (int,),
        "String": (str,),
        "Boolean": (bool,),
        "Float": (int, float),
        "InputFile": (bytes,),
    }
    if kind in simple:
        if not isinstance(value, simple[kind]) or (kind != "Boolean" and isinstance(value, bool)):
            raise Refused(f"{where} must be {kind}")
        name = str(value).removeprefix("attach://")
        if value == f"attach://{name}" and name not in files:
            raise Refused(f"{where} names a file that was not sent")
        return
    if kind.startswith("Array of "):
        if not isinstance(value, list):
            raise Refused(f"{where} must be {kind}")
        for number, each in enumerate(value):
            _check_kind(each, kind.removeprefix("Array of "), f"{where}[{number}]", files, api)
        return
    described = api["types"][kind]
    if "subtypes" in described:
        _check_value(value, described["subtypes"], where, files, api)
        return
    if not isinstance(value, dict):
        raise Refused(f"{where} must be {kind}")
    fields = described.get("fields", [])
    for field in fields:  # what tells the subtypes of a kind apart
        must = re.search(r'must be (\w+)$|always ["“](\w+)["”]', field["description"])
        if field["name"] == "type" and must and value.get("type") != (must[1] or must[2]):
            raise Refused(f"{where}.type must be {must[1] or must[2]}")
    _check_fields(value, fields, f"{where}", files, api)


def _check_limits(method: str, values: Json, files: Files) -> None:
    if method == "answerCallbackQuery" and _length(values.get("text", "")) > ALERT:
        raise Refused("MESSAGE_TOO_LONG")
    if method == "sendMessageDraft" and not values["draft_id"]:
        raise Refused("RANDOM_ID_INVALID")
    if method in ("sendMessage", "editMessageText", "sendMessageDraft"):
        text = _shown(values["text"], values.get("parse_mode"))
        if not text.strip():
            raise Refused("message text is empty")
        if _length(text) > TEXT:
            raise Refused("message is too long")
    for result in [*values.get("results", []), *filter(None, [values.get("result")])]:
        text = result["input_message_content"]["message_text"]
        if not (text.strip() and _length(text) <= TEXT and 1 <= len(result["id"].encode()) <= 64):
            raise Refused("RESULT_INVALID")
    for media in _media(method, values):
        caption = _shown(media.get("caption", ""), media.get("parse_mode"))
        if _length(caption) > CAPTION:
            raise Refused("message caption is too long")
        data = _upload(media["media"], files)
        if data is not None and media["type"] == "photo":
            check_photo(data)
        if data is not None and len(data) > UPLOAD:
            raise Refused("Request Entity Too Large")
    if method == "editMessageCaption" and _length(values.get("caption", "")) > CAPTION:
        raise Refused("message caption is too long")
    for reaction in values.get("reaction", []):
        if reaction["type"] == "emoji" and reaction["emoji"] not in EMOJI:
            raise Refused("REACTION_INVALID")
    for command in values.get("commands", []):
        if not COMMAND.fullmatch(command["command"]) or not 1 <= len(command["description"]) <= 256:
            raise Refused("BOT_COMMAND_INVALID")
    for button in _buttons(values):
        _check_button(button)


def _media(method: str, values: Json) -> Iterator[Json]:
    if method == "editMessageMedia":
        yield values["media"]
    for kind in ("photo", "animation", "document"):
        if method == f"send{kind.title()}":
            named = values.get(kind, f"attach://{kind}")
            yield {**values, "type": kind, "media": named}


def _upload(media: str, files: Files) -> bytes | None:
    return files.get(media.removeprefix("attach://")) if media.startswith("attach://") else None


def check_photo(data: bytes) -> None:
    """Refuse what Telegram does not take for a photo."""
    if len(data) > PHOTO:
        raise Refused("file is too big for a photo")
    try:
        width, height = Image.open(io.BytesIO(data)).size
    except OSError:
        raise Refused("IMAGE_PROCESS_FAILED") from None
    if width + height > SIDES or max(width, height) > RATIO * min(width, height):
        raise Refused("PHOTO_INVALID_DIMENSIONS")


def _buttons(values: Json) -> Iterator[Json]:
    markup = values.get("reply_markup") or values.get("result", {}).get("reply_markup") or {}
    for row in markup.get("inline_keyboard", []):
        yield from row


BUTTONS = ("callback_data", "copy_text", "url", "web_app")  # what a button does: one of these


def _check_button(button: Json) -> None:
    if not button["text"]:
        raise Refused("BUTTON_TEXT_EMPTY")
    data = button.get("callback_data")
    if data is not None and not 1 <= len(data.encode()) <= CALLBACK:
        raise Refused("BUTTON_DATA_INVALID")
    copied = button.get("copy_text")
    if copied is not None and not 1 <= len(copied["text"]) <= COPY:
        raise Refused("BUTTON_COPY_TEXT_INVALID")
    if sum(key in button for key in BUTTONS) != 1:
        raise Refused("BUTTON_TYPE_INVALID")
    if not button.get("web_app", {"url": "https:"})["url"].startswith("https:"):
        raise Refused("BUTTON_WEB_APP_INVALID")


def _shown(text: str, mode: str | None) -> str:
    """Return a text as it is shown; markup does not count."""
    if mode != "HTML":
        return text
    within: list[str] = []
    for end, tag in re.findall(r"<(/?)(b|i|u|s|code|pre)>", text):
        if end and (not within or within.pop() != tag):
            raise Refused("can't parse entities: unexpected end tag")
        if not end:
            within.append(tag)
    plain = re.sub(r"</?(b|i|u|s|code|pre)>", "", text)
    if within or "<" in plain or re.search(r"&(?!lt;|gt;|amp;|quot;)", plain):
        raise Refused("can't parse entities")
    return plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
