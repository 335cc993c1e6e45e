"""The record in a picture's file: there or not, and not believed where it cannot be read."""

import pytest

from engine.errors import UserError
from engine.making_of.record import Record, put_into, read_from
from tests.engine.picture_files import png as plain_png
from tests.factories import make_record

PNG = plain_png(1, 1, 8, 2, b"\0\0\0\0")
RECORD = make_record(PNG, "a king")


def test_a_file_carries_its_record() -> None:
    assert read_from(put_into(PNG, RECORD)) == RECORD


def test_a_file_without_a_record_is_said_to_have_none() -> None:
    with pytest.raises(UserError, match="carries no making-of"):
        read_from(PNG)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"texts": 7}',
        b"\xff",
        RECORD.to_json()[:-9],
        RECORD.to_json().replace(b'"layers"', b'"others"'),
        RECORD.to_json().replace(b'"pieces"', b'"others"'),
    ],
)
def test_a_record_that_is_damaged_or_of_another_version_is_refused_in_a_sentence(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Record, "to_json", lambda record: body)
    with pytest.raises(UserError, match="damaged or of another version"):
        read_from(put_into(PNG, RECORD))
