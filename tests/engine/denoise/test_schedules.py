"""Noise tables and schedules against reference values, and the rules around them."""

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta as beta_distribution

from engine.denoise.samplers import SAMPLERS
from engine.denoise.schedules import SCHEDULES, sigmas_for
from engine.errors import OptionError
from engine.loading.noise_schedule import NoiseSchedule, model_input, read_as
from engine.recipe import limits
from engine.sentences import Sentence
from tests.conftest import REFERENCE
from tests.noises import initial_noise

SD = NoiseSchedule()


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    data: dict[str, Any] = json.loads((REFERENCE / "sigmas.json").read_text())
    return data


def test_the_table_spans_the_known_range() -> None:
    assert SD.sigmas.dtype == torch.float32
    assert len(SD.sigmas) == 1000
    assert SD.sigma_min == pytest.approx(0.0291672, rel=1e-5)
    assert SD.sigma_max == pytest.approx(14.614641, rel=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [4, 20])
def test_schedules_equal_the_reference(
    schedule: str, steps: int, reference: dict[str, Any]
) -> None:
    expected = reference["sigmas"][f"eps/{schedule}/{steps}"]
    sigmas = SCHEDULES[schedule](SD, steps)
    assert sigmas.dtype == torch.float32
    assert sigmas.tolist() == pytest.approx(expected, rel=1e-5)
    assert sigmas[-1] == 0


def test_timesteps_equal_the_reference(reference: dict[str, Any]) -> None:
    for sigma, timestep in reference["timestep_of_sigma"].items():
        assert SD.timestep(float(sigma)).item() == timestep


def test_a_timestep_survives_the_way_through_sigma() -> None:
    timesteps = torch.arange(1000)
    assert torch.equal(SD.timestep(SD.sigma(timesteps)), timesteps)
    assert SD.timestep(SD.sigmas.reshape(10, 100)).shape == (10, 100)


def test_sigma_between_two_timesteps_is_their_geometric_mean() -> None:
    low, high = SD.sigmas[499:501].tolist()
    assert SD.sigma(499.5).item() == pytest.approx(math.sqrt(low * high), rel=1e-6)


def test_timesteps_outside_the_table_stay_at_its_ends() -> None:
    ends = SD.sigma(torch.tensor([-1.0, 5000.0]))
    assert ends.tolist() == pytest.approx([SD.sigma_min, SD.sigma_max])


def test_the_beta_schedule_rounds_as_scipy_does() -> None:
    for steps in (*range(1, 151), 333, 500, 999, 1000, 1500):
        quantiles = [1 - i * (1 / steps) for i in range(steps)]
        timesteps = (beta_distribution.ppf(quantiles, 0.6, 0.6) * 999).round()
        unique = sorted({int(t) for t in timesteps}, reverse=True)
        assert SCHEDULES["beta"](SD, steps)[:-1].tolist() == SD.sigmas[unique].tolist(), steps


def test_ddim_uniform_runs_one_step_more_than_asked_for() -> None:
    assert len(sigmas_for("euler", "ddim_uniform", 30, noise_schedule=SD)) - 1 == 31


@settings(deadline=None)  # the machine may be busy
@given(
    st.sampled_from(sorted(SAMPLERS)),
    st.sampled_from(sorted(SCHEDULES)),
    st.integers(1, 150),
    st.floats(0.01, 1),
)
def test_sigmas_always_fall_to_zero(
    sampler: str, schedule: str, steps: int, strength: float
) -> None:
    sigmas = sigmas_for(sampler, schedule, steps, strength, noise_schedule=SD)
    assert len(sigmas) >= 2
    assert sigmas[-1] == 0
    assert bool((sigmas.diff() < 0).all())
    assert sigmas[0].item() <= SD.sigma_max * 1.000001


def test_strength_keeps_the_last_steps_of_a_longer_schedule() -> None:
    sigmas = sigmas_for("euler", "karras", 20, 0.6, noise_schedule=SD)
    assert torch.equal(sigmas, SCHEDULES["karras"](SD, 33)[-21:])


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"sampler": "oiler"}, "sampler"),
        ({"schedule": "kerras"}, "schedule"),
        ({"steps": 0}, "steps"),
        ({"strength": 0.0}, "strength"),
        ({"strength": 1.5}, "strength"),
        ({"strength": math.nan}, "strength"),
    ],
)
def test_a_bad_value_is_named(values: dict[str, Any], option: str) -> None:
    settings: dict[str, Any] = {"sampler": "euler", "schedule": "normal", "steps": 20, **values}
    with pytest.raises(OptionError, match=f"^{option} must be") as error:
        sigmas_for(**settings, noise_schedule=SD)
    assert error.value.option == option
    assert isinstance(error.value.allowed, Sentence)


@pytest.mark.parametrize("key", ["beta_schedule", "prediction_type"])
def test_an_unknown_noise_table_is_refused(key: str) -> None:
    values: dict[str, Any] = {key: "cosine"}
    with pytest.raises(ValueError, match=f"{key} must be one of .*, not 'cosine'"):
        NoiseSchedule(**values)


def test_noise_schedules_are_equal_by_value() -> None:
    assert NoiseSchedule() == SD
    assert len({SD, NoiseSchedule(), NoiseSchedule(prediction_type="v_prediction")}) == 2


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_denoised_undoes_the_noise(prediction_type: str) -> None:
    model = NoiseSchedule(prediction_type=prediction_type)
    latent, noise = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.03, 1.0, 14.6]).reshape(-1, 1, 1, 1)
    x = latent + noise * sigma
    alpha = 1 / (sigma**2 + 1).sqrt()
    answers = {"epsilon": noise, "v_prediction": alpha * noise - sigma * alpha * latent}
    denoised = model.denoised(x, sigma, answers[prediction_type])
    assert torch.allclose(denoised, latent, atol=1e-5)


