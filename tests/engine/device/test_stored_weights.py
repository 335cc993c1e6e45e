"""Weights that stay as their file stores them: the same values, and never more memory than a call
needs."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import Embedding, Linear, Parameter
from torch.nn.functional import linear

from engine.device.finite import are_finite
from engine.device.stored_weights import HALVES, StoredWeight, real_values
from engine.device.tensor_bytes import module_bytes
from engine.files.gguf import BLOCKS
from tests.quantised import dequantise, random_blocks

ROWS, WIDTH = 12, 512
FP8 = torch.float8_e4m3fn, torch.float8_e5m2


def random_weight(form: str) -> tuple[StoredWeight, Tensor]:
    """Return a weight of a form, [12, 512], and its real values by the form's definition."""
    made = torch.Generator().manual_seed(1)
    if form in BLOCKS:
        blocks = random_blocks(form, ROWS, WIDTH // BLOCKS[form][0])
        values = torch.from_numpy(dequantise(blocks, form))
        return StoredWeight(torch.from_numpy(blocks), kind=form), values
    kind, _, scaled = form.partition(" ")
    stored = torch.randn((ROWS, WIDTH), generator=made).to(getattr(torch, kind))
    if not scaled:
        return StoredWeight(stored), stored.float()
    scale = torch.tensor(0.3) if scaled == "scale" else torch.rand((ROWS, 1), generator=made)
    return StoredWeight(stored, scale), stored.float() * scale


FORMS = (
    "bfloat16", "float32 scale", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fn scale",
    "float8_e4m3fn rows", *BLOCKS,
)  # fmt: skip
MODES: tuple[Callable[[], AbstractContextManager[None]], ...] = (
    torch.enable_grad, torch.no_grad, torch.inference_mode,
)  # fmt: skip


def layer_of(weight: Tensor) -> Linear:
    layer = Linear(WIDTH, ROWS)
    layer.load_state_dict({"weight": weight, "bias": torch.ones(ROWS)}, assign=True)
    return layer.requires_grad_(False)


def held(tensor: Tensor) -> StoredWeight:
    assert isinstance(tensor, StoredWeight)
    return tensor


@pytest.mark.parametrize("kind", BLOCKS)
def test_each_quantisation_equals_its_own_definition(kind: str) -> None:
    blocks = random_blocks(kind, 300, 20)  # more than are unpacked at a time
    found = StoredWeight(torch.from_numpy(blocks), kind=kind).unpacked().numpy()
    wanted = dequantise(blocks, kind)
    assert np.abs(found - wanted).max() <= 1e-6 * max(1, np.abs(wanted).max())


@pytest.mark.parametrize("dtype", FP8)
def test_fp8_equals_its_definition(dtype: torch.dtype) -> None:
    every = torch.arange(256, dtype=torch.uint8).view(dtype)[None]
    bits = 3 if dtype is torch.float8_e4m3fn else 2
    bias = 2 ** (6 - bits) - 1
    wanted = []
    for byte in range(256):
        power, fraction = (byte & 0x7F) >> bits, (byte & (2**bits - 1)) / 2**bits
        size = 2.0 ** (power - bias) * (1 + fraction) if power else 2.0 ** (1 - bias) * fraction
        wanted.append(-size if byte & 0x80 else size)
    found = StoredWeight(every, torch.tensor(0.25)).unpacked()[0]
    numbers = torch.tensor([are_finite([each])[0] for each in every[0]])
    assert numbers.sum() == (254 if dtype is torch.float8_e4m3fn else 248)
    assert torch.equal(found[numbers], 0.25 * torch.tensor(wanted)[numbers])
    assert not found[~numbers].isfinite().any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
def test_layers_compute_with_the_real_values(
    form: str, mode: Callable[[], AbstractContextManager[None]]
) -> None:
    weight, values = random_weight(form)
    layer, x = layer_of(weight), torch.randn((2, 3, WIDTH))
    table = Embedding(ROWS, WIDTH)
    table.load_state_dict({"weight": weight}, assign=True)
    table.requires_grad_(False)
    rows = torch.tensor([[1, 2, 3], [11, 0, 0]])
    with mode():
        assert torch.equal(layer(x), linear(x, values, torch.ones(ROWS)))
        assert torch.equal(table(rows), values[rows])
        assert torch.equal(weight + 1, values + 1)
        assert torch.equal(weight.float().t(), values.t())
        assert torch.equal(real_values(weight.to(torch.bfloat16)), values.bfloat16())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", FORMS)
def test_rows_are_cut_and_joined_as_they_are_stored(
    form: str, mode: Callable[[], AbstractContextManager[None]]
) -> None:
    weight, values = random_weight(form)
    with mode():
        first, second, third = weight.chunk(3)
        pieces = [first, weight[4:8], torch.cat((third, first)), *torch.split(weight, [5, 7])]
        wanted = [
            values[:4],
            values[4:8],
            torch.cat((values[8:], values[:4])),
            *torch.split(values, [5, 7]),
        ]
    for piece, its in zip(pieces, wanted, strict=True):
        assert held(piece).stored.dtype is weight.stored.dtype
        assert torch.equal(held(piece).unpacked(), its)
    memory = weight.stored.untyped_storage().data_ptr()
    assert held(second).stored.untyped_storage().data_ptr() == memory
    with mode():
        assert torch.equal(weight[:, 2:5], values[:, 2:5])
        assert torch.equal(weight.chunk(2, dim=1)[1], values.chunk(2, dim=1)[1])
        assert torch.equal(torch.cat((weight, weight), dim=1), torch.cat((values, values), dim=1))


def test_joined_parts_keep_their_own_scales() -> None:
    one, ones = random_weight("float8_e4m3fn scale")
    other, others = random_weight("float8_e4m3fn rows")
    plain, plains = random_weight("float8_e4m3fn")
    joined = torch.cat((one, other, plain))
    assert torch.equal(held(joined).unpacked(), torch.cat((ones, others, plains)))
    mixed = torch.cat((one, random_weight("float8_e5m2")[0]))
    assert torch.equal(mixed, torch.cat((ones, random_weight("float8_e5m2")[1])))


@pytest.mark.parametrize("form", FORMS)
def test_a_module_moves_and_changes_its_dtype_without_a_new_copy(form: str) -> None:
    weight, values = random_weight(form)
    layer = layer_of(weight)
    place = held(layer.weight).stored.data_ptr()
    layer.to(torch.bfloat16)
    assert held(layer.weight).stored.data_ptr() == place
    assert (layer.weight.dtype, layer.bias.dtype) == (torch.bfloat16, torch.bfloat16)
    assert isinstance(layer.weight, Parameter)
    assert torch.equal(held(layer.state_dict()["weight"]).unpacked(), values.bfloat16())
    assert module_bytes([layer]) == sum(each.nbytes for each in weight.parts()) + 2 * ROWS
    layer.to("meta")
    assert all(each.is_meta for each in held(layer.weight).parts())
    assert torch.equal(held(copy.deepcopy(weight)).unpacked(), values)


@pytest.mark.parametrize("form", ["float8_e4m3fn rows", "Q4_K"])
@torch.inference_mode()
def test_compiled_layers_compute_the_same(form: str) -> None:
    weight, values = random_weight(form)
    layer, x = layer_of(weight), torch.randn((2, WIDTH))
    compiled = torch.compile(layer, backend="aot_eager")
    wanted = linear(x, values, torch.ones(ROWS))
    assert (compiled(x) - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("form", FORMS)
def test_one_value_that_is_no_number_is_found(form: str) -> None:
    weight, _ = random_weight(form)
    assert are_finite([weight]) == [True]
    if form in BLOCKS:
        first, count = HALVES[form]
        place = weight.stored.view(-1)[-BLOCKS[form][1] + first :][2 * count - 2 : 2 * count]
        place.copy_(torch.tensor([torch.inf], dtype=torch.float16).view(torch.uint8))
    else:
        weight.stored.view(-1)[-1:] = torch.tensor([torch.nan]).to(weight.stored.dtype)
    assert are_finite([weight, random_weight(form)[0]]) == [False, True]
    if "scale" in form:
        assert are_finite(
            [StoredWeight(random_weight(form)[0].stored, torch.tensor(torch.inf))]
        ) == [False]
