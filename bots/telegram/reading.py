"""What a message says, and whether it is meant for Marble: plain code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from telegram import Document, Message, PhotoSize, ReactionType, Update, User

from bots.telegram.addresses import person_of
from bots.texts import LANGUAGES

_COMMAND: Final = re.compile(r"/(\w{1,32})(?:@(\w+))?(?=\s|$)")
VARIATION: Final = "\ufe0f"  # some apps send ❤️, some ❤

# What Marble asks: answers to these are words for a picture, whatever else is said in a group.
QUESTIONS: Final = frozenset(
    question
    for words in LANGUAGES.values()
    for question in (words.empty_prompt, words.photo_question)
)

Picture = PhotoSize | Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Hold what somebody said to Marble: a command or none, its words, a picture, an answer."""

    command: str | None
    text: str
    picture: Picture | None
    answered: Picture | None  # … of the message that it answers
    answers: int | None  # the message of ours that it answers
    asked: bool  # … which is a question
    about: str | None  # who wrote what it answers
    wordless: bool = False  # one of several pictures of an album, without words


def read(message: Message, me: User) -> Said | None:
    """Return what a message says to Marble, or None where it is not meant for it.

    In private everything is; in a group commands are, unless they name another bot or are passed
    on from elsewhere, and answers to Marble's own messages. An administrator bot is sent all else
    that is said there, too.
    """
    if message.is_automatic_forward or (message.via_bot and message.via_bot.id == me.id):
        return None
    if message.sender_chat is None and is_bot(message.from_user):
        return None
    text = _said(message)
    found = _COMMAND.match(text)
    if found and found[2] and found[2].lower() != (me.username or "").lower():
        return None
    private = message.chat.type == message.chat.PRIVATE
    if found and message.forward_origin and not private:
        return None  # somebody else's words, who may do less, or meant another group
    answered = message.reply_to_message
    ours = (
        answered is not None and answered.from_user is not None and answered.from_user.id == me.id
    )
    if not (private or found or ours):
        return None
    if not (text or message.photo or message.effective_attachment):
        return None  # somebody joined, a message was pinned
    wordless = message.media_group_id is not None and not text
    if wordless and not private:
        return None  # an album's words are with one of its pictures
    return Said(
        command=found[1].lower() if found else None,
        text=text[found.end() :].strip() if found else text.strip(),
        picture=picture_of(message),
        answered=picture_of(answered) if answered else None,
        answers=answered.message_id if answered and ours else None,
        asked=answered is not None and ours and _said(answered) in QUESTIONS,
        about=person_of(answered.from_user, answered.sender_chat) if answered else None,
        wordless=wordless,
    )


def _said(message: Message) -> str:
    return message.text or message.caption or ""


def picture_of(message: Message) -> Picture | None:
    """Return a message's picture: the largest version of a photo, or a file that is an image."""
    if message.photo:
        return message.photo[-1]
    document = message.document
    if document and not message.animation and (document.mime_type or "").startswith("image/"):
        return document
    return None


def sender(update: Update, me: User) -> str | None:
    """Return who sent something that is meant for Marble, or None: the rest is not even kept.

    Reactions are heard of people only, not of bots, channels and anonymous administrators.
    """
    if query := update.callback_query:
        return person_of(query.from_user) if query.data and not is_bot(query.from_user) else None
    if reaction := update.message_reaction:
        added = new_emoji(reaction.old_reaction, reaction.new_reaction)
        return person_of(reaction.user) if added and not is_bot(reaction.user) else None
    if (message := update.message) and (read(message, me) or move_of(message)):
        return person_of(message.from_user, message.sender_chat)
    return None


def is_bot(user: User | None) -> bool:
    """Say whether a user is a bot, or none at all."""
    return user is None or user.is_bot


def move_of(message: Message) -> tuple[int, int] | None:
    """Return which group became which supergroup, by the message that says so; None for others."""
    if message.migrate_to_chat_id:
        return message.chat.id, message.migrate_to_chat_id
    if message.migrate_from_chat_id:
        return message.migrate_from_chat_id, message.chat.id
    return None


def tells_of_move(update: Mapping[str, Any]) -> bool:
    """Say of an update as it came whether it is a message of which `move_of` returns something."""
    message = update.get("message") or {}
    return "migrate_to_chat_id" in message or "migrate_from_chat_id" in message


def new_emoji(old: tuple[ReactionType, ...], new: tuple[ReactionType, ...]) -> tuple[str, ...]:
    """Return the emoji that were added by a reaction."""
    before = {_emoji(each) for each in old}
    added = (_emoji(each) for each in new)
    return tuple(emoji for emoji in added if emoji and emoji not in before)


def _emoji(reaction: ReactionType) -> str:
    return str(getattr(reaction, "emoji", "")).replace(VARIATION, "")
