"""What each place of a picture attends to while it is drawn.

Cross-attention lets each place of the latents read the words. Its scores, averaged over heads,
layers and steps, say which word made which part of the picture: Tang et al. (2022), "What the
DAAM: interpreting Stable Diffusion using cross attention", arXiv:2210.04885. Unlike there only the
first layers of one size count, on the way up and of the finest size that is small enough: with all
layers the words' heat is blurred (docs/making-of.md has figures). Ordinary attention does not give
its scores, so they are computed beside it; what the network answers is the ordinary attention's
output.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from torch.nn import functional

from engine.denoise.conditions import Asked, Box

# The first cross-attention of each size on the way up, in diffusers' U-Net.
MEASURED: Final = re.compile(r"up_blocks\.\d+\.attentions\.0\..*\.attn2")
MOST_PLACES: Final = 2048  # of a layer that is measured: 32 × 64
MOST_TEXTS: Final = 8  # that are measured, in the order in which they are asked
MOST_SCORES: Final = 2**22  # tokens × places, of a layer and of what is kept of a text: 16 MiB
SIDE: Final = 64  # of what is kept of a text, at most


@dataclass(slots=True, eq=False)
class Heat:
    """What places attended to: the sum of the scores of each token, [tokens, h, w] fp32.

    count: how often each place was seen by a layer, [h, w]; requests: of the sampler's, how many
    asked this text.
    """

    total: Tensor
    count: Tensor
    requests: int = 0

    @classmethod
    def empty(cls, tokens: int, height: int, width: int, device: torch.device) -> Heat:
        """Return one for latents of a size, smaller where it would take too much memory."""
        scale = min(1.0, SIDE / max(height, width))
        while True:
            size = max(1, round(height * scale)), max(1, round(width * scale))
            if tokens * size[0] * size[1] <= MOST_SCORES or size == (1, 1):
                break
            scale /= 2
        return cls(torch.zeros((tokens, *size), device=device), torch.zeros(size, device=device))

    @property
    def mean(self) -> Tensor:
        """Return the mean share of each token, [tokens, h, w]: 1 together where a layer looked."""
        return self.total / self.count.clamp(min=1)

    def zeros(self) -> Heat:
        """Return one of the same size, to which nothing was added."""
        return Heat(torch.zeros_like(self.total), torch.zeros_like(self.count))

    def add(self, scores: Tensor, box: Box, height: int, width: int) -> None:
        """Add a layer's scores, [tokens, h, w] of a box in latents of that height and width."""
        down, across = (
            own / all_ for own, all_ in zip(self.count.shape, (height, width), strict=True)
        )
        top, left = int(box.top * down), int(box.left * across)
        bottom = max(top + 1, round((box.top + box.height) * down))
        right = max(left + 1, round((box.left + box.width) * across))
        # Bilinear: what is 1 over the tokens stays 1.
        fitted = functional.interpolate(scores[None], (bottom - top, right - left), mode="bilinear")
        self.total[:, top:bottom, left:right] += fitted[0]
        self.count[top:bottom, left:right] += 1

    def join(self, other: Heat) -> None:
        """Add those of a request."""
        self.total += other.total
        self.count += other.count
        self.requests += 1


@dataclass(slots=True, eq=False)
class AttentionMaps:
    """Adds up what places attend to in the positive texts of a picture, by text.

    layers: how many of the network's were measured in the latest call.
    """

    heats: dict[str, Heat] = field(default_factory=dict)
    layers: int = 0
    _texts: dict[str, None] = field(default_factory=dict)  # that are measured

    @contextmanager
    def watching(
        self, network: Any, calls: Sequence[Sequence[Asked]], boxes: Sequence[Box | None], x: Tensor
    ) -> Iterator[None]:
        """Measure the calls of a network that answer a request for x, [1, C, h, w].

        calls: what the rows of each ask; boxes: which part of the latents each sees. Calls beyond
        these, in which attention is perturbed, are left out. Where one fails nothing is added.
        """
        height, width = x.shape[2:]
        seen: list[_Seen] = []

        def next_call(*_: object) -> None:
            number = len(seen)
            box = boxes[number] if number < len(boxes) else None
            rows = calls[number] if number < len(calls) else ()
            seen.append(_Seen(rows, box or Box(0, 0, height, width)))

        def look(attention: Any, hidden: Tensor, context: Tensor) -> None:
            seen[-1].look(attention, hidden, context, self._is_measured)

        hook = network.register_forward_pre_hook(next_call)
        try:
            with attention_seen(network, look):
                yield
        finally:
            hook.remove()
        found: dict[str, Heat] = {}
        for call in seen:
            for words, scores in call.scores:
                known = self.heats.get(words)
                if words not in found:
                    new = Heat.empty(len(scores), height, width, scores.device)
                    found[words] = known.zeros() if known else new
                found[words].add(scores, call.box, height, width)
        for words, heat in found.items():
            self.heats.setdefault(words, heat.zeros()).join(heat)
        self.layers = max((each.layers for each in seen), default=0) or self.layers

    def _is_measured(self, words: str) -> bool:
        if len(self._texts) < MOST_TEXTS:
            self._texts[words] = None
        return words in self._texts


