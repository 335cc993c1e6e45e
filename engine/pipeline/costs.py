"""What calls of a model's network cost by shape, and for which shapes memory was too short."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from math import isqrt, prod
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

import torch

from engine.denoise.control import ActiveControl
from engine.denoise.denoising import Denoising, Shape, call_on_noise
from engine.device.call_costs import UNMEASURED, Buckets
from engine.device.out_of_memory import Ladder
from engine.device.probe import Call, Measuring
from engine.device.stored_weights import StoredWeight
from engine.device.tensor_bytes import module_bytes
from engine.errors import OutOfMemory
from engine.events import Stage
from engine.loading.model import Model

Measure = Callable[[torch.device, str, Call, str, float | None], Measuring]
LARGE: Final = 2**29  # bytes of a network, or of a file: smaller ones take a moment
SPEED: Final = 5e10  # operations a second, about, of a processor's thread in fp32
PATH: Final = "_name_or_path"  # in configurations by diffusers: where a network was read from
# Calls of equal cost have latents of one shape, and ControlNets of equal configuration.
Form = tuple[Shape, tuple[str, ...]]
STEPS: Final = 8  # of sides that are measured, from one to its double


class Costs:
    """Measure what calls cost, on noise, at the first picture of each form.

    prepare: called before each measured call; moves the network to the device, without LoRAs;
    by_groups: whether each call moves its blocks there, which costs the same for any rows.
    """

    def __init__(
        self,
        model: Model,
        measure: Measure,
        ladder: Ladder,
        prepare: Callable[[], object],
        *,
        by_groups: bool = False,
    ) -> None:
        self._model = model
        self._measure = measure
        self._ladder = ladder
        self._prepare = prepare
        self._by_groups = by_groups
        self._of_flow = bool(model.checkpoint.family.parts)
        self._by_calls = self._of_flow or module_bytes([model.network]) >= LARGE
        self.measured: dict[Form, Buckets] = {}
        self._measuring: dict[Form, Measuring] = {}
        self._limited: WeakSet[Denoising] = WeakSet()
        self._forms: WeakKeyDictionary[Denoising, Form] = WeakKeyDictionary()

    def measure(self, picture: Denoising, *, calls: bool = True) -> bool:
        """Measure what calls for a picture cost: of large networks one call, of others all of them.

        calls: whether any may be made now. Returns whether it is known by then. Where larger calls
        have no room it is.
        """
        while calls and not self._is_known(picture):
            self._go_on(self._form_of(picture), picture)
            if self._by_calls:
                break
        return self._is_known(picture)

    def of(self, picture: Denoising) -> Buckets:
        """Return the cost of calls for a picture: alone in each where larger ones had no room.

        A guess, until it is measured.
        """
        form = self._form_of(picture)
        if self.is_limited(picture) or form not in self.measured:
            return self._guess(form).single(picture.rows)
        return self.measured[form]

    def _is_known(self, picture: Denoising) -> bool:
        return self._form_of(picture) in self.measured or self.is_limited(picture)

    def limit(self, picture: Denoising, *, form: bool = True) -> None:
        """Record that a picture fits only in a call of its own: all of its form, or it alone."""
        if form:
            self._ladder.short.add(self._key(picture))
        else:
            self._limited.add(picture)

    def is_limited(self, picture: Denoising) -> bool:
        """Return whether a picture has calls of its own for now."""
        return picture in self._limited or self._key(picture) in self._ladder.short

    def _key(self, picture: Denoising) -> Hashable:
        return self._model.checkpoint.name, self._form_of(picture), picture.tokens

    def _form_of(self, picture: Denoising) -> Form:
        if picture not in self._forms:
            controls = sorted(_digest(control.config) for control in picture.controls)
            shape = picture.shape
            if self._of_flow:
                shape = coarse([shape, *picture.reference_shapes])
            self._forms[picture] = shape, tuple(controls)
        return self._forms[picture]

    def _go_on(self, form: Form, picture: Denoising) -> None:
        """Make the next call of a form's measurement; one that memory ended is begun anew."""

        def way() -> Buckets | None:
            measuring = self._measuring.pop(form, None)
            try:
                if measuring is None:
                    measuring = self._begin(form, picture.controls)
                    next(measuring)  # it pauses before its first call, or knows
                self._prepare()  # what it moves is not measured
                next(measuring)
            except StopIteration as end:
                found: Buckets = end.value
                return found
            self._measuring[form] = measuring
            return None

        try:
            if found := self._ladder.run(Stage.DENOISE, way):
                self.measured[form] = found
        except OutOfMemory:
            self.limit(picture)  # by other ways it may still fit

    def _begin(self, form: Form, controls: Sequence[ActiveControl]) -> Measuring:
        shape, digests = form
        before = sorted(_digest(control.config, whole=True) for control in controls)
        what = self._called(_digest(self._model.network.config), digests, form)
        earlier = self._called(_digest(self._model.network.config, whole=True), before, form)

        def call(rows: int) -> None:
            call_on_noise(self._model, shape, controls, rows)

        estimate = self._estimate(form) if self._of_flow else None
        return self._measure(self._model.device, what, call, earlier, estimate)

    def _estimate(self, form: Form) -> float:
        """Return the seconds of a row of a flow model in a processor's thread, roughly.

        Each weight is multiplied and added once for each of its tokens.
        """
        model = self._model
        weights: int = sum(each.numel() for each in model.network.parameters())
        token = model.checkpoint.family.multiple / model.latent_scale  # latents on a side
        latents = prod(form[0][1:])
        return 2 * weights * latents / token**2 / SPEED

    def _guess(self, form: Form) -> Buckets:
        """Return what calls of a form cost, scaled by elements from another form if not measured.

        Device time is shared between models by these figures, so their scale must be right.
        """
        if form in self.measured or not self.measured:
            return self.measured.get(form, UNMEASURED)
        other, buckets = next(iter(self.measured.items()))
        ratio = prod(form[0]) / prod(other[0])
        return Buckets({rows: seconds * ratio for rows, seconds in buckets.seconds.items()})

    def _called(self, network: str, controls: Sequence[str], form: Form) -> str:
        """Return by which name the cost of a form's calls is kept, of networks by their digests."""
        what = f"{network} | {self._model.dtype} | {'×'.join(map(str, form[0]))}"
        what += f" | controls {', '.join(controls)}" if controls else ""
        what += f" | stored {', '.join(self._stored)}" if self._stored else ""
        return what + (" | by groups" if self._by_groups else "")

    @cached_property
    def _stored(self) -> list[str]:
        """Return how weights of the network are stored that are cast at each use."""
        weights = self._model.network.parameters()
        return sorted({each.form for each in weights if isinstance(each, StoredWeight)})


def coarse(shapes: Sequence[Shape]) -> Shape:
    """Return one of few squares, of even sides, that has at least as many latents as all shapes.

    To a flow model a picture and its references are one sequence, so its calls cost about the same:
    from a side of 16 on it has at most 27 % more.
    """
    latents = sum(prod(shape[1:]) for shape in shapes)
    side = isqrt(latents - 1) + 1
    step = max(2, 2 ** side.bit_length() // 2 // STEPS)
    side = -(-side // step) * step
    return shapes[0][0], side, side


def _digest(config: Mapping[str, Any], *, whole: bool = False) -> str:
    """Return a digest of a network's configuration, the same in every process and folder.

    whole: with the path of its folder, as measurements were called by before.
    """
    # diffusers notes default values as a list of a set, whose order differs between processes.
    kept = {
        key: sorted(value) if key == "_use_default_values" and value else value
        for key, value in config.items()
        if whole or key != PATH
    }
    form = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(form.encode()).hexdigest()[:16]
