"""LoRAs on a model: several at once, each with its weight.

The model's own weights are never changed: hooks add to the outputs of layers what
`engine.loading.lora_layers` computes. All LoRAs of a set are joined, so that a set of five costs
what one of their ranks' sum would, and switching to another set is one assignment: jobs with
different sets take turns at every tick.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from weakref import ref

import torch
from torch import Tensor

from engine.device.backends import is_out_of_memory
from engine.device.finite import check_values
from engine.device.tensor_bytes import file_bytes, tensor_bytes
from engine.errors import BrokenModel, reading_a
from engine.files.safetensors import quoted
from engine.loading.lora_file import LoraEntry, read_entries
from engine.loading.lora_layers import SIZES, Addition, Found, join, read_change
from engine.loading.makers_names import Rows
from engine.loading.model import Model
from engine.loading.modules import read_tensors
from engine.models.control_files import family_title
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.models.parts import NETWORK
from engine.recipe.parts import Lora

SETS: Final = 8  # that are kept ready on the device; others are made anew from their files
READS_TEXT: Final = ("attn2_to_k", "attn2.to_k")

Set = tuple[Lora, ...]


class Loras:
    """Put sets of LoRAs on a model and take them off again.

    make_room: called with a file's bytes before it is loaded.
    """

    def __init__(
        self,
        model: Model,
        model_files: ModelFiles,
        make_room: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._model = model
        self._model_files = model_files
        self._make_room = make_room
        self._layers = {
            part: {name: each for name, each in module.named_modules() if _has_weight(each)}
            for part, module in model.parts.items()
        }
        self._kind = model.checkpoint.family.title
        self._sets: OrderedDict[Set, Mapping[Any, Addition]] = OrderedDict({(): {}})
        self._hooked: set[Any] = set()
        self._active: Mapping[Any, Addition] = {}

    @property
    def size(self) -> int:
        """Return the bytes of the sets that are kept ready."""
        return sum(tensor_bytes(each) for made in self._sets.values() for each in made.values())

    @property
    def layers_changed(self) -> dict[str, int]:
        """Return how many layers the set in use changes, of each part in which it does."""
        counts = {
            part: sum(each in self._active for each in layers.values())
            for part, layers in self._layers.items()
        }
        return {part: count for part, count in counts.items() if count}

    def use(self, loras: Set) -> None:
        """Switch to a set of LoRAs; raises `UnknownPart` or `BrokenModel`."""
        if loras not in self._sets:
            self._sets[loras] = self._join(loras)
            if len(self._sets) > SETS:
                self._sets.popitem(last=False)
        self._sets.move_to_end(loras)
        self._active = self._sets[loras]

    @reading_a(ModelKind.LORA)
    def _join(self, loras: Set) -> Mapping[Any, Addition]:
        """Read a set's files, and hook the layers that it is the first to change."""
        changes: dict[Any, list[Found]] = defaultdict(list)
        for lora in loras:
            path = self._model_files.path(lora.name)
            self._make_room(file_bytes(path))
            for layer, found in self._read(lora, path):
                changes[layer].append(found)
        for layer in changes.keys() - self._hooked:
            layer.register_forward_hook(_Hook(ref(self)))
            self._hooked.add(layer)
        device = self._model.device
        return {layer: join(layer, found, device) for layer, found in changes.items()}

    def _read(self, lora: Lora, path: Path) -> Iterator[tuple[Any, Found]]:
        """Yield each entry of a file: its layer and what it changes there, by the LoRA's weight."""
        entries = read_entries(lora.name, path)
        if not any(entry.name in self._meant for entry in entries):
            raise BrokenModel(
                lora.name,
                f"it is not made for {self._kind} models: none of its layers, such as "
                f"{quoted(entries[0].name)}, is one of theirs.",
            )
        held = read_tensors(lora.name, path)
        for entry in entries:
            if entry.name not in self._meant:
                raise BrokenModel(
                    lora.name, f"it changes {quoted(entry.name)}, which {self._kind} models lack."
                )
            read = {role: held[key].float() for role, key in entry.tensors.items()}
            self._check_family(lora, entry, read)
            for (part, name), rows in self._meant[entry.name].items():
                layer, weight = self._layers[part][name], lora.weights[part != NETWORK]
                yield layer, _fit(lora, entry, layer, read, weight, rows)

    def _check_family(self, lora: Lora, entry: LoraEntry, tensors: Mapping[str, Tensor]) -> None:
        """Raise `BrokenModel` where a layer that reads text takes another family's."""
        wanted = self._model.checkpoint.family.context_width
        if not wanted or "down" not in tensors or not entry.name.endswith(READS_TEXT):
            return
        down = tensors["down"]
        width = down.flatten(1).shape[1] if down.ndim > 1 else wanted  # `_fit` names other shapes
        if width != wanted:
            reason = f"it is made for {family_title(width)}, not for {self._kind}."
            raise BrokenModel(lora.name, reason)

    @cached_property
    def _meant(self) -> dict[str, dict[tuple[str, str], Rows | None]]:
        """Return each name by which files mean layers → their parts and own names.

        And which of the entry's rows change each (None: all).
        """
        meant: dict[str, dict[tuple[str, str], Rows | None]] = defaultdict(dict)
        for part, layers in self._layers.items():
            for spelling, name, rows in self._model.lora_names(part, list(layers)):
                meant[spelling][part, name] = rows
        return meant


def _fit(
    lora: Lora,
    entry: LoraEntry,
    layer: Any,
    tensors: Mapping[str, Tensor],
    weight: float,
    rows: Rows | None,
) -> Found:
    check_values(lora.name, ((entry.tensors[role], its) for role, its in tensors.items()))
    try:
        return read_change(entry, tensors, layer, weight, rows)
    # The last three are torch's own, where sizes do not go together.
    except (ValueError, RuntimeError, TypeError, IndexError) as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        what = str(error) if isinstance(error, ValueError) else SIZES
        reason = f"it is made for another model: {quoted(entry.name)} {what}."
        raise BrokenModel(lora.name, reason) from None


def _has_weight(module: Any) -> bool:
    return isinstance(getattr(module, "weight", None), torch.nn.Parameter)


@dataclass(frozen=True, slots=True)
class _Hook:
    """Add the terms of the set in use to a layer's outputs.

    It refers to the sets weakly: they refer to all layers, and a circle would keep a dropped model.
    """

    adapters: ref[Loras]

    def __call__(self, layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        adapters = self.adapters()
        addition = adapters and adapters._active.get(layer)
        return output + addition(layer, inputs[0]) if addition else None
