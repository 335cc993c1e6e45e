"""Krea 2's network, held to diffusers' by a small network with random weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_krea2_lora_to_diffusers
from diffusers.loaders.single_file_utils import convert_krea2_transformer_checkpoint_to_diffusers
from diffusers.models.transformers.transformer_krea2 import Krea2Transformer2DModel
from safetensors.torch import load_file
from torch import Tensor

from engine.families import krea2
from engine.files.safetensors import BadFile
from engine.loading.makers_names import PREFIX, lora_names
from engine.loading.modules import Target
from tests.engine.families.small import apart
from tests.flow_models import make_krea2

BF16 = torch.bfloat16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_krea2(tmp_path_factory.mktemp("models") / "it")


@pytest.fixture(scope="module")
def weights(folder: Path) -> Mapping[str, Tensor]:
    return load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")


def by_makers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's tensors as the makers' files have them."""
    names = {own: theirs for theirs, places in krea2.NAMES.items() for own in places}
    found = {}
    for name, tensor in weights.items():
        module, _, leaf = name.rpartition(".")
        number = next((part for part in module.split(".") if part.isdigit()), "")
        pattern = module.replace(f".{number}", ".#", 1) if "blocks." in module else module
        if leaf == "scale_shift_table":
            one = module == "final_layer"
            name = "last.modulation.lin" if one else f"blocks.{number}.mod.lin"
            found[name] = tensor if one else tensor.flatten()
            continue
        theirs = names[pattern].replace("#", number)
        found[f"{theirs}.{'scale' if 'norm' in module else leaf}"] = tensor
    return found


def inputs(rows: int = 2, tokens: int = 19) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    x = torch.randn((rows, 16, 6, 10), generator=random)
    texts = torch.randn((rows, tokens, 12 * 32), generator=random)
    return x, torch.full((rows,), 0.85), texts, torch.ones((rows, tokens), dtype=torch.bool)


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_files_by_the_makers_names_are_read_as_diffusers_reads_them(
    prefix: str, weights: Mapping[str, Tensor]
) -> None:
    makers = {f"{prefix}{name}": each for name, each in by_makers(weights).items()}
    due = convert_krea2_transformer_checkpoint_to_diffusers(dict(makers))
    found = krea2.respell(makers)
    assert found.keys() == due.keys() == weights.keys()
    assert all(torch.equal(each, due[name]) for name, each in found.items())
    assert all(torch.equal(each, weights[name]) for name, each in found.items())


@torch.inference_mode()
def test_the_network_is_the_same_by_either_names(weights: Mapping[str, Tensor]) -> None:
    both = [krea2.network_of(each) for each in (weights, by_makers(weights))]
    found = [krea2.predict(network, *inputs()) for network in both]
    assert torch.equal(*found)


def test_modules_in_loras_are_those_of_diffusers(weights: Mapping[str, Tensor]) -> None:
    modules = [name.removesuffix(".weight") for name, each in weights.items() if each.ndim == 2]
    modules = [name for name in modules if not name.endswith("scale_shift_table")]
    meant = {spelling: own for spelling, own, _ in lora_names(modules, krea2.NAMES)}
    for theirs in {name.removesuffix(".weight") for name in by_makers(weights)}:
        name = f"diffusion_model.{theirs}"
        if name in meant:
            file = {f"{name}.lora_A.weight": torch.zeros(1, 1)}
            (due,) = _convert_non_diffusers_krea2_lora_to_diffusers(file)
            assert due == f"transformer.{meant[name]}.lora_A.weight"
    assert len({own for name, own in meant.items() if name.startswith("lora_unet_blocks_1")}) == 8
    assert meant["lora_unet_txtfusion_refiner_blocks_0_mlp_up"].startswith("text_fusion.")


@torch.inference_mode()
def test_a_row_is_the_same_whatever_the_others_say(weights: Mapping[str, Tensor]) -> None:
    network = krea2.network_of(weights)
    x, sigma, texts, mask = inputs()
    short = texts[:1] * (torch.arange(19) < 7)[None, :, None]
    mask = torch.arange(19) < torch.tensor([[7], [19]])
    pair = krea2.predict(network, x, sigma, torch.cat([short, texts[1:]]), mask)
    alike = krea2.predict(network, x, sigma, torch.cat([short, short]), mask[[0, 0]])
    assert torch.equal(pair[0], alike[0])
    alone = krea2.predict(network, x[:1], sigma[:1], short[:, :7], mask[:1, :7])
    assert apart(pair[0], alone[0]) <= 1e-5


@torch.inference_mode()
def test_norms_stay_exact_and_times_are_not_rounded(weights: Mapping[str, Tensor]) -> None:
    network = krea2.network_of(weights, Target(dtype=BF16))
    for name, module in network.named_modules():
        if "norm" in name:
            assert torch.equal(module.weight, weights[f"{name}.weight"])
    assert network.img_in.weight.dtype is BF16
    x, sigma, texts, mask = inputs()
    exact = krea2.predict(krea2.network_of(weights), x, sigma, texts, mask)
    rough = krea2.predict(network, x.to(BF16), sigma, texts.to(BF16), mask)
    rounded = krea2.predict(krea2.network_of(weights), x, sigma.to(BF16).float(), texts, mask)
    assert apart(rough, exact) <= 0.05 < apart(rounded, exact)


@pytest.mark.parametrize("start", ["", "model."])
def test_of_qwen3_vl_only_what_is_read_is_kept(start: str, folder: Path) -> None:
    held = load_file(folder / "text_encoder" / "model.safetensors")
    names = {f"{start}{name}": each for name, each in held.items()}
    encoder = krea2.text_encoder_of({**names, "lm_head.weight": torch.zeros(1, 1)})
    assert len(encoder.layers) == 35
    first = encoder.layers[0].mlp.up_proj.weight
    assert torch.equal(first, held["language_model.layers.0.mlp.up_proj.weight"])


def test_the_true_ones_configuration_is_that_of_diffusers() -> None:
    with torch.device("meta"):
        due = Krea2Transformer2DModel()
    found: dict[str, Any] = krea2.config_of(due.state_dict())
    assert found == {name: due.config[name] for name in found}


def test_a_tensor_that_is_missing_or_unknown_is_named(weights: Mapping[str, Tensor]) -> None:
    cut = {name: each for name, each in weights.items() if name != "final_layer.linear.bias"}
    with pytest.raises(BadFile, match=r"'final_layer.linear.bias'"):
        krea2.network_of(cut)
    with pytest.raises(BadFile, match=r"'img_in.weight' of Krea 2"):
        krea2.network_of({})
    with pytest.raises(BadFile, match="'strange'"):
        krea2.network_of({**weights, "strange": torch.zeros(1)})
