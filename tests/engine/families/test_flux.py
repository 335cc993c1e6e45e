"""FLUX.1's network, held to ComfyUI's by small ones with random weights."""

from typing import Any

import pytest
import torch
from diffusers.pipelines.flux.pipeline_flux import FluxPipeline
from diffusers.pipelines.flux.pipeline_flux_fill import FluxFillPipeline
from torch import Tensor

from engine.families import flux
from engine.files.safetensors import BadFile
from engine.loading.makers_names import PREFIX
from engine.loading.modules import Target
from tests.engine.families import small
from tests.engine.families.small import told

pytestmark = small.needs_networks


def predict(network: Any, told: dict[str, Tensor]) -> Tensor:
    references = [told["ref_latent"]] if "ref_latent" in told else []
    return flux.predict(
        network,
        told["x"],
        told["timestep"],
        told["context"],
        told["y"],
        told.get("guidance"),
        references,
    )


@pytest.mark.parametrize("prefix", ["", PREFIX])
@pytest.mark.parametrize(
    ("name", "case"),
    [
        *(("flux_dev", case) for case in ("case0", "case1", "case2", "reference")),
        *(("flux_schnell", case) for case in ("case0", "case1", "case2")),
    ],
)
@torch.inference_mode()
def test_the_network_equals_comfyui(name: str, case: str, prefix: str) -> None:
    held = {key.removeprefix(PREFIX): each for key, each in small.weights(name).items()}
    network = flux.network_of({f"{prefix}{key}": each for key, each in held.items()})
    found = predict(network, told(name, case))
    assert (found - small.answers(name)[f"{case}.out"]).abs().max() <= 1e-4


@torch.inference_mode()
def test_a_network_is_read_by_diffusers_names_as_well() -> None:
    network = flux.network_of(small.weights("flux_dev"))
    again = flux.network_of(network.state_dict())
    case = told("flux_dev", "case0")
    assert torch.equal(predict(network, case), predict(again, case))


@torch.inference_mode()
def test_weights_stay_where_they_lie() -> None:
    held = small.weights("flux_dev")
    network = flux.network_of(held)
    fused = held["double_blocks.0.img_attn.qkv.weight"]
    key = network.transformer_blocks[0].attn.to_k.weight
    assert key.data_ptr() == fused[len(fused) // 3 :].data_ptr()


@torch.inference_mode()
def test_rows_never_change_each_other() -> None:
    network = flux.network_of(small.weights("flux_dev"))
    case = told("flux_dev", "reference")
    pair = predict(network, case)
    turned = predict(network, {key: each.flip(0) for key, each in case.items()})
    assert torch.equal(pair, turned.flip(0))
    others = {key: torch.cat([each[:1], 0.5 * each[1:]]) for key, each in case.items()}
    assert torch.equal(predict(network, others)[0], pair[0])


@torch.inference_mode()
def test_times_are_not_rounded_to_bf16() -> None:
    network = flux.network_of(small.weights("flux_dev"), Target(torch.bfloat16))
    case = told("flux_dev", "case0")
    exact = {"timestep", "guidance"}
    rough = {key: each if key in exact else each.bfloat16() for key, each in case.items()}
    wanted = small.answers("flux_dev")["case0.out"]
    # σ = 0.85 as bf16 is told as 852 instead of 850, which moves the result by 0.9 or more.
    assert (predict(network, rough) - wanted).abs().max() <= 0.1


def test_a_broken_file_is_refused_with_what_is_wrong() -> None:
    held = small.weights("flux_dev")
    for what, tensors in small.refusals(held, "double_blocks.0.img_mod.lin.bias").items():
        what = what.replace("double_blocks.0.img_mod.lin", "transformer_blocks.0.norm1.linear")
        with pytest.raises(BadFile, match=what):
            flux.network_of(tensors)


def test_the_true_size_is_read_from_its_shapes() -> None:
    """By `signatures.json`: 3072 wide, heads of 128, rotated by 16, 56 and 56."""
    with torch.device("meta"):
        held = {
            "transformer_blocks.0.attn.norm_q.weight": torch.zeros(128),
            "x_embedder.weight": torch.zeros(3072, 384),
            "context_embedder.weight": torch.zeros(3072, 4096),
            "proj_out.weight": torch.zeros(64, 3072),
            "time_text_embed.text_embedder.linear_1.weight": torch.zeros(3072, 768),
            "time_text_embed.guidance_embedder.linear_1.weight": torch.zeros(3072, 256),
            "single_transformer_blocks.37.proj_out.weight": torch.zeros(3072, 15360),
        }
    assert flux.config_of(held) == {
        "patch_size": 1,
        "in_channels": 384,
        "out_channels": 64,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 128,
        "num_attention_heads": 24,
        "joint_attention_dim": 4096,
        "axes_dims_rope": (16, 56, 56),
        "pooled_projection_dim": 768,
        "guidance_embeds": True,
    }


def test_several_references_lie_beside_each_other() -> None:
    x, wide, high = (torch.zeros(1, 16, *sides) for sides in ((4, 4), (4, 8), (8, 4)))
    tokens, positions = flux.tokens_of(x, [wide, high])
    assert tokens.shape == (1, 4 + 8 + 8, 64)
    assert positions[:4].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]]
    assert positions[4].tolist() == [1, 0, 0]
    assert positions[11].tolist() == [1, 1, 3]
    # Below the first it would reach 6 rows down; to its right it reaches 6 columns.
    assert positions[12].tolist() == [1, 2, 0]
    assert positions[-1].tolist() == [1, 5, 1]


