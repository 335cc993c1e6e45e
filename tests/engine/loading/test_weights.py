"""Weights in every precision: read from files, given to modules, computed with, and weighed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import Conv2d, Embedding, LayerNorm, Linear, Module

from engine.device.backends import CUDA, MPS
from engine.device.finite import check_weights
from engine.device.stored_weights import StoredWeight, real_values
from engine.device.tensor_bytes import module_bytes
from engine.errors import BrokenModel
from engine.families import z_image
from engine.files.gguf import BLOCKS, read_weights
from engine.files.held_bytes import held_bytes
from engine.files.safetensors import BadFile, read_header
from engine.loading.lora_layers import Addition, Difference, Dora, Instead, pair, whole
from engine.loading.modules import Target, fill
from engine.loading.weights import join_scales, map_weights
from engine.models.quantised import MARKS, check_quantised
from engine.text_encode import qwen3, t5
from engine.text_encode.language_model import layer_states
from tests.bench import precision
from tests.conftest import SHARED_FLOW
from tests.gguf_files import write_gguf
from tests.quantised import dequantise, quantise, write_quantised

FP8 = torch.float8_e4m3fn
# The most by which a call's answer may differ from fp32's; `python -m tests.bench.precision`
# prints what it does.
BOUNDS = {
    "bf16": 0.01, "fp16": 0.001, "fp8 e4m3fn": 0.1, "fp8 e5m2": 0.2, "fp8 e4m3fn scaled": 0.1,
    "fp8 e5m2 scaled": 0.2, "fp8 e4m3fn scaled anew": 0.1, "fp8 e4m3fn scaled by rows": 0.1,
    "Q8_0": 0.03, "Q6_K": 0.08, "Q5_K": 0.15, "Q5_1": 0.15, "Q5_0": 0.16, "Q4_K": 0.3,
    "Q4_1": 0.3, "Q4_0": 0.32, "Q3_K": 0.6, "Q2_K": 0.9,
}  # fmt: skip
QUICK = ("bf16", "fp8 e4m3fn", "fp8 e4m3fn scaled anew", "fp8 e4m3fn scaled by rows", "Q8_0")


@pytest.fixture(scope="module")
def weights() -> Mapping[str, Tensor]:
    return precision.random_weights()


@pytest.fixture(scope="module")
def wanted(weights: Mapping[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        return precision.call(z_image.network_of(weights))


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, marks=[] if form in (*QUICK, "Q4_K") else pytest.mark.slow)
        for form in BOUNDS
    ],
)
@torch.inference_mode()
def test_a_network_computes_with_the_values_that_its_file_means(
    form: str, weights: Mapping[str, Tensor], wanted: Tensor, tmp_path: Path
) -> None:
    path = precision.write(tmp_path, form, weights)
    network = z_image.network_of(map_weights("it", path))
    check_weights("it", network)
    found = precision.call(network)
    meant = precision.call(z_image.network_of(dict(meaning(form, weights))))
    assert precision.relative(found, meant) <= 1e-5
    assert precision.relative(found, wanted) <= BOUNDS[form]
    assert isinstance(network.layers[0].attention.to_k.weight, StoredWeight)
    header = read_weights(path)
    assert module_bytes([network]) == pytest.approx(
        held_bytes(header.tensors.values(), size=4, room=0), rel=1e-3
    )
    assert module_bytes([network]) <= 1.02 * path.stat().st_size


def meaning(form: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the values that weights have in a precision, fp32, by its own definition."""
    if form in BLOCKS:
        size = BLOCKS[form][0]
        return {
            name: torch.from_numpy(dequantise(quantise(its.numpy(), form), form))
            if its.ndim == 2 and its.shape[1] % size == 0 and len(its) > 1
            else its
            for name, its in weights.items()
        }
    if not form.startswith("fp8"):
        dtype = torch.bfloat16 if form == "bf16" else torch.float16
        return {name: its.to(dtype).float() for name, its in weights.items()}
    _, kind, *scaled = form.split(" ")
    stored, _ = precision.scale_fp8(weights, precision.FP8[kind], " ".join(scaled))
    found = {}
    for name in weights:
        layer = name.removesuffix(".weight")
        scale = stored.get(f"{layer}.scale_weight", stored.get(f"{layer}.weight_scale"))
        found[name] = stored[name].float() * (1 if scale is None else scale)
    return found


