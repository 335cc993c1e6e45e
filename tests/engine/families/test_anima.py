"""Anima's network and adapter, held to diffusers' by small ones with random weights."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_anima_lora_to_diffusers
from diffusers.loaders.single_file_utils import convert_cosmos_transformer_checkpoint_to_diffusers
from diffusers.models.transformers.transformer_cosmos import CosmosTransformer3DModel
from safetensors.torch import load_file
from torch import Tensor

from engine.families import anima
from engine.files.safetensors import BadFile
from engine.loading.modules import Target
from engine.text_encode import qwen3
from engine.text_encode.conditioning import TextEncoder
from engine.text_encode.language_model import LEAST
from tests.engine.families.small import apart
from tests.flow_models import anima_adapter, described, make_anima

BF16 = torch.bfloat16
ADAPTER = "llm_adapter."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_anima(tmp_path_factory.mktemp("models") / "it")


@pytest.fixture(scope="module")
def model(folder: Path) -> anima.Anima:
    return anima.load(described(folder, "anima"), torch.device("cpu"))


@pytest.fixture(scope="module")
def weights(folder: Path) -> Mapping[str, Tensor]:
    return load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    x = torch.randn((2, 16, 6, 10), generator=random)
    texts = torch.randn((2, LEAST, 32), generator=random)
    return x, torch.full((2,), 0.85), texts


@torch.inference_mode()
def test_files_by_the_makers_names_are_read_as_diffusers_reads_them(
    weights: Mapping[str, Tensor],
) -> None:
    own = {name: each for name, each in weights.items() if not name.startswith(ADAPTER)}
    left = {"pos_embedder.seq": torch.zeros(3), "accum_iteration": torch.zeros(())}
    due = convert_cosmos_transformer_checkpoint_to_diffusers({**own, **left})
    network = anima.network_of({**weights, **left})
    found = network.state_dict()
    assert found.keys() == due.keys()
    assert all(torch.equal(each, due[name]) for name, each in found.items())
    both = [anima.predict(each, *inputs()) for each in (network, anima.network_of(due))]
    assert torch.equal(*both)


@torch.inference_mode()
def test_the_adapter_is_diffusers_own(weights: Mapping[str, Tensor]) -> None:
    due = anima_adapter().eval()
    held = {n.removeprefix(ADAPTER): t for n, t in weights.items() if n.startswith(ADAPTER)}
    due.load_state_dict(held)
    found = anima.adapter_of(weights)
    states, ids = torch.randn((1, 9, 32)), torch.tensor([[3, 5, 8, 1]])
    assert torch.equal(found(states, ids), due(states, ids))
    assert found(states, ids).shape == (1, LEAST, 32)
    assert dict(found.config) == {**dict(due.config), **dict(found.config)}


def encode(model: anima.Anima, prompt: str) -> Tensor:
    return TextEncoder(model).encode(prompt).embeds


@torch.inference_mode()
def test_weights_scale_what_the_adapter_makes_of_t5s_tokens(model: anima.Anima) -> None:
    plain, weighted = encode(model, "a cat"), encode(model, "a( cat:1.5)")
    assert plain.shape == (1, LEAST, 32)
    told = model.tokenizers["tokenizer_2"]("a cat").input_ids
    assert not plain[0, len(told) :].any()
    assert plain[0, : len(told)].any(dim=1).all()
    ratio = weighted[0, : len(told)] / plain[0, : len(told)]
    assert torch.allclose(ratio[0], torch.ones(32))
    assert torch.allclose(ratio[1:-1], torch.full_like(ratio[1:-1], 1.5), atol=1e-5)
    assert torch.allclose(ratio[-1], torch.ones(32))


@torch.inference_mode()
def test_no_words_and_names_of_special_tokens_are_prompts(model: anima.Anima) -> None:
    assert encode(model, "").isfinite().all()
    assert not torch.equal(encode(model, "<|endoftext|>"), encode(model, ""))


def test_modules_in_loras_are_those_of_diffusers(model: anima.Anima) -> None:
    start = "diffusion_model."
    for part, own in (("network", "transformer"), (anima.ADAPTER, "text_conditioner")):
        named = model.parts[part].named_modules()
        layers = [name for name, each in named if isinstance(each, torch.nn.Linear)]
        meant = {spelling: name for spelling, name, _ in model.lora_names(part, layers)}
        assert {*meant.values()} == {*layers}
        for name in layers:
            theirs = [each for each in meant if each.startswith(start) and meant[each] == name]
            (makers,) = [each for each in theirs if each != f"{start}{name}"]
            (due,) = _convert_non_diffusers_anima_lora_to_diffusers({f"{makers}.lora_A.weight": 0})
            assert due == f"{own}.{name}.lora_A.weight"
    names = model.lora_names(anima.ADAPTER, ["blocks.0.cross_attn.q_proj"])
    assert "lora_unet_llm_adapter_blocks_0_cross_attn_q_proj" in {name for name, _, _ in names}


@torch.inference_mode()
def test_times_are_not_rounded_to_bf16(weights: Mapping[str, Tensor]) -> None:
    network, seen = anima.network_of(weights, Target(dtype=BF16)), list[Tensor]()
    network.time_embed.time_proj.register_forward_pre_hook(lambda _, told: seen.append(told[0]))
    x, sigma, texts = inputs()
    found = anima.predict(network, x.to(BF16), sigma, texts.to(BF16))
    assert torch.equal(seen[0], sigma)
    assert apart(found, anima.predict(anima.network_of(weights), x, sigma, texts)) <= 0.1


def test_an_encoder_without_its_last_norm_is_refused(folder: Path) -> None:
    held = load_file(folder / "text_encoder" / "model.safetensors")
    with pytest.raises(BadFile, match=r"lack 'norm.weight'"):
        qwen3.encoder_of({n: t for n, t in held.items() if n != "norm.weight"}, cut=False)


def test_the_true_ones_configuration_is_that_of_diffusers() -> None:
    config = {"in_channels": 16, "num_attention_heads": 16, "extra_pos_embed_type": None}
    with torch.device("meta"):
        due = CosmosTransformer3DModel(**config, rope_scale=anima.ROPE)
    found = anima.config_of(due.state_dict())
    told = found.keys() - {"in_channels", "concat_padding_mask", "max_size"}
    assert {name: found[name] for name in told} == {name: due.config[name] for name in told}
    assert found["in_channels"] == 17


@pytest.mark.parametrize("read", [anima.network_of, anima.adapter_of])
def test_a_tensor_that_is_missing_or_unknown_is_named(
    read: Callable[[Mapping[str, Tensor]], object], weights: Mapping[str, Tensor]
) -> None:
    start = ADAPTER if read is anima.adapter_of else ""
    last = f"{start}{'norm.weight' if start else 't_embedding_norm.weight'}"
    with pytest.raises(BadFile, match=r"norm\.weight"):
        read({name: each for name, each in weights.items() if name != last})
    with pytest.raises(BadFile, match=r"of Anima"):
        read({})
    with pytest.raises(BadFile, match="'strange'"):
        read({**weights, f"{start}strange": torch.zeros(1)})
