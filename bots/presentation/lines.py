"""Lines about jobs: queue positions, progress, captions, recipes."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from bots.presentation.text import cut, fit_list, one_line
from bots.requests.permutations import without_choices
from bots.requests.styles import WORDS
from bots.texts import EngineRoom, Words, say, tell
from engine.events import News, Progress, Waiting
from engine.formats.reading import Reading
from engine.recipe.prompt_tags import plain
from engine.sentences import Sentence
from storage import Job

if TYPE_CHECKING:
    from engine.models.memory_plan import Plan

BAR: Final = 12  # cells
GIGABYTE: Final = 1_000_000_000
FULL, EMPTY = "▰", "▱"
IGNORED: Final = 800  # characters of what is not honoured
ALT_LIMIT: Final = 1024  # characters, Discord's; nobody listens to more
NO_WORDS: Final = '""'  # a prompt that is there and says nothing
NO_MATCHES: Final[Mapping[int, float]] = MappingProxyType({})
SEPARATOR: Final = " · "
_FACTS: Final = re.compile(rf"^\d+(?:\.\d+)?{SEPARATOR}\d+×\d+{SEPARATOR}", re.MULTILINE)
OTHER_DEVICE: Final = Sentence("other_device")
BEST_UNKNOWN: Final = Sentence("best_unknown")
Escape = Callable[[str], str]


def progress_line(news: News, words: Words, escape: Escape = str) -> str:
    """Write news of a job as a line: its queue position and time, or a bar with steps."""
    line = (
        waiting_line(news, words, escape) if isinstance(news, Waiting) else _bar_line(news, words)
    )
    return line[:1].upper() + line[1:]


def waiting_line(waiting: Waiting, words: Words, escape: Escape = str) -> str:
    """Write a queue position: `2 in line, about 40 s`, or why nothing starts."""
    if waiting.position == 0:
        return words.statuses["running"]
    if waiting.position == 1:
        line = words.next_in_line
    else:
        line = words.nth_in_line.format(place=waiting.position)
    if waiting.reason:
        reason = escape(say(waiting.reason, words))
        return words.paused.format(line=line, reason=reason)
    if waiting.eta is None:
        return line
    return words.with_eta.format(line=line, time=duration(waiting.eta, words))


def duration(seconds: float, words: Words) -> str:
    """Write a length of time: `8 s`, `3 min`, `2 h`."""
    if seconds < 100:
        return words.seconds.format(n=max(1, round(seconds)))
    if seconds < 6000:
        return words.minutes.format(n=round(seconds / 60))
    return words.hours.format(n=round(seconds / 3600))


def size_of(count: int) -> str:
    """Write a number of bytes: `7 MB`, `6.94 GB`."""
    large = count >= GIGABYTE / 10
    return f"{count / GIGABYTE:.2f} GB" if large else f"{count / 1e6:.0f} MB"


def fit_text(planned: "Plan", room: EngineRoom) -> str:
    """Say whether a model fits on a device."""
    size = planned.missing or planned.on_device
    return room.fits[planned.fit.name.lower()].format(size=size_of(size))


def caption(
    job: Job,
    words: Words,
    escape: Escape = str,
    limit: int = 1024,
    length: Callable[[str], int] = len,
    picture: int | None = None,
) -> str:
    """Write a reply's caption: the prompt, and below it name, size, seed and model.

    picture: as in `facts`.
    """
    below = "\n" + SEPARATOR.join(escape(fact) for fact in facts(job, words, picture))
    return cut(escape(shown_prompt(job)), limit - length(below), length) + below


def shown_prompt(job: Job) -> str:
    """Return a job's prompt in one line that, copied and sent, means the same again."""
    return without_choices(one_line(job.recipe.prompt))


def without_facts(text: str) -> str:
    """Return a text without the line below a prompt that a caption has, and what follows it."""
    found = _FACTS.search(text)
    return text[: found.start()] if found else text


def device_note(job: Job, words: Words) -> str:
    """Return that another kind of device drew a job than its original, or an empty text."""
    return say(OTHER_DEVICE, words) if job.device_wanted else ""


def best_note(job: Job, words: Words) -> str:
    """Return which pictures match the prompt best, where they are shown in that order."""
    if not (job.best and job.pictures):
        return ""
    if any(each.match is None for each in job.pictures):
        return say(BEST_UNKNOWN, words)
    matches = {each.index: each.match for each in job.pictures if each.match is not None}
    return say(Sentence("best_first", matches=match_text(job, matches)), words)