def test_positions_are_those_of_diffusers_and_made_once_for_each_size() -> None:
    pipeline: Any = FluxPipeline
    for sides in ((6, 4), (4, 10), (5, 7)):
        latents = torch.zeros(1, 16, *sides)
        rows, columns = (side // 2 for side in sides)
        due = pipeline._prepare_latent_image_ids(
            1, rows, columns, torch.device("cpu"), torch.float32
        )
        found = flux.grid(latents, 0)
        assert found.dtype == torch.float32
        assert torch.equal(found, due)
        assert torch.equal(flux.grid(latents, 1, (0, 3)), due + torch.tensor([1.0, 0.0, 3.0]))
        assert flux.grid(torch.zeros(2, 16, *sides), 0) is found


def test_fill_is_told_as_in_diffusers() -> None:
    generator = torch.Generator().manual_seed(1)
    x, masked = torch.randn((2, 1, 16, 4, 6), generator=generator)
    mask = (torch.rand((1, 1, 32, 48), generator=generator) > 0.5).float()

    class Vae:
        config = type("Config", (), {"shift_factor": 0.0, "scaling_factor": 1.0})

    class Pipeline(FluxFillPipeline):  # type: ignore[misc]
        def __init__(self) -> None:
            self.vae_scale_factor = 8

    pipeline: Any = Pipeline()
    pipeline.__dict__["vae"] = Vae
    its, latents = pipeline.prepare_mask_latents(
        mask, masked, 1, 16, 1, 32, 48, torch.float32, torch.device("cpu"), None
    )
    wanted = torch.cat([pipeline._pack_latents(x, 1, 16, 4, 6), latents, its], -1)
    found = flux.pack(torch.cat([x, flux.fill_channels(masked, mask)], 1))
    assert torch.equal(found, wanted)


@torch.inference_mode()
def test_a_network_that_fills_takes_further_channels() -> None:
    held = dict(small.weights("flux_dev"))
    wide = held["img_in.weight"]
    held["img_in.weight"] = torch.cat([wide, wide.new_zeros(len(wide), 320)], 1)
    case = told("flux_dev", "case0")
    plain = predict(flux.network_of(small.weights("flux_dev")), case)
    case["x"] = torch.cat([case["x"], torch.ones(2, 80, 8, 12)], 1)
    assert (predict(flux.network_of(held), case) - plain).abs().max() < 1e-5
