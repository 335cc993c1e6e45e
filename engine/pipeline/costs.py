"""What calls of a model's U-Net cost, by their form, and for which forms memory was too short."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping
from functools import cached_property, partial
from math import prod
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch

from engine.denoise.denoising import Denoising, Shape, rehearse
from engine.device.call_costs import UNMEASURED, Buckets
from engine.device.out_of_memory import Ladder, Rung, Way
from engine.device.probe import Call
from engine.errors import OutOfMemory
from engine.events import Stage
from engine.loading.model import Model

Measure = Callable[[torch.device, str, Call], Buckets]
# What tells calls of other costs apart: a latent's shape, and the forms of the controls at work.
Form = tuple[Shape, tuple[str, ...]]


def unmeasured(device: torch.device, what: str, call: Call) -> Buckets:
    """Take every row to cost the same, so that exact mode runs a picture a call."""
    return UNMEASURED


class Costs:
    """Measure what calls cost, at the first picture of each form; no picture's own rows are used.

    prepare: see that the U-Net can be called as it is, without LoRAs.
    """

    def __init__(
        self, model: Model, measure: Measure, ladder: Ladder, prepare: Callable[[], object]
    ) -> None:
        self._model = model
        self._measure = measure
        self._ladder = ladder
        self._prepare = prepare
        self.measured: dict[Form, Buckets] = {}
        self._apart: WeakSet[Denoising] = WeakSet()
        self._forms: WeakKeyDictionary[Denoising, Form] = WeakKeyDictionary()

    def of(self, picture: Denoising) -> Buckets:
        """Return what calls for a picture cost: a picture a call where more had no room lately."""
        form = self._form_of(picture)
        if form not in self.measured and not self.is_cramped(picture):
            self._try_to_measure(form, picture)
        if self.is_cramped(picture) or form not in self.measured:
            return self._guess(form).single(picture.rows)
        return self.measured[form]

    def cramp(self, picture: Denoising, *, form: bool = True) -> None:
        """Take note that a picture had room in a call of its own alone; all of its form, or it."""
        if form:
            self._ladder.short.add(self._key(picture))
        else:
            self._apart.add(picture)

    def is_cramped(self, picture: Denoising) -> bool:
        """Say whether a picture is to have calls of its own for now."""
        return picture in self._apart or self._key(picture) in self._ladder.short

    def _key(self, picture: Denoising) -> Hashable:
        return self._model.checkpoint.name, self._form_of(picture), picture.tokens

    def _form_of(self, picture: Denoising) -> Form:
        if picture not in self._forms:
            controls = sorted(_digest(steer.config) for steer in picture.steers)
            self._forms[picture] = picture.shape, tuple(controls)
        return self._forms[picture]

    def _try_to_measure(self, form: Form, picture: Denoising) -> None:
        shape, controls = form
        what = f"{self._form} | {self._model.dtype} | {'×'.join(map(str, shape))}"
        what += f" | controls {', '.join(controls)}" if controls else ""

        def call(rows: int) -> None:
            self._prepare()
            rehearse(self._model, shape, picture.steers, rows)

        measure = partial(self._measure, self._model.device, what, call)
        ways: list[Way[Buckets]] = [(None, measure), (Rung.EMPTY_CACHE, measure)]
        try:
            self.measured[form] = self._ladder.climb(Stage.DENOISE, ways)
        except OutOfMemory:
            self.cramp(picture)  # itself it may still fit, by other ways

    def _guess(self, form: Form) -> Buckets:
        """Return what calls cost at a size, by the elements of one that was measured if need be.

        A device's time is shared between models by these figures, so their scale has to be right.
        """
        if form in self.measured or not self.measured:
            return self.measured.get(form, UNMEASURED)
        other, buckets = next(iter(self.measured.items()))
        ratio = prod(form[0]) / prod(other[0])
        return Buckets({rows: seconds * ratio for rows, seconds in buckets.seconds.items()})

    @cached_property
    def _form(self) -> str:
        """Return what tells models of one form and size from others."""
        return _digest(self._model.unet.config)


def _digest(config: Mapping[str, Any]) -> str:
    """Return what tells networks of one form and size from others."""
    form = json.dumps(dict(config), sort_keys=True, default=str)
    return hashlib.sha256(form.encode()).hexdigest()[:16]
