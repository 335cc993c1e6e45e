"""Lengths of prompts in tokens: which may share a call of the U-Net, and what they cost.

The rows of a call have contexts of one length: shorter ones are repeated to the least common
multiple. Of 70 windows and 53 that would be 3,710. So lengths that would repeat one of them too
often are asked about in calls of their own, by ComfyUI's rule. Standard library only.
"""

import re
from collections.abc import Sequence
from math import ceil, lcm
from typing import Final

WINDOW: Final = 77  # tokens, two of which mark its ends
REPEATED: Final = 4  # times at most; ComfyUI's `CONDCrossAttn.can_concat`
# What a window more adds to a row's work: SD1.x at 512² takes 1.0 % more multiplications, SDXL at
# 1024² 1.4 %, smaller pictures more than larger ones.
DEARER: Final = 0.02
# CLIP's tokenizer knows common words of the Latin alphabet; of other scripts it reads bytes, of
# which it joins a few.
PIECES: Final = re.compile(r"[a-zA-Z]+|[^\sa-zA-Z]")
LONG_WORD: Final = 8  # letters
BYTES: Final = 1.15  # a token, in other scripts


def share_a_call(tokens: Sequence[int]) -> bool:
    """Return whether contexts of these lengths may stand in one call, repeated to one length."""
    return lcm(*tokens) // min(tokens) <= REPEATED


def weight(tokens: int) -> float:
    """Return the work of a row with a context of that length, in rows with one of one window."""
    return 1 + DEARER * max(0.0, tokens / WINDOW - 1)


def mean_weight(tokens: Sequence[int]) -> float:
    """Return the mean work of rows with contexts of these lengths, in one call or in several."""
    together = share_a_call(tokens)
    lengths = [lcm(*tokens)] * len(tokens) if together else tokens
    return sum(map(weight, lengths)) / len(lengths)


def estimate(prompt: str) -> int:
    """Return about how many tokens a prompt's windows have, without a tokenizer."""
    tokens = 0.0
    for piece in PIECES.findall(prompt):
        if piece.isascii():
            tokens += ceil(len(piece) / LONG_WORD)
        else:
            tokens += len(piece.encode("utf-8", "replace")) / BYTES
    return WINDOW * max(1, ceil(tokens / (WINDOW - 2)))
