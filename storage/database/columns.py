"""Column types that the tables share: times in UTC, JSON, seeds, words, and their aliases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from sqlalchemy import JSON as PLAIN_JSON
from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Text,
    false,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine


class UTCTime(TypeDecorator[datetime]):
    """Keep aware times in UTC, on a database without time zones too."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        """Use `timestamptz` where there is one."""
        return dialect.type_descriptor(DateTime(timezone=dialect.name == "postgresql"))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; a naive time is a mistake and raises `ValueError`."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a time zone: {value}")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Mark what was read as UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Seed(TypeDecorator[int]):
    """Keep a seed of 64 bits as text: a database's integers stop at 63."""

    impl = String(20)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        """Write the number in decimal."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | None:
        """Read the number back."""
        return None if value is None else int(value)


class Words(TypeDecorator[Sequence[str]]):
    """Keep searchable words: text between spaces for FTS5, a `tsvector` on PostgreSQL.

    The words come from `storage.words`, so that neither database's own idea of a word matters.
    """

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Use `tsvector` where there is one."""
        return dialect.type_descriptor(TSVECTOR() if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> str | None:
        """Write words as the database's full-text index takes them, positions included."""
        if value is None:
            return None
        if dialect.name != "postgresql":
            return " ".join(value)
        return " ".join(f"{_quote(word)}:{at}" for at, word in enumerate(value, 1))


def _quote(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"


JSON = PLAIN_JSON().with_variant(JSONB(), "postgresql")
Number = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by INTEGER only


def _of(table: str, gone: str | None = None) -> ForeignKey:
    return ForeignKey(f"{table}.id", ondelete=gone)


Id = Annotated[int, mapped_column(Number, primary_key=True, autoincrement=True)]
NumberId = Annotated[int, mapped_column(Number, primary_key=True, autoincrement=False)]
CountId = Annotated[int, mapped_column(Integer, primary_key=True, autoincrement=False)]
KeyId = Annotated[str, mapped_column(String(200), primary_key=True)]
Key = Annotated[str, mapped_column(String(200))]  # "platform:rest"
Name = Annotated[str, mapped_column(String(40))]
Judged = Annotated[str, mapped_column(String(40), server_default="unchecked")]
NameId = Annotated[str, mapped_column(String(40), primary_key=True)]
Line = Annotated[str, mapped_column(Text)]
Count = Annotated[int, mapped_column(Integer)]
Flag = Annotated[bool, mapped_column(Boolean)]
Off = Annotated[bool, mapped_column(Boolean, server_default=false())]
Amount = Annotated[int, mapped_column(Number)]
Time = Annotated[datetime, mapped_column(UTCTime)]
Document = Annotated[dict[str, Any], mapped_column(JSON)]
Sha256 = Annotated[str, mapped_column(String(64))]
Sha256Id = Annotated[str, mapped_column(String(64), primary_key=True)]
RandomId = Annotated[str, mapped_column(String(64), primary_key=True)]
Bytes = Annotated[bytes, mapped_column(LargeBinary)]
Real = Annotated[float, mapped_column(Float)]
Seed64 = Annotated[int, mapped_column(Seed)]
Found = Annotated[Sequence[str], mapped_column(Words)]

OfPerson = Annotated[str, mapped_column(String(200), _of("people"))]
OfPersonId = Annotated[str, mapped_column(String(200), _of("people"), primary_key=True)]
OfPlace = Annotated[str, mapped_column(String(200), _of("places"))]
OfPlaceId = Annotated[str, mapped_column(String(200), _of("places"), primary_key=True)]
OfWorker = Annotated[str, mapped_column(String(200), _of("workers", "SET NULL"))]
OfParent = Annotated[int, mapped_column(Number, _of("jobs", "SET NULL"))]
OfJob = Annotated[int, mapped_column(Number, _of("jobs", "CASCADE"))]
OfJobId = Annotated[
    int, mapped_column(Number, _of("jobs", "CASCADE"), primary_key=True, autoincrement=False)
]
