"""What an update asks for, if it is meant for Marble at all: plain code, no calls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from telegram import Document, Message, PhotoSize, ReactionType, Update, User

from bots.chat.actions import VARIATION
from bots.presentation.lines import without_facts
from bots.requests.workflow_file import TEXT_FILES
from bots.telegram.address import PLATFORM, person_key, place_key
from bots.telegram.features import STOPPED
from bots.texts import LANGUAGES

_COMMAND: Final = re.compile(r"/(\w{1,32})(?:@(\w+))?[?!.,:;？！。，：；]*(?=\s|$)")

# What Marble asks: answers to these are words for a picture, whatever else is said in a group.
QUESTIONS: Final = frozenset(
    question
    for words in LANGUAGES.values()
    for question in (words.empty_prompt, words.photo_question)
)

# … and answers to these say how a picture is to be changed.
EDIT_QUESTION: Final = re.compile(
    "|".join(
        re.escape(words.edit_question).replace(re.escape("{name}"), r"([\d.]+)")
        for words in LANGUAGES.values()
    )
)

Picture = PhotoSize | Document


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedMessage:
    """A message to Marble: a command or none, the text after it, pictures, what it replies to."""

    command: str | None
    text: str
    called: bool  # Marble's name stands before the text or behind the command
    picture: Picture | None
    replied_picture: Picture | None  # of the message that it replies to
    replied_person: str | None  # who wrote that
    reply_to: int | None  # its number, where Marble wrote it
    answers_question: bool  # … and it is one of `QUESTIONS`
    asked_of: str = ""  # … or the picture that an `EDIT_QUESTION` is about
    album: str | None  # the id of the album that it is a picture of
    text_file: Document | None = None  # a workflow, or a text about a picture; or one replied to
    album_pictures: tuple[Picture, ...] = ()  # of all of it, where they are asked for

    @property
    def wordless(self) -> bool:
        """Return whether it is one picture of an album, without a caption."""
        return self.album is not None and not (self.command or self.text)


@dataclass(frozen=True, slots=True)
class StoppedDraft:
    """A draft that its reader stopped: their private chat, the topic in it, and the job."""

    chat: int
    thread: int | None
    job: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """An update that is meant for Marble, under the id by which it is stored."""

    id: str
    person: str
    update: Update
    message: ParsedMessage | None = None  # of a message
    migration: tuple[int, int] | None = None  # a group's id and that of the supergroup it became
    emoji: tuple[str, ...] = ()  # added by a reaction
    stopped: StoppedDraft | None = None
    taken_back: tuple[str, ...] = ()  # emoji, by a reaction


def read_update(update: Update, me: User) -> Incoming | None:
    """Return what an update asks for; None for what is not meant for Marble, not even stored.

    Reactions count from people only, not from bots, channels and anonymous administrators.
    """
    message = migration = stopped = None
    emoji: tuple[str, ...] = ()
    taken_back: tuple[str, ...] = ()
    if query := update.callback_query:
        person = person_key(query.from_user) if query.data and not is_bot(query.from_user) else None
    elif reaction := update.message_reaction:
        emoji = new_emoji(reaction.old_reaction, reaction.new_reaction)
        taken_back = new_emoji(reaction.new_reaction, reaction.old_reaction)
        meant = (emoji or taken_back) and not is_bot(reaction.user)
        person = person_key(reaction.user) if meant else None
    elif update.message:
        migration = migration_of(update.message)
        message = None if migration else parse_message(update.message, me)
        if migration or message:
            person = person_key(update.message.from_user, update.message.sender_chat)
        else:
            person = None
    elif asked := update.inline_query or update.chosen_inline_result:
        person = None if is_bot(asked.from_user) else person_key(asked.from_user)
    elif guest := update.guest_message:
        by_person = not (guest.sender_chat or is_bot(guest.from_user))
        person = person_key(guest.from_user) if guest.guest_query_id and by_person else None
    elif stopped := stopped_draft(update):
        person = place_key(stopped.chat)
    else:
        return None
    if person is None:
        return None
    return Incoming(
        id=f"{PLATFORM}:{me.id}/{update.update_id}",  # a bot's updates are numbered for it alone
        person=person,
        update=update,
        message=message,
        migration=migration,
        emoji=emoji,
        stopped=stopped,
        taken_back=taken_back,
    )


def parse_message(message: Message, me: User) -> ParsedMessage | None:
    """Return what a message says to Marble, or None where it is not meant for it.

    In private everything is; in a group commands and what begins with Marble's name are, unless
    they name another bot or are forwarded, and replies to Marble's own messages. An administrator
    bot is sent all else that is said there, too.
    """
    if message.is_automatic_forward or (message.via_bot and message.via_bot.id == me.id):
        return None
    if message.sender_chat is None and is_bot(message.from_user):
        return None
    said = without_facts(text_of(message))
    text = without_mention(said, me)
    found = _COMMAND.match(text)
    if found and found[2] and found[2].lower() != (me.username or "").lower():
        return None
    command = found[1].lower() if found else None
    called = text != said or bool(found and found[2])
    private = message.chat.type == message.chat.PRIVATE
    if (found or called) and message.forward_origin and not private:
        return None  # somebody else's words, who may do less, or meant another group
    replied = message.reply_to_message
    if replied is not None and replied.forum_topic_created:
        replied = None  # as which Telegram shows all that answers nothing in a topic
    ours = replied is not None and replied.from_user is not None and replied.from_user.id == me.id
    if not (private or found or called or ours):
        return None
    asked = EDIT_QUESTION.fullmatch(text_of(replied)) if replied and ours else None
    if asked and command is None:
        command = "edit"
    if not (text or called or message.effective_attachment):
        return None  # somebody joined, a message was pinned
    if message.media_group_id is not None and not (text or private):
        return None  # an album's caption is with one of its pictures
    return ParsedMessage(
        command=command,
        text=text[found.end() :].strip() if found else text.strip(),
        called=called,
        picture=picture_of(message),
        replied_picture=picture_of(replied) if replied else None,
        text_file=text_file_of(message) or (text_file_of(replied) if replied else None),
        replied_person=person_key(replied.from_user, replied.sender_chat) if replied else None,
        reply_to=replied.message_id if replied and ours else None,
        answers_question=replied is not None and ours and text_of(replied) in QUESTIONS,
        asked_of=next(filter(None, asked.groups())) if asked else "",
        album=message.media_group_id,
    )


def stopped_draft(update: Update) -> StoppedDraft | None:
    """Return which draft an update says was stopped; None for any other update."""
    match update.api_kwargs.get(STOPPED):
        case {"chat": {"id": int(chat)}, "draft_id": int(draft), **rest} if chat > 0:
            thread = rest.get("message_thread_id")
            return StoppedDraft(chat, thread if isinstance(thread, int) else None, draft)
    return None


def without_mention(text: str, me: User) -> str:
    """Return a text without the bot's name in front, by which people call it."""
    return re.sub(rf"^\s*@{re.escape(me.username or '')}\b[\s,:]*", "", text, flags=re.IGNORECASE)


