"""The contents of Marble's messages: text, a picture, buttons."""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Self

import discord
from discord import ui
from discord.utils import format_dt

from bots.admission.visibility import View, Withheld
from bots.chat.errors import excuse
from bots.chat.making_of import page_address
from bots.discord.address import LIMIT, Address
from bots.discord.buttons import action_button, result_buttons
from bots.presentation.fit import Limit, fit, fit_composed
from bots.presentation.grid import compose
from bots.presentation.lines import (
    ALT_LIMIT,
    SEPARATOR,
    alt_text,
    best_note,
    device_note,
    facts,
    name_of,
    progress_line,
    shown_prompt,
)
from bots.presentation.making_of import MakingOf, animation, brief, strip
from bots.presentation.text import (
    cut,
    escape_markdown,
    escape_sentence,
    fit_lines,
    fit_list,
)
from bots.texts import MAKING_OF, Words, say, tell, words_of
from engine.events import News
from storage import Job, PendingReply, Picture, Status
from storage.errors import LostPicture

CONTENT: Final = 2000  # characters of a message
SMALL_TEXT: Final = "-# "  # Discord's markdown for what matters less
BLOCK, QUOTES = "```", '"""'  # what begins and ends a text as it is, and stands for it there
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d) UTC")


def local_times(text: str) -> str:
    """Write the times of a text (`time_text`) as Discord's, shown in the reader's own zone."""
    return _TIME.sub(lambda found: format_dt(datetime.fromisoformat(f"{found[1]}Z"), "f"), text)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileData:
    """A file: its name, its bytes, and alt text."""

    name: str
    data: bytes
    description: str | None = None
    spoiler: bool = False

    def open(self) -> discord.File:
        """Return a new `discord.File`, which can be sent once."""
        data = io.BytesIO(self.data)
        return discord.File(data, self.name, description=self.description, spoiler=self.spoiler)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """All that a message shows."""

    content: str
    files: tuple[FileData, ...] = ()
    kept: Sequence[discord.Attachment] = ()  # of the files that the edited message has
    buttons: Sequence[ui.Item[Any]] = ()  # and menus

    def noted(self, note: str) -> Self:
        """Return it with a note below its text."""
        below = f"\n{SMALL_TEXT}{note}" if note else ""
        return replace(self, content=cut(self.content, CONTENT - len(below)) + below)

    def edit(self) -> dict[str, Any]:
        """Return arguments that make a message show this and nothing else."""
        files = [*self.kept, *(each.open() for each in self.files)]
        return {"content": self.content, "attachments": files, "view": self._view()}

    def new(self) -> dict[str, Any]:
        """Return arguments that send this as a new message."""
        found: dict[str, Any] = {"content": self.content}
        if self.files:
            found["files"] = [each.open() for each in self.files]
        if view := self._view():
            found["view"] = view
        return found

    def _view(self) -> ui.View | None:
        view = ui.View(timeout=None)
        for item in self.buttons:
            view.add_item(item)
        return view if self.buttons else None


def refusal(sentence: str, typed: str, words: Words) -> str:
    """Return why something is not done, with the words that were typed, if any, to be copied."""
    if not typed.strip():
        return cut(sentence, CONTENT)
    before = f"{sentence}\n{SMALL_TEXT}{words.your_words}\n{BLOCK}\n"
    room = CONTENT - len(before) - len(f"\n{BLOCK}")
    return f"{before}{cut(typed.replace(BLOCK, QUOTES), room)}\n{BLOCK}"


def listed(lines: Iterable[str], words: Words) -> str:
    """Return a list as text: its first line as a title, where others follow; all escaped."""
    title, *rest = (escape_markdown(line) for line in lines)
    return fit_list([f"**{title}**" if rest else title, *rest], CONTENT, words.and_more)


def recipe_text(
    name: str, values: Iterable[tuple[str, str]], words: Words, limit: int, source: str = ""
) -> str:
    """Return a recipe, its values as (label, value), as text of so many characters at most."""
    title = words.recipe_title.format(name=escape_markdown(name))
    lines = (f"{escape_markdown(label)}: {escape_markdown(value)}" for label, value in values)
    return fit_lines([f"**{title}**{source}", *lines], limit)


def progress_reply(job: Job, news: News, preview: bytes | None, words: Words) -> Reply:
    """Return a reply with a job's progress, its preview, and a button to cancel it."""
    alt = alt_text(job, words)
    files = (FileData(name="preview.jpg", data=preview, description=alt),) if preview else ()
    content = f"{_prompt(job, 400)}\n{progress_line(news, words, escape_markdown)}"
    cancel = action_button("cancel", name_of(job), words)
    return Reply(content=content, files=files, buttons=(cancel,))


