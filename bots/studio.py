"""The use cases, free of any platform: imagine, rerun, cancel, recipe, history.

What a person typed comes in as values of recipe fields (`bots.options`); what they left out is
filled in from the model's own defaults. A job is committed before anybody is told of it.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from bots.worker import Worker
from engine.checkpoints import STARTER, Catalogue, Checkpoint
from engine.errors import UserError
from engine.events import News
from engine.recipe import Recipe, random_seed
from storage import Job, NewJob, UnknownPicture, parse_name
from storage.jobs import Jobs

# What tells one picture of a grid apart: changing any of it makes "picture 3 of 4" meaningless.
GRID_FIELDS: Final = ("seed", "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Say who asks, where, and how an answer reaches them (as their platform's adapter knows)."""

    person: str
    place: str
    reply: Mapping[str, Any] = field(default_factory=dict)
    event: str | None = None
    later: bool = False  # leave the job to a process that serves


class NothingYet(UserError):
    """Say that somebody who wants their last picture again has none."""

    def __init__(self) -> None:
        super().__init__("You have no picture yet; describe one first.")


class Studio:
    """Take requests from any platform and turn them into jobs, and jobs into answers."""

    def __init__(self, catalogue: Catalogue, jobs: Jobs, worker: Worker) -> None:
        self._catalogue = catalogue
        self._jobs = jobs
        self._worker = worker

    async def imagine(self, values: Mapping[str, Any], asker: Asker) -> Job:
        """Commit and start a job for new pictures, or raise `UserError`."""
        return await self._submit(self.complete(values), asker)

    async def rerun(self, name: str, values: Mapping[str, Any], asker: Asker) -> Job:
        """Commit and start a job that repeats another, with some values changed.

        `name` is a job (`12`) or one picture of it (`12.3`). One picture of a grid repeated with
        another seed is a new single picture; with its own seed it stays what it was.
        """
        number, picture = parse_name(name)
        parent = await self._jobs.get(number)
        recipe = change(of_picture(parent, picture), values)
        self._catalogue.get(recipe.checkpoint)
        return await self._submit(recipe, asker, parent=number, parent_picture=picture)

    async def remake(self, recipe: Recipe, values: Mapping[str, Any], asker: Asker) -> Job:
        """Commit and start a job for a recipe from elsewhere, with some values changed."""
        recipe = change(recipe, values)
        self._catalogue.get(recipe.checkpoint)
        return await self._submit(recipe, asker)

    async def cancel(self, job: int) -> Job:
        """End a job in whatever state; raises `TooLate` once its pictures are there."""
        return await self._worker.cancel(job)

    def follow(self, job: int) -> AsyncIterator[News]:
        """Yield a job's latest news until it is over: its place in line, then its progress."""
        return self._worker.follow(job)

    async def get(self, name: str) -> tuple[Job, int | None]:
        """Return the job of that name, and which of its pictures is meant (None: all)."""
        number, picture = parse_name(name)
        job = await self._jobs.get(number)
        of_picture(job, picture)
        return job, picture

    def model(self, name: str) -> Checkpoint:
        """Describe a model; raises `UnknownModel` or `BrokenModel`."""
        return self._catalogue.get(name)

    def models(self) -> list[str]:
        """Return the names of all models, the bundled one first."""
        return self._catalogue.names()

    def complete(self, values: Mapping[str, Any]) -> Recipe:
        """Fill what was not typed from the model's defaults and a fresh seed."""
        checkpoint = self._catalogue.get(values.get("checkpoint", STARTER))
        filled = {
            **asdict(checkpoint.defaults),
            "checkpoint": checkpoint.name,
            "seed": random_seed(),
            **values,
        }
        return Recipe(**filled)

    async def _submit(
        self,
        recipe: Recipe,
        asker: Asker,
        parent: int | None = None,
        parent_picture: int | None = None,
    ) -> Job:
        new = NewJob(
            recipe=recipe,
            person=asker.person,
            place=asker.place,
            reply=asker.reply,
            event=asker.event,
            parent=parent,
            parent_picture=parent_picture,
        )
        if asker.later:
            return await self._jobs.add(new)
        with self._worker.admit(asker.person):
            job = await self._jobs.add(new)
            self._worker.submit(job)
        return job


def change(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some values changed; a new seed or count leaves its grid behind."""
    changed = {name: value for name, value in values.items() if getattr(recipe, name) != value}
    if recipe.picture is not None and any(name in changed for name in GRID_FIELDS):
        changed = {"count": 1, "picture": None, **changed}
    return replace(recipe, **changed)


def of_picture(job: Job, picture: int | None) -> Recipe:
    """Return the recipe of one picture of a job, or of all; raises `UnknownPicture`."""
    if picture is None or picture in job.recipe.pictures:
        alone = picture is None or job.recipe.count == 1
        return job.recipe if alone else replace(job.recipe, picture=picture)
    raise UnknownPicture(f"{job.id}.{picture + 1}")
