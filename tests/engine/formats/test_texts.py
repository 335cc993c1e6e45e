"""Texts and JSON that strangers wrote: encodings, halves of surrogate pairs, bounds."""

import gc
import json
from contextlib import suppress
from random import Random

import pytest

from engine.errors import MetadataError
from engine.files import json_parse
from engine.formats.texts import HALVES, MOST, decode_text, parse_json
from engine.recipe.prompt_tags import mend_surrogates

PIECES = ("a", "\\", '"', "\ud800", "\udc00", "\ud83d", "😀", "\n", "u", "d", "8", "0", "\\ud800")


def test_halves_of_surrogate_pairs_are_mended_among_all_other_escapes() -> None:
    random = Random(7)
    for _ in range(2_000):
        text = "".join(random.choices(PIECES, k=random.randrange(9)))
        assert parse_json(json.dumps([text])) == [mend_surrogates(text)]
        (found,) = parse_json(json.dumps([text], ensure_ascii=False))
        found.encode()  # no half is left


@pytest.mark.parametrize(
    "text", ["[" + "0," * MOST + "0]", "[" * (MOST + 1), '"' + r"\ud800" * (HALVES + 1) + '"']
)
def test_json_of_more_values_than_any_workflow_has_is_refused(text: str) -> None:
    with pytest.raises(MetadataError, match=r"more than 300,000 values; no workflow is so large"):
        parse_json(text)


def test_values_are_counted_over_all_slices_of_a_text() -> None:
    text = (" " * (json_parse.SLICE - 1) + ",") * 5
    assert json_parse.has_more_values(text, 4)
    assert not json_parse.has_more_values(text, 5)


def test_a_large_picture_within_a_workflow_is_no_reason_to_refuse() -> None:
    data = {
        "nodes": [{"id": 1, "widgets_values": ["data:image/png;base64," + "iVBORw0K" * 400_000]}]
    }
    assert parse_json(json.dumps(data)) == data


@pytest.mark.parametrize("collecting", [True, False])
def test_parsing_leaves_the_garbage_collector_as_it_was(collecting: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if collecting else gc.disable)()
        for text in ("[1]", "{", "[" * 100_000):
            with suppress(ValueError, RecursionError):
                json_parse.parse(text)
            assert gc.isenabled() == collecting
    finally:
        (gc.enable if was else gc.disable)()


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_a_text_file_is_read_in_any_encoding(encoding: str) -> None:
    assert decode_text('{"a": "拿着"}'.encode(encoding)) == '{"a": "拿着"}'


@pytest.mark.parametrize("data", [b"\xff\xfe\x00\xd8", b"caf\xe9", b"\0\0\0\0", bytes(range(64))])
def test_what_is_no_text_has_none(data: bytes) -> None:
    assert not decode_text(data)
