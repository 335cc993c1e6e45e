"""When a job's preview is made: every few steps, within a small share of all time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from engine.pipeline.job import RunningJob

log = logging.getLogger(__name__)

EVERY: Final = 4  # steps
SECONDS: Final = 0.5  # between two previews of one job; chats allow no more
SHARE: Final = 0.02  # of all time, at most


class Previews:
    """Make previews that are due; their time stays within `SHARE`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.now = clock
        self._again_at = 0.0

    def preview(self, running: RunningJob) -> bytes | None:
        """Return a small JPEG of a job's first picture, or None while none is due."""
        denoised = running.members[0].picture.denoised
        if denoised is None or not self._is_due(running):
            return None
        begun = self.now()
        try:
            jpeg = running.loaded_model.preview(denoised)
        except Exception:  # a failed preview must not fail the picture
            log.exception("job %d: its preview failed", running.key.job)
            jpeg = None
        running.last_preview_at = self.now()
        self._again_at = running.last_preview_at + (running.last_preview_at - begun) / SHARE
        return jpeg

    def _is_due(self, running: RunningJob) -> bool:
        now = self.now()
        return (
            running.last_reported_step % EVERY == 0
            and running.last_reported_step < running.total
            and now >= running.last_preview_at + SECONDS
            and now >= self._again_at
        )
