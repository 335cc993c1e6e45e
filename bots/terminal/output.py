"""What the terminal shows of a job: its headline, its recipe, its pictures."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from bots.requests.permutations import without_choices
from bots.terminal.arguments import FORMATS
from bots.terminal.console import Listing, styled
from bots.terminal.pictures import show
from engine.errors import UserError
from engine.events import Verdict
from engine.formats.metadata import write_as
from engine.recipe.prompt_tags import plain
from engine.sentences import fill
from storage import Job, Picture
from storage.jobs.picture_files import Pictures

NOTHING: Final[Sequence[object]] = ("", None, [], {})


def headline(job: Job) -> Text:
    """Return what was drawn, and how, in two lines."""
    recipe = job.recipe
    facts = (
        "×".join(map(str, recipe.size)),
        fill("{n} {n:step|steps}", n=recipe.steps),
        f"{recipe.sampler} {recipe.schedule}",
        f"guidance {plain(recipe.guidance_scale)}",
        f"seed {recipe.seed}",
        " → ".join(recipe.models),
        *([f"style {job.style}"] if job.style else []),
    )
    name, words = (
        styled(str(job.id), "bold"),
        styled(f"  {without_choices(recipe.prompt)}\n", "none"),
    )
    return Text.assemble(name, words, styled(" · ".join(facts), "dim"))


def recipe_table(
    facts: Mapping[str, object],
    names: Mapping[str, str] | None = None,
    where: Mapping[str, str] | None = None,
) -> Listing:
    """Return a recipe, as `Recipe.to_dict` returns it, with other facts.

    names: what is shown in place of a picture's sha256; where: what a value is called where it
    stands.
    """
    table = Listing()
    for label, value in facts.items():
        if label != "version" and value not in NOTHING:
            text = in_words(value)
            for digest, name in (names or {}).items():
                text = text.replace(digest, name)
            at = [styled(where[label], "dim")] if where and label in where else []
            table.add(styled(label.replace("_", " "), "dim"), text, *at)
    return table


def in_words(value: object) -> str:
    """Write a recipe's value: `factor 2, by lanczos`; several have ; between."""
    if isinstance(value, Mapping):
        said = {name.replace("_", " "): part for name, part in value.items() if part not in NOTHING}
        return ", ".join(f"{name} {in_words(part)}" for name, part in said.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(map(in_words, value))
    return plain(value) if isinstance(value, float) else str(value)


def show_pictures(
    console: Console,
    store: Pictures,
    mode: str,
    copy_to: Path | None,
    pictures: Sequence[Picture],
    first: int = 1,
) -> None:
    """Show pictures by a `Protocol` or "auto", say where their files are, and copy them there.

    first: the number by which the first one's copy is called, from 1. Raises `UserError` for a file
    that cannot be read, and last for copies that cannot be written.
    """
    failed = None
    for number, picture in enumerate(pictures, first):
        path = store.file(picture)
        where = _near(path) if path else store.where
        try:
            png = path.read_bytes() if path else store.read(picture)
        except OSError as error:
            raise UserError(
                f"The file of picture {picture.name} cannot be read ({error.strerror}: {path}); "
                f"`marble rerun {picture.name}` draws it again."
            ) from None
        show(png, sys.stdout, mode)
        if copy_to:  # a.png, a-2.png, a-3.png
            copy = copy_to if number == 1 else copy_to.with_stem(f"{copy_to.stem}-{number}")
            kind = FORMATS.get(copy.suffix.lower())
            try:
                copy.write_bytes(write_as(png, kind) if kind else png)
                where = _near(copy)
            except OSError as error:
                failed = (
                    f"The copy {copy} cannot be written ({error.strerror}); its picture is {where}."
                )
        console.print(f"  {picture.name}  {where}", soft_wrap=True)
    for picture in pictures:  # this machine's owner sees every picture, with what was found
        if picture.verdict is Verdict.UNSAFE:
            console.print(styled(f"The safety check finds {picture.name} unsafe.", "dim"))
    if failed:
        raise UserError(failed)


def _near(path: Path) -> Path:
    """Return the path relative to the working directory, where it is below that."""
    here, whole = Path.cwd(), path.resolve()
    return whole.relative_to(here) if whole.is_relative_to(here) else path
