"""Z-Image's parts, held to ComfyUI's by small networks with random weights."""

from collections.abc import Mapping

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from engine.denoise.flow import FlowSchedule
from engine.families import z_image
from engine.families.flow_model import whole_tokens
from engine.files.safetensors import BadFile
from engine.loading import makers_names
from engine.text_encode import qwen3
from engine.text_encode.language_model import layer_states
from tests.conftest import SHARED_FLOW

pytestmark = pytest.mark.skipif(
    not SHARED_FLOW.exists(), reason="the small networks of the flow models are not here"
)


@pytest.fixture(scope="module")
def weights() -> Mapping[str, Tensor]:
    tensors = load_file(SHARED_FLOW / "networks" / "zimage.safetensors")
    return {name: tensor.float() for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def answers() -> Mapping[str, Tensor]:
    return load_file(SHARED_FLOW / "networks" / "zimage.io.safetensors")


@pytest.mark.parametrize("prefix", ["", makers_names.PREFIX])
@pytest.mark.parametrize("case", ["case0", "case1", "case2"])
@torch.inference_mode()
def test_the_network_equals_comfyui(
    case: str, prefix: str, weights: Mapping[str, Tensor], answers: Mapping[str, Tensor]
) -> None:
    network = z_image.network_of({f"{prefix}{name}": each for name, each in weights.items()})
    x, sigma, context = (answers[f"{case}.in.{key}"] for key in ("x", "timestep", "context"))
    found = z_image.predict(network, x, sigma, list(context))
    assert (found - answers[f"{case}.out"]).abs().max() <= 1e-4


@torch.inference_mode()
def test_latents_of_odd_sides_are_padded_as_in_comfyui(
    weights: Mapping[str, Tensor], answers: Mapping[str, Tensor]
) -> None:
    network = z_image.network_of(weights)
    x, sigma, context = (answers[f"case3.in.{key}"] for key in ("x", "timestep", "context"))
    found = z_image.predict(network, whole_tokens(x, z_image.PATCH), sigma, list(context))
    assert (found[..., :5, :7] - answers["case3.out"]).abs().max() <= 1e-4


@torch.inference_mode()
def test_a_row_is_the_same_among_longer_prompts(
    weights: Mapping[str, Tensor], answers: Mapping[str, Tensor]
) -> None:
    network = z_image.network_of(weights)
    x, sigma = answers["case0.in.x"], answers["case0.in.timestep"]
    short, long = answers["case0.in.context"][0], answers["case2.in.context"][0]
    alone = z_image.predict(network, x[:1], sigma[:1], [short])
    beside = z_image.predict(network, x, sigma, [short, long])
    assert (alone[0] - beside[0]).abs().max() <= 1e-5


@torch.inference_mode()
def test_rows_of_equal_length_never_change_each_other(
    weights: Mapping[str, Tensor], answers: Mapping[str, Tensor]
) -> None:
    network = z_image.network_of(weights)
    x, sigma, context = (answers[f"case1.in.{key}"] for key in ("x", "timestep", "context"))
    pair = z_image.predict(network, x, sigma, list(context))
    other = z_image.predict(network, x.flip(0), sigma.flip(0), list(context.flip(0)))
    assert torch.equal(pair[0], other[1])


def test_a_file_without_a_tensor_is_refused_by_its_name(weights: Mapping[str, Tensor]) -> None:
    cut = {name: each for name, each in weights.items() if name != "cap_pad_token"}
    with pytest.raises(BadFile, match="'cap_pad_token'"):
        z_image.network_of(cut)
    with pytest.raises(BadFile, match="norm_q"):
        z_image.network_of({"cap_pad_token": torch.zeros(1, 8)})
    with pytest.raises(BadFile, match="'strange'"):
        z_image.network_of({**weights, "strange": torch.zeros(1)})


def test_the_schedule_is_that_of_its_makers() -> None:
    schedule = FlowSchedule(shift=3.0)
    assert schedule.sigma_min == pytest.approx(0.002994012)


@pytest.mark.parametrize("case", ["case0", "case1"])
@torch.inference_mode()
def test_qwen3_equals_comfyui(case: str) -> None:
    text = SHARED_FLOW / "text"
    tensors = load_file(text / "te_qwen3_4b.safetensors")
    encoder = qwen3.encoder_of({name: each.float() for name, each in tensors.items()})
    io = load_file(text / "te_qwen3_4b.io.safetensors")
    ids = io[f"{case}.ids"].tolist()
    found = layer_states(encoder, ids, (-2,), device=torch.device("cpu"))
    assert (found - io[f"{case}.out"]).abs().max() <= 1e-4
