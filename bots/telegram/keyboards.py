"""The buttons under a message: their labels, and their data (`action:job.picture`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from telegram import CopyTextButton, InlineKeyboardButton, InlineKeyboardMarkup

from bots.presentation.lines import name_of
from bots.texts import Words
from storage import Job

PICKS: Final = 4  # numbers in a row
OLDER: Final = "older"  # the button below a page of somebody's history

# Keys of `actions.BUTTONS` and the field of `Words` that is their label, a row each.
ON_PICTURE: Final = (
    (("same", "same_seed"), ("new", "new_seed")),
    (("vary", "vary_subtle"), ("vary-strong", "vary_strong")),
    (("upscale", "upscale"), ("zoom", "zoom_out")),
    (("original", "original"), ("recipe", "recipe"), ("delete", "delete")),
)
ON_GRID: Final = (
    (("same", "same_seed"), ("new", "new_seed")),
    (("vary", "vary_subtle"), ("vary-strong", "vary_strong")),
    (("recipe", "recipe"), ("delete", "delete")),
)
Rows = Iterable[Iterable[tuple[str, str]]]


def of_result(job: Job, picture: int | None, words: Words) -> InlineKeyboardMarkup:
    """Return the buttons of one picture (`picture`, an index), or of a whole reply (None)."""
    several = len(job.pictures) > 1
    if several and picture is None:
        return InlineKeyboardMarkup([*_numbers(job), *_rows(ON_GRID, name_of(job), words)])
    name = name_of(job, picture if job.recipe.count > 1 else None)
    rows = [*_rows(ON_PICTURE, name, words), [_seed(job, picture, words)]]
    if several:
        rows[-1].append(_button(words.everything, "pick", name_of(job)))
    return InlineKeyboardMarkup(rows)


def of_waiting(job: int, words: Words) -> InlineKeyboardMarkup:
    """Return the button under a placeholder."""
    return InlineKeyboardMarkup([[_button(words.cancel, "cancel", str(job))]])


def of_page(last: int, words: Words) -> InlineKeyboardMarkup:
    """Return the button below a page of somebody's history."""
    return InlineKeyboardMarkup([[_button(words.older, OLDER, str(last))]])


def of_failure(job: int, words: Words) -> InlineKeyboardMarkup:
    """Return the button under the message that a job failed."""
    return InlineKeyboardMarkup([[_button(words.rerun, "same", str(job))]])


def _numbers(job: Job) -> Iterator[list[InlineKeyboardButton]]:
    picks = [_button(str(each.index + 1), "pick", each.name) for each in job.pictures]
    for start in range(0, len(picks), PICKS):
        yield picks[start : start + PICKS]


def _rows(rows: Rows, name: str, words: Words) -> Iterator[list[InlineKeyboardButton]]:
    for row in rows:
        yield [_button(getattr(words, label), action, name) for action, label in row]


def _button(label: str, action: str, name: str) -> InlineKeyboardButton:
    return InlineKeyboardButton(label, callback_data=f"{action}:{name}")


def _seed(job: Job, picture: int | None, words: Words) -> InlineKeyboardButton:
    """Return the button that copies the option which draws the same noise again."""
    seed = job.recipe.seed
    return InlineKeyboardButton(
        f"{words.fields['seed']} {seed}", copy_text=CopyTextButton(f"--seed {seed}")
    )
