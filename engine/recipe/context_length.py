"""Lengths of prompts in tokens: which may share a call of the network, and what they cost.

The rows of a call have contexts of one length. For a U-Net shorter ones are repeated to the least
common multiple; of 70 windows and 53 that would be 3,710. So lengths that would repeat one of them
too often are asked about in calls of their own, by ComfyUI's rule. Standard library only.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
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


class Joining(StrEnum):
    """How contexts of different lengths become rows of one call.

    repeat: each is repeated to the least common multiple, which cross-attention does not notice;
    pad: shorter ones are padded, and a mask hides the padding; equal: they never do.
    """

    REPEAT = "repeat"
    PAD = "pad"
    EQUAL = "equal"


@dataclass(frozen=True, slots=True)
class ContextRule:
    """Which lengths of contexts may share a call of a model, and what they cost.

    base: the tokens with which a row's work is 1; dearer: the work that as many tokens more add.
    """

    joining: Joining = Joining.REPEAT
    base: int = WINDOW
    dearer: float = DEARER

    def share_a_call(self, tokens: Sequence[int]) -> bool:
        """Return whether contexts of these lengths may stand in one call."""
        if self.joining is Joining.REPEAT:
            return lcm(*tokens) // min(tokens) <= REPEATED
        return self.joining is Joining.PAD or len({*tokens}) == 1

    def common(self, tokens: Sequence[int]) -> int:
        """Return the length to which contexts are brought in one call."""
        return lcm(*tokens) if self.joining is Joining.REPEAT else max(tokens)

    def weight(self, tokens: int) -> float:
        """Return the work of a row with a context of that length, in rows of `base` tokens."""
        return 1 + self.dearer * max(0.0, tokens / self.base - 1)

    def mean_weight(self, tokens: Sequence[int]) -> float:
        """Return the mean work of rows with contexts of these lengths, in one call or several."""
        together = self.share_a_call(tokens)
        lengths = [self.common(tokens)] * len(tokens) if together else tokens
        return sum(map(self.weight, lengths)) / len(lengths)


UNET: Final = ContextRule()


def estimate(prompt: str) -> int:
    """Return about how many tokens a prompt's windows have, without a tokenizer."""
    tokens = 0.0
    for piece in PIECES.findall(prompt):
        if piece.isascii():
            tokens += ceil(len(piece) / LONG_WORD)
        else:
            tokens += len(piece.encode("utf-8", "replace")) / BYTES
    return WINDOW * max(1, ceil(tokens / (WINDOW - 2)))
