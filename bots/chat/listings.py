"""Lists as lines of text: the queue, models, history, settings, rules, moderators' acts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from bots.admission.blocked_words import quote
from bots.admission.in_force import InForce
from bots.admission.rulebook import NAMED, RULES, write_rule
from bots.admission.rules import time_text
from bots.presentation.lines import duration, shown_prompt
from bots.presentation.text import cut, fit_list
from bots.requests.options import TYPED_AS
from bots.requests.recipe_builder import fixed_values, lacking_options
from bots.requests.workflow_file import Workflow
from bots.texts import Words, tell
from bots.worker.queue_view import QueueEntry, QueueView
from engine.errors import UserError
from engine.models.catalogue import Catalogue
from engine.recipe.prompt_tags import plain
from engine.sentences import fill
from storage import Job
from storage.records import Act, Alike, Favourite, Stats, Style

PROMPT: Final = 60  # characters of a prompt in a list
QUEUE: Final = 15  # lines
FIELDS: Final = {"guidance": "guidance_scale"}  # of a recipe, where a rule's name is another
VALUE: Final = 300  # characters of a rule's or a detail's value
STYLE: Final = 100  # characters of its words
REMOVED: Final = "–"  # a rule that no longer is
RULING: Final = ("rules", "policy")  # acts that change rules: nothing removes one


def queue_lines(
    queue: QueueView, person: str, words: Words, place: str | None = None
) -> Iterator[str]:
    """List what runs and what waits; prompts of the person's own jobs alone.

    place: where others read the list; prompts from other places are then left out.
    """
    if not queue.entries:
        yield words.queue_empty
        return
    yield words.queue_title
    for entry in queue.entries:
        own = entry.job.person == person and place in (None, entry.job.place)
        yield _queue_line(entry, own, words)
    if queue.hidden:
        yield words.and_more.format(count=queue.hidden)


def _queue_line(entry: QueueEntry, own: bool, words: Words) -> str:
    job, recipe = entry.job, entry.job.recipe
    what = f"{len(recipe.pictures)} × {recipe.width}×{recipe.height}, {' → '.join(recipe.models)}"
    if own:
        what += f": {cut(recipe.prompt, PROMPT)}"
    template = words.queue_waiting if entry.position else words.queue_running
    line = template.format(
        place=entry.position,
        job=job.id,
        who=words.you if own else words.somebody,
        what=what,
    )
    if entry.eta is None:
        return line
    return words.with_eta.format(line=line, time=duration(entry.eta, words))


def model_lines(catalogue: Catalogue, words: Words) -> Iterator[str]:
    """List the models with their family, default size and steps, and the options they lack."""
    yield words.models_title
    for name in catalogue.names():
        try:
            model = catalogue.get(name)
        except UserError as error:
            yield f"{name}: {tell(error, words)}"
            continue
        line = fill(
            words.model_line,
            name=name,
            family=model.title,
            width=model.defaults.width,
            height=model.defaults.height,
            steps=model.defaults.steps,
        )
        if model.references:
            line = words.model_edits.format(line=line)
        for field, value in fixed_values(model).items():
            fixed = {"option": TYPED_AS[field], "value": plain(value)}
            line = words.model_fixed.format(line=line, **fixed)
        if lacking := lacking_options(model):
            line = words.model_lacks.format(line=line, options=", ".join(lacking))
        yield line


def workflow_lines(workflows: Sequence[Workflow], words: Words) -> Iterator[str]:
    """List workflows with what may be set in them, if there are any."""
    if workflows:
        yield words.workflows_title
    for each in workflows:
        yield words.workflow_line.format(name=each.name, inputs=", ".join(each.inputs))


def stats_lines(own: Stats | None, here: Stats, words: Words) -> Iterator[str]:
    """Count what somebody drew, if given, and what was drawn in a place."""
    yield words.stats_title
    if own is not None:
        yield fill(
            words.stats_yours,
            jobs=sum(own.jobs.values()),
            pictures=own.pictures,
            favourites=own.favourites,
        )
    yield fill(
        words.stats_here, jobs=sum(here.jobs.values()), pictures=here.pictures, people=here.people
    )


def history_lines(jobs: Sequence[Job], words: Words) -> Iterator[str]:
    """List jobs, the newest first."""
    if not jobs:
        yield words.nothing_yet
        return
    yield words.history_title
    for job in jobs:
        prompt = cut(shown_prompt(job), PROMPT)
        yield f"{job.id} · {words.statuses[job.status]} · {prompt}"


def favourite_lines(kept: Sequence[Favourite], words: Words) -> Iterator[str]:
    """List favourites, the newest picture first."""
    if not kept:
        yield words.no_favourites
        return
    yield words.favourites_title
    for each in kept:
        yield f"{each.picture.name} · {cut(shown_prompt(each.job), PROMPT)}"


def alike_lines(found: Sequence[Alike], words: Words) -> Iterator[str]:
    """List the pictures that a search by meaning found, with how well each matches."""
    yield words.alike_title
    for each in found:
        prompt = cut(shown_prompt(each.job), PROMPT)
        yield f"{each.picture.name} · {each.cosine:.2f} · {prompt}"


def settings_lines(
    saved: Mapping[str, str], words: Words, written: str = "--{name} {text}"
) -> Iterator[str]:
    """List saved options; written: the template of one."""
    if not saved:
        yield words.settings_empty
        return
    yield words.settings_title
    for name, text in saved.items():
        yield written.format(name=name, text=text)


def style_lines(styles: Sequence[Style], words: Words) -> Iterator[str]:
    """List styles with their words."""
    yield words.styles_title if styles else words.styles_empty
    for style in styles:
        line = words.style_line_without if style.negative else words.style_line
        parts = {"prompt": cut(style.prompt, STYLE), "negative": cut(style.negative, STYLE)}
        yield line.format(name=style.name, **parts)


def rule_lines(
    held: InForce, words: Words, called: Mapping[str, str] | None = None
) -> Iterator[str]:
    """List rules in force, without "no limit" ones, and moderators' rules without effect.

    called: names of the places that this one lies in, by id, to name where a rule was set.
    """
    yield words.rules_open.format(open=words.yes if held.is_open else words.no)
    for name in RULES:
        value = held.rules.get(name)
        if not value and (value is None or name not in NAMED):  # no name at all may be allowed
            continue
        parts = [f"{rule_label(name, words)}: {value_text(value, words)}"]
        theirs = [place for place in held.set_in.get(name, ()) if place != held.place]
        parts += [
            words.rule_from.format(where=where)
            for place, where in (called or {}).items()
            if place in theirs
        ]
        if asked := held.without_effect.get(name):
            parts.append(words.rule_aside.format(asked=value_text(asked, words)))
        yield " ".join(parts)


def act_lines(
    acts: Iterable[Act],
    words: Words,
    *,
    person: Callable[[str], str] = str,
    escape: Callable[[str], str] = str,
    joint: str = " · ",
) -> Iterator[str]:
    """List what moderators did, the newest first; person: how one is written."""
    acts = list(acts)
    yield words.acts_title if acts else words.acts_empty
    for act in acts:
        by, target = (person(key) if key else "" for key in (act.by, act.target))
        name, detail = words.acts.get(act.act, act.act), escape(act_detail(act, words))
        yield joint.join(filter(None, (time_text(act.at), by, name, target, detail)))


def act_detail(act: Act, words: Words) -> str:
    """Return an act's detail: a reason, a style's words, rules as people write them."""
    shown = {
        name: _detail(name, value, words)
        for name, value in act.detail.items()
        if value not in (None, "") or act.act in RULING
    }
    labels = {name: words.details.get(name) or rule_label(name, words) for name in shown}
    return ", ".join(f"{labels[name]}: {value}" for name, value in shown.items())


def _detail(name: str, value: Any, words: Words) -> str:
    if name == "until":
        return time_text(datetime.fromisoformat(value))
    if name == "permission":
        return words.permissions.get(value, value)
    return value_text(value, words)


def value_text(value: Any, words: Words) -> str:
    """Return a rule's or a detail's value as text; a list of names is cut between them."""
    if isinstance(value, bool):
        return words.yes if value else words.no
    if isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value):
        names = map(quote, value)
        return fit_list(names, VALUE, words.and_more, joint=", ") or REMOVED
    return REMOVED if value is None else cut(write_rule(value), VALUE) or REMOVED


def rule_label(name: str, words: Words) -> str:
    """Return what people call a rule or another detail."""
    return words.rules.get(name) or words.fields.get(FIELDS.get(name, name), name)
