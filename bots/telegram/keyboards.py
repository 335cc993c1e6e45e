"""The buttons under a message: their labels, and their data (`action:job.picture`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from telegram import CopyTextButton, InlineKeyboardButton, InlineKeyboardMarkup

from bots.presentation.lines import name_of
from bots.texts import Words
from storage import Job

PICKS: Final = 4  # numbers in a row

# Keys of `actions.BUTTONS` and the field of `Words` that is their label, a row each.
ON_PICTURE: Final = (
    (("same", "same_seed"), ("new", "new_seed")),
    (("vary", "vary_subtle"), ("vary-strong", "vary_strong")),
    (("upscale", "upscale"), ("zoom", "zoom_out")),
    (("original", "original"), ("recipe", "recipe"), ("delete", "delete")),
)
ON_GRID: Final = (*ON_PICTURE[:2], (("recipe", "recipe"), ("delete", "delete")))


def of_result(job: Job, picture: int | None, words: Words) -> InlineKeyboardMarkup:
    """Return the buttons of one picture (`picture`, an index), or of a whole reply (None)."""
    several = len(job.pictures) > 1
    if several and picture is None:
        return InlineKeyboardMarkup([*_numbers(job), *_rows(ON_GRID, name_of(job), words)])
    name = name_of(job, picture if job.recipe.count > 1 else None)
    seed = f"--seed {job.recipe.seed}"  # the option which draws the same noise again
    label = f"{words.fields['seed']} {job.recipe.seed}"
    last = [InlineKeyboardButton(label, copy_text=CopyTextButton(seed))]
    if several:
        last.append(_button(words.everything, "pick", name_of(job)))
    return InlineKeyboardMarkup([*_rows(ON_PICTURE, name, words), last])


def single(label: str, action: str, name: object) -> InlineKeyboardMarkup:
    """Return one button alone."""
    return InlineKeyboardMarkup.from_button(_button(label, action, str(name)))


def _numbers(job: Job) -> Iterator[list[InlineKeyboardButton]]:
    picks = [_button(str(each.index + 1), "pick", each.name) for each in job.pictures]
    for start in range(0, len(picks), PICKS):
        yield picks[start : start + PICKS]


def _rows(
    rows: Iterable[Iterable[tuple[str, str]]], name: str, words: Words
) -> Iterator[list[InlineKeyboardButton]]:
    for row in rows:
        yield [_button(getattr(words, label), action, name) for action, label in row]


def _button(label: str, action: str, name: str) -> InlineKeyboardButton:
    return InlineKeyboardButton(label, callback_data=f"{action}:{name}")
