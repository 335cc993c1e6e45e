"""Flow models' noise and samplers, held to what ComfyUI computes."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.denoise.flow import FlowSchedule, flux2_mu, linear_mu
from engine.denoise.inpainting import keep_unmasked
from engine.denoise.noise import NoiseSource, stretches_of
from engine.denoise.samplers import SAMPLERS, drive
from engine.denoise.schedules import SCHEDULES, sigmas_for
from engine.errors import OptionError
from tests.conftest import REFERENCE

TABLES: Final = json.loads((REFERENCE / "flow" / "flow_sigmas.json").read_text(encoding="utf-8"))
RUNS: Final = json.loads((REFERENCE / "flow" / "flow_samplers.json").read_text(encoding="utf-8"))[
    "results"
]
OURS: Final = [
    key for key, run in RUNS.items() if run["sampler"] in SAMPLERS and run["sampler"] != "ddpm"
]


def schedule_of(family: str) -> FlowSchedule:
    known = TABLES["model_samplings"][family]
    shift = known["shift"]
    exponential = known["kind"] == "ModelSamplingFlux"
    return FlowSchedule(
        shift=math.exp(shift) if exponential else shift, entries=known["table_length"]
    )


@pytest.fixture(scope="module")
def arrays() -> Mapping[str, np.ndarray]:
    with np.load(REFERENCE / "flow" / "flow_samplers.npz") as data:
        return dict(data)


@pytest.mark.parametrize("family", TABLES["model_samplings"])
def test_the_table_of_each_family_equals_comfyui(family: str) -> None:
    known, schedule = TABLES["model_samplings"][family], schedule_of(family)
    assert len(schedule.sigmas) == known["table_length"]
    assert schedule.sigma_min == pytest.approx(known["sigma_min"], rel=1e-6)
    assert schedule.sigma_max == 1
    np.testing.assert_allclose(schedule.sigmas[-3:], known["table_last"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("key", [k for k in TABLES["sigmas"] if k.split("/")[1] in SCHEDULES])
def test_sigmas_equal_comfyui(key: str) -> None:
    family, scheduler, steps = key.split("/")
    found = SCHEDULES[scheduler](schedule_of(family), int(steps))
    np.testing.assert_allclose(found, TABLES["sigmas"][key], rtol=0, atol=1e-6)


@pytest.mark.parametrize("key", [k for k in TABLES["denoise"] if k.split("/")[1] in SCHEDULES])
def test_sigmas_of_a_strength_equal_comfyui(key: str) -> None:
    family, scheduler, steps, strength = key.split("/")
    schedule = schedule_of(family)
    found = sigmas_for("euler", scheduler, int(steps), float(strength), noise_schedule=schedule)
    np.testing.assert_allclose(found, TABLES["denoise"][key], rtol=0, atol=1e-6)


@pytest.mark.parametrize("key", TABLES["ksampler_discard_penultimate"])
def test_sigmas_without_the_penultimate_equal_comfyui(key: str) -> None:
    family, scheduler, steps, *strength = key.split("/")
    found = sigmas_for(
        "dpm_2",
        scheduler,
        int(steps),
        float(strength[0]) if strength else 1,
        noise_schedule=schedule_of(family),
    )
    expected = TABLES["ksampler_discard_penultimate"][key]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("known", TABLES["nodes"]["ModelSamplingFlux"])
def test_the_shift_of_a_size_equals_model_sampling_flux(known: Mapping[str, Any]) -> None:
    tokens = known["width"] * known["height"] / 256
    mu = linear_mu(tokens, (256, known["base_shift"]), (4096, known["max_shift"]))
    assert mu == pytest.approx(known["mu"], abs=1e-9)
    schedule = FlowSchedule(shift=math.exp(mu), entries=10_000)
    for key, expected in known["sigmas"].items():
        name, steps = key.split("/")
        found = SCHEDULES[name](schedule, int(steps))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("known", TABLES["nodes"]["Flux2Scheduler"])
def test_the_shift_of_a_size_and_steps_equals_flux2_scheduler(known: Mapping[str, Any]) -> None:
    tokens = round(known["width"] * known["height"] / 256)
    assert flux2_mu(tokens, known["steps"]) == pytest.approx(known["mu"], abs=1e-9)


def test_the_shift_stays_beyond_the_steps_that_flux2_was_fitted_to() -> None:
    for tokens in (16, 4096, 5000):
        assert (
            flux2_mu(tokens, 2800)
            == flux2_mu(tokens, 200)
            == pytest.approx(0.00016927 * tokens + 0.45666666)
        )


def denoise(x: Tensor, sigma: float, first: float = 0.8, second: float = -0.5) -> Tensor:
    """Return the mean of what x may have been: a mixture of two normal distributions."""
    x64, s = x.double(), float(np.float32(sigma))
    a, variance = 1 - s, 0.09
    q = a * a * variance + s * s
    weight = torch.sigmoid((-((x64 - a * first) ** 2) + (x64 - a * second) ** 2) / (2 * q))
    means = [(m * s * s + a * x64 * variance) / q for m in (first, second)]
    return (weight * means[0] + (1 - weight) * means[1]).float()


@pytest.mark.parametrize("key", [key for key in OURS if SAMPLERS[RUNS[key]["sampler"]].brownian])
def test_noise_is_that_of_the_stretches_that_comfyui_asks_for(key: str) -> None:
    run, schedule = RUNS[key], schedule_of(RUNS[key]["model_sampling"])
    sampler, sigmas = SAMPLERS[run["sampler"]], torch.tensor(run["sigmas"])
    found = [(each[0], each[-1]) for each in stretches_of(sampler, sigmas, schedule)]
    # A path does not tell apart what differs by less.
    np.testing.assert_allclose(found, run["noise_calls"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("key", OURS)
def test_samplers_equal_comfyui(key: str, arrays: Mapping[str, np.ndarray]) -> None:
    run, schedule = RUNS[key], schedule_of(RUNS[key]["model_sampling"])
    sampler = SAMPLERS[run["sampler"]]
    strength = run["denoise"]
    sigmas = sigmas_for(
        run["sampler"], run["scheduler"], run["steps"], strength, noise_schedule=schedule
    )
    np.testing.assert_allclose(sigmas, run["sigmas"], rtol=0, atol=1e-6)
    sigmas = torch.tensor(run["sigmas"])  # long steps raise their last bits to the fifth digit
    noise = torch.from_numpy(arrays["noise"])
    given = run["mode"] != "txt2img"
    latents = torch.from_numpy(arrays["latent"]) if given else torch.zeros_like(noise)
    bank = NoiseSource(lambda number: torch.from_numpy(arrays["noise_bank"][number]))
    x = schedule.add_noise(latents, noise, float(sigmas[0]))
    sampling = sampler(x, sigmas, bank, schedule)
    if run["mode"].startswith("inpaint"):
        ddim = run["sampler"] == "ddim"
        kept = torch.from_numpy(arrays["ddim_inpaint_noise"]) if ddim else noise
        mask = torch.from_numpy(arrays["mask"]).reshape(1, 1, *arrays["mask"].shape[-2:])
        sampling = keep_unmasked(sampling, latents, kept, mask, schedule.add_noise)
    requested: list[float] = []

    def listen(x: Tensor, sigma: float) -> Tensor:
        requested.append(sigma)
        cond = denoise(x, sigma)
        if not sampler.unguided:
            return cond
        uncond = denoise(x, sigma, 0.5, -0.2)
        return torch.cat([uncond + 1.2 * (cond - uncond), uncond])

    found = drive(sampling, listen)
    np.testing.assert_allclose(requested, run["model_calls"], rtol=0, atol=1e-6)
    tolerance = max(1e-5, 4 * (run["max_abs_diff_to_a_float64_run"] or 0))
    np.testing.assert_allclose(found.numpy(), arrays[key], rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if SAMPLERS[name].flows])
def test_a_run_that_ends_before_the_picture_holds_its_noise(name: str) -> None:
    """Where each prediction is the noise alone, or the latent alone, so is x at the last σ."""
    schedule = FlowSchedule(shift=3.0)
    sigmas = torch.tensor([0.9, 0.7, 0.5, 0.4])
    latent, noise = torch.full((1, 1, 1, 1), 0.7), torch.full((1, 1, 1, 1), 3.0)
    x = schedule.add_noise(latent, noise, float(sigmas[0]))
    quiet = SAMPLERS[name](x, sigmas, torch.zeros_like, schedule)
    answer = torch.cat([latent, latent]) if SAMPLERS[name].unguided else latent
    found = drive(quiet, lambda x, sigma: answer)
    if SAMPLERS[name].uses_noise:  # the noise that it takes away is not given back here
        assert (found - 0.6 * latent).abs() < (x - 0.1 * latent).abs()
    else:
        assert found.item() == pytest.approx(0.6 * 0.7 + 0.4 * 3.0, abs=1e-5)


def test_ddpm_is_refused_for_flow_models() -> None:
    with pytest.raises(OptionError, match="'ddpm'"):
        sigmas_for("ddpm", "simple", 4, noise_schedule=FlowSchedule())
