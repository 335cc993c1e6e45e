"""The tap that records a making-of while its picture is drawn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from io import BytesIO
from time import perf_counter
from typing import Any, Final
from unicodedata import east_asian_width
from weakref import ref

import torch
from PIL import Image
from torch import Tensor

from engine.decode.vae import Pixels
from engine.denoise.denoising import Denoising
from engine.events import Picture, Stage
from engine.making_of.attention import AttentionMaps, Heat
from engine.making_of.record import Frame, Pass, Record, Text, Word, put_into
from engine.pipeline.loaded_model import LoadedModel
from engine.pipeline.taps import Tap
from engine.recipe.recipe import Recipe
from engine.text_encode.prompts import Piece

FRAMES: Final = 18  # guesses of a picture, at most, beside its noise; half of them in each pass
FRAME_SIDE: Final = 320  # pixels of a guess's longer side, at most
WORDS: Final = 48  # of a text that are recorded
CHANNELS: Final = 16  # of latents
QUALITY: Final = 85  # of a guess's WebP


class MakingOf(Tap):
    """Records how one picture comes about."""

    def __init__(self) -> None:
        self._seconds: defaultdict[Stage, float] = defaultdict(float)
        self.maps = AttentionMaps()
        self._texts: dict[str, list[Piece] | None] = {}
        self._passes: list[Pass] = []
        self._frames: list[Frame] = []
        self._channels: tuple[bytes, ...] = ()
        self._wanted: frozenset[int] = frozenset()  # steps of this pass after which to guess
        self._noise: Tensor | None = None  # that a picture began with, until it is shown
        self._drawn_by: tuple[LoadedModel, Recipe] | None = None

    def spent(self, stage: Stage, seconds: float) -> None:
        """Add the seconds of a part of a stage."""
        self._seconds[stage] += seconds

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Measure a part of a stage."""
        begun = perf_counter()
        try:
            yield
        finally:
            self.spent(stage, perf_counter() - begun)

    def began(self, loaded_model: LoadedModel, recipe: Recipe, picture: Denoising) -> None:
        """Note the texts and noise levels of a pass, and watch the picture's calls."""
        self._drawn_by = loaded_model, recipe
        for text, negative in picture.guidance.conditions.texts:
            if not negative and text.words and text.words not in self._texts:
                self._texts[text.words] = loaded_model.pieces(text.words)
        if not (self._passes and picture.step):  # else a second model goes on
            self._wanted = _spread(picture, 2 if recipe.second_pass_steps else 1)
        height, width = picture.shape[1:]
        self._passes.append(
            Pass(
                model=loaded_model.model.checkpoint.name,
                width=width,
                height=height,
                sigmas=tuple(picture.sigmas),
                first=picture.step,
                lora_layers=loaded_model.lora_layers,
            )
        )
        if not self._frames and picture.request is not None:
            self._noise = picture.request.x
        picture.watch = partial(self._watch, ref(picture))

    @contextmanager
    def _watch(self, seen: ref[Denoising], network: Any) -> Iterator[None]:
        picture = seen()
        # A tile's place in the picture is not the words' affair.
        if picture is None or picture.request is None or not picture.is_whole:
            yield
            return
        with self.maps.watching(network, picture.asked, picture.boxes, picture.request.x):
            yield

    def stepped(self, picture: Denoising) -> None:
        """Keep a guess at the picture after some steps, as the VAE sees it."""
        if self._noise is not None:
            self._keep_frame(0, self._noise / self._noise.std())
            self._noise = None
        if picture.step in self._wanted and picture.denoised is not None:
            self._wanted -= {picture.step}
            self._keep_frame(picture.step, picture.denoised)

    def _keep_frame(self, step: int, latents: Tensor) -> None:
        assert self._drawn_by is not None, "begun"
        loaded_model, recipe = self._drawn_by
        image = _small(loaded_model.decode(latents, recipe.vae))
        webp = BytesIO()
        image.save(webp, "WEBP", quality=QUALITY)
        number = len(self._passes) - 1
        self._frames.append(Frame(number=number, step=step, picture=webp.getvalue()))

    def denoised(self, latents: Tensor) -> None:
        """Keep the channels of the latents as grey pictures."""
        shown = latents[0, :CHANNELS].float().cpu()
        self._channels = tuple(map(_grey, (_stretched(channel) for channel in shown)))
        self._drawn_by = None

    def finished(self, picture: Picture) -> Picture:
        """Return the picture, whose file carries the record."""
        record = Record(
            sha256=sha256(picture.png).hexdigest(),
            texts=tuple(
                _text(words, pieces, self.maps.heats.get(words))
                for words, pieces in self._texts.items()
            ),
            passes=tuple(self._passes),
            frames=tuple(self._frames),
            channels=self._channels,
            layers=self.maps.layers,
            seconds={stage.value: round(spent, 4) for stage, spent in self._seconds.items()},
        )
        return replace(picture, png=put_into(picture.png, record))