def match_text(job: Job, matches: Mapping[int, float], picture: int | None = None) -> str:
    """Write how well a job's pictures match its prompt, as far as that is known.

    matches: by index; picture: the index of the only one that is meant.
    """
    known = [(each, matches[each.index]) for each in job.pictures if each.index in matches]
    if picture is None and len(job.pictures) > 1:
        return ", ".join(f"{each.name} ({match:.3f})" for each, match in known)
    return ", ".join(f"{match:.3f}" for each, match in known if picture in (None, each.index))


def facts(job: Job, words: Words, picture: int | None = None) -> Iterator[str]:
    """Yield a job's facts: its name, size, seed, model, style and parent.

    picture: the index of one that is shown alone, whose name it is then.
    """
    recipe = job.recipe
    yield name_of(job, picture if recipe.count > 1 else None)
    drawn = job.pictures[0] if job.pictures else recipe  # an upscaled picture is larger
    yield f"{drawn.width}×{drawn.height}"
    yield f"{words.fields['seed']} {recipe.seed}"
    yield " → ".join(recipe.models)
    if job.style is not None:
        yield f"{words.fields['style']} {job.style}"
    if job.parent is not None:
        yield words.made_from.format(parent=parent_of(job))


def recipe_lines(
    job: Job, words: Words, picture: int | None = None, matches: Mapping[int, float] = NO_MATCHES
) -> Iterator[tuple[str, str]]:
    """Yield the recipe as (label, value), whatever fields it has; what is empty is left out.

    `picture` is the index of the one that is meant; `matches` say how well each matches its prompt,
    by index.
    """
    values = job.recipe.to_dict()
    if picture is not None and job.recipe.count > 1:
        values["picture"] = picture
    if job.style is not None:
        values["style"] = job.style
    if job.parent is not None:
        values["parent"] = parent_of(job)
    values["match"] = match_text(job, matches, picture)
    return value_lines(values, words)


def value_lines(values: Mapping[str, Any], words: Words) -> Iterator[tuple[str, str]]:
    """Yield a recipe's values, as `Recipe.to_dict` returns them, as (label, value)."""
    for name, value in values.items():
        if name == "picture" and value is not None:
            value += 1  # people count from 1
        if name != "version" and value not in (None, "", [], {}, ()):
            text = _plain(value)
            yield words.fields[name], without_choices(text) if name in WORDS else text


def reading_lines(reading: Reading, words: Words) -> Iterator[tuple[str, str]]:
    """Yield what a file says as (label, value), each with what it is called there."""
    for name, value in reading.to_dict().items():
        at = reading.where.get(name)
        for label, text in value_lines({name: NO_WORDS if value == "" else value}, words):
            yield label, f"{text} ({at})" if at else text


def reading_notes(reading: Reading, words: Words) -> Iterator[str]:
    """Yield what a file does not say, why nothing can be drawn, and what cannot be honoured."""
    if reading.missing:
        yield words.missing.format(what=", ".join(words.fields[name] for name in reading.missing))
    if reading.refused is not None:
        yield words.not_drawn.format(why=tell(reading.refused, words))
    if ignored := ignored_text(reading.ignored, words):
        yield words.ignored.format(what=ignored)


def ignored_text(ignored: Iterable[str], words: Words) -> str:
    """Name the parts of a recipe from elsewhere that are ignored."""
    parts = (say(each, words) for each in ignored)
    return fit_list(parts, IGNORED, words.and_more, joint="; ")


def alt_text(job: Job, words: Words, pictures: int = 1) -> str:
    """Write the alternative text of a reply's picture, or of its grid of several."""
    template = words.alt_text if pictures == 1 else words.alt_text_grid
    empty = template.format(prompt="", count=pictures)
    prompt = cut(one_line(job.recipe.prompt), ALT_LIMIT - len(empty))
    return template.format(prompt=prompt, count=pictures)


def name_of(job: Job, picture: int | None = None) -> str:
    """Return the name that people use: `12`, or `12.3` for one picture of several."""
    return f"{job.id}" if picture is None else f"{job.id}.{picture + 1}"


def parent_of(job: Job) -> str:
    """Return the name of what a job was made from."""
    number = "" if job.parent_picture is None else f".{job.parent_picture + 1}"
    return f"{job.parent}{number}"


def _bar_line(progress: Progress, words: Words) -> str:
    done = min(1.0, progress.step / progress.total) if progress.total else 0.0
    cells = int(done * BAR)
    return words.progress.format(
        stage=words.stages[progress.stage],
        bar=FULL * cells + EMPTY * (BAR - cells),
        step=progress.step,
        total=progress.total,
    )


def _plain(value: object) -> str:
    if isinstance(value, float):
        return plain(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(each) for each in value)
    if isinstance(value, dict):
        return " ".join(_plain(each) for each in value.values() if each is not None)
    return str(value)
