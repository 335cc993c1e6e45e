"""Tokenizers: those of folders, and CLIP's, from the list of merges that all its models share.

Only the merges are kept (gzipped, 0.2 MB): the vocabulary of 1 MB that tokenizers carry beside
them follows from them. They are OpenAI's (CLIP, MIT licence); diffusers folders bring their own.

Radford et al. (2021), arXiv:2103.00020, section 2.4.
"""

import gzip
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from transformers.models.auto.tokenization_auto import AutoTokenizer
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from engine.device.backends import is_out_of_memory
from engine.files.safetensors import BadFile
from engine.models.families import CONFIGS

MERGES: Final = CONFIGS / "clip" / "merges.txt.gz"
START: Final = "<|startoftext|>"
END: Final = "<|endoftext|>"
WORD_END: Final = "</w>"
RIGHT: Final = "the one with which the text encoder was trained"


def tokenizer_of(folder: Path) -> Any:
    """Read a tokenizer's folder; raises `BadFile`."""
    with reading_tokenizer():
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


@contextmanager
def reading_tokenizer() -> Iterator[None]:
    """Raise `BadFile` for whatever the libraries raise where they cannot read a tokenizer.

    Their messages may be a bare key; `engine.loading.modules.reading` logs them.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise BadFile(
            f"it cannot be read, so it must be fetched anew or replaced by {RIGHT}"
        ) from (error)


def check_tokenizer(tokenizer: Any, encoder: Any, special: Iterable[str] = ()) -> None:
    """Raise `BadFile` for a tokenizer of another model than a text encoder's.

    special: tokens that stand around a prompt by its template.
    """
    known = tokenizer.get_vocab()
    rows = int(encoder.get_input_embeddings().num_embeddings)
    if not known:
        raise BadFile(f"it has no tokens, so it must be replaced by {RIGHT}")
    if lacking := sorted(each for each in special if each not in known):
        raise BadFile(f"it lacks the token {lacking[0]}, so it must be replaced by {RIGHT}")
    if (most := max(known.values())) >= rows:
        raise BadFile(
            f"it numbers its tokens up to {most:,}, where the text encoder knows those below "
            f"{rows:,}, so it must be replaced by {RIGHT}"
        )


@lru_cache(maxsize=1)
def merges() -> tuple[tuple[str, str], ...]:
    """Return the pairs of symbols that become one, the most frequent first."""
    lines = gzip.decompress(MERGES.read_bytes()).decode("utf-8").splitlines()[1:]
    return tuple((first, second) for first, _, second in (line.partition(" ") for line in lines))


@lru_cache(maxsize=1)
def vocabulary() -> dict[str, int]:
    """Return token → id: all bytes, all bytes that end a word, what merges make, both ends."""
    letters = _letters()
    made = [first + second for first, second in merges()]
    tokens = [*letters, *(letter + WORD_END for letter in letters), *made, START, END]
    return {token: number for number, token in enumerate(tokens)}


def make_tokenizer(pad: int) -> Any:
    """Return CLIP's tokenizer, which fills windows with this token."""
    tokens = {number: token for token, number in vocabulary().items()}
    return CLIPTokenizer(
        vocab=dict(vocabulary()),
        merges=list(merges()),
        pad_token=tokens[pad],
        model_max_length=77,
    )


def _letters() -> list[str]:
    """Return a printable character for each byte: itself where it is one, else from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = 256 - len(printable)
    return [*map(chr, printable), *(chr(256 + number) for number in range(others))]
