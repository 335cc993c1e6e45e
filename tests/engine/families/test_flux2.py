"""FLUX.2's network, held to ComfyUI's by a small one with random weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.flux2.pipeline_flux2 import Flux2Pipeline
from torch import Tensor

from engine.denoise.schedules import sigmas_for
from engine.families import flux2
from engine.families.registry import load
from engine.files.safetensors import BadFile
from engine.loading.makers_names import PREFIX
from engine.loading.modules import Target
from tests.conftest import SHARED_FLOW
from tests.engine.families import small
from tests.engine.families.small import told
from tests.flow_models import described, make_klein

pytestmark = small.needs_networks


def predict(network: Any, told: dict[str, Tensor]) -> Tensor:
    references = [told["ref_latent"]] if "ref_latent" in told else []
    return flux2.predict(
        network, told["x"], told["timestep"], told["context"], told.get("guidance"), references
    )


@pytest.mark.parametrize("prefix", ["", PREFIX])
@pytest.mark.parametrize("case", ["case0", "case1", "reference"])
@torch.inference_mode()
def test_the_network_equals_comfyui(case: str, prefix: str) -> None:
    held = small.weights("flux2")
    network = flux2.network_of({f"{prefix}{key}": each for key, each in held.items()})
    found = predict(network, told("flux2", case))
    assert (found - small.answers("flux2")[f"{case}.out"]).abs().max() <= 1e-4


@torch.inference_mode()
def test_a_network_is_read_by_diffusers_names_as_well() -> None:
    network = flux2.network_of(small.weights("flux2"))
    again = flux2.network_of(network.state_dict())
    case = told("flux2", "reference")
    assert torch.equal(predict(network, case), predict(again, case))


@torch.inference_mode()
def test_a_network_without_guidance_is_not_told_it() -> None:
    held = small.weights("flux2")
    bare = {key: each for key, each in held.items() if not key.startswith("guidance_in.")}
    silent = {**held, "guidance_in.out_layer.weight": held["guidance_in.out_layer.weight"] * 0}
    case = told("flux2", "case0")
    wanted = predict(flux2.network_of(silent), case)
    del case["guidance"]
    assert torch.equal(predict(flux2.network_of(bare), case), wanted)


@torch.inference_mode()
def test_rows_never_change_each_other() -> None:
    network = flux2.network_of(small.weights("flux2"))
    case = told("flux2", "reference")
    pair = predict(network, case)
    turned = predict(network, {key: each.flip(0) for key, each in case.items()})
    assert torch.equal(pair, turned.flip(0))
    others = {key: torch.cat([each[:1], 0.5 * each[1:]]) for key, each in case.items()}
    assert torch.equal(predict(network, others)[0], pair[0])


def test_simple_spaces_its_steps_as_its_makers_do(tmp_path: Path) -> None:
    """Its table has an entry at each step, so that `simple` skips between none."""
    model = load(described(make_klein(tmp_path / "it"), "flux2"), torch.device("cpu"))
    tables = json.loads((SHARED_FLOW / "flow_sigmas.json").read_text())
    for known in tables["nodes"]["Flux2Scheduler"]:
        steps = known["steps"]
        schedule = model.noise(known["width"], known["height"], steps)
        found = sigmas_for("euler", "simple", steps, noise_schedule=schedule)
        assert torch.equal(
            found, schedule.sigma(torch.linspace(1, 0, steps + 1, dtype=torch.float64))
        )
        # To the rounding of fp32, in which the makers compute.
        assert (found - torch.tensor(known["sigmas"])).abs().max() <= 2**-23


def test_positions_are_those_of_diffusers() -> None:
    pipeline: Any = Flux2Pipeline
    latents = [torch.zeros(1, 128, *sides) for sides in ((4, 6), (3, 4), (5, 2))]
    first, *others = latents
    assert torch.equal(flux2.grid(first, 0), pipeline._prepare_latent_ids(first)[0])
    found = [flux2.grid(each, 10 * place) for place, each in enumerate(others, 1)]
    assert torch.equal(torch.cat(found), pipeline._prepare_image_ids(others)[0])
    assert flux2.grid(torch.zeros(2, 128, 4, 6), 0) is flux2.grid(first, 0)  # made once


@torch.inference_mode()
def test_times_are_not_rounded_to_bf16() -> None:
    network = flux2.network_of(small.weights("flux2"), Target(torch.bfloat16))
    case = told("flux2", "case0")
    exact = {"timestep", "guidance"}
    rough = {key: each if key in exact else each.bfloat16() for key, each in case.items()}
    wanted = small.answers("flux2")["case0.out"]
    # σ = 0.85 as bf16 is told as 852 instead of 850, which moves the result by 0.9 or more.
    assert (predict(network, rough) - wanted).abs().max() <= 0.1


def test_a_broken_file_is_refused_with_what_is_wrong() -> None:
    held = small.weights("flux2")
    for what, tensors in small.refusals(held, "double_stream_modulation_txt.lin.weight").items():
        with pytest.raises(BadFile, match=what.replace(".lin.", ".linear.")):
            flux2.network_of(tensors)
