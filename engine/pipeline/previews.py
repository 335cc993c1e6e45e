"""When a job's preview is due: every few steps, not too often, and never at more than its share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from engine.pipeline.job import Running

log = logging.getLogger(__name__)

EVERY: Final = 4  # steps
SECONDS: Final = 0.5  # between two previews of one job; no chat shows them faster
SHARE: Final = 0.02  # of all time, at most


class Pace:
    """Make previews where they are due, and keep what they cost within their share."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.now = clock
        self._again_at = 0.0

    def preview(self, running: Running) -> bytes | None:
        """Return a small JPEG of a job's first picture, or None while none is due."""
        denoised = running.turns[0].picture.denoised
        if denoised is None or not self._is_due(running):
            return None
        begun = self.now()
        try:
            jpeg = running.resident.preview(denoised)
        except Exception:  # a guess that fails must cost neither the picture nor its neighbours
            log.exception("job %d: its preview failed", running.key.job)
            jpeg = None
        running.shown_at = self.now()
        self._again_at = running.shown_at + (running.shown_at - begun) / SHARE
        return jpeg

    def _is_due(self, running: Running) -> bool:
        now = self.now()
        return (
            running.told % EVERY == 0
            and running.told < running.total
            and now >= running.shown_at + SECONDS
            and now >= self._again_at
        )
