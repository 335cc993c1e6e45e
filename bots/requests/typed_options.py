"""What people type in one text: words, and options among them as `--name value`.

Every place where a prompt can be typed reads it here, so that a text means the same in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final

from bots.requests.options import BY_NAME, MIDJOURNEY, Flag, Option, find_flag
from bots.requests.permutations import permutations
from engine.errors import (
    LISTED,
    OptionError,
    UnknownOption,
    UserError,
    closest,
    shorten,
    some,
)
from engine.recipe.limits import is_blank
from engine.sentences import Sentence

Typed = list[tuple[str, str]]  # options by their own names, and their texts

# Where no blank is written between words and options: Chinese, Japanese, Korean, and punctuation.
_CLOSE: Final = r"\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uff00-\uffef,;"
# What cannot be seen and ends words: blanks of no width, and marks of direction, which keyboards
# and web pages put between words by themselves.
_HIDDEN: Final = "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
_HYPHENS: Final = "-‐‑−－"
# Phones and Chinese keyboards turn two hyphens into a dash, or two; people mean the same.
_FLAG: Final = re.compile(
    rf"(?:^|(?<=[\s{_CLOSE}{_HIDDEN}]))(?:[{_HYPHENS}–]{{2}}|——?|[{_HYPHENS}–―])"
    rf"([A-Za-z][\w-]*)(?:[=:：]|(?=[\s{_CLOSE}{_HIDDEN}])|$)"
)
_NUMBER: Final = re.compile(r"\.?\d")
# Each run of blanks is looked at once, however long: it is never gone back into.
_BLANKS: Final = rf"[\s{_HIDDEN}]"
_EDGES: Final = re.compile(rf"^{_BLANKS}++|(?<!{_BLANKS}){_BLANKS}++$")
_NEXT: Final = re.compile(rf"{_BLANKS}*+(\S{{0,500}})")  # no value of an option is longer
_WORD: Final = re.compile(r"\S+")
_LIST: Final = re.compile(r'(?:"[^"]*"|\S)+')  # no blank ends it in quotes
COMMAS: Final = ",;，、；"  # after a value of one word
# Parts of a prompt weighed as in Midjourney: `cat::2 dog`, `cat:: dog`.
_WEIGHT: Final = re.compile(r"[^\s:]{0,30}\s?(?<!:)::(?!:)(?:-?[\d.]+|(?=\s|$))")
# How people who come from Midjourney begin: as its Discord shows a command, and with a picture.
_FIELD: Final = re.compile(r"^\s*(?:/imagine\s+(?:prompt:\s*)?|prompt:\s*)", re.IGNORECASE)
# How Discord writes who, where, when and what is meant, and emoji of a server's own.
_DISCORD: Final = re.compile(r"<(?:@[!&]?|#|t:|a?:\w+:|/[^<>:]+:)\d+(?::\w)?>")
_ADDRESS: Final = re.compile(r"^\s*<?(https?://\S+)", re.IGNORECASE)
_QUOTES: Final = {'"': '"', "“": "”", "'": "'", "«": "»"}


def split_message(text: str, more: Sequence[Flag] = (), *, lines: bool = True) -> tuple[str, Typed]:
    """Split a text: words are the prompt, `--name value` anywhere an option.

    A value is one word or a quoted text; that of a spoken option runs to the next option, or to the
    line's end. Nothing that was typed is dropped without a word. Options come by their own names,
    as they were typed; a prompt in which nothing can be seen comes as "". The name of the field,
    `prompt:`, may stand first, and the command before it. Raises `UserError`, which names all
    options that there are not, for a picture's address in front of the words, for one of Discord's
    mentions, for an option with two values, and for a text that `permutations` would divide.

    more: flags that only one place knows. lines: words in further lines are the negative prompt;
    else they go on with the prompt, as where a negative prompt has a field of its own.
    """
    known: Mapping[str, Flag] = {**BY_NAME, **{flag.name: flag for flag in more}}
    text = _FIELD.sub("", text)
    if len(permutations(text)) > 1:
        raise UserError(Sentence("permuted_elsewhere"))
    check_known((found[1] for found in _flags(text, known)), known)
    if not lines:
        words, typed = _split(text, known)
    else:
        first, rest = _first_line(text)
        (words, typed), (negative, below) = _split(first, known), _split(rest, known)
        typed = [*typed, *([("negative", negative)] if negative else []), *below]
    typed = _with_all_negative(typed)
    _check_once(typed, more)
    for each in (words, *(value for name, value in typed if name == "negative")):
        _check_weights(each)
        if mention := _DISCORD.search(each):
            raise UserError(Sentence("mention", written=shorten(mention[0])))
    if address := _ADDRESS.match(words):
        raise UserError(Sentence("address_of_picture", written=shorten(address[1])))
    return "" if is_blank(words) else words, typed


def has_options(text: str) -> bool:
    """Return whether an option stands in a text, known or not."""
    try:
        return next(_flags(text, BY_NAME), None) is not None
    except UserError:  # it may as well be words
        return False


def words_below(text: str, more: Sequence[Flag] = ()) -> str:
    """Return the words in a text's further lines, which `split_message` takes as negative prompt.

    Raises `UserError` as that does.
    """
    _, rest = _first_line(_FIELD.sub("", text))
    return split_message(rest, more, lines=False)[0]


def _first_line(text: str) -> tuple[str, str]:
    first, _, rest = text.strip().partition("\n")
    return first, rest.strip()


def check_known(names: Iterable[str], known: Collection[str]) -> None:
    """Raise `UserError` for flags that are not known, which names them all.

    names: as typed, without hyphens; known: in small letters.
    """
    unknown = [name for name in dict.fromkeys(names) if name.lower() not in known]
    if not unknown:
        return
    flags = [f"--{name}" for name in known]
    if len(unknown) == 1 and unknown[0].lower() not in MIDJOURNEY:
        raise UnknownOption(f"--{unknown[0]}", flags)
    pairs = []
    for name in unknown[:LISTED]:
        theirs = MIDJOURNEY.get(name.lower())
        if ours := closest(f"--{name}", flags) if theirs is None else theirs:
            pairs.append(f"--{name} → {ours}")
    raise UserError(
        Sentence(
            "unknown_options",
            count=len(unknown),
            names=some([shorten(f"--{name}") for name in unknown]),
            instead=Sentence("written_instead", pairs=some(pairs)) if pairs else "",
        )
    )


def _check_weights(words: str) -> None:
    """Raise `UserError` for parts weighed as in Midjourney; within brackets `::` is A1111's."""
    depth = read = 0
    for found in _WEIGHT.finditer(words):
        between, read = words[read : found.end()], found.end()
        depth += between.count("[") - between.count("]")
        if depth <= 0:
            raise UserError(Sentence("weight_of_words", written=shorten(found[0].strip())))


