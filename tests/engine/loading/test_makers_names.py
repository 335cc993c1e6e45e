"""Tensors of fused layers split into rows, and what LoRAs change of such layers."""

from collections.abc import Mapping
from typing import Any, Final

import pytest
import torch
from torch import Tensor
from torch.nn import Linear

from engine.loading.lora_file import LoraEntry
from engine.loading.lora_layers import join, read_change
from engine.loading.makers_names import (
    PREFIX,
    SWAPPED,
    Rows,
    lora_names,
    respelled,
    same,
    thirds,
)

WIDE: Final = 6  # inputs of the layers
SEVENTHS: Final = [Rows(7, (0,)), Rows(7, (1,)), Rows(7, (2,)), Rows(7, (3, 4, 5, 6))]
OUT: Final = 28


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


FORMS: Final[Mapping[str, tuple[str, Mapping[str, Tensor]]]] = {
    "a pair": ("pair", {"down": draw(3, WIDE), "up": draw(OUT, 3), "up_bias": draw(OUT)}),
    "a LoHa": (
        "hadamard",
        {"w1_a": draw(OUT, 2), "w1_b": draw(2, WIDE), "w2_a": draw(OUT, 2), "w2_b": draw(2, WIDE)},
    ),
    "a LoKr": ("kronecker", {"kron_1": draw(4, 3), "kron_2": draw(7, 2)}),
    "a difference": ("whole", {"diff": draw(OUT, WIDE), "bias_diff": draw(OUT)}),
    "other weights": ("set", {"set": draw(OUT, WIDE)}),
    "a DoRA": (
        "pair",
        {"down": draw(3, WIDE), "up": draw(OUT, 3), "magnitude": draw(OUT, 1).abs()},
    ),
    "a DoRA of LoKr": (
        "kronecker",
        {"kron_1": draw(4, 3), "kron_2": draw(7, 2), "row_magnitude": draw(OUT).abs()},
    ),
}


def answer(layer: Linear, entry: LoraEntry, tensors: Any, rows: Rows | None, x: Tensor) -> Tensor:
    found = read_change(entry, tensors, layer, 0.8, rows)
    addition = join(layer, [found], torch.device("cpu"))
    answered: Tensor = layer(x) + addition(layer, x)
    return answered


def whole() -> Linear:
    layer = Linear(WIDE, OUT).requires_grad_(False)
    layer.weight.copy_(draw(OUT, WIDE, seed=5))
    layer.bias.copy_(draw(OUT, seed=6))
    return layer


def part(layer: Linear, rows: Rows) -> Linear:
    weight = rows.of(layer.weight)
    made = Linear(WIDE, len(weight)).requires_grad_(False)
    made.weight.copy_(weight)
    made.bias.copy_(rows.of(layer.bias))
    return made


@pytest.mark.parametrize("form", FORMS)
def test_the_parts_of_a_layer_are_changed_as_the_whole(form: str) -> None:
    kind, tensors = FORMS[form]
    entry = LoraEntry(name="it", kind=kind, tensors={role: role for role in tensors}, alpha=2)
    layer, x = whole(), draw(5, WIDE, seed=9)
    wanted = answer(layer, entry, tensors, None, x)
    assert (wanted - layer(x)).abs().max() > 0.1
    got = [answer(part(layer, rows), entry, tensors, rows, x) for rows in SEVENTHS]
    assert (torch.cat(got, dim=-1) - wanted).abs().max() < 1e-5
    swapped = answer(part(layer, SWAPPED), entry, tensors, SWAPPED, x)
    assert (swapped.roll(OUT // 2, -1) - wanted).abs().max() < 1e-5


def test_a_dora_by_columns_needs_all_rows() -> None:
    tensors = {"down": draw(3, WIDE), "up": draw(OUT, 3), "magnitude": draw(1, WIDE).abs()}
    entry = LoraEntry(name="it", kind="pair", tensors={role: role for role in tensors})
    layer, x = whole(), draw(5, WIDE, seed=9)
    wanted = answer(layer, entry, tensors, None, x)
    swapped = answer(part(layer, SWAPPED), entry, tensors, SWAPPED, x)
    assert (swapped.roll(OUT // 2, -1) - wanted).abs().max() < 1e-5
    with pytest.raises(ValueError, match="DoRA by columns"):
        answer(part(layer, SEVENTHS[0]), entry, tensors, SEVENTHS[0], x)


def test_an_entry_of_another_size_is_refused() -> None:
    tensors = {"down": draw(3, WIDE), "up": draw(OUT + 7, 3)}
    entry = LoraEntry(name="it", kind="pair", tensors={role: role for role in tensors})
    with pytest.raises(ValueError, match="other sizes"):
        read_change(entry, tensors, part(whole(), SEVENTHS[0]), 1.0, SEVENTHS[0])


NAMES: Final = {
    **same({"img_in": "x_embedder", "blocks.#.norm": "layers.#.norm_q"}),
    "blocks.#.qkv": thirds("layers.#.to_q", "layers.#.to_k", "layers.#.to_v"),
    "final.1": {"norm_out.linear": SWAPPED},
}


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_tensors_are_respelled_and_split_into_views(prefix: str) -> None:
    qkv, last = draw(12, 4), draw(6, 4)
    held = {
        "img_in.weight": draw(4),
        "blocks.13.norm.scale": draw(4),
        "blocks.13.qkv.weight": qkv,
        "blocks.13.qkv.scale_weight": torch.tensor(2.0),
        "final.1.weight": last,
        "layers.2.to_q.bias": draw(4),
    }
    found = respelled({f"{prefix}{name}": each for name, each in held.items()}, NAMES)
    assert torch.equal(found["layers.13.to_k.weight"], qkv[4:8])
    assert found["layers.13.to_k.weight"].data_ptr() == qkv[4:8].data_ptr()
    assert found["layers.13.to_v.scale_weight"] == 2
    assert torch.equal(found["norm_out.linear.weight"], torch.cat([last[3:], last[:3]]))
    assert found.keys() == {
        "x_embedder.weight",
        "layers.13.norm_q.weight",
        *(f"layers.13.to_{x}.{end}" for x in "qkv" for end in ("weight", "scale_weight")),
        "norm_out.linear.weight",
        "layers.2.to_q.bias",
    }


def test_a_module_has_many_names_in_loras() -> None:
    found = list(lora_names(["layers.13.to_k", "norm_out.linear"], NAMES))
    assert len(found) == len({spelling for spelling, *_ in found})
    for spelling in ("lora_unet_blocks_13_qkv", "diffusion_model.blocks.13.qkv"):
        assert (spelling, "layers.13.to_k", Rows(3, (1,))) in found
    for spelling in (
        "transformer.layers.13.to_k",
        "lora_transformer_layers_13_to_k",
        "lycoris_layers_13_to_k",
    ):
        assert (spelling, "layers.13.to_k", None) in found
    assert ("diffusion_model.final.1", "norm_out.linear", SWAPPED) in found