@dataclass(slots=True, eq=False)
class _Seen:
    """What is seen of a call: the scores of its texts, [tokens, h, w], of the finest layers yet.

    rows: what each asks; box: where in the latents the network looks; layers: how many were
    measured.
    """

    rows: Sequence[Asked]
    box: Box
    scores: list[tuple[str, Tensor]] = field(default_factory=list)
    layers: int = 0
    _places: int = 0

    def look(
        self, attention: Any, hidden: Tensor, context: Tensor, is_measured: Callable[[str], bool]
    ) -> None:
        """Measure a layer, unless it is coarser than others, or too fine."""
        places = hidden.shape[1]
        size = _size_of(places, self.box)
        if size is None or places > MOST_PLACES or places * context.shape[1] > MOST_SCORES:
            return
        if places < self._places:
            return
        if places > self._places:
            self.scores.clear()
            self.layers, self._places = 0, places
        self.layers += 1
        for row, (_, text, negative) in enumerate(self.rows):
            if not negative and text.words and is_measured(text.words):
                scores = scores_of(attention, hidden[row : row + 1], context[row : row + 1])
                # A text that is repeated, to the length of others in the call, is read as often.
                folded = scores.view(-1, text.tokens, *size).sum(0)
                self.scores.append((text.words, folded))


Look = Callable[[Any, Tensor, Tensor], None]  # at attention, places [rows, …] and words [rows, …]


@dataclass(frozen=True, slots=True)
class _Beside:
    """A processor of diffusers' that shows what comes in, and returns the ordinary one's output."""

    ordinary: Any
    look: Look

    def __call__(
        self,
        attention: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        *rest: Any,
        **others: Any,
    ) -> Any:
        if encoder_hidden_states is not None:
            self.look(attention, hidden_states, encoder_hidden_states)
        return self.ordinary(attention, hidden_states, encoder_hidden_states, *rest, **others)


def has_cross_attention(network: Any) -> bool:
    """Return whether the words that a network reads can be told from its attention."""
    return isinstance(network, UNet2DConditionModel)


@contextmanager
def attention_seen(network: Any, look: Look) -> Iterator[None]:
    """Show what cross-attention gets in diffusers' U-Net; other networks are left alone."""
    layers = []
    if has_cross_attention(network):
        layers = [layer for name, layer in network.named_modules() if MEASURED.fullmatch(name)]
    before = [layer.processor for layer in layers]
    for layer, ordinary in zip(layers, before, strict=True):
        layer.set_processor(_Beside(ordinary, look))
    try:
        yield
    finally:
        for layer, ordinary in zip(layers, before, strict=True):
            layer.set_processor(ordinary)


def scores_of(attention: Any, hidden: Tensor, context: Tensor) -> Tensor:
    """Return softmax(Q·K^T·scale), its mean over heads, [tokens, places] fp32.

    hidden: [1, places, C]; context: [1, tokens, width].
    """
    queries = _by_head(attention, attention.to_q(hidden))
    keys = _by_head(attention, attention.to_k(context))
    total = hidden.new_zeros((context.shape[1], hidden.shape[1]), dtype=torch.float32)
    for query, key in zip(queries, keys, strict=True):  # one at a time: memory
        total += (query @ key.T * attention.scale).softmax(-1).T
    return total / len(queries)


def _by_head(attention: Any, rows: Tensor) -> Tensor:
    """Return rows [1, n, heads·width] as [heads, n, width], fp32."""
    return rows[0].view(rows.shape[1], attention.heads, -1).transpose(0, 1).float()


def _size_of(places: int, box: Box) -> tuple[int, int] | None:
    """Return the height and width of a layer with so many places, None where there is none.

    Each level of a U-Net halves both, rounding up.
    """
    height, width = box.height, box.width
    while height * width > places:
        height, width = -(-height // 2), -(-width // 2)
    return (height, width) if height * width == places else None