class Small(Module):
    """A module with each kind of layer that there is."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Embedding(64, 256)
        self.line = Linear(256, 512)
        self.norm = LayerNorm(256)
        self.conv = Conv2d(4, 8, 3)
        self.register_buffer("places", torch.arange(7))


def small() -> Small:
    with torch.device("meta"):
        return Small()


def tensors_of(dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        name: its.to(dtype) if its.is_floating_point() else its
        for name, its in Small().state_dict().items()
    }


def test_plain_weights_are_cast_once_where_there_is_room() -> None:
    tensors = tensors_of(torch.bfloat16)
    whole_size = sum(its.numel() * 4 for its in tensors.values())
    cast = fill(small(), tensors, Target(room=whole_size))
    assert {its.dtype for its in cast.parameters()} == {torch.float32}
    assert not any(isinstance(its, StoredWeight) for its in cast.parameters())
    tight = fill(small(), tensors, Target(room=whole_size - 1))
    stored = {name for name, its in tight.named_parameters() if isinstance(its, StoredWeight)}
    assert stored == {"table.weight", "line.weight"}
    assert {its.dtype for its in tight.parameters()} == {torch.float32}
    assert tight.places.dtype is torch.int64
    x = torch.randn((2, 256))
    assert torch.equal(cast.line(x), tight.line(x))
    assert torch.equal(cast.table(tight.places), tight.table(tight.places))


def test_a_device_that_cannot_hold_fp8_gets_it_cast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.loading.modules.holds_fp8", lambda device: False)
    tensors = {
        **tensors_of(torch.float32),
        "line.weight": StoredWeight(torch.ones(512, 256).to(FP8)),
    }
    module = fill(small(), tensors)
    assert not isinstance(module.line.weight, StoredWeight)
    assert torch.equal(module.line.weight, torch.ones(512, 256))


def test_weights_that_wait_for_their_turn_are_as_the_device_that_computes_takes_them() -> None:
    tensors = {
        **tensors_of(torch.float32),
        "line.weight": StoredWeight(torch.ones(512, 256).to(FP8)),
    }
    for computes, stays in ((torch.device(MPS), False), (torch.device(CUDA), True)):
        target = Target(device=torch.device("cpu"), computes=computes)
        weight = fill(small(), tensors, target).line.weight
        assert isinstance(weight, StoredWeight) == stays
        assert weight.device.type == "cpu"


@pytest.mark.parametrize("room", [0, 2**30])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("computes", [torch.bfloat16, torch.float32])
def test_what_a_module_takes_is_known_from_its_files_header(
    dtype: torch.dtype, computes: torch.dtype, room: int, tmp_path: Path
) -> None:
    save_file(tensors_of(dtype), tmp_path / "it.safetensors")
    module = fill(
        small(), map_weights("it", tmp_path / "it.safetensors"), Target(computes, room=room)
    )
    header = read_weights(tmp_path / "it.safetensors")
    # Whole numbers are not cast, and count for little.
    expected = held_bytes(header.tensors.values(), size=computes.itemsize, room=room)
    assert module_bytes([module]) == pytest.approx(expected, rel=1e-3)


def test_what_computes_as_it_is_stored_stays_in_the_files_memory(tmp_path: Path) -> None:
    save_file(tensors_of(torch.bfloat16), tmp_path / "it.safetensors")
    tensors = map_weights("it", tmp_path / "it.safetensors")
    for dtype in (torch.bfloat16, torch.float32):
        module = fill(small(), tensors, Target(dtype))
        weight = module.line.weight
        held = weight.stored if isinstance(weight, StoredWeight) else weight
        assert held.data_ptr() == tensors["line.weight"].data_ptr()


def test_gguf_stays_in_the_files_memory(tmp_path: Path) -> None:
    arrays = {name: its.numpy() for name, its in tensors_of(torch.float32).items()}
    path = write_quantised(tmp_path / "it.gguf", arrays, "Q6_K")
    module = fill(small(), map_weights("it", path))
    for weight in (module.line.weight, module.table.weight):
        assert isinstance(weight, StoredWeight)
        assert weight.stored.untyped_storage().nbytes() == path.stat().st_size


def test_what_was_reshaped_to_whole_blocks_has_its_own_shape_again(tmp_path: Path) -> None:
    values = torch.randn((8, 4, 3, 3))
    blocks = quantise(values.reshape(-1, 32).numpy(), "Q8_0")
    facts = {"comfy.gguf.orig_shape.conv.weight": [8, 4, 3, 3]}
    data = {"conv.weight": blocks.tobytes()}
    path = write_gguf(tmp_path / "it.gguf", {"conv.weight": ((9, 32), 8)}, facts, data)
    found = map_weights("it", path)["conv.weight"]
    assert torch.equal(found.reshape(-1, 32), torch.from_numpy(dequantise(blocks, "Q8_0")))
    assert (found - values).abs().max() < 0.03


def test_the_tensors_of_a_folders_files_are_joined(tmp_path: Path) -> None:
    tensors = tensors_of(torch.bfloat16)
    for number, names in enumerate((["table.weight"], sorted(tensors.keys() - {"table.weight"}))):
        file = f"diffusion_pytorch_model-0000{number + 1}-of-00002.safetensors"
        save_file({name: tensors[name] for name in names}, tmp_path / file)
    found = map_weights("it", tmp_path)
    assert found.keys() == tensors.keys()
    (tmp_path / "empty").mkdir()
    with pytest.raises(BrokenModel, match="it holds no weights"):
        map_weights("it", tmp_path / "empty")


def scaled(**extra: Tensor) -> dict[str, Tensor]:
    return {"a.weight": torch.ones(4, 8).to(FP8), "a.bias": torch.ones(4), **extra}


def test_scales_and_marks_never_reach_whoever_names_tensors() -> None:
    mark = torch.tensor(list(json.dumps({"format": "float8_e4m3fn"}).encode()), dtype=torch.uint8)
    for extra in (
        {"a.scale_weight": torch.tensor(0.5), "scaled_fp8": torch.zeros(0).to(FP8)},
        {"a.scale_weight": torch.tensor([0.5]), "a.scale_input": torch.tensor(1.0)},
        {"a.weight_scale": torch.tensor(0.5).bfloat16(), "a.comfy_quant": mark},
        {"a.weight_scale": torch.full((4,), 0.5), "a.input_scale": torch.tensor(1.0)},
    ):
        found = join_scales(scaled(**extra), {})
        assert found.keys() == {"a.weight", "a.bias"}
        assert torch.equal(found["a.weight"] + 0, torch.full((4, 8), 0.5))
        assert torch.equal(found["a.weight"][2:] + 0, torch.full((2, 8), 0.5))
    assert torch.equal(join_scales(scaled(), {})["a.weight"] + 0, torch.ones(4, 8))


@pytest.mark.parametrize(
    ("extra", "marks", "reason"),
    [
        (
            {},
            {"a": {"format": "float8_e4m3fn"}},
            r"lacks the scale of 'a' \(a.weight_scale\)",
        ),
        ({"scaled_fp8": torch.zeros(2).to(FP8)}, {}, r"lacks the scale of 'a' \(a.scale_weight\)"),
        ({"a.weight_scale": torch.ones(3)}, {}, r"scales of the shape \[3\], where one is due"),
        ({"a.weight_scale": torch.ones(4, 2)}, {}, r"scales of the shape \[4, 2\]"),
        ({}, {"a": {"format": "nvfp4"}}, r"its weights are quantised \(nvfp4\), which"),
        ({}, {"a": {"format": ["?"]}}, r"its weights are quantised \("),
        ({}, {"a": "mxfp8"}, r"its weights are quantised \(mxfp8\)"),
        (
            {"a.comfy_quant": torch.ones(3, dtype=torch.uint8)},
            {},
            "'.comfy_quant' of a layer is damaged",
        ),
    ],
)
def test_a_scale_that_does_not_fit_is_told(
    extra: Mapping[str, Tensor], marks: Mapping[str, Any], reason: str
) -> None:
    with pytest.raises(BadFile, match=reason):
        join_scales(scaled(**extra), marks)


def test_a_mark_holds_for_the_names_that_begin_as_its_own(tmp_path: Path) -> None:
    mark, path = torch.zeros(2).to(FP8), tmp_path / "it.safetensors"
    tensors = {f"text.{name}": each for name, each in scaled().items()}
    tensors |= {f"net.{name}": each for name, each in scaled().items()}
    tensors |= {"net.scaled_fp8": mark, "net.a.scale_weight": torch.tensor(0.5)}
    tensors["net.token"] = torch.ones(1, 8).to(FP8)  # no layer's weight: it has no scale
    save_file(tensors, path)
    check_quantised(read_weights(path))
    found = map_weights("it", path)
    assert torch.equal(found["net.a.weight"] + 0, torch.full((4, 8), 0.5))
    for name, shape in {"text.a.weight": (4, 8), "net.token": (1, 8)}.items():
        assert torch.equal(found[name] + 0, torch.ones(shape))
    save_file({**tensors, "scaled_fp8": mark.clone()}, path)
    said = r"lacks the scale of 'text.a' \(text.a.scale_weight\)"
    with pytest.raises(BadFile, match=said):
        check_quantised(read_weights(path))
    with pytest.raises(BrokenModel, match=said):
        map_weights("it", path)


def test_whole_numbers_with_a_scale_are_refused() -> None:
    tensors = {"a.weight": torch.ones(4, 8, dtype=torch.int8), "a.weight_scale": torch.tensor(0.5)}
    with pytest.raises(BadFile, match=r"quantised \(int8\)"):
        join_scales(tensors, {})


@pytest.mark.parametrize("metadata", ["[1]", "{", '{"layers": 3}', "null"])
def test_damaged_metadata_are_told(metadata: str, tmp_path: Path) -> None:
    save_file(scaled(), tmp_path / "it.safetensors", {MARKS: metadata})
    with pytest.raises(BadFile, match=r"_quantization_metadata.* are damaged"):
        check_quantised(read_weights(tmp_path / "it.safetensors"))
    with pytest.raises(BrokenModel, match=r"_quantization_metadata.* are damaged"):
        map_weights("it", tmp_path / "it.safetensors")


def test_only_those_who_can_read_fp8_are_given_it(tmp_path: Path) -> None:
    save_file(scaled(), tmp_path / "it.safetensors")
    with pytest.raises(BadFile, match=r"quantised \(F8_E4M3\), which Marble cannot run yet"):
        read_header(tmp_path / "it.safetensors")
    assert read_header(tmp_path / "it.safetensors", fp8=True).shape("a.weight") == (4, 8)


@pytest.mark.parametrize(
    "broken", ["cut.gguf", "cut.safetensors", "absent.gguf", "absent.safetensors"]
)
def test_a_broken_file_is_one_sentence_with_its_name(broken: str, tmp_path: Path) -> None:
    path = tmp_path / broken
    if broken.startswith("cut"):
        arrays = {name: its.numpy() for name, its in tensors_of(torch.float32).items()}
        save_file(tensors_of(torch.float32), tmp_path / "cut.safetensors")
        write_quantised(tmp_path / "cut.gguf", arrays, "Q6_K")
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BrokenModel, match=r"it is cut short|it cannot be read") as caught:
        map_weights("the model", path)
    assert "the model" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def lora_changes(shape: torch.Size) -> list[tuple[Any, ...]]:
    small_pair = Difference(pair, (torch.randn(4, shape[1]), torch.randn(shape[0], 4)), shape)
    lengths = torch.rand(shape[0], 1)
    return [
        (Dora(small_pair, lengths, 0.7),),
        (Difference(whole, (torch.randn(shape),), shape), Instead(torch.randn(shape))),
        (small_pair, Dora(small_pair, lengths, 1.0)),
    ]


@pytest.mark.parametrize("form", ["fp8", "bf16", "Q4_K"])
def test_loras_change_the_real_weights(form: str) -> None:
    values = torch.randn((64, 256))
    if form == "Q4_K":
        weight = StoredWeight(torch.from_numpy(quantise(values.numpy(), form)), kind=form)
    elif form == "fp8":
        weight = StoredWeight(values.to(FP8), torch.tensor(0.5))
    else:
        weight = StoredWeight(values.bfloat16())
    x = torch.randn((3, 256))
    layers = [Linear(256, 64, bias=False).requires_grad_(False) for _ in range(2)]
    for layer, its in zip(layers, (weight, weight.unpacked()), strict=True):
        layer.load_state_dict({"weight": its}, assign=True)
    for changes in lora_changes(values.shape):
        added = [Addition(changes=changes)(layer, x) for layer in layers]
        assert torch.equal(*added)
    assert real_values(layers[1].weight) is layers[1].weight


def by_llama_cpp(tensors: Mapping[str, Tensor], architecture: Any) -> dict[str, Any]:
    """Return tensors by llama.cpp's names, as the package gguf knows them, as arrays."""
    names = gguf.get_tensor_name_map(architecture, 99)
    return {
        names.get_name(name, (".weight",)) or name: its.numpy() for name, its in tensors.items()
    }


