"""The folder of workflows that Marble's owner offers: read when asked, and again when files change.

A workflow's name is that of its file, without the ending. Functions here block.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final

from bots.requests.workflow_file import LARGEST_GRAPH, Workflow, read_workflow
from engine.errors import GraphError, UserError
from engine.sentences import Sentence

SUFFIXES: Final = (".json", ".png")
LARGEST: Final = 64 * 2**20  # bytes of a PNG
# As long as Discord's choices may be; what is typed behind --workflow may be in quotes.
NAME: Final = re.compile(r"\w(?:[\w .()+-]{0,98}[\w.()+-])?")

State = tuple[int, ...]  # of a file: it changes when the file does

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a folder holds: workflows by name, and why files are left out, by their names."""

    workflows: Mapping[str, Workflow] = field(default_factory=dict)
    broken: Mapping[str, UserError] = field(default_factory=dict)


class WorkflowFolder:
    """Reads a folder; None is one without files."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._read: dict[str, tuple[State, Workflow | UserError | None]] = {}  # by file name
        self._lock = Lock()

    def look(self) -> Contents:
        """Return what is there now; only files that have changed are read."""
        if self._folder is None:
            return Contents()
        with self._lock:
            files = sorted(_files(self._folder))
            known, self._read = self._read, {}
            for file, state in files:
                before = known.get(file)
                same = before is not None and before[0] == state
                self._read[file] = before if same and before else (state, self._open(file))
            return self._contents()

    def _contents(self) -> Contents:
        workflows: dict[str, Workflow] = {}
        broken: dict[str, UserError] = {}
        for file, (_, found) in self._read.items():
            if isinstance(found, UserError):
                broken[file] = found
            elif found is not None and found.name in workflows:
                broken[file] = UserError(Sentence("workflow_twice", name=found.name))
            elif found is not None and (picture := found.missing) is not None:
                broken[file] = UserError(Sentence("workflow_lacks_picture", picture=picture))
            elif found is not None:
                workflows[found.name] = found
        return Contents(workflows, broken)

    def _open(self, file: str) -> Workflow | UserError | None:
        """Return a file's workflow, why it cannot be used, or None for a picture without one."""
        assert self._folder is not None
        name = Path(file).stem
        most = LARGEST_GRAPH if file.lower().endswith(SUFFIXES[0]) else LARGEST
        try:
            with open(self._folder / file, "rb") as opened:
                found = read_workflow(name, self._folder, opened.read(most + 1))
        except UserError as error:
            return error
        except OSError as error:
            return UserError(f"It cannot be read ({error.strerror}).")
        except Exception as error:  # no file keeps another from being used
            log.exception("the workflow %s cannot be read", file)
            return GraphError(f"It cannot be read ({type(error).__name__}).")
        if found is not None and not NAME.fullmatch(name):
            return UserError(Sentence("workflow_name"))
        return found


def _files(folder: Path) -> Iterator[tuple[str, State]]:
    """Yield the names and states of files that may hold workflows."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not entry.name.lower().endswith(SUFFIXES):
                    continue
                try:
                    # A link that leads nowhere is opened, too, which says so.
                    there = not entry.is_symlink() or os.path.exists(entry.path)
                    if not there or entry.is_file():
                        its = entry.stat(follow_symlinks=there)
                        state = its.st_mtime_ns, its.st_ctime_ns, its.st_size, its.st_ino
                        yield entry.name, state
                except OSError:  # it is gone since
                    continue
    except OSError as error:
        log.warning("the folder of workflows cannot be read: %s", error)
