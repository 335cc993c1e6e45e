"""Write sentences of every room in somebody's language.

What only owners read (why a model's files are broken, say) stays English inside the sentence.
"""

from __future__ import annotations

from bots.texts.words import Words
from engine.errors import UserError
from engine.sentences import Fact, Sentence, fill


def say(sentence: str, words: Words) -> str:
    """Return a sentence in a language; its English text where that is not to be had.

    Sentences of other versions may have a code that is not in the table, or other facts.
    """
    if not isinstance(sentence, Sentence) or sentence.code not in words.sentences:
        return str(sentence)
    facts = {name: _part(name, fact, words) for name, fact in sentence.facts.items()}
    try:
        return fill(words.sentences[sentence.code], **facts)
    except (KeyError, ValueError):
        return str(sentence)


def tell(error: UserError, words: Words) -> str:
    """Say what an error says, in a language."""
    return say(error.said, words)


def _part(name: str, fact: Fact, words: Words) -> Fact:
    if isinstance(fact, Sentence):
        return say(fact, words)
    return words.fields.get(str(fact), fact) if name == "option" else fact
