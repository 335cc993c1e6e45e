"""What a worker tells whoever counts: how long stages take, and how jobs end."""

from typing import Protocol

from engine.events import Stage, Verdict


class Watch(Protocol):
    """Take note; it must not fail and not wait."""

    def stage(self, stage: Stage, seconds: float) -> None:
        """Take note of how long a job was in a stage."""
        ...

    def ended(self, outcome: str) -> None:
        """Take note of how an attempt ended: rendered, failed, cancelled, lost or given back."""
        ...

    def judged(self, verdict: Verdict) -> None:
        """Take note of what the safety check said of a picture."""
        ...


class Unwatched:
    """Count nothing."""

    def stage(self, stage: Stage, seconds: float) -> None:
        """Do nothing."""

    def ended(self, outcome: str) -> None:
        """Do nothing."""

    def judged(self, verdict: Verdict) -> None:
        """Do nothing."""