def _split(text: str, known: Mapping[str, Flag]) -> tuple[str, Typed]:
    flags = list(_flags(text, known))
    if not flags:
        return text, []
    parts, typed = [text[: flags[0].start()]], []
    for flag, following in zip_longest(flags, flags[1:]):
        option = find_flag(flag[1], known)
        tail = _EDGES.sub("", text[flag.end() : following.start() if following else None])
        value, words = _take_value(option, flag[1], tail)
        typed.append((option.name, value))
        parts.append(words)
    parts = [_EDGES.sub("", part) for part in parts]
    words = " ".join(filter(None, parts))
    if not parts[-1]:  # a comma before the last options is none of the words
        words = words.rstrip(f"{COMMAS} \n\t")
    return words, typed


def _with_all_negative(typed: Typed) -> Typed:
    """Return options with the words of `--no`, where it is given several times, in one list."""
    texts = [text for name, text in typed if name == "negative"]
    if len(texts) < 2:
        return typed
    at = next(at for at, (name, _) in enumerate(typed) if name == "negative")
    others = [each for each in typed if each[0] != "negative"]
    return [*others[:at], ("negative", ", ".join(dict.fromkeys(texts))), *others[at:]]


def read_request(
    text: str, given: Iterable[tuple[str, str]] = (), more: Sequence[Flag] = ()
) -> tuple[str, Typed]:
    """Read a prompt beside which options can be given, too: its words, and all options.

    Its lines are all words, as are those of a negative prompt that is given beside it, in which
    options are read, too. Raises `UserError` for an option that is given in two of these, with
    other values; otherwise as `split_message`.
    """
    words, typed = split_message(text, more, lines=False)
    return words, join_options(read_given(given, more), typed, more)


def read_given(given: Iterable[tuple[str, str]], more: Sequence[Flag] = ()) -> Typed:
    """Read options among the words of others; raises `UserError` as `read_request` does."""
    plain, found = [], []
    for name, text in given:
        if name in BY_NAME and BY_NAME[name].spoken:
            text, typed = split_message(text, more, lines=False)
            found += typed
        plain.append((name, text))
    return join_options(_with_all_negative(plain), found, more)


def join_options(
    given: Iterable[tuple[str, str]], typed: Typed, more: Sequence[Flag] = ()
) -> Typed:
    """Return options of two places together, or raise `UserError` for one that differs."""
    both = [*given, *typed]
    _check_once(both, more)
    return both


