"""Turn what database drivers and the file system raise into sentences."""

from __future__ import annotations

import errno
from typing import Final

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage.errors import (
    Corrupt,
    DatabaseBusy,
    DatabaseFault,
    DiskFull,
    DiskTrouble,
    PicturesFault,
    ReadOnly,
    Unreachable,
)

# Prefixes: SQLite's extended names begin with the plain one, SQLSTATEs with their class.
SQLITE: Final[tuple[tuple[str, type[DatabaseFault]], ...]] = (
    ("SQLITE_BUSY", DatabaseBusy),
    ("SQLITE_LOCKED", DatabaseBusy),
    ("SQLITE_FULL", DiskFull),
    ("SQLITE_READONLY", ReadOnly),
    ("SQLITE_CORRUPT", Corrupt),
    ("SQLITE_NOTADB", Corrupt),
    ("SQLITE_CANTOPEN", Unreachable),
    ("SQLITE_PERM", Unreachable),
    ("SQLITE_IOERR", DiskTrouble),
)
POSTGRES: Final[tuple[tuple[str, type[DatabaseFault]], ...]] = (
    ("55P03", DatabaseBusy),  # lock_not_available
    ("57014", DatabaseBusy),  # query_canceled, by a timeout
    ("40", DatabaseBusy),  # deadlock, serialization
    ("53100", DiskFull),
    ("53", Unreachable),  # too many connections
    ("25006", ReadOnly),
    ("42501", ReadOnly),  # insufficient_privilege
    ("XX001", Corrupt),
    ("XX002", Corrupt),
    ("58", DiskTrouble),
    ("08", Unreachable),
    ("28", Unreachable),  # wrong user or password
    ("3D000", Unreachable),  # no such database
    ("57P", Unreachable),  # the server shuts down or starts up
)
ERRNO: Final[dict[int, type[DatabaseFault]]] = {
    errno.ENOSPC: DiskFull,
    errno.EDQUOT: DiskFull,
    errno.EFBIG: DiskFull,
    errno.EROFS: ReadOnly,
    errno.EACCES: ReadOnly,
    errno.EPERM: ReadOnly,
    errno.EIO: DiskTrouble,
}


def explain(error: BaseException, where: str) -> DatabaseFault | None:
    """Return the fault behind a driver's or the system's error, or None for a mistake of ours."""
    if isinstance(error, PicturesFault):
        return None  # the database itself is well
    if isinstance(error, DatabaseFault):
        return error
    if isinstance(error, PoolTimeout):
        return DatabaseBusy(where, "all connections are in use")
    if isinstance(error, DBAPIError):
        return _of_driver(error, where)
    if isinstance(error, SQLAlchemyError):
        return None
    if isinstance(error, OSError):  # covers refused, reset and timed-out connections
        kind = ERRNO.get(error.errno or 0, Unreachable)
        return kind(where, error.strerror or str(error) or type(error).__name__)
    return _of_code(error, where)


def _of_driver(error: DBAPIError, where: str) -> DatabaseFault | None:
    cause: BaseException | None = error.orig
    while cause is not None:
        if isinstance(cause, OSError):
            return explain(cause, where)
        if found := _of_code(cause, where):
            return found
        cause = cause.__cause__
    return Unreachable(where) if error.connection_invalidated else None


def _of_code(cause: BaseException, where: str) -> DatabaseFault | None:
    for attribute, table in (("sqlite_errorname", SQLITE), ("sqlstate", POSTGRES)):
        code = getattr(cause, attribute, None)
        for prefix, kind in table if isinstance(code, str) else ():
            if code and code.startswith(prefix):
                return kind(where)
    return None
