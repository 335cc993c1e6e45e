"""Vectors of pictures as they are finished, beside the drawing; the reply never waits for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bots.requests.likeness import Likeness
from engine.errors import UserError
from engine.executors.embedding import MOST
from storage.records import Picture

LATER: Final = 10.0  # seconds: replies go out first, and pictures that come together wait together
LATEST: Final = 1_000  # pictures that are looked at for one without a vector

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Indexing:
    """Makes the vectors of the latest pictures, also of those that it missed before."""

    likeness: Likeness
    rendered: asyncio.Event  # set when there are new pictures
    _left_out: set[tuple[int, int]] = field(default_factory=set)

    async def run(self) -> None:
        """Work whenever there are new pictures, until cancelled.

        A model that fails is asked again for the next picture; the embedding logs why, once.
        """
        try:
            # Numbers of a restored database may be given again: what a file has by them goes first.
            await self.likeness.storage.vectors.prune()
        except (UserError, OSError) as error:
            log.error("the file for searches by meaning could not be looked through: %s", error)
        while True:
            await self.rendered.wait()
            await asyncio.sleep(LATER)
            self.rendered.clear()
            try:
                await self._work()
            except UserError as error:
                log.debug("pictures wait for their vectors: %s", error)

    async def _work(self) -> None:
        """Make all vectors that lack; say once which could not be made."""
        failed: list[tuple[Picture, str]] = []
        try:
            while some := await self._lacking():
                new = await self.likeness.index(some)
                self._left_out |= {(picture.job, picture.index) for picture, _ in new}
                failed += new
        finally:
            if failed:
                picture, why = failed[0]
                text = "%d pictures cannot be found by their meaning; the first is %s: %s"
                log.warning(text, len(failed), picture.name, why)

    async def _lacking(self) -> Sequence[Picture]:
        tower = await self.likeness.tower()  # each time: its files may be changed meanwhile
        vectors = self.likeness.storage.vectors
        lacking = await vectors.lacking(tower, latest=LATEST, limit=LATEST)
        return [each for each in lacking if (each.job, each.index) not in self._left_out][:MOST]
