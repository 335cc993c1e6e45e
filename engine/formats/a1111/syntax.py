"""What A1111 reads in a prompt beside words: networks, embeddings, words that change.

What Marble has too is written as Marble reads it; what it would draw as words is named. By A1111's
modules/extra_networks.py, extra_networks_lora.py, prompt_parser.py and sd_hijack.py.
"""

import re
from collections.abc import Iterable
from typing import Final

from engine.errors import PromptError, UserError, shorten, some
from engine.formats.a1111.settings import Settings
from engine.recipe import prompt_editing
from engine.recipe.limits import PROMPT_LIMIT
from engine.recipe.parts import Lora
from engine.recipe.prompt_editing import composed, weighted
from engine.recipe.prompt_tags import take_loras
from engine.sentences import Sentence
from engine.text_encode.prompts import parse

# Hostile texts are read in linear time: no blank is tried twice.
NETWORK: Final = re.compile(r"(?<![ \t])[ \t]*<(\w{1,32}):([^<>]*)>")
PARTS: Final = 8  # of a tag that are looked at
MOST: Final = 64  # embeddings that are looked for
LORAS: Final = ("lora", "lyco")
# The name of an embedding as a prompt of Marble's can hold it (`engine.text_encode.embeddings`).
NAME: Final = re.compile(r"[\w.\-+/]*[\w+]")
BRACKETS: Final = re.compile(r"(?<!\\)\[([^\[\]]*)(?<!\\)\]")
EDITED: Final = re.compile(r"(?:^|:)[^:]*:\s*[-+]?[\d.]+\s*$")
AND: Final = re.compile(r"\bAND\b")


def take_networks(prompt: str, settings: Settings) -> tuple[str, tuple[Lora, ...]]:
    """Return a prompt without tags like `<lora:name:0.8>`, and the LoRAs; the rest is noted.

    A1111 takes tags of networks that it does not know out of the prompt, too.
    """
    loras: list[Lora] = []
    unknown: list[str] = []
    partly: list[str] = []
    tags = list(NETWORK.finditer(prompt))
    for tag in tags:
        written = tag[0].strip()
        found, whole = _lora(tag[1].lower(), tag[2]) if tag[1].lower() in LORAS else (None, True)
        loras += [found] if found else []
        unknown += [] if found else [written]
        partly += [] if whole else [written]
    _note(settings, unknown, Sentence("a1111_network"))
    _note(settings, partly, Sentence("a1111_blocks"))
    return (NETWORK.sub("", prompt).strip(" \t") if tags else prompt), tuple(loras)


def _lora(kind: str, tag: str) -> tuple[Lora | None, bool]:
    """Return the LoRA of a tag, and whether that is all of it: weights of blocks are left out."""
    parts = tag.split(":")
    for end in range(min(len(parts), PARTS), 0, -1):
        try:
            (found,) = take_loras(f"<{kind}:{':'.join(parts[:end])}>")[1]
        except UserError:
            continue
        return found, end == len(parts)
    return None, True


def name_embeddings(texts: tuple[str, str], settings: Settings) -> tuple[str, str]:
    """Return prompt and negative prompt with `embedding:` before the names of embeddings.

    A1111 finds them by their bare names; its line lists those that it found.
    """
    listed = settings.pop("TI hashes", "").split(",")
    names = dict.fromkeys(part.rpartition(":")[0].strip() for part in listed[:MOST])
    missed = [each.strip() for each in listed[MOST:]]
    for name in sorted(filter(None, names), key=len, reverse=True):
        named: tuple[str, ...] = texts
        if NAME.fullmatch(name):  # with a backslash it would be a template of `sub`
            bare = re.compile(rf"(?<![\w:/.\-]){re.escape(name)}(?!\w)", re.IGNORECASE)
            named = tuple(bare.sub(f"embedding:{name}", text) for text in texts)
        if named == texts:
            missed.append(name)
        texts = named[0], named[1]
    _note(settings, missed, Sentence("a1111_embedding"))
    return texts


def is_alike(prompt: str, negative_prompt: str) -> bool:
    """Return whether Marble's grammar reads prompts as A1111's does."""
    if len(prompt) > PROMPT_LIMIT or len(negative_prompt) > PROMPT_LIMIT:
        return True  # which no recipe takes
    first, *others = composed(prompt)
    if others or first.weight != 1:
        return False
    return _is_alike(prompt) and _is_alike(negative_prompt)


def _is_alike(text: str) -> bool:
    if any(not isinstance(piece, str) for piece in prompt_editing.parse(text)):
        return False
    try:
        spans = parse(text)
    except PromptError:
        return False
    joined: list[tuple[str, float]] = []
    for words, weight in spans:
        if joined and joined[-1][1] == weight:
            words = joined.pop()[0] + words
        joined.append((words, weight))
    return joined == weighted(text)


def name_syntax(texts: tuple[str, str], settings: Settings) -> None:
    """Note syntax that A1111 interprets, and that of a program like it is drawn as words."""
    brackets = [found for text in texts for found in BRACKETS.finditer(text)]
    changing = [b[0] for b in brackets if "|" in b[1] or EDITED.search(b[1])]
    weaker = [b[0] for b in brackets if b[0] not in changing]
    drawn = Sentence("a1111_changing")
    weak = Sentence("a1111_weaker")
    both = Sentence("a1111_and")
    for parts, why in ((changing, drawn), (weaker, weak), (AND.findall(texts[0]), both)):
        _note(settings, parts, why)


def _note(settings: Settings, parts: Iterable[str], why: Sentence) -> None:
    if shown := some([shorten(part)[1:-1] for part in dict.fromkeys(parts)]):
        settings.notes.append(Sentence("a1111_words", words=shown, why=why))
