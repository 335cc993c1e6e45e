"""Stage 1: encode prompts into conditioning, and keep the most recent."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol, runtime_checkable

import torch
from torch import Tensor

from engine.device.tensor_bytes import tensor_bytes
from engine.loading.model import Conditioning, Model, join_rows
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.pictures.start_image import Pixels
from engine.recipe.context_length import ContextRule, Joining
from engine.text_encode.prompts import Piece

MULTIPLE: Final = 32  # tokens, of which texts that are masked are brought to a multiple
CACHED: Final = 64 * 2**20  # bytes of encoded prompts: 283 windows of SD1.x, 106 of SDXL
# How many stay, whatever they take: of two jobs with a negative prompt each. FLUX.2 dev takes 31 to
# 63 MB for a prompt.
KEPT: Final = 4


def stack(parts: Sequence[Conditioning], rule: ContextRule, padding: int = 0) -> Conditioning:
    """Concatenate rows, brought to a common length, and append the first row `padding` times.

    Attention over a repeated context equals attention over the context; padding with zeros does
    not (it moves the result by 4e-2, repetition by 3e-6), unless a mask hides it.
    """
    tokens = rule.common([part.tokens for part in parts])
    lengthen = _repeat if rule.joining is Joining.REPEAT else _pad
    embeds = join_rows((lengthen(part.embeds, tokens) for part in parts), padding)
    masks = [part.mask for part in parts if part.mask is not None]
    return Conditioning(
        embeds,
        join_rows((_pad(mask, tokens) for mask in masks), padding) if masks else None,
        {
            name: join_rows((part.others[name] for part in parts), padding)
            for name in parts[0].others
        },
    )


class PaddedPrompts:
    """Encode prompts by embeddings that are padded, and masked; encode: as of `padded`'s rows."""

    size = 0  # it loads nothing

    def __init__(self, encode: Callable[[str], Tensor]) -> None:
        self._encode = encode

    def encode(
        self, prompt: str, clip_skip: int | None, pictures: Sequence[Pixels] = ()
    ) -> Conditioning:
        """Return a prompt's conditioning, one row; raises `PromptError`."""
        return padded(self._encode(prompt))


def padded(rows: Tensor) -> Conditioning:
    """Return the conditioning of embeddings [1, tokens, width], brought to a multiple of tokens.

    Its mask, on the CPU, hides what is added. Prompts of similar lengths come to one, and may share
    a call to the last bit.
    """
    tokens = rows.shape[1]
    length = -(-tokens // MULTIPLE) * MULTIPLE
    return Conditioning(_pad(rows, length), torch.arange(length)[None] < tokens)


def _repeat(rows: Tensor, tokens: int) -> Tensor:
    return rows.repeat(1, tokens // rows.shape[1], 1)


def _pad(rows: Tensor, tokens: int) -> Tensor:
    """Append zeros to rows [rows, tokens, …]."""
    missing = tokens - rows.shape[1]
    if not missing:
        return rows
    return torch.cat([rows, rows.new_zeros((len(rows), missing, *rows.shape[2:]))], dim=1)


@runtime_checkable
class Windowed(Protocol):
    """Encodes prompts in windows of tokens, and tells which."""

    def pieces(self, prompt: str) -> list[Piece]:
        """Return a prompt's tokens without those that begin, end and fill windows."""
        ...


class TextEncoder:
    """Encode prompts with a model's text encoders, and cache the most recent.

    cached: the bytes of the cache.
    """

    def __init__(self, model: Model, embeddings: ModelFiles | None = None) -> None:
        self._prompts = model.prompts(embeddings or ModelFiles(None, ModelKind.EMBEDDING))
        self._cache: OrderedDict[tuple[object, ...], Conditioning] = OrderedDict()
        self.cached = 0  # bytes

    @property
    def size(self) -> int:
        """Return the bytes of cached prompts and loaded embeddings."""
        return self.cached + self._prompts.size

    def holds(self, prompt: str, clip_skip: int | None, key: object) -> bool:
        """Return whether a prompt is cached, so that `encode` calls no text encoder."""
        return (prompt, clip_skip, key) in self._cache

    def pieces(self, prompt: str) -> list[Piece] | None:
        """Return the tokens of a prompt, None where its encoder has no windows of them."""
        return self._prompts.pieces(prompt) if isinstance(self._prompts, Windowed) else None

    def encode(
        self,
        prompt: str,
        clip_skip: int | None = None,
        key: object = None,
        pictures: Sequence[Pixels] = (),
    ) -> Conditioning:
        """Return the prompt's conditioning, one row.

        clip_skip: the layer of CLIP that is read, counted from the last one, 1 (None: the model's
        default); pictures: as in `Prompts.encode`; key: whatever else the encoders' output depends
        on, these pictures included.
        """
        entry = (prompt, clip_skip, key)
        if entry in self._cache:
            self._cache.move_to_end(entry)
            return self._cache[entry]
        found = replace(self._prompts.encode(prompt, clip_skip, pictures), words=prompt)
        self._cache[entry] = found
        self.cached += tensor_bytes(found)
        while self.cached > CACHED and len(self._cache) > KEPT:
            self.cached -= tensor_bytes(self._cache.popitem(last=False)[1])
        return found
