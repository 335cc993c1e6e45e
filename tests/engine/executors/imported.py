"""An engine that writes what its process has imported, before it reports a job's end."""

import sys
from collections.abc import Iterator

from engine.events import Ended, Report
from engine.executors.config import EngineConfig
from engine.executors.opening import open_pipeline
from engine.pipeline.pipeline import Pipeline

LIST = "imported.txt"  # in the folder for notes, a module a line


def open_listing(config: EngineConfig) -> Pipeline:
    """Return a pipeline that writes the list at each job's end."""
    pipeline = open_pipeline(config)
    tick = pipeline.tick

    def listing() -> Iterator[Report]:
        for report in tick():
            if isinstance(report.news, Ended):
                assert config.notes
                there = (name for name, module in sys.modules.items() if module)
                (config.notes / LIST).write_text("\n".join(there), encoding="utf-8")
            yield report

    pipeline.tick = listing  # type: ignore[method-assign]
    return pipeline