def _check_once(options: Typed, more: Sequence[Flag]) -> None:
    """Raise `UserError` for an option with two values, also where they are spelled differently."""
    several = {flag.name for flag in more if flag.many}
    found: dict[str, tuple[str, str]] = {}
    for name, text in options:
        if name in several:
            continue
        option = BY_NAME.get(name)
        field = (option.field if option else "") or name
        known, first = found.setdefault(field, (name, text))
        if known == name and first.strip() != text.strip():
            facts = {"first": shorten(first), "second": shorten(text)}
            raise UserError(Sentence("given_twice", name=f"--{name}", **facts))
        if known != name:
            facts = {"first": shorten(f"--{known} {first}"), "second": shorten(f"--{name} {text}")}
            raise UserError(Sentence("given_twice", name=f"--{field}", **facts))


def only_options(text: str, names: Iterable[str], others: Sequence[str] = ()) -> Typed:
    """Read a text of options alone; raises `UnknownOption` for words, and for other options.

    others: words that are known there, for the answer.
    """
    known = [*others, *(f"--{name}" for name in names)]
    words, typed = split_message(text, lines=False)
    for each in (*(f"--{name}" for name, _ in typed), *([words] if words else [])):
        if each not in known:
            raise UnknownOption(each, known)
    return typed


def write_options(options: Iterable[tuple[str, str]]) -> str:
    """Return options as a text that `split_message` reads, unless a value looks like a flag."""
    return " ".join(f"--{name} {_quoted(text)}" for name, text in options)


def read_style_words(text: str, negative: str = "", *, lines: bool = False) -> tuple[str, str]:
    """Read a style's words: what it adds, and after `--no` what the picture should not show.

    negative: what is typed for that beside the text. lines: as `split_message` takes it. Raises
    `UnknownOption` for other options, and as `join_options` says.
    """
    words, typed = split_message(text, lines=lines)
    typed = join_options(read_given([("negative", negative)] if negative else []), typed)
    if others := [name for name, _ in typed if name != "negative"]:
        raise UnknownOption(f"--{others[0]}", ["--no"])
    return words, dict(typed).get("negative", "")


def _quoted(text: str) -> str:
    """Return a value in quotes where it would not be read as one."""
    if text and text[0] not in _QUOTES and text[-1] not in COMMAS and not re.search(r"\s", text):
        return text
    for opening, closing in _QUOTES.items():
        if closing not in text:
            return f"{opening}{text}{closing}"
    return text


def _flags(text: str, known: Mapping[str, Flag]) -> Iterator[re.Match[str]]:
    """Yield where options begin: known ones anywhere, and others only where a blank is before.

    One hyphen begins an option where what follows can only be its value. Raises `UserError` where
    it may be words as well.
    """
    edges = [found.start() for found in _EDGES.finditer(text) if found.end() == len(text)]
    end = edges[-1] if edges else len(text)
    for found in _FLAG.finditer(text):
        before = text[found.start() - 1 : found.start()]
        sign, name = text[found.start() : found.start(1)], found[1].lower()
        if len(sign) == 1 and sign in _HYPHENS:
            following = _NEXT.match(text, found.end(), end)
            if _is_flag(name, following[1] if following else "", known):
                yield found
        elif is_blank(before) or name in known or name in MIDJOURNEY:
            yield found


def _is_flag(name: str, following: str, known: Mapping[str, Flag]) -> bool:
    """Return whether a name behind one hyphen is an option's; following: the word after it.

    Raises `UserError` where that may be words, or the value of an option that takes any.
    """
    flag, value = known.get(name), following.rstrip(COMMAS)
    if not value or (flag is None and name not in MIDJOURNEY):
        return False
    if flag is None:
        return bool(_NUMBER.match(value))
    if isinstance(flag, Option) and not flag.spoken:
        try:
            flag.parse(value)
        except UserError:
            return False
        if _NUMBER.match(value) or value.lower() in flag.choices:
            return True
    raise UserError(Sentence("one_hyphen", name=f"-{name}", option=f"--{name}"))


def _take_value(option: Flag, name: str, tail: str) -> tuple[str, str]:
    """Split what follows a flag into its value and words that belong to the prompt.

    name: the flag as it was typed.
    """
    if isinstance(option, Option) and option.alone:
        word = _WORD.match(tail)
        if not word or word[0].rstrip(COMMAS).lower() not in option.choices:
            return option.alone, tail.lstrip(COMMAS).strip()
    if not tail:
        raise OptionError(f"--{name}", "", Sentence("followed_by", example=option.example))
    if option.spoken and option.listed:
        return tail, ""
    closing = _QUOTES.get(tail[0])
    end = tail.find(closing, 1) if closing else -1
    if end > 0 and not (option.listed and tail[end + 1 : end + 2].strip()):
        return tail[1:end], tail[end + 1 :].lstrip(COMMAS)
    if option.spoken:
        return tail.rstrip(COMMAS) or tail, ""
    found = (_LIST if option.listed else _WORD).match(tail)
    assert found  # it is stripped, and something is left
    return found[0].rstrip(COMMAS) or found[0], tail[found.end() :].strip()
