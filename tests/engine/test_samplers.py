"""Samplers against reference results, and against what their papers promise."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine import recipe
from engine.samplers import SAMPLERS, NoiseSource, Request, advance, drive
from engine.samplers.ancestral import euler_ancestral
from engine.samplers.base import ancestral_step
from engine.schedules import NoiseSchedule, initial_noise, sigmas_for, start

SD = NoiseSchedule()
DETERMINISTIC = [name for name, sampler in SAMPLERS.items() if not sampler.uses_noise]
NOISY = [name for name, sampler in SAMPLERS.items() if sampler.uses_noise]


@pytest.fixture(scope="module")
def reference(shared: Path) -> Mapping[str, np.ndarray]:
    with np.load(shared / "reference/samplers.npz") as data:
        return dict(data)


def denoise(x: Tensor, sigma: float) -> Tensor:
    """Return the mean of the latents that x may come from, when they are two bumps."""
    wide, variance, (high, low) = x.double(), 0.09, (0.8, -0.5)
    total = variance + sigma**2
    weight = torch.sigmoid((-((wide - high) ** 2) + (wide - low) ** 2) / (2 * total))
    posts = [(mean * sigma**2 + wide * variance) / total for mean in (high, low)]
    return (weight * posts[0] + (1 - weight) * posts[1]).to(x.dtype)


def begin(sigmas: Tensor) -> Tensor:
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    return start(noise, sigmas[0].item(), SD.sigma_max)


def sample(name: str, sigmas: Tensor, seed: int = 0) -> Tensor:
    return drive(SAMPLERS[name](begin(sigmas), sigmas, NoiseSource(seed)), denoise)


@pytest.mark.parametrize("name", DETERMINISTIC)
@pytest.mark.parametrize("schedule", ["normal", "karras", "sgm_uniform"])
@pytest.mark.parametrize("steps", [4, 20])
def test_deterministic_samplers_equal_the_reference(
    name: str, schedule: str, steps: int, reference: Mapping[str, np.ndarray]
) -> None:
    key = f"{'euler' if name == 'ddim' else name}|{schedule}|{steps}"
    sigmas = sigmas_for(name, schedule, steps, noise_schedule=SD)
    x = sample(name, sigmas)
    assert x.dtype == torch.float32
    np.testing.assert_allclose(x.numpy(), reference[key], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SAMPLERS)
def test_requests_tell_their_step(name: str) -> None:
    sampler = SAMPLERS[name]
    sigmas = sigmas_for(name, "karras", 5, noise_schedule=SD)
    requests: list[Request] = []
    sampling = sampler(begin(sigmas), sigmas, NoiseSource(0))
    state = advance(sampling)
    while isinstance(state, Request):
        requests.append(state)
        state = advance(sampling, denoise(state.x, state.sigma))
    counts = [sum(request.step == step for request in requests) for step in range(5)]
    assert counts == [sampler.evaluations] * 4 + [1]
    assert [request.step for request in requests] == sorted(r.step for r in requests)
    assert all(type(request.sigma) is float and request.sigma > 0 for request in requests)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_last_picture_is_the_last_denoised_one(name: str) -> None:
    sigmas = sigmas_for(name, "karras", 5, noise_schedule=SD)
    answers: list[Tensor] = []

    def listen(x: Tensor, sigma: float) -> Tensor:
        answers.append(denoise(x, sigma))
        return answers[-1]

    x = drive(SAMPLERS[name](begin(sigmas), sigmas, NoiseSource(0)), listen)
    assert torch.allclose(x, answers[-1], atol=1e-5)


@pytest.mark.parametrize("name", SAMPLERS)
def test_x_is_never_changed_in_place(name: str) -> None:
    sigmas = sigmas_for(name, "karras", 5, noise_schedule=SD)
    seen: list[tuple[Tensor, Tensor]] = [(x := begin(sigmas), x.clone())]

    def listen(x: Tensor, sigma: float) -> Tensor:
        seen.append((x, x.clone()))
        seen.append((denoised := denoise(x, sigma), denoised.clone()))
        return denoised

    drive(SAMPLERS[name](x, sigmas, NoiseSource(0)), listen)
    assert all(torch.equal(now, then) for now, then in seen)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_seed_gives_the_same_picture_again(name: str) -> None:
    sigmas = sigmas_for(name, "karras", 8, noise_schedule=SD)
    assert torch.equal(sample(name, sigmas, seed=1), sample(name, sigmas, seed=1))
    assert torch.equal(sample(name, sigmas, 1), sample(name, sigmas, 2)) == (name in DETERMINISTIC)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_picture_alone_equals_itself_among_its_siblings(name: str) -> None:
    sigmas = sigmas_for(name, "karras", 8, noise_schedule=SD)
    grid = start(initial_noise(5, 4, (4, 8, 8)), sigmas[0].item(), SD.sigma_max)
    together = drive(SAMPLERS[name](grid, sigmas, NoiseSource(5, count=4)), denoise)
    alone = drive(SAMPLERS[name](grid[2:3], sigmas, NoiseSource(5, count=4, pictures=[2])), denoise)
    assert torch.equal(together[2:3], alone)


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_steps_change_nothing(name: str) -> None:
    x = torch.ones(1, 4, 8, 8)
    assert drive(SAMPLERS[name](x, torch.zeros(1), NoiseSource(0)), denoise) is x


def test_added_noise_differs_from_the_start_noise_of_its_seed() -> None:
    first = NoiseSource(7)(torch.zeros(1, 4, 8, 8))
    assert torch.equal(first, torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(8)))


def test_the_greatest_seed_has_noise_too() -> None:
    assert NoiseSource(2**64 - 1)(torch.zeros(1, 4, 8, 8)).std().item() == pytest.approx(1, abs=0.2)


def test_noise_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    NoiseSource(0)(torch.zeros(1, 4, 8, 8))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_an_ancestral_step_keeps_the_variance(eta: float) -> None:
    down, up = ancestral_step(3.0, 2.0, eta)
    assert down**2 + up**2 == pytest.approx(4.0)
    assert ancestral_step(3.0, 0.0, eta) == (0.0, 0.0)


def test_euler_ancestral_without_noise_is_euler() -> None:
    sigmas = sigmas_for("euler", "karras", 10, noise_schedule=SD)
    x = drive(euler_ancestral(begin(sigmas), sigmas.tolist(), NoiseSource(0), eta=0.0), denoise)
    assert torch.allclose(x, sample("euler", sigmas), atol=1e-6)


@pytest.mark.parametrize("name", sorted({*NOISY} - {"lcm"}))
def test_noisy_samplers_draw_from_the_right_distribution(name: str) -> None:
    """Two bumps of σ .3 at .8 and −.5: mean .15, standard deviation .7159."""
    sigmas = sigmas_for(name, "karras", 30, noise_schedule=SD)
    x = torch.randn(16, 4, 32, 32, generator=torch.Generator().manual_seed(3)) * 14.65
    pictures = drive(SAMPLERS[name](x, sigmas, NoiseSource(3, count=16)), denoise)
    assert pictures.mean().item() == pytest.approx(0.15, abs=0.03)
    assert pictures.std().item() == pytest.approx(0.7159, abs=0.05)


def test_lcm_noises_each_denoised_latent_anew() -> None:
    source = NoiseSource(4)
    x, zeros = torch.full((1, 4, 8, 8), 3.0), torch.zeros(1, 4, 8, 8)
    sampling = SAMPLERS["lcm"](x, torch.tensor([9.0, 2.0, 0.0]), NoiseSource(4))
    first, second = advance(sampling), advance(sampling, zeros)
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    assert torch.equal(second.x, source(zeros) * 2)
    assert advance(sampling, x) is x


def test_recipes_know_every_sampler() -> None:
    assert tuple(SAMPLERS) == recipe.SAMPLERS
