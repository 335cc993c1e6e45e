"""What the terminal shows of a job: its headline, its recipe, its pictures."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from bots.presentation.lines import parent_of
from bots.terminal.arguments import FORMATS
from bots.terminal.console import Listing, styled
from bots.terminal.pictures import show
from engine.errors import UserError
from engine.formats.metadata import write_as
from storage import Job, Picture
from storage.jobs.picture_files import Pictures

NOTHING: Final[Sequence[object]] = ("", None, [], {})


class PictureLost(UserError):
    """Says that a picture's file cannot be read."""

    def __init__(self, picture: Picture, path: Path, error: OSError) -> None:
        super().__init__(
            f"The file of picture {picture.name} cannot be read ({error.strerror}: {path}); "
            f"`marble rerun {picture.name}` draws it again."
        )


def headline(job: Job) -> Text:
    """Return what was drawn, and how, in two lines."""
    recipe = job.recipe
    facts = (
        "×".join(map(str, recipe.size)),
        f"{recipe.steps} steps",
        f"{recipe.sampler} {recipe.schedule}",
        f"guidance {recipe.guidance_scale:g}",
        f"seed {recipe.seed}",
        recipe.checkpoint,
        *([f"style {job.style}"] if job.style else []),
    )
    name, words = styled(str(job.id), "bold"), styled(f"  {recipe.prompt}\n", "none")
    return Text.assemble(name, words, styled(" · ".join(facts), "dim"))


def recipe_table(job: Job) -> Listing:
    """Return everything that a job is made from."""
    table = Listing()
    facts = job.recipe.to_dict() | {"status": job.status.value}
    if job.style is not None:
        facts["style"] = job.style
    if job.parent is not None:
        facts["made from"] = parent_of(job)
    if job.error:
        facts["error"] = job.error
    for label, text in recipe_rows(facts):
        table.add(styled(label, "dim"), text)
    return table


def recipe_rows(values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield a recipe's values, as `Recipe.to_dict` returns them, as (label, text)."""
    for name, value in values.items():
        if name != "version" and value not in NOTHING:
            yield name.replace("_", " "), in_words(value)


def in_words(value: object) -> str:
    """Write a recipe's value: `factor 2, by lanczos`; several have ; between."""
    if isinstance(value, Mapping):
        said = {name: part for name, part in value.items() if part not in NOTHING}
        return ", ".join(
            f"{name.replace('_', ' ')} {in_words(part)}" for name, part in said.items()
        )
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(map(in_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def show_pictures(
    console: Console,
    store: Pictures,
    pictures: Sequence[Picture],
    *,
    mode: str,
    copy_to: Path | None = None,
) -> None:
    """Show pictures by a `Protocol` or "auto", say where their files are, and copy them there."""
    for number, picture in enumerate(pictures):
        path = store.path(picture)
        try:
            png = path.read_bytes()
        except OSError as error:
            raise PictureLost(picture, path, error) from None
        show(png, sys.stdout, mode=mode)
        if copy_to:
            path = numbered(copy_to, number)
            path.write_bytes(as_named(png, path))
        console.print(f"  {picture.name}  {_near(path)}", soft_wrap=True)


def as_named(png: bytes, path: Path) -> bytes:
    """Return a picture in the format of a file's suffix; PNG where that is none."""
    kind = FORMATS.get(path.suffix.lower())
    return write_as(png, kind) if kind else png


def numbered(path: Path, number: int) -> Path:
    """Return the path for the picture of that number from 0: a.png, a-2.png, a-3.png."""
    return path if number == 0 else path.with_name(f"{path.stem}-{number + 1}{path.suffix}")


def _near(path: Path) -> Path:
    """Return the path relative to the working directory, where it is below that."""
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path
