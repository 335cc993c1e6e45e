"""How the time of one engine is divided among the jobs that share it."""

from __future__ import annotations


class Meter:
    """Divides engine time among running jobs, in proportion to their widths.

    Its clock is the virtual time of processor sharing, which runs at 1/Σ widths: a job's engine
    seconds are its width × the clock's advance, computed without a scan of all jobs.
    """

    def __init__(self) -> None:
        self._clock = 0.0
        self._at = 0.0  # seconds
        self._widths = 0.0
        self._jobs: dict[int, tuple[float, float]] = {}  # job → width, the clock at its start

    def copy(self) -> Meter:
        """Return an independent copy."""
        twin = Meter()
        twin._clock, twin._at, twin._widths = self._clock, self._at, self._widths
        twin._jobs = dict(self._jobs)
        return twin

    def start(self, job: int, width: float, now: float) -> None:
        """Start a job's share of the engine."""
        self._advance(now)
        self._jobs[job] = (width, self._clock)
        self._widths += width

    def restart(self, job: int, now: float, used: float = 0.0) -> None:
        """Reset a job's engine seconds to those used: since then its model was being loaded."""
        self._advance(now)
        if job in self._jobs:
            width = self._jobs[job][0]
            self._jobs[job] = (width, self._clock - used / width)

    def used(self, job: int, now: float) -> float:
        """Return the engine seconds that a job has used."""
        self._advance(now)
        width, since = self._jobs[job]
        return width * (self._clock - since)

    def stop(self, job: int, now: float) -> float:
        """End a job's share; return the engine seconds that it used."""
        used = self.used(job, now)
        width, _ = self._jobs.pop(job)
        # A sum of floats drifts: without jobs it is reset to 0.
        self._widths = self._widths - width if self._jobs else 0.0
        return used

    def end(self, job: int, seconds: float) -> float:
        """Return the virtual time at which a job will have used that many engine seconds."""
        width, since = self._jobs[job]
        end = since + seconds / width
        # A late job is expected to take as long again as it is late.
        return max(end, 2 * self._clock - end)

    def time(self, clock: float) -> float:
        """Return the second of a virtual time, if the same jobs share the engine until then."""
        return self._at + max(0.0, clock - self._clock) * self._widths

    def _advance(self, now: float) -> None:
        if self._jobs:
            self._clock += max(0.0, now - self._at) / self._widths
        self._at = max(self._at, now)
