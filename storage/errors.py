"""Storage errors, one branch of the tree in `engine.errors`.

UserError
└── StorageError
    ├── UnknownJob, UnknownPicture      nobody drew that
    ├── IllegalStep                     a job cannot take that step from where it stands
    │   └── TooLate                     … because it is already over
    ├── StaleEpoch                      another worker has the job by now, or nobody
    ├── TooManyRun                      as many of a person's jobs run as may
    ├── TooManyStyles                   a place keeps as many as it may
    ├── UnreadableRecipe                a recipe was written by a newer Marble
    ├── FileThere, NoSuchFile           a backup's file must be new, or be there
    ├── NoBackup                        what is to be restored is damaged or something else
    ├── ExportUnderWay, TooLargeExport, NoRoom    an export cannot be made now, or not be sent
    ├── NoProgram, ProgramFailed        PostgreSQL's own programs are missing or fail
    ├── BadURL                          MARBLE_DATABASE_URL is of no kind that Marble knows
    ├── BadPicturesURL                  MARBLE_PICTURES_URL is of no kind that Marble knows
    ├── OthersPictures                  the pictures at a URL are another database's
    └── DatabaseFault                   the database itself; `passing` says whether waiting helps
        ├── DatabaseBusy                another program holds the lock             (passing)
        ├── DiskFull                    no room left                               (passing)
        ├── Unreachable                 no server, no file, no folder, no login    (passing)
        ├── DiskTrouble                 the disk refuses to read or write          (passing)
        ├── ReadOnly                    the file, folder or server takes no writes
        ├── Corrupt                     not a database, or a damaged one
        ├── NewerSchema                 written by a newer Marble
        ├── SeveralMachines             SQLite serves one machine
        ├── PicturesFault               the picture store cannot do what is asked  (passing)
        │   ├── ChangedPicture          other bytes than were stored
        │   └── LostPicture             a picture's file is gone; waiting does not help
        └── Closed                      used after `close`

Constructors take facts and write the sentence: what is wrong, where, and what to do.
"""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import ClassVar

from engine.errors import UserError, shorten
from engine.sentences import Sentence


class StorageError(UserError):
    """An error of storage; its sentence may be shown to the person who asked."""


class UnknownJob(StorageError):
    """No job has that number."""

    def __init__(self, job: int) -> None:
        super().__init__(Sentence("unknown_job", job=job))


class UnknownPicture(StorageError):
    """No picture has that name."""

    def __init__(self, name: str) -> None:
        super().__init__(Sentence("unknown_picture", name=shorten(name)))


class IllegalStep(StorageError):
    """A job cannot take a step from the status it has."""

    def __init__(self, job: int, status: str, step: str) -> None:
        super().__init__(f"Job {job} is {status}: that step ({step}) is not open to it.")


class TooLate(IllegalStep):
    """A job is over and can no longer be cancelled."""

    def __init__(self, job: int) -> None:
        StorageError.__init__(self, Sentence("too_late", job=job))


class NotWaiting(StorageError):
    """A job runs or is over, so that it cannot be put before others."""

    def __init__(self, job: int) -> None:
        super().__init__(Sentence("not_waiting", job=job))


class StaleEpoch(StorageError):
    """The job was handed to another worker since, or removed; it has no `current` epoch then."""

    def __init__(self, job: int, epoch: int, current: int | None) -> None:
        end = f"taken over by another worker (epoch {current}, not {epoch})"
        super().__init__(f"Job {job} was {'removed while it ran' if current is None else end}.")


class TooManyRun(StorageError):
    """A job was not claimed: as many of its person's jobs run, in all processes, as may."""

    def __init__(self, job: int, most: int) -> None:
        super().__init__(
            f"Job {job} has to wait: {most} of its person's jobs run, the most allowed."
        )


class TooManyStyles(StorageError):
    """Say how many styles a place may keep."""

    def __init__(self, most: int) -> None:
        super().__init__(Sentence("too_many_styles", most=most))


class UnreadableRecipe(StorageError):
    """A stored recipe cannot be read by this version; who asked for it, and where."""

    def __init__(self, job: int, reason: str, *, person: str, place: str) -> None:
        self.job = job
        self.person = person
        self.place = place
        super().__init__(Sentence("unreadable_recipe", job=job, reason=reason))


class FileThere(StorageError):
    """A file would be overwritten."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"{file} exists already; give the name of a new file.")


class NoSuchFile(StorageError):
    """A file is missing."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"There is no file {file}.")


