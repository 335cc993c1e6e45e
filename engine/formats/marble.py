"""Read Marble's own text; of a damaged or changed one, what is left of it."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from engine.errors import MetadataError, OptionError, UnknownOption, UserError, shorten
from engine.formats.reading import Reading
from engine.formats.texts import parse_json
from engine.recipe.recipe import DEFAULTS, READABLE, VERSION, Recipe, noise_of_version_2, read_field
from engine.sentences import Sentence

SOURCE: Final = "Marble"
DECODER: Final = json.JSONDecoder()
ORDER: Final = ("version", *DEFAULTS)  # in which they are written
BEGIN: Final = re.compile(r"\s*\{\s*")
FIELD: Final = re.compile(rf'"({"|".join(ORDER)})"\s*:\s*')
KEY: Final = re.compile(r'"([^"\\]{1,60})"\s*:\s*')
COMMA: Final = re.compile(r"\s*,\s*")
BEHIND: Final = re.compile(r"\s*(?:[,}]|$)")  # a value
LONGEST: Final = 60_000  # characters of a damaged text; whole ones have some thousands
SHOWN: Final = 60  # characters of a name, and of what is left of a value
FIELDS: Final = 2 * len(DEFAULTS)  # that are looked at in a damaged text
MOST: Final = 16  # fields of strangers that are named


def read_marble(text: str) -> Reading:
    """Read a recipe as Marble writes it into pictures.

    What no recipe takes, or what is no longer whole, is named, and the rest is read. Raises
    `MetadataError` where nothing is left.
    """
    try:
        data = parse_json(text)
    except ValueError:
        pass
    else:
        if not isinstance(data, dict):
            raise MetadataError(Sentence("text_no_object"))
        return _whole(data) or _parts(data, [])
    data, notes = _left(text)
    if not (notes or data.keys() - {"version"}):
        raise MetadataError(Sentence("text_not_json"))
    reading = _parts(data, notes)
    return replace(reading, ignored=(Sentence("marble_damaged"), *reading.ignored))


def _whole(data: Mapping[str, Any]) -> Reading | None:
    """Return the reading of a recipe that is whole, or None; raises `UserError` for no recipe."""
    try:
        recipe = Recipe.from_dict(data)
    except UserError:
        if not data.keys() & DEFAULTS.keys():
            raise
        return None
    return Reading(source=SOURCE, values={name: getattr(recipe, name) for name in DEFAULTS})


def _parts(data: Mapping[str, Any], notes: list[str]) -> Reading:
    """Return the reading of what a recipe takes of some fields; the rest is named."""
    version = data.get("version")
    refused: UserError | None = None
    if "version" in data and version not in READABLE:
        refused = OptionError("version", version, Sentence("newer", version=VERSION))
    values: dict[str, Any] = {}
    unknown = [name for name in data if name not in ORDER]
    if unknown and refused is None:  # nobody knows what it would change
        refused = UnknownOption(unknown[0], DEFAULTS)
    for name in unknown[:MOST]:
        why = Sentence("marble_unknown")
        notes.append(_note(name, shorten(data[name]), why))
    for name in (each for each in DEFAULTS if each in data):
        try:
            values[name] = read_field(name, data[name])
        except OptionError as error:
            why = Sentence("reading_range", allowed=error.allowed)
            notes.append(_note(name, shorten(data[name]), why))
    if version in READABLE[:2] and "sampler" in values:
        values.setdefault("noise", noise_of_version_2(values["sampler"]))
    reading = Reading.of(SOURCE, values, {}, notes, refused)
    if refused is None and not reading.missing:
        try:
            _ = reading.recipe
        except UserError as error:  # values that do not go together
            return replace(reading, refused=error)
    return reading


def _left(text: str) -> tuple[dict[str, Any], list[str]]:
    """Return the fields that are whole in damaged JSON, and notes of those that are not.

    Behind one that is not, the next of those that Marble writes later is looked for: no part of a
    field is called like one of these.
    """
    text = text[:LONGEST]
    found: dict[str, Any] = {}
    notes: list[str] = []
    begin = BEGIN.match(text)
    at, last = begin.end() if begin else 0, -1
    while len(found) + len(notes) < FIELDS and (
        key := KEY.match(text, at) or _later(text, at, last)
    ):
        name, at = key[1], key.end()
        last = max(last, ORDER.index(name)) if name in ORDER else last
        try:
            value, end = DECODER.raw_decode(text, at)
            if BEHIND.match(text, end) is None or (end == len(text) and not _closed(value)):
                raise ValueError("something is missing")
            found[name] = parse_json(text[at:end])
        except (ValueError, RecursionError):
            notes.append(_note(name, text[at : at + SHOWN], Sentence("marble_cut")))
            continue
        comma = COMMA.match(text, end)
        at = comma.end() if comma else end
    return found, notes


def _closed(value: object) -> bool:
    """Return whether a value's text has an end of its own; behind a number may come a digit."""
    return isinstance(value, (str, dict, list))


def _later(text: str, at: int, last: int) -> re.Match[str] | None:
    """Return the next field that is written behind number `last` of `ORDER`."""
    fields = FIELD.finditer(text, at)
    return next((field for field in fields if ORDER.index(field[1]) > last), None)


def _note(name: str, value: str, why: Sentence) -> Sentence:
    return Sentence("reading_note", name=name[:SHOWN], value=value, why=why)
