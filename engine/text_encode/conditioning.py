"""Stage 1: encode prompts with CLIP into conditioning, which the U-Net attends to."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import lcm
from typing import Any, Final

import torch
from torch import Tensor

from engine.device.tensor_bytes import tensor_bytes
from engine.errors import PromptError
from engine.loading.model import Model
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.recipe.context_length import WINDOW
from engine.sentences import Sentence
from engine.text_encode.embeddings import Embeddings
from engine.text_encode.prompts import Token, tokenize

MOST_WINDOWS: Final = 256  # more than words can fill; embeddings may have any number of vectors
CACHED: Final = 64 * 2**20  # bytes of encoded prompts: 283 windows of SD1.x, 106 of SDXL


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """The U-Net's conditioning, a row for each prompt; all tensors fp32.

    embeds: [rows, tokens, width]; pooled: the prompt's pooled embedding, [rows, P], and sizes: the
    picture's, [rows, 6], both of SDXL only; guidance: the embedded guidance scale of models
    distilled with guidance, [rows, G].
    """

    embeds: Tensor
    pooled: Tensor | None = None
    sizes: Tensor | None = None
    guidance: Tensor | None = None

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return len(self.embeds)

    @property
    def tokens(self) -> int:
        """Return the length in tokens."""
        return self.embeds.shape[1]

    def sized(self, width: int, height: int) -> Conditioning:
        """Add SDXL's sizes in pixels: original size, crop at (0, 0), target size.

        Podell et al. (2023), arXiv:2307.01952, section 2.2. Unchanged for other models.
        """
        if self.pooled is None:
            return self
        row = torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32)
        return replace(self, sizes=row.to(self.embeds.device).expand(self.rows, -1))

    def guided(self, scale: float, width: int) -> Conditioning:
        """Add the guidance scale embedded in `width` values; 0: the U-Net does not take it."""
        if not width:
            return self
        row = embed_scale(scale, width).to(self.embeds.device)
        return replace(self, guidance=row.expand(self.rows, -1))

    def arguments(self, dtype: torch.dtype) -> dict[str, Any]:
        """Return the arguments of U-Net and ControlNets in their dtype; sizes stay fp32."""
        arguments: dict[str, Any] = {"encoder_hidden_states": self.embeds.to(dtype)}
        if self.pooled is not None:
            added = {"text_embeds": self.pooled.to(dtype), "time_ids": self.sizes}
            arguments["added_cond_kwargs"] = added
        return arguments


def stack(parts: Sequence[Conditioning], padding: int = 0) -> Conditioning:
    """Concatenate rows, repeated to a common length, and append the first row `padding` times.

    Attention over a repeated context equals attention over the context; padding with zeros does
    not (it moves the result by 4e-2, repetition by 3e-6).
    """
    tokens = lcm(*(part.tokens for part in parts))
    equal = [part.embeds.repeat(1, tokens // part.tokens, 1) for part in parts]
    columns = zip(*((part.pooled, part.sizes, part.guidance) for part in parts), strict=True)
    embeds, *others = (_rows(column, padding) for column in (equal, *columns))
    assert embeds is not None
    return Conditioning(embeds, *others)


def blank(model: Model, rows: int) -> Conditioning:
    """Return zeros in the shapes of a model's conditioning, of one window."""

    def zeros(*shape: int) -> Tensor:
        return torch.zeros((rows, *shape), device=model.device)

    widths = [int(encoder.config.hidden_size) for _, encoder in model.encoders]
    sized = model.checkpoint.family.is_xl
    return Conditioning(
        zeros(WINDOW, sum(widths)),
        zeros(int(model.text_encoder_2.config.projection_dim)) if sized else None,
        zeros(6) if sized else None,
        zeros(model.guidance_width) if model.guidance_width else None,
    )


def _rows(parts: Sequence[Tensor | None], padding: int) -> Tensor | None:
    tensors = [part for part in parts if part is not None]
    if not tensors:
        return None
    assert len(tensors) == len(parts)  # all pictures of a model have the same tensors
    first = tensors[0][:1]
    return torch.cat([*tensors, first.expand(padding, *first.shape[1:])])