class NoBackup(StorageError):
    """A file that was to be restored is damaged or holds something else."""

    def __init__(self, file: Path, detail: str) -> None:
        said = f" ({detail})" if detail else ""
        right = "give a file that `marble db backup FILE` wrote"
        super().__init__(f"{file} is damaged or no backup of Marble's{said}; {right}.")


class ExportUnderWay(StorageError):
    """An export of the same person is being made."""

    def __init__(self) -> None:
        super().__init__(Sentence("export_under_way"))


class TooLargeExport(StorageError):
    """An export is more than messages can carry."""

    def __init__(self, size: int) -> None:
        super().__init__(Sentence("too_large_export", size=round(size / 2**20)))


class NoRoom(StorageError):
    """A disk has no room for an export."""

    def __init__(self, needed: int, free: int) -> None:
        super().__init__(
            Sentence("export_no_room", needed=ceil(needed / 2**20), free=free // 2**20)
        )


class NoProgram(StorageError):
    """One of PostgreSQL's programs is missing."""

    def __init__(self, program: str) -> None:
        super().__init__(f"{program} is not installed; it comes with PostgreSQL's client programs.")


class ProgramFailed(StorageError):
    """Say what one of PostgreSQL's programs complained of."""

    def __init__(self, program: str, complaint: str) -> None:
        self.complaint = complaint
        super().__init__(f"{program} failed: {complaint}")


class BadURL(StorageError):
    """A database URL is of a kind that Marble does not support."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(
            f"MARBLE_DATABASE_URL ({where}) cannot be used: {reason}; give "
            "sqlite:///path/marble.db or postgresql://user:password@host/database."
        )


class BadPicturesURL(StorageError):
    """A URL for pictures cannot be used; it may hold keys, so it is not shown."""

    def __init__(self, right: str) -> None:
        super().__init__(f"The URL for pictures cannot be used: give file: or {right}.")


class OthersPictures(StorageError):
    """The pictures at a URL belong to another database."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"The pictures in {where} are another database's: give each Marble a prefix of its own."
        )


class DatabaseFault(StorageError):
    """Name the database that fails and what to do; `passing` faults may mend themselves."""

    wrong: ClassVar[str]
    cure: ClassVar[str]

    def __init__(self, where: str, detail: str = "") -> None:
        self.where = where
        self.detail = detail
        said = f" ({detail})" if detail else ""
        super().__init__(f"The database {where} {self.wrong}{said}: {self.cure}.")


class DatabaseBusy(DatabaseFault):
    """Another program holds the database's lock."""

    passing = True
    wrong = "is locked by another program"
    cure = "nothing was written; try again in a moment, and close what else has it open"


class DiskFull(DatabaseFault):
    """The disk has no room for more."""

    passing = True
    wrong = "cannot grow, since its disk is full"
    cure = "make room, for example with `marble db prune`; Marble goes on by itself"


class Unreachable(DatabaseFault):
    """The database cannot be opened or reached."""

    passing = True
    wrong = "cannot be reached"
    cure = "check the path or address, its permissions, and that its server runs"


class DiskTrouble(DatabaseFault):
    """The disk under the database refuses to work."""

    passing = True
    wrong = "cannot be read or written, since its disk reports an error"
    cure = "look at the disk and the system's log before anything else"


class ReadOnly(DatabaseFault):
    """The database takes no writes."""

    wrong = "is read-only"
    cure = "give this user the right to write to it and its folder"


class Corrupt(DatabaseFault):
    """The file is damaged or no database at all."""

    wrong = "is damaged or not a database"
    cure = "keep a copy of it, then bring back the last backup with `marble db restore FILE`"


class NewerSchema(DatabaseFault):
    """A newer Marble wrote this database."""

    wrong = "was written by a newer Marble"
    cure = "update Marble, or restore a backup made by this version"


class SeveralMachines(DatabaseFault):
    """Another machine works with the same SQLite file."""

    wrong = "is in use by another machine"
    cure = "SQLite serves one machine; set MARBLE_DATABASE_URL to a PostgreSQL server on all"


class PicturesFault(DatabaseFault):
    """The store of pictures cannot be used; why: the rest of the sentence, with the cure."""

    passing = True

    def __init__(self, where: str, why: str) -> None:
        self.where = where
        self.detail = why
        StorageError.__init__(self, f"The picture store {where} {why}.")


class ChangedPicture(PicturesFault):
    """A store gives other bytes than were stored."""


class LostPicture(PicturesFault):
    """A store that answers has no file for a picture."""

    passing = False

    def __init__(self, where: str, name: str) -> None:
        super().__init__(where, f"has no picture {name}: restore it there")


class Closed(DatabaseFault):
    """The database was used after it had been closed."""

    wrong = "is closed"
    cure = "this is a mistake in Marble; please report it"