def outcome_reply(
    pending: PendingReply,
    view: View,
    limit: int,
    *,
    site: str | None = None,
    making: MakingOf | None = None,
) -> Reply:
    """Return a job's result: its pictures, or why there are none; blocks.

    limit: as of `pictures_reply`; site: the web page's address, None where there is none; making:
    what the job recorded of how its picture comes about, which is then shown in its place.
    """
    job, page = pending.job, site is not None
    if pending.outcome is not Status.RENDERED:
        return reply_in_words(pending)
    words = words_of(Address.from_dict(job.reply).language)
    if making:
        files = _making_of_files(making, limit, spoiler=view.needs_spoiler(job.pictures))
        buttons = result_buttons(job, job.pictures, words, page=page)
        content = listed(brief(making, words), words)
        if address := page_address(site, job):  # as it is: a link, with no preview
            content += "\n" + MAKING_OF[words.language].whole_page.format(address=f"<{address}>")
        return Reply(content=content, files=files, buttons=buttons)
    return pictures_reply(job, job.pictures, view, limit, words, page=page)


def _making_of_files(making: MakingOf, limit: int, *, spoiler: bool) -> tuple[FileData, ...]:
    """Return the strip and the animation, as far as they fit into so many bytes together."""
    name, alt = f"making-of-{making.name}", cut(making.recipe.prompt, ALT_LIMIT)
    files: list[FileData] = []
    for suffix, data in (("png", strip(making)), ("webp", animation(making))):
        if len(data) + sum(len(each.data) for each in files) <= limit:
            file = f"{name}.{suffix}"
            files.append(FileData(name=file, data=data, description=alt, spoiler=spoiler))
    return tuple(files)


def reply_in_words(pending: PendingReply) -> Reply:
    """Return a job's result without pictures: there are none, or Discord does not take them."""
    job = pending.job
    words = words_of(Address.from_dict(job.reply).language)
    if pending.outcome is Status.RENDERED:
        name = name_of(job)
        text = _caption(job, name, words, words.not_shown.format(name=name))
        return Reply(content=text, buttons=result_buttons(job, job.pictures, words))
    if pending.outcome is Status.CANCELLED:
        return Reply(content=f"{_prompt(job, 400)}\n{SMALL_TEXT}{words.cancelled}")
    reason = escape_sentence(say(job.error or "", words))
    content = cut(words.failed.format(reason=reason), CONTENT)
    again = action_button("rerun", name_of(job), words, label=words.rerun)
    return Reply(content=content, buttons=(again,))


def pictures_reply(
    job: Job,
    pictures: Sequence[Picture],
    view: View,
    limit: int,
    words: Words,
    *,
    page: bool = False,
) -> Reply:
    """Return a reply with a job's pictures: one as it is, several as a grid; blocks.

    limit: in bytes. page: whether there is a web page, which a button opens. Pictures that the view
    withholds are left out, with a sentence why; so is one whose file is gone. Raises
    `PicturesFault` where none can be read now.
    """
    alone = len(pictures) == 1
    name = name_of(job, pictures[0].index if alone and job.recipe.count > 1 else None)
    buttons = result_buttons(job, pictures, words, page=page)
    try:
        pngs = view.read_all(pictures)
    except (Withheld, LostPicture) as error:
        why = tell(error, words) if isinstance(error, Withheld) else excuse(error, words)
        return Reply(content=_caption(job, name, words, why), buttons=buttons)
    most, numbers = Limit(size=limit), [each.index + 1 for each in pictures]
    shown = fit(pngs[0], most) if alone else fit_composed(compose(pngs, numbers=numbers), most)
    shrunk = words.shrunk if pictures[0].size <= LIMIT else words.shrunk_everywhere
    notes = (
        shrunk if alone and not shown.whole else "",
        "" if alone else best_note(job, words),
        say(view.note(pictures), words),
        device_note(job, words),
    )
    file = FileData(
        name=f"marble-{name}.{shown.suffix}",
        data=shown.data,
        description=alt_text(job, words, len(pictures)),
        spoiler=view.needs_spoiler(pictures),
    )
    return Reply(content=_caption(job, name, words, *notes), files=(file,), buttons=buttons)


def _caption(job: Job, name: str, words: Words, *notes: str) -> str:
    known = [name, *list(facts(job, words))[1:]]
    small = [escape_markdown(SEPARATOR.join(known)), *filter(None, notes)]
    below = "".join(f"\n{SMALL_TEXT}{line}" for line in small)
    return _prompt(job, CONTENT - len(below)) + below


def _prompt(job: Job, limit: int) -> str:
    return cut(escape_markdown(shown_prompt(job)), limit)
