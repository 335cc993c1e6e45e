"""The buttons under a message: their labels, and their data (`action:job.picture`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from operator import attrgetter
from typing import Final

from telegram import CopyTextButton, InlineKeyboardButton, InlineKeyboardMarkup, WebAppInfo

from bots.chat.actions import ACTIONS, FEW, FOR_ALL, FOR_EACH, below_picture
from bots.presentation.lines import name_of
from bots.texts import Words
from storage import Job

SUGGESTION: Final = "draw"  # what the buttons below a description carry
MINI_APP: Final = "/mini"  # the web page's path for who comes from Telegram
MOST: Final = 4  # buttons in a row
MOST_WORDS: Final = 3  # … with labels in words


def of_result(
    job: Job, picture: int | None, words: Words, *, page: bool = False
) -> InlineKeyboardMarkup:
    """Return the buttons of one picture (`picture`, an index), or of a whole reply (None).

    page: whether there is a web page, on which some are done.
    """
    several = len(job.pictures) > 1
    if several and picture is None:
        return InlineKeyboardMarkup([*_for_each(job), *_rows(FOR_ALL, name_of(job), words)])
    name = name_of(job, picture if job.recipe.count > 1 else None)
    seed = f"--seed {job.recipe.seed}"  # the option which draws the same noise again
    label = f"{words.fields['seed']} {job.recipe.seed}"
    last = [InlineKeyboardButton(label, copy_text=CopyTextButton(seed))]
    if several:
        last.append(_button(words.everything, "show", name_of(job)))
    return InlineKeyboardMarkup([*_rows(below_picture(page=page), name, words), last])


def for_action(
    action: str, job: Job, words: Words, *, label: str | None = None
) -> InlineKeyboardMarkup:
    """Return one button alone, for an action on a job; label: another than its own."""
    text = label or ACTIONS[action].label_in(words) or ACTIONS[action].emoji
    return InlineKeyboardMarkup.from_button(_button(text, action, str(job.id)))


def suggestions(count: int) -> InlineKeyboardMarkup:
    """Return the buttons that draw what a list describes, by its numbers."""
    numbers = range(1, count + 1)
    row = [_carrying(f"🖼️ {number}", SUGGESTION, str(number)) for number in numbers]
    return InlineKeyboardMarkup.from_row(row)


def link(label: str, url: str) -> InlineKeyboardMarkup | None:
    """Return a button that opens an address; None where Telegram takes none: it must be https."""
    if not url.startswith("https:"):
        return None
    return InlineKeyboardMarkup.from_button(InlineKeyboardButton(label, url=url))


def single(label: str, data: str, name: object) -> InlineKeyboardMarkup:
    """Return one button alone, which carries something else than an action."""
    return InlineKeyboardMarkup.from_button(_carrying(label, data, str(name)))


def web(
    url: str, address: str | None, words: Words, *, private: bool
) -> InlineKeyboardMarkup | None:
    """Return the buttons that open the web page; Telegram takes https alone.

    url: a link that signs in. Within Telegram the page asks Telegram who opens it, which works in
    private chats.
    """
    if not url.startswith("https:"):
        return None
    buttons = [InlineKeyboardButton(words.web_browser, url=url)]
    if private:
        inside = InlineKeyboardButton(words.web_open, web_app=WebAppInfo(f"{address}{MINI_APP}"))
        buttons.insert(0, inside)
    return InlineKeyboardMarkup.from_row(buttons)


def _for_each(job: Job) -> Iterator[list[InlineKeyboardButton]]:
    """Yield the buttons for each picture of a grid; of many, each is shown first."""
    numbered = sorted(job.pictures, key=attrgetter("index"))
    for action in FOR_EACH if len(numbered) <= FEW else ("show",):
        before = ACTIONS[action].number
        yield from _divided(
            [_button(f"{before}{each.index + 1}", action, each.name) for each in numbered], MOST
        )


def _rows(
    rows: Iterable[Iterable[str]], name: str, words: Words
) -> Iterator[list[InlineKeyboardButton]]:
    for row in rows:
        offered = [(action, ACTIONS[action]) for action in row if ACTIONS[action].telegram]
        buttons = [
            _button(found.label_in(words) or found.emoji, action, name) for action, found in offered
        ]
        yield from _divided(buttons, MOST_WORDS if any(each.label for _, each in offered) else MOST)


def _divided(
    row: Sequence[InlineKeyboardButton], most: int
) -> Iterator[list[InlineKeyboardButton]]:
    """Yield a row as rows of about the same length, at most so many buttons each."""
    each = ceil(len(row) / ceil(len(row) / most))
    for start in range(0, len(row), each):
        yield [*row[start : start + each]]


def _button(label: str, action: str, name: str) -> InlineKeyboardButton:
    return _carrying(label, ACTIONS[action].telegram, name)


def _carrying(label: str, data: str, name: str) -> InlineKeyboardButton:
    return InlineKeyboardButton(label, callback_data=f"{data}:{name}")
