"""Pictures by their meaning: their vectors, and those that are nearest to words or a picture."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.errors import OptionError, UserError
from engine.executors.embedding import DamagedPicture, Embedding, TowersFailed, Vector
from engine.sentences import Sentence
from engine.text_encode.prompts import unweighted
from storage import Picture, Storage, UnknownJob
from storage.errors import UnreadableRecipe
from storage.jobs.intake import check_text
from storage.records import Alike, Tower
from storage.vectors.vectors import NewVector

NAME: Final = re.compile(r"#?\d+(\.\d+)?", re.ASCII)  # of a picture, and no words
NO_NUMBERS: Final = "the model's vector of it has values that are no numbers"
GONE: Final = "its file is missing"
DAMAGED: Final = "its file cannot be read as a picture"
FAILED: Final = "the model fails at it"


def read_like(text: str) -> str:
    """Return what pictures shall be like: words, or a picture's name; raises `OptionError`."""
    if not (like := text.strip()):
        raise OptionError("like", text, Sentence("some_words"))
    check_text("like", like)
    return like


@dataclass(frozen=True, slots=True)
class Likeness:
    """Makes pictures' vectors, and finds pictures by them."""

    storage: Storage
    embedding: Embedding

    async def tower(self) -> Tower:
        """Return the model that makes vectors; raises `UserError` where there is none."""
        await self.embedding.start()
        return self._tower

    async def find(self, like: str | Picture, limit: int, person: str | None) -> tuple[Alike, ...]:
        """Return the pictures nearest to words or to a picture, without it, the best first.

        person: who asked for them; None: everybody's. Raises `UserError` where none has a vector,
        or no other one.
        """
        itself = like if isinstance(like, Picture) else None
        question = await (self._of_words(like) if isinstance(like, str) else self._of(like))
        vectors, tower, most = self.storage.vectors, self._tower, limit + bool(itself)
        found = await (
            vectors.nearest(tower, question, most)
            if person is None
            else vectors.nearest_of(tower, person, question, most)
        )
        if not found:
            raise UserError(Sentence("clip_none"))
        others = tuple(each for each in found if each.picture != itself)[:limit]
        if itself and not others:
            raise UserError(Sentence("clip_alone", picture=itself.name))
        return others

    async def index(self, pictures: Sequence[Picture]) -> list[tuple[Picture, str]]:
        """Store the vectors of pictures; return those that have none now, and why.

        Raises `UserError` where the model fails, or the store or database does.
        """
        tower = await self.tower()
        files: list[tuple[Picture, bytes]] = []
        left_out: list[tuple[Picture, str]] = []
        for picture in pictures:
            file = await asyncio.to_thread(self.storage.pictures.get, picture.sha256)
            if file is None:
                left_out.append((picture, GONE))
            else:
                files.append((picture, file))
        new = []
        for picture, vector in await self._vectors(files, left_out):
            if not np.isfinite(vector).all():
                left_out.append((picture, NO_NUMBERS))
                continue
            match = await self._match(picture, vector, tower)
            key = {"job": picture.job, "picture": picture.index}
            new.append(NewVector(**key, vector=vector, match=match))
        self._check(tower)
        if new:
            await self.storage.vectors.add(tower, new)
        return left_out

    async def matches(self, prompt: str, files: Sequence[bytes]) -> list[float]:
        """Return how well picture files match a prompt, a cosine for each; raises `UserError`."""
        words = await self._of_words(unweighted(prompt))
        return [float(words @ _checked(each)) for each in await self.embedding.pictures(files)]

    async def _of_words(self, words: str) -> Vector:
        return _checked(await self.embedding.text(words))

    async def _of(self, picture: Picture) -> Vector:
        """Return a picture's vector, which need not be stored."""
        stored = await self.storage.vectors.of(await self.tower(), picture.job, picture.index)
        if stored is not None:
            return stored
        file = await asyncio.to_thread(self.storage.pictures.get, picture.sha256)
        if file is None:
            raise UserError(Sentence("clip_lost", picture=picture.name))
        [found] = await self.embedding.pictures([file])
        return _checked(found)

    async def _vectors(
        self, files: list[tuple[Picture, bytes]], left_out: list[tuple[Picture, str]]
    ) -> list[tuple[Picture, Vector]]:
        """Return the vectors of files; those that have none are added to `left_out`.

        Where the model fails at some, and not at all, they are tried one by one.
        """
        while True:
            try:
                found = await self.embedding.pictures([file for _, file in files])
            except DamagedPicture as damaged:
                left_out.append((files.pop(damaged.number)[0], DAMAGED))
            except TowersFailed:
                await self.embedding.start()  # raises where it fails at anything
                if len(files) > 1:
                    return [
                        found for each in files for found in await self._vectors([each], left_out)
                    ]
                left_out.append((files.pop()[0], FAILED))
            else:
                return [(each[0], vector) for each, vector in zip(files, found, strict=True)]

    async def _match(self, picture: Picture, vector: Vector, tower: Tower) -> float | None:
        """Return the cosine of a picture and its prompt, None where that is not known."""
        try:
            job = await self.storage.jobs.get(picture.job)
        except (UnknownJob, UnreadableRecipe):
            return None
        words = await self.embedding.text(unweighted(job.recipe.prompt))
        self._check(tower)
        cosine = float(words @ vector)
        return cosine if np.isfinite(cosine) else None

    def _check(self, tower: Tower) -> None:
        """Raise `UserError` where the model's files were changed since it was asked for."""
        if self._tower != tower:
            raise UserError(Sentence("clip_changed"))

    @property
    def _tower(self) -> Tower:
        return Tower(self.embedding.name, self.embedding.width)


def _checked(vector: Vector) -> Vector:
    if not np.isfinite(vector).all():
        raise UserError(Sentence("clip_nan"))
    return vector
