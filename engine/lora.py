"""LoRAs: small additions to a model's layers, several at once, each with its weight.

A layer's answer is y + up(down(x))·weight for each of them: Hu et al. (2021), arXiv:2106.09685.
The model's own weights are never touched. All LoRAs of a set are joined to one pair of small
matrices a layer, so that a set of five costs what one of their ranks' sum would, and switching to
another set is one assignment: jobs with different sets take turns at every tick.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn.functional import conv2d, linear

from engine.errors import BrokenModel
from engine.finite import check_values
from engine.loading import ENCODERS, Model
from engine.lorafile import Entry, read_entries
from engine.names import names_in_loras
from engine.shelves import Shelf
from engine.sources import Lora

SETS: Final = 8  # that are kept ready on the device; others are made anew from their files
LAYERS: Final = (torch.nn.Linear, torch.nn.Conv2d)

Set = tuple[Lora, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Addition:
    """Hold what a set adds to a layer: down [R, in, …] and up [out, R, …], weights included."""

    down: Tensor
    up: Tensor

    def __call__(self, layer: Any, x: Tensor) -> Tensor:
        """Return what is added to the layer's answer to x."""
        if isinstance(layer, torch.nn.Linear):
            return linear(linear(x, self.down), self.up)
        inner = conv2d(x, self.down, None, layer.stride, layer.padding, layer.dilation)
        return conv2d(inner, self.up)


class Loras:
    """Put sets of LoRAs on a model and take them off again."""

    def __init__(self, model: Model, shelf: Shelf) -> None:
        self._model = model
        self._shelf = shelf
        self._layers = {
            part: {name: each for name, each in module.named_modules() if isinstance(each, LAYERS)}
            for part in ("unet", *ENCODERS)
            if (module := getattr(model, part)) is not None
        }
        self._meant: dict[str, tuple[str, str]] | None = None  # a file's name → part and layer
        self._sets: OrderedDict[Set, Mapping[Any, Addition]] = OrderedDict({(): {}})
        self._hooked: set[Any] = set()
        self._active: Mapping[Any, Addition] = {}

    def use(self, loras: Set) -> None:
        """Put a set in the place of the one before; raises `UnknownPart` or `BrokenModel`."""
        if loras not in self._sets:
            self._sets[loras] = self._join(loras)
            if len(self._sets) > SETS:
                self._sets.popitem(last=False)
        self._sets.move_to_end(loras)
        self._active = self._sets[loras]

    def _join(self, loras: Set) -> Mapping[Any, Addition]:
        """Read a set's files, and hook the layers that it is the first to change."""
        pairs: dict[Any, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for lora in loras:
            path = self._shelf.get(lora.name)
            assert path is not None  # none is built in
            for layer, down, up in self._read(lora, path):
                pairs[layer].append((down, up))
        for layer in pairs.keys() - self._hooked:
            layer.register_forward_hook(self._add)
            self._hooked.add(layer)
        return {layer: self._addition(layer, found) for layer, found in pairs.items()}

    def _add(self, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        addition = self._active.get(layer)
        return None if addition is None else output + addition(layer, inputs[0])

    def _addition(self, layer: Any, pairs: Sequence[tuple[Tensor, Tensor]]) -> Addition:
        to = partial(torch.Tensor.to, device=self._model.device, dtype=layer.weight.dtype)
        return Addition(
            to(torch.cat([down for down, _ in pairs])),
            to(torch.cat([up for _, up in pairs], dim=1)),
        )

    def _read(self, lora: Lora, path: Path) -> Sequence[tuple[Any, Tensor, Tensor]]:
        """Return layer, down and up for each entry of a file, the weight in `up`, fp32."""
        meant = self._names()
        entries = read_entries(lora.name, path)
        if not any(entry.name in meant for entry in entries):
            raise BrokenModel(lora.name, f"it is not made for {self._kind} models.")
        found = []
        with safe_open(path, framework="pt") as file:
            for entry in entries:
                if entry.name not in meant:
                    raise BrokenModel(
                        lora.name, f"it changes {entry.name!r}, which {self._kind} models lack."
                    )
                part, name = meant[entry.name]
                layer, weight = self._layers[part][name], lora.weights[part != "unet"]
                down, up = (file.get_tensor(key).float() for key in (entry.down, entry.up))
                found.append((layer, *self._fit(lora, entry, layer, down, up, weight)))
        return found

    def _fit(
        self, lora: Lora, entry: Entry, layer: Any, down: Tensor, up: Tensor, weight: float
    ) -> tuple[Tensor, Tensor]:
        """Bring a pair into the form of its layer, or raise `BrokenModel`."""
        if isinstance(layer, torch.nn.Linear):
            down, up = down.flatten(1), up.flatten(1)
        else:
            down, up = (each if each.ndim == 4 else each[:, :, None, None] for each in (down, up))
        rank, shape = len(down), layer.weight.shape
        wanted = shape[1:], (shape[0], rank, *[1] * (down.ndim - 2))
        if (down.shape[1:], tuple(up.shape)) != wanted:
            raise BrokenModel(
                lora.name,
                f"it is made for another model than {self._kind}: {entry.name!r} has other sizes.",
            )
        check_values(lora.name, [(entry.down, down), (entry.up, up)])
        scale = 1.0 if entry.alpha is None else entry.alpha / rank
        return down, up * (scale * weight)

    def _names(self) -> dict[str, tuple[str, str]]:
        if self._meant is None:
            config = self._model.unet.config
            self._meant = {
                spelling: (part, name)
                for part, layers in self._layers.items()
                for spelling, name in names_in_loras(part, list(layers), config)
            }
        return self._meant

    @property
    def _kind(self) -> str:
        return self._model.checkpoint.family.title