def test_a_row_with_its_own_sigma_equals_a_call_with_that_number() -> None:
    x, output = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    sigmas = torch.tensor([0.5, 7.0]).reshape(-1, 1, 1, 1)
    rows, scaled = SD.denoised(x, sigmas, output), model_input(x, sigmas)
    for i, sigma in enumerate([0.5, 7.0]):
        assert torch.allclose(rows[i], SD.denoised(x[i], sigma, output[i]), rtol=1e-6)
        assert torch.allclose(scaled[i], model_input(x[i], sigma), rtol=1e-6)


def test_half_precision_stops_at_the_model() -> None:
    x = torch.ones(1, 4, 8, 8)
    assert SD.denoised(x, 1.0, x.half()).dtype == torch.float32


def test_a_scaled_input_has_unit_variance() -> None:
    x = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(0)) * 14.6
    x += torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(1))
    assert model_input(x, 14.6).std().item() == pytest.approx(1, abs=0.02)


def test_initial_noise_equals_the_reference(reference: dict[str, Any]) -> None:
    for key, expected in reference["noise_first6"].items():
        seed, shape = key.split("/")
        count, *latent = map(int, shape.strip("()").split(","))
        noise = initial_noise(int(seed), count, latent)
        # Processors without AVX2 round the last bit otherwise.
        assert noise.flatten()[:6].tolist() == pytest.approx(expected, rel=1e-6)


def test_a_picture_alone_starts_from_its_own_noise() -> None:
    grid = initial_noise(2**64 - 1, 4, (4, 8, 8))
    assert torch.equal(initial_noise(2**64 - 1, 4, (4, 8, 8), [3]), grid[3:])


def test_initial_noise_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    initial_noise(0, 1, (4, 8, 8))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_start_at_the_top_has_the_models_scale() -> None:
    noise, latent = initial_noise(0, 1, (4, 8, 8)), torch.full((1, 4, 8, 8), 5.0)
    for schedule in ("normal", "karras", "exponential", "simple", "sgm_uniform", "beta"):
        sigma = SCHEDULES[schedule](SD, 20)[0].item()
        assert torch.allclose(SD.start(noise, sigma), noise * 14.64881, rtol=1e-5)
        x = SD.start(noise, sigma, latent)
        assert torch.allclose(x - latent, noise * 14.64881, atol=1e-5)


def test_a_start_below_the_top_has_noise_of_sigma() -> None:
    noise, latent = initial_noise(0, 1, (4, 8, 8)), torch.full((1, 4, 8, 8), 5.0)
    assert torch.equal(SD.start(noise, 2.0, latent), latent + noise * 2)
    assert torch.equal(SD.start(noise, 2.0), noise * 2)


def test_recipes_know_every_schedule() -> None:
    assert tuple(SCHEDULES) == limits.SCHEDULES


LCM = read_as(SD, "lcm", zero_snr=False)


def test_lcm_takes_every_twentieth_noise_level() -> None:
    assert LCM.sigmas.tolist() == SD.sigmas[19::20].tolist()
    assert (LCM.sigma_max, LCM.timesteps) == (SD.sigma_max, (999, 19))
    assert LCM.timestep(LCM.sigmas).tolist() == list(range(19, 1000, 20))
    assert LCM.sigma(torch.arange(19, 1000, 20)).tolist() == pytest.approx(LCM.sigmas.tolist())
    halfway = (SD.sigmas[39] * SD.sigmas[59]).sqrt().item()
    assert LCM.sigma(49).item() == pytest.approx(halfway, rel=1e-5)
    # The nearest of its own levels.
    assert LCM.timestep(SD.sigmas[501]).item() == 499


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("sgm_uniform", (999, 754, 509, 264)),
        ("simple", (999, 759, 499, 259)),
        ("normal", (999, 2017 / 3, 1037 / 3, 19)),
    ],
)
def test_lcms_steps_are_spaced_between_its_own_levels(
    schedule: str, wanted: tuple[float, ...]
) -> None:
    found = SCHEDULES[schedule](LCM, 4)
    assert found.tolist() == pytest.approx([*LCM.sigma(torch.tensor(wanted)).tolist(), 0], rel=1e-5)


def test_lcm_reads_an_output_with_its_boundary() -> None:
    """Song et al. (2023): c_skip(t)·x + c_out(t)·x₀ with σ_data ½, and timesteps times ten."""
    generator = torch.Generator().manual_seed(0)
    x, output = torch.randn((2, 3, 4, 8, 8), generator=generator)
    t = torch.tensor([19.0, 499.0, 999.0]).reshape(3, 1, 1, 1)
    sigma = LCM.sigma(t)
    skip, out = 0.25 / ((10 * t) ** 2 + 0.25), 10 * t / ((10 * t) ** 2 + 0.25).sqrt()
    wanted = out * (x - sigma * output) + skip * x
    assert torch.allclose(LCM.denoised(x, sigma, output, t), wanted, rtol=0, atol=1e-5)
    assert torch.equal(LCM.denoised(x, sigma, output), LCM.denoised(x, sigma, output, t))


def test_other_readings_keep_the_table() -> None:
    x, output = torch.ones(2, 1, 4, 8, 8).unbind()
    assert read_as(SD, "eps", zero_snr=False) == SD
    assert torch.equal(read_as(SD, "x0", zero_snr=False).denoised(x, 2.0, output * 3), output * 3)
    v = read_as(SD, "v_prediction", zero_snr=True)
    assert v == NoiseSchedule(prediction_type="v_prediction", zero_snr=True)
    assert read_as(v, "v_prediction", zero_snr=False).sigma_max == SD.sigma_max
