"""Read what a LoRA file says of itself: which layers it changes, and by which tensors.

kohya's files, those of diffusers and those of peft differ in their names alone. Standard library
only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.errors import BrokenModel
from engine.tensorfile import BadFile, Header, read_header

# How a pair's tensors end, the first one's and the second one's.
ENDINGS: Final = (
    (".lora_down.weight", ".lora_up.weight"),  # kohya
    (".lora_A.weight", ".lora_B.weight"),  # peft
    (".lora.down.weight", ".lora.up.weight"),  # diffusers
    (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),  # its text encoders
    (".down.weight", ".up.weight"),  # its attention processors
    (".lora_A.default.weight", ".lora_B.default.weight"),  # peft's own way of saving
)
PREFIX: Final = "base_model.model."  # peft's
# What else such files may hold, by a part of a tensor's name.
OTHERS: Final = (
    ("hada_w1_a", "a LoHa"),
    ("lokr_w1", "a LoKr"),
    ("dora_scale", "a DoRA"),
    ("lora_magnitude_vector", "a DoRA"),
    ("lora_mid", "a LoRA in CP form"),
    ("oft_", "an OFT"),
    ("glora", "a GLoRA"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """Hold a layer's name as the file spells it, its pair of tensors, and its alpha."""

    name: str
    down: str
    up: str
    alpha: float | None


def read_entries(name: str, path: Path) -> list[Entry]:
    """Return what a file adds to a model, or raise `BrokenModel` with the reason."""
    try:
        header = read_header(path)
    except BadFile as error:
        raise BrokenModel(name, f"{error}.") from None
    for mark, what in OTHERS:
        if any(mark in tensor for tensor in header.tensors):
            raise BrokenModel(name, f"it is {what}, which Marble cannot run yet.")
    entries = list(_entries(name, header))
    if not entries:
        raise BrokenModel(name, "it is no LoRA: none of its tensors is one of a pair.")
    return entries


def _entries(name: str, header: Header) -> Iterator[Entry]:
    alphas = _alphas_of_peft(header.metadata)
    for tensor in header.tensors:
        for down, up in ENDINGS:
            if not tensor.endswith(down):
                continue
            layer = tensor.removesuffix(down)
            if f"{layer}{up}" not in header.tensors:
                raise BrokenModel(name, f"{layer}{up} is missing.")
            spelled = layer.removeprefix(PREFIX)
            yield Entry(spelled, tensor, f"{layer}{up}", _alpha(header, layer, spelled, alphas))
            break


def _alpha(header: Header, layer: str, spelled: str, alphas: Mapping[str, float]) -> float | None:
    if f"{layer}.alpha" in header.tensors:
        return header.values(f"{layer}.alpha")[0]
    return alphas.get(spelled.partition(".")[0], alphas.get(""))


def _alphas_of_peft(metadata: Mapping[str, str]) -> dict[str, float]:
    """Return part → alpha as diffusers keeps them beside peft's weights."""
    try:
        data: Any = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except ValueError:
        return {}
    kept = data.items() if isinstance(data, dict) else ()
    return {
        key.removesuffix("lora_alpha").rstrip("."): float(value)
        for key, value in kept
        if key.endswith("lora_alpha") and isinstance(value, (int, float))
    }
