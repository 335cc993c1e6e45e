"""The training log: one line a report, on the terminal and in a file that is kept."""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Log:
    """Append lines with the seconds since its start to a file, and show them."""

    path: Path
    started: float = field(default_factory=time.monotonic)

    def write(self, line: str) -> None:
        """Write one line."""
        stamped = f"{time.monotonic() - self.started:8.0f} s  {line}\n"
        sys.stderr.write(stamped)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(stamped)
