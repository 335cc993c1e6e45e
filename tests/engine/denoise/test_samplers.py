"""Samplers against reference results, and against what their papers promise."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from scipy.integrate import quad
from torch import Tensor

from engine.denoise.flow import FlowSchedule
from engine.denoise.noise import JobNoise
from engine.denoise.samplers import SAMPLERS, Request, advance, drive
from engine.denoise.samplers.ancestral import dpm_2_ancestral, dpmpp_2s_ancestral, euler_ancestral
from engine.denoise.samplers.base import Sampling, ancestral_step
from engine.denoise.samplers.multistep import _vp_time
from engine.denoise.samplers.sde import dpmpp_2m_sde, dpmpp_3m_sde, dpmpp_sde
from engine.denoise.schedules import SCHEDULES, sigmas_for
from engine.loading.noise_schedule import NoiseSchedule, SigmaTable
from engine.recipe import limits
from tests.bench.orders import CASES, denoise, order
from tests.conftest import REFERENCE
from tests.factories import make_recipe
from tests.noises import added, draws

Run = Callable[..., Sampling]

SIGMAS = torch.tensor([9.0, 2.0, 0.5, 0.0])

SD = NoiseSchedule()
DETERMINISTIC = [name for name, sampler in SAMPLERS.items() if not sampler.uses_noise]
NOISY = [name for name, sampler in SAMPLERS.items() if sampler.uses_noise]


@pytest.fixture(scope="module")
def reference() -> Mapping[str, np.ndarray]:
    with np.load(REFERENCE / "samplers.npz") as data:
        return dict(data)


def silence(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


def begin(sigmas: Tensor) -> Tensor:
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    return SD.start(noise, sigmas[0].item())


def sample(name: str, sigmas: Tensor, seed: int = 0) -> Tensor:
    noise = added(make_recipe(seed=seed, sampler=name), sigmas)
    return drive(SAMPLERS[name](begin(sigmas), sigmas, noise), denoise)


def picture(number: int, noise: JobNoise, sigmas: Tensor, name: str) -> Tensor:
    """Return one picture of a job, from its start noise on."""
    shape, sampler = (4, 8, 8), SAMPLERS[name]
    x = SD.start(noise.start(number, shape), sigmas[0].item())
    between = noise.between_steps(number, shape, sampler, sigmas)
    return drive(sampler(x, sigmas, between), denoise)


# UniPC is compared with diffusers, exp_heun_2_x0 with ComfyUI on flow models' noise.
ELSEWHERE = {"uni_pc", "uni_pc_bh2", "exp_heun_2_x0"}


@pytest.mark.parametrize("name", [name for name in DETERMINISTIC if name not in ELSEWHERE])
@pytest.mark.parametrize("schedule", ["normal", "karras", "sgm_uniform"])
@pytest.mark.parametrize("steps", [4, 20])
def test_deterministic_samplers_equal_the_reference(
    name: str, schedule: str, steps: int, reference: Mapping[str, np.ndarray]
) -> None:
    # The schedule as it is, also for samplers that otherwise drop its penultimate σ.
    x = sample(name, SCHEDULES[schedule](SD, steps))
    # CFG++ is the sampler without it where the guided prediction is the unguided one.
    plain = name.removesuffix("_cfg_pp")
    key = f"{'euler' if plain == 'ddim' else plain}|{schedule}|{steps}"
    assert x.dtype == torch.float32
    # ComfyUI sums up the integrals of deis at points, which leaves more.
    atol = 1e-4 if name == "deis" else 1e-5
    np.testing.assert_allclose(x.numpy(), reference[key], rtol=0, atol=atol)


# diffusers' own code hands tensors to NumPy in a way that NumPy 2 warns about.
NUMPY_2 = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@NUMPY_2
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 20])
@pytest.mark.parametrize(("name", "variant"), [("uni_pc", "bh1"), ("uni_pc_bh2", "bh2")])
def test_uni_pc_equals_diffusers(name: str, variant: str, steps: int) -> None:
    theirs = UniPCMultistepScheduler(solver_order=3, solver_type=variant, prediction_type="epsilon")
    theirs.set_timesteps(steps)
    sigmas = theirs.sigmas = SCHEDULES["karras"](SD, steps).double()
    sigmas[-1] = 0.001
    x = begin(sigmas).double()
    ours = drive(SAMPLERS[name](x, sigmas, draws(0)), denoise)
    scales = (1 + sigmas**2).sqrt()
    for i, timestep in enumerate(theirs.timesteps):
        epsilon = (x - denoise(x, sigmas[i].item())) / sigmas[i]
        x = theirs.step(epsilon, timestep, x / scales[i]).prev_sample * scales[i + 1]
    assert torch.allclose(ours, x, rtol=0, atol=1e-12)


@NUMPY_2
@pytest.mark.parametrize(("name", "form"), [("", "midpoint"), ("_heun", "heun")])
@pytest.mark.parametrize("steps", [2, 5, 20])
def test_dpmpp_2m_sde_equals_diffusers(steps: int, name: str, form: str) -> None:
    theirs = DPMSolverMultistepScheduler(
        algorithm_type="sde-dpmsolver++",
        euler_at_final=True,
        prediction_type="epsilon",
        solver_type=form,
    )
    theirs.set_timesteps(steps)
    sigmas = theirs.sigmas = SCHEDULES["karras"](SD, steps)
    x, source = begin(sigmas), draws(3)
    ours = drive(SAMPLERS[f"dpmpp_2m_sde{name}"](x, sigmas, draws(3)), denoise)
    scales = (1 + sigmas**2).sqrt()
    for i, timestep in enumerate(theirs.timesteps):
        epsilon = (x - denoise(x, sigmas[i].item())) / sigmas[i]
        state, noise = x / scales[i], source(x)
        x = theirs.step(epsilon, timestep, state, variance_noise=noise).prev_sample * scales[i + 1]
    assert torch.allclose(ours, x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", SAMPLERS)
def test_requests_tell_their_step(name: str) -> None:
    sampler = SAMPLERS[name]
    sigmas = sigmas_for(name, "karras", 5, noise_schedule=SD)
    requests: list[Request] = []
    sampling = sampler(begin(sigmas), sigmas, draws(0))
    state = advance(sampling)
    while isinstance(state, Request):
        requests.append(state)
        denoised = denoise(state.x, state.sigma)
        answers = [denoised, denoised] if sampler.unguided else [denoised]
        state = advance(sampling, torch.cat(answers))
    counts = [sum(request.step == step for request in requests) for step in range(5)]
    usual = [sampler.evaluations] * 4 + [1]
    # Heun++ takes fewer where fewer steps are ahead; PECE predicts anew what it corrected.
    assert counts == {"heunpp2": [3, 3, 3, 2, 1], "sa_solver_pece": [1, 2, 2, 2, 2]}.get(
        name, usual
    )
    assert [request.step for request in requests] == sorted(r.step for r in requests)
    assert all(type(request.sigma) is float and request.sigma > 0 for request in requests)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_last_picture_is_the_last_denoised_one(name: str) -> None:
    sigmas = sigmas_for(name, "karras", 5, noise_schedule=SD)
    answers: list[Tensor] = []

    def listen(x: Tensor, sigma: float) -> Tensor:
        answers.append(denoise(x, sigma))
        return answers[-1]

    x = drive(SAMPLERS[name](begin(sigmas), sigmas, draws(0)), listen)
    # UniPC leaves a thousandth of noise.
    assert torch.allclose(x, answers[-1], atol=5e-3 if "uni_pc" in name else 1e-5)


@pytest.mark.parametrize("name", SAMPLERS)
def test_x_is_never_changed_in_place(name: str) -> None:
    sigmas = sigmas_for(name, "karras", 5, noise_schedule=SD)
    seen: list[tuple[Tensor, Tensor]] = [(x := begin(sigmas), x.clone())]

    def listen(x: Tensor, sigma: float) -> Tensor:
        seen.append((x, x.clone()))
        seen.append((denoised := denoise(x, sigma), denoised.clone()))
        return denoised

    drive(SAMPLERS[name](x, sigmas, draws(0)), listen)
    assert all(torch.equal(now, then) for now, then in seen)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_seed_gives_the_same_picture_again(name: str) -> None:
    sigmas = sigmas_for(name, "karras", 8, noise_schedule=SD)
    assert torch.equal(sample(name, sigmas, seed=1), sample(name, sigmas, seed=1))
    assert torch.equal(sample(name, sigmas, 1), sample(name, sigmas, 2)) == (name in DETERMINISTIC)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_picture_alone_equals_itself_among_its_siblings(name: str) -> None:
    sigmas = sigmas_for(name, "karras", 8, noise_schedule=SD)
    recipe = make_recipe(seed=5, count=4, sampler=name)
    together, alone = JobNoise(recipe), JobNoise(replace(recipe, picture=2))
    assert torch.equal(picture(2, together, sigmas, name), picture(2, alone, sigmas, name))


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_steps_change_nothing(name: str) -> None:
    x = torch.ones(1, 4, 8, 8)
    assert drive(SAMPLERS[name](x, torch.zeros(1), draws(0)), denoise) is x


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_gives_the_denoised_latent(name: str) -> None:
    sigmas = sigmas_for(name, "karras", 1, noise_schedule=SD)
    x = begin(sigmas)
    end = sample(name, sigmas)
    assert torch.allclose(end, denoise(x, sigmas[0].item()), atol=5e-3)


def test_added_noise_differs_from_the_start_noise_of_its_seed() -> None:
    first = added(make_recipe(seed=7, sampler="lcm"), SIGMAS)(torch.zeros(1, 4, 8, 8))
    assert torch.equal(first, torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(8)))


def test_the_greatest_seed_has_noise_too() -> None:
    for name in ("lcm", "dpmpp_2m_sde"):
        noise = added(make_recipe(seed=2**64 - 1, sampler=name), SIGMAS)
        assert noise(torch.zeros(1, 4, 8, 8)).std().item() == pytest.approx(1, abs=0.2)


def test_noise_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    for name in ("lcm", "dpmpp_2m_sde"):
        added(make_recipe(sampler=name), SIGMAS)(torch.zeros(1, 4, 8, 8))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_an_ancestral_step_keeps_the_variance(eta: float) -> None:
    down, up, _ = ancestral_step(3.0, 2.0, eta)
    assert down**2 + up**2 == pytest.approx(4.0)
    assert ancestral_step(3.0, 0.0, eta) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("noisy", "quiet"),
    [
        (euler_ancestral, SAMPLERS["euler"].run),
        (dpm_2_ancestral, SAMPLERS["dpm_2"].run),
        (dpmpp_2m_sde, SAMPLERS["dpmpp_2m"].run),
        (dpmpp_sde, partial(dpmpp_2s_ancestral, eta=0.0)),
    ],
)
def test_without_noise_it_is_the_deterministic_sampler(noisy: Run, quiet: Run) -> None:
    sigmas = SCHEDULES["karras"](SD, 10).tolist()
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7)).double() * 14.6
    end = drive(noisy(x, sigmas, silence, eta=0.0), denoise)
    assert torch.allclose(end, drive(quiet(x, sigmas, silence), denoise), atol=1e-12)


# Samplers with other noise than DDPM's, with several draws a step, or with noise in some steps.
UNLIKE_DDPM = ("dpmpp_sde", "er_sde", "exp_heun_2_x0_sde", "sa_solver", "sa_solver_pece")


@pytest.mark.parametrize("name", sorted({*NOISY} - {"lcm", "seeds_2", "seeds_3", *UNLIKE_DDPM}))
def test_where_denoised_stays_the_same_a_step_is_ddpms(name: str) -> None:
    """Ho et al. (2020), arXiv:2006.11239, equation 7, in their variables: x/√(1+σ²)."""
    sigmas = SCHEDULES["karras"](SD, 6).double()
    x, latent = torch.tensor([3.0], dtype=torch.float64).reshape(1, 1, 1, 1), 0.7
    z = torch.randn(6, generator=torch.Generator().manual_seed(0)).double()
    draws = iter(z)
    end = drive(
        SAMPLERS[name](x, sigmas[:6], lambda x: next(draws).expand_as(x)),
        lambda x, _: torch.full_like(x, latent),
    )
    bars = 1 / (1 + sigmas**2)
    state = x.squeeze() * bars[0].sqrt()
    for bar, bar_next, noise in zip(bars[:5], bars[1:6], z, strict=False):
        alpha = bar / bar_next
        mean = bar_next.sqrt() * (1 - alpha) * latent + alpha.sqrt() * (1 - bar_next) * state
        variance = (1 - bar_next) / (1 - bar) * (1 - alpha)
        state = mean / (1 - bar) + variance.sqrt() * noise
    assert end.item() == pytest.approx((state / bars[5].sqrt()).item(), abs=1e-12)


# CFG++ in two stages takes the unguided prediction of another stage than the guided one.
@pytest.mark.parametrize("name", sorted({*NOISY} - {"lcm", "dpmpp_2s_ancestral_cfg_pp"}))
def test_noisy_samplers_draw_from_the_right_distribution(name: str) -> None:
    """Two bumps of σ .3 at .8 and −.5: mean .15, standard deviation .7159."""
    sigmas = sigmas_for(name, "karras", 30, noise_schedule=SD)
    x = torch.randn(1, 4, 32, 64, generator=torch.Generator().manual_seed(3)) * 14.65
    noise = added(make_recipe(seed=3, sampler=name), sigmas, (4, 32, 64))
    pictures = drive(SAMPLERS[name](x, sigmas, noise), denoise)
    assert pictures.mean().item() == pytest.approx(0.15, abs=0.03)
    assert pictures.std().item() == pytest.approx(0.7159, abs=0.05)


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        # Of 999 timesteps, 799.2 and 199.8; of a flow of shift 3, 0.8 and 0.2.
        (SD, (SD.sigma(799.2).item(), SD.sigma(199.8).item())),
        (FlowSchedule(shift=3.0), (2.4 / 2.6, 0.6 / 1.4)),
    ],
)
def test_sa_solver_adds_noise_in_the_middle_of_a_models_time(
    table: SigmaTable, wanted: tuple[float, float]
) -> None:
    high, low = wanted
    middle = (high + low) / 2
    sigmas = [high * 1.02, high * 1.01, high * 0.999, middle, low * 1.001, low * 0.999, 0.0]
    noisy: list[float] = []
    asked = [0.0]

    def note(x: Tensor) -> Tensor:
        noisy.append(asked[-1])
        return torch.zeros_like(x)

    def listen(x: Tensor, sigma: float) -> Tensor:
        asked.append(sigma)
        return x * 0

    x = torch.zeros(1, 1, 1, 1)
    drive(SAMPLERS["sa_solver"](x, torch.tensor(sigmas), note, table), listen)
    assert noisy == pytest.approx(sigmas[1:4], rel=1e-6)  # in steps that end between both


def geometric(steps: int) -> list[float]:
    logs = torch.linspace(math.log(10), math.log(0.1), steps + 1, dtype=torch.float64)
    return logs.exp().tolist()


def test_every_deterministic_sampler_has_its_order_measured() -> None:
    # That of CFG++ is of the samplers without it.
    assert {name.removesuffix("_cfg_pp") for name in DETERMINISTIC} <= set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_errors_fall_with_the_order_of_the_paper(name: str) -> None:
    case = CASES[name]
    assert order(case, case.steps) == pytest.approx(case.order, abs=0.12)


def places(run: Run, sigmas: list[float], answer: Callable[[Tensor, float], Tensor]) -> list[float]:
    """Return where a sampler that starts at 0 asks."""
    asked: list[float] = []

    def listen(x: Tensor, sigma: float) -> Tensor:
        asked.append(x.item())
        return answer(x, sigma)

    drive(run(torch.zeros(1, dtype=torch.float64), sigmas, silence), listen)
    return asked


def vp_time(sigma: float) -> float:
    return float(_vp_time(np.array([sigma]))[0])


@pytest.mark.parametrize(
    ("run", "sigmas", "clock", "degree"),
    [
        (SAMPLERS["lms"].run, geometric(12), float, 3),
        (SAMPLERS["ipndm"].run, [10 - 0.8 * i for i in range(12)], float, 3),
        (SAMPLERS["deis"].run, geometric(12), vp_time, 2),
    ],
)
def test_polynomial_slopes_are_followed_exactly(
    run: Run, sigmas: list[float], clock: Callable[[float], float], degree: int
) -> None:
    def slope(sigma: float) -> float:
        return sum((k + 1) * clock(sigma) ** k for k in range(degree + 1))

    asked = places(run, sigmas, lambda x, sigma: x - sigma * slope(sigma))
    for i in range(degree, len(asked) - 1):
        exact = quad(slope, sigmas[i], sigmas[i + 1], epsabs=1e-13, epsrel=1e-12)[0]
        assert asked[i + 1] - asked[i] == pytest.approx(exact, rel=1e-7), i


@pytest.mark.parametrize(
    ("run", "degree", "first"),
    [
        (SAMPLERS["res_multistep"].run, 1, 1),
        (partial(dpmpp_3m_sde, eta=0.0), 1, 1),
        (SAMPLERS["uni_pc"].run, 2, 3),
        (SAMPLERS["uni_pc_bh2"].run, 2, 3),
    ],
)
def test_polynomial_denoised_latents_are_followed_exactly(
    run: Run, degree: int, first: int
) -> None:
    """`denoised` is λ^degree, λ = −log σ: x − denoised + denoised′ − … falls like σ."""
    sigmas = geometric(12)

    def path(sigma: float) -> float:
        level = -math.log(sigma)
        return level - 1 if degree == 1 else level**2 - 2 * level + 2

    asked = places(run, sigmas, lambda x, sigma: torch.full_like(x, (-math.log(sigma)) ** degree))
    off = [(x - path(sigma)) / sigma for x, sigma in zip(asked, sigmas, strict=False)]
    assert off[first + 1 : 10] == pytest.approx([off[first]] * len(off[first + 1 : 10]), rel=1e-9)


def test_dpmpp_3m_sde_counts_half_of_the_bend() -> None:
    sigmas, h = geometric(12), math.log(100) / 12

    def off(x: float, sigma: float) -> float:
        level = -math.log(sigma)
        return x - (level**2 - 2 * level + 2)

    run = partial(dpmpp_3m_sde, eta=0.0)
    asked = places(run, sigmas, lambda x, sigma: torch.full_like(x, math.log(sigma) ** 2))
    missing = h**2 / 2 - h * (math.expm1(-h) / h + 1)
    for i in range(2, 11):
        carried = off(asked[i], sigmas[i]) * sigmas[i + 1] / sigmas[i]
        assert carried - off(asked[i + 1], sigmas[i + 1]) == pytest.approx(missing, rel=1e-9)


def test_lcm_noises_each_denoised_latent_anew() -> None:
    source = draws(4)
    x, zeros = torch.full((1, 4, 8, 8), 3.0), torch.zeros(1, 4, 8, 8)
    sampling = SAMPLERS["lcm"](x, torch.tensor([9.0, 2.0, 0.0]), draws(4))
    first, second = advance(sampling), advance(sampling, zeros)
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    assert torch.equal(second.x, source(zeros) * 2)
    assert advance(sampling, x) is x


def test_recipes_know_every_sampler() -> None:
    assert tuple(SAMPLERS) == limits.SAMPLERS


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_pair_ends_in_finite_pictures(name: str, schedule: str) -> None:
    for steps, strength in ((1, 1.0), (2, 1.0), (7, 0.5), (150, 0.05)):
        sigmas = sigmas_for(name, schedule, steps, strength, noise_schedule=SD)
        assert sample(name, sigmas).isfinite().all(), (steps, strength)
