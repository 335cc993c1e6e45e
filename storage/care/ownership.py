"""The name by which a database's pictures are known in an object store, where several may lie."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select, update

from storage.database.tables import place_settings
from storage.jobs.place_tree import greet_place
from storage.jobs.rows import add_if_new
from storage.records import EVERYWHERE

NAME: Final = "database.name"  # among the settings of all places


def identity(connection: Connection, now: datetime) -> str:
    """Return this database's name, which is made at the first call; a backup has it, too."""
    greet_place(connection, EVERYWHERE, now)
    add_if_new(connection, place_settings, {"place": EVERYWHERE, "values": {}})
    own = place_settings.c.place == EVERYWHERE
    values = dict(connection.scalars(select(place_settings.c["values"]).where(own)).one())
    if NAME not in values:
        values[NAME] = secrets.token_hex(16)
        connection.execute(update(place_settings).where(own).values({"values": values}))
    return str(values[NAME])