def states(encoder: Any, ids: torch.Tensor) -> torch.Tensor:
    return layer_states(encoder, ids[0].tolist(), (-2,), device=torch.device("cpu"))


def test_a_gguf_encoder_by_llama_cpps_names_is_the_same(tmp_path: Path) -> None:
    tensors = small_encoder("te_qwen3_4b")
    path = write_quantised(
        tmp_path / "it.gguf", by_llama_cpp(tensors, gguf.MODEL_ARCH.QWEN3), "F32"
    )
    ids = torch.tensor([[1, 5, 9, 2]])
    with torch.inference_mode():
        wanted = states(qwen3.encoder_of(tensors), ids)
        found = states(qwen3.encoder_of(map_weights("it", path)), ids)
    assert torch.equal(found, wanted)


@torch.inference_mode()
def test_t5_reads_gguf_and_8_bits_and_holds_its_table_once(tmp_path: Path) -> None:
    tensors = small_encoder("te_t5xxl")
    tensors.pop(t5.TABLE, None)
    path = write_quantised(
        tmp_path / "it.gguf", by_llama_cpp(tensors, gguf.MODEL_ARCH.T5ENCODER), "Q8_0"
    )
    save_file(
        {name: its.to(FP8) if its.ndim == 2 else its for name, its in tensors.items()},
        tmp_path / "it.safetensors",
    )
    ids = torch.tensor([[3, 5, 9, 1]])
    wanted = t5.hidden_state(t5.encoder_of(tensors), ids)
    for file, error in ((path, 0.02), (tmp_path / "it.safetensors", 0.2)):
        encoder = t5.encoder_of(map_weights("it", file))
        assert precision.relative(t5.hidden_state(encoder, ids), wanted) <= error
        assert encoder.shared.weight is encoder.encoder.embed_tokens.weight
        assert module_bytes([encoder]) <= 1.02 * file.stat().st_size


def test_rows_in_another_order_are_refused(tmp_path: Path) -> None:
    facts = {"general.architecture": "llama"}
    path = write_gguf(tmp_path / "it.gguf", {"blk.0.attn_q.weight": ((2, 32), 8)}, facts)
    with pytest.raises(BrokenModel, match=r"its rows are in llama.cpp's order for llama, which"):
        map_weights("it", path)


def small_encoder(name: str) -> dict[str, Tensor]:
    file = SHARED_FLOW / "text" / f"{name}.safetensors"
    if not file.exists():
        pytest.skip("the small networks of the flow models are not here")
    return {key: its.float() for key, its in load_file(file).items()}


@torch.inference_mode()
def test_a_large_table_is_looked_up_as_it_is_stored() -> None:
    tensors = {name: its.bfloat16() for name, its in small_encoder("te_qwen3_4b").items()}
    encoder = qwen3.encoder_of(tensors)
    assert isinstance(encoder.embed_tokens.weight, StoredWeight)
    ids = torch.tensor([[1, 5, 9, 2]])
    plain = qwen3.encoder_of(tensors, Target(room=2**30))
    assert not isinstance(plain.embed_tokens.weight, StoredWeight)
    assert torch.equal(states(encoder, ids), states(plain, ids))