def _spread(picture: Denoising, passes: int) -> frozenset[int]:
    """Return after which steps to guess, so that all passes have `FRAMES` together."""
    most = min(FRAMES // passes, picture.total)
    return frozenset(round(picture.total * number / most) for number in range(1, most + 1))


def _text(words: str, pieces: Sequence[Piece] | None, heat: Heat | None) -> Text:
    """Describe a text; pieces: None where its encoder has no windows."""
    requests = heat.requests if heat else 0
    if pieces is None:
        return Text(text=words, requests=requests)
    shares = None if heat is None else heat.mean.cpu()
    grouped = [_word(group, shares) for group in _words(pieces)]
    return Text(
        text=words,
        words=tuple(grouped[:WORDS]),
        left_out=max(0, len(grouped) - WORDS),
        windows=1 + max((piece.window for piece in pieces), default=0),
        requests=requests,
    )


def _words(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Yield the tokens of each word; one that is cut between two windows stays one.

    Where words have no spaces between them, each token of whole wide characters is one.
    """
    word: list[Piece] = []
    for piece in pieces:
        word.append(piece)
        if piece.ends or _is_wide(piece.text):
            yield word
            word = []
    if word:
        yield word


def _is_wide(text: str) -> bool:
    return bool(text) and all(east_asian_width(character) in "WF" for character in text)


def _word(pieces: Sequence[Piece], shares: Tensor | None) -> Word:
    """Describe a word; shares: of each token at each place, [tokens, h, w]."""
    heat, most = b"", 0.0
    if shares is not None:
        share = shares[[piece.place for piece in pieces]].sum(0)
        most = float(share.max())
        heat = _grey(_stretched(share))
    return Word(
        text="".join(piece.text for piece in pieces),
        ids=tuple(piece.id for piece in pieces),
        pieces=tuple(piece.text for piece in pieces),
        weight=pieces[0].weight,
        windows=tuple(sorted({piece.window for piece in pieces})),
        heat=heat,
        most=round(most, 6),
    )


def _stretched(channel: Tensor) -> Tensor:
    """Return values from 0 at the least to 1 at the greatest."""
    low, high = channel.min(), channel.max()
    return (channel - low) / (high - low).clamp(min=1e-12)


def _grey(values: Tensor) -> bytes:
    """Return values [h, w] in 0…1 as a grey PNG."""
    image = Image.fromarray((values * 255).round().to(torch.uint8).numpy())
    image.thumbnail((FRAME_SIDE, FRAME_SIDE))
    png = BytesIO()
    image.save(png, "PNG", optimize=True)
    return png.getvalue()


def _small(pixels: Pixels) -> Image.Image:
    image = Image.fromarray(pixels)
    image.thumbnail((FRAME_SIDE, FRAME_SIDE), Image.Resampling.LANCZOS)
    return image