class TextEncoder:
    """Encode prompts with a model's text encoders, and cache the most recent.

    cached: the bytes of the cache.
    """

    def __init__(self, model: Model, embeddings: ModelFiles | None = None) -> None:
        model_files = embeddings or ModelFiles(None, ModelKind.EMBEDDING)
        self._encoders = [
            _Encoder(tokenizer, encoder, model, Embeddings(model_files, encoder, number))
            for number, (tokenizer, encoder) in enumerate(model.encoders)
        ]
        self._cache: OrderedDict[tuple[object, ...], Conditioning] = OrderedDict()
        self.cached = 0  # bytes

    @property
    def size(self) -> int:
        """Return the bytes of cached prompts and loaded embeddings."""
        return self.cached + sum(encoder.embeddings.size for encoder in self._encoders)

    def encode(self, prompt: str, clip_skip: int | None = None, key: object = None) -> Conditioning:
        """Return the prompt's conditioning, one row of 77·chunks tokens.

        Weights scale the difference to the empty prompt: (z − z_empty)·w + z_empty, without
        renormalisation; chunks are concatenated along the tokens (ComfyUI's rule), SDXL's two
        encoders along the width. SDXL's pooled embedding is the second encoder's, of the first
        chunk, unweighted.

        clip_skip: the layer that is read, counted from the last one, 1 (None: the model's default);
        key: whatever else the encoders' output depends on.
        """
        entry = (prompt, clip_skip, key)
        if entry in self._cache:
            self._cache.move_to_end(entry)
            return self._cache[entry]
        outputs = [encoder.encode(prompt, clip_skip) for encoder in self._encoders]
        found = Conditioning(torch.cat([a.embeds for a in outputs], dim=-1), outputs[-1].pooled)
        self._cache[entry] = found
        self.cached += tensor_bytes(found)
        while self.cached > CACHED:
            self.cached -= tensor_bytes(self._cache.popitem(last=False)[1])
        return found


class _Encoder:
    def __init__(self, tokenizer: Any, encoder: Any, model: Model, embeddings: Embeddings) -> None:
        self._tokenizer = tokenizer
        self.embeddings = embeddings
        self._encoder = encoder
        self._device = model.device
        self._family = model.checkpoint.family

    def encode(self, prompt: str, clip_skip: int | None) -> Conditioning:
        chunks = self._chunks(prompt)
        weights = torch.tensor([[weight for _, weight in row] for row in chunks])
        embeds, pooled = self._forward(chunks, clip_skip)
        if bool((weights != 1).any()):
            empty, _ = self._forward(self._chunks("")[:1], clip_skip)
            embeds = (embeds - empty) * weights[:, :, None].to(embeds.device) + empty
        return Conditioning(embeds.reshape(1, -1, embeds.shape[-1]), pooled)

    def _chunks(self, prompt: str) -> list[list[Token]]:
        tokenizer = self._tokenizer
        chunks = tokenize(
            prompt,
            self._ids,
            bos=tokenizer.bos_token_id,
            eos=tokenizer.eos_token_id,
            pad=tokenizer.pad_token_id,
            max_length=self._encoder.config.max_position_embeddings,
        )
        if len(chunks) > MOST_WINDOWS:
            raise PromptError(Sentence("many_windows", windows=len(chunks), most=MOST_WINDOWS))
        return chunks

    def _ids(self, text: str) -> Iterator[list[int]]:
        """Yield a text's token ids in groups: each embedding's, and those of the words between."""
        for piece in self.embeddings.split(text):
            if isinstance(piece, str):
                piece = self._tokenizer(piece, add_special_tokens=False).input_ids
            yield piece

    def _forward(
        self, chunks: Sequence[Sequence[Token]], clip_skip: int | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the embeddings [chunks, 77, width] and the pooled one, [1, P] or None; fp32."""
        # One chunk a call: the number of rows moves the last bits of each row, and a chunk's
        # embeddings must not depend on how many others there are.
        rows = torch.tensor([[token for token, _ in chunk] for chunk in chunks])
        outputs = []
        for row in rows:
            with self.embeddings.placed(row[None]) as ids:
                outputs.append(self._encoder(ids.to(self._device), output_hidden_states=True))
        embeds = torch.cat([self._layer(output, clip_skip) for output in outputs])
        pooled = getattr(outputs[0], "text_embeds", None)
        return embeds.float(), None if pooled is None else pooled.float()

    def _layer(self, output: Any, clip_skip: int | None) -> Tensor:
        """Return the layer that the U-Net was trained with, or that of `clip_skip`."""
        layer = clip_skip or self._family.last_layer
        if not self._family.is_xl:
            # SD2's encoder files leave out the last layer, which is not used.
            layer = max(1, layer - self._family.last_layer + 1)
            if layer == 1:
                last: Tensor = output.last_hidden_state
                return last
        found: Tensor = output.hidden_states[-min(layer, len(output.hidden_states) - 1)]
        if not self._family.is_xl:  # which is read without the final norm
            found = self._encoder.final_layer_norm(found)
        return found


def embed_scale(scale: float, width: int) -> Tensor:
    """Return the embedding of a guidance scale, [1, width] fp32, for models distilled with it.

    Sines and cosines of 1000·(scale − 1) at `width`/2 frequencies, as of a timestep: Luo et al.
    (2023), "Latent Consistency Models", arXiv:2310.04378, section 4.2, whose w is scale − 1.
    """
    half = width // 2
    # In fp32, as in training: at thousands of radians other precisions give other values.
    step = torch.tensor(10_000.0).log() / (half - 1)
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -step)
    angles = torch.tensor([scale - 1.0]) * 1000.0 * frequencies
    waves = torch.cat([angles.sin(), angles.cos(), torch.zeros(width % 2)])
    return waves[None]