def text_of(message: Message) -> str:
    """Return a message's text, or its caption."""
    return message.text or message.caption or ""


def picture_of(message: Message) -> Picture | None:
    """Return a message's picture: the largest version of a photo, or a file that is an image."""
    if message.photo:
        return message.photo[-1]
    document = message.document
    if document and not message.animation and (document.mime_type or "").startswith("image/"):
        return document
    return None


def text_file_of(message: Message) -> Document | None:
    """Return a message's file that may be a workflow or a text about a picture."""
    document = message.document
    is_text = document and (document.file_name or "").lower().endswith(TEXT_FILES)
    return document if is_text else None


def is_bot(user: User | None) -> bool:
    """Return whether a user is a bot, or none at all."""
    return user is None or user.is_bot


def migration_of(message: Message) -> tuple[int, int] | None:
    """Return the ids of a group and of the supergroup it became, where a message says so."""
    if message.migrate_to_chat_id:
        return message.chat.id, message.migrate_to_chat_id
    if message.migrate_from_chat_id:
        return message.migrate_from_chat_id, message.chat.id
    return None


def new_emoji(old: Sequence[ReactionType], new: Sequence[ReactionType]) -> tuple[str, ...]:
    """Return the emoji that were added by a reaction."""
    added = (getattr(each, "emoji", "") for each in new if each not in old)
    return tuple(emoji.replace(VARIATION, "") for emoji in added if emoji)
