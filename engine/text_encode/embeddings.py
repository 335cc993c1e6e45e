"""Textual-inversion embeddings: files of vectors that are used as words of a prompt.

    embedding:name          as in ComfyUI, in prompts and negative prompts

A file holds a few vectors as wide as the text encoder's token embeddings (two sets for SDXL). Each
vector takes the place of a token. Gal et al. (2022), arXiv:2208.01618.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor

from engine.device.finite import check_values
from engine.errors import BrokenModel, reading_a
from engine.loading.modules import read_tensors
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.text_encode.prompts import EMBEDDING

# Names of the vectors in files: A1111's, and SDXL's two sets; diffusers uses the word itself.
ONE: Final = "emb_params"
TWO: Final = ("clip_l", "clip_g")
OTHERS: Final = ("t5xxl",)  # for encoders of other families


class Embeddings:
    """Maps `embedding:name` to token ids beyond a text encoder's vocabulary, and to vectors.

    number: of the text encoder among the model's, 0 or 1.
    """

    def __init__(self, model_files: ModelFiles, encoder: Any, number: int) -> None:
        self._model_files = model_files
        self._encoder = encoder
        self._number = number
        self._first = int(encoder.config.vocab_size)  # id beyond the encoder's vocabulary
        self._known: dict[str, list[int]] = {}  # name → ids
        self._vectors: list[Tensor] = []

    @property
    def size(self) -> int:
        """Return the bytes of the loaded vectors."""
        return sum(vector.nbytes for vector in self._vectors)

    def split(self, text: str) -> Iterator[str | list[int]]:
        """Yield a text's pieces in order: words, and the ids of each embedding.

        Raises `UnknownPart`, or `BrokenModel` for an embedding that does not fit the encoder.
        """
        at = 0
        for found in EMBEDDING.finditer(text):
            yield text[at : found.start()]
            yield self._ids(found[1])
            at = found.end()
        yield text[at:]

    def _ids(self, name: str) -> list[int]:
        if name not in self._known:
            vectors = self._read(name)
            begin = self._first + len(self._vectors)
            self._vectors += list(vectors)
            self._known[name] = list(range(begin, begin + len(vectors)))
        return self._known[name]

    @reading_a(ModelKind.EMBEDDING)
    def _read(self, name: str) -> Tensor:
        tensors = read_tensors(name, self._model_files.path(name))
        vectors = find_vectors(name, tensors, self._number)
        width = int(self._encoder.config.hidden_size)
        if vectors.shape[1] != width:
            raise BrokenModel(
                name, f"it is made for another model: vectors of {vectors.shape[-1]}, not {width}."
            )
        if not len(vectors):
            raise BrokenModel(name, "it is no embedding: it holds no vectors.")
        check_values(name, [("its vectors", vectors)])
        return vectors

    @contextmanager
    def placed(self, ids: Tensor) -> Iterator[Tensor]:
        """Substitute vectors for ids [1, 77] beyond the vocabulary; yield the ids to encode."""
        beyond = ids >= self._first
        if not bool(beyond.any()):
            yield ids
            return
        vectors = torch.stack([self._vectors[i - self._first] for i in ids[beyond].tolist()])

        def place(layer: Any, _: object, output: Tensor) -> Tensor:
            filled = output.clone()
            filled[beyond.to(output.device)] = vectors.to(output.device, output.dtype)
            return filled

        layer = self._encoder.get_input_embeddings()
        hook = layer.register_forward_hook(place)
        try:
            yield ids.masked_fill(beyond, 0)
        finally:
            hook.remove()


@reading_a(ModelKind.EMBEDDING)
def find_vectors(name: str, tensors: Mapping[str, Tensor], number: int) -> Tensor:
    """Return a file's vectors for a text encoder, [n, width] fp32, or raise `BrokenModel`."""
    keys: list[str] = [key for key in (TWO[number], ONE) if key in tensors]
    keys += list(tensors) if len(tensors) == 1 else []
    if not keys:
        raise BrokenModel(name, "it is no embedding: its vectors bear no name that is known.")
    if left := sorted(tensors.keys() - {ONE, *TWO, *OTHERS, keys[0]}):
        raise BrokenModel(name, f"it holds {left[0]!r}, which Marble cannot read.")
    vectors = tensors[keys[0]].float()
    if vectors.ndim not in (1, 2):
        shape = "×".join(map(str, vectors.shape)) or "one number"
        raise BrokenModel(name, f"it is no embedding: it holds {shape}, not a row of vectors.")
    return vectors[None] if vectors.ndim == 1 else vectors
