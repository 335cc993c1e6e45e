"""Whose numbers noise is: ComfyUI's, CUDA's, A1111's, and that of older recipes."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engine.denoise import noise as noises
from engine.denoise.brownian import BrownianPath
from engine.denoise.flow import FlowSchedule
from engine.denoise.noise import JobNoise, slerp
from engine.denoise.philox import PART, cuda_randn
from engine.denoise.samplers import SAMPLERS, DrawNoise, drive
from engine.recipe import limits
from engine.recipe.limits import BROWNIAN, INDEPENDENT
from engine.recipe.parts import Variation
from engine.recipe.recipe import Recipe
from tests.bench.orders import denoise
from tests.conftest import REFERENCE
from tests.factories import make_recipe
from tests.noises import added, initial_noise

SHAPE = (4, 16, 16)
SIGMAS = torch.tensor([14.614640235900879, 5.0, 1.5, 0.4, 0.03, 0.0])
X = torch.zeros(1, *SHAPE)
CASES: list[dict[str, Any]] = json.loads((REFERENCE / "noise.json").read_text())["cases"]
# What `torch.randn` on CUDA begins with for seed 0.
OF_CUDA = (
    *(-0.92466, -0.42534, -2.64385, 0.14518, -0.12087, -0.57973),
    *(-0.62285, -0.32839, -1.07454, -0.36314, -1.67105, 2.26550),
)


def noise(seed: int) -> Tensor:
    return initial_noise(seed, 1, SHAPE)


def start(recipe: Recipe, picture: int = 0) -> Tensor:
    return JobNoise(recipe).start(picture, SHAPE)


def steps(draw: DrawNoise, count: int = 3) -> list[Tensor]:
    return [draw(X) for _ in range(count)]


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case["sampler"] in SAMPLERS],
    ids=lambda case: f"{case['sampler']}-{case['schedule']}-{case['batch']}",
)
def test_samplers_with_noise_equal_comfyuis(case: dict[str, Any]) -> None:
    """Each picture is a slice of ComfyUI's batch, and is drawn alone or with the others."""
    sigmas, count, shape = torch.tensor(case["sigmas"]), case["batch"], (4, 8, 8)
    recipe = make_recipe(seed=int(case["seed"]), count=count, sampler=case["sampler"])
    sampler, batch = SAMPLERS[recipe.sampler], JobNoise(recipe)
    x = initial_noise(7, count, shape) * math.sqrt(1 + case["sigmas"][0] ** 2)
    wanted = np.array(case["x"]).reshape(count, *shape)
    for picture in range(count):
        for job_noise in (batch, JobNoise(replace(recipe, picture=picture))):
            source = job_noise.between_steps(picture, shape, sampler, sigmas)
            made = drive(sampler(x[picture : picture + 1], sigmas, source), denoise)
            np.testing.assert_allclose(made[0].numpy(), wanted[picture], rtol=0, atol=1e-5)


def test_every_sampler_with_noise_is_compared_with_comfyui() -> None:
    noisy = {name for name, sampler in SAMPLERS.items() if sampler.uses_noise}
    # These as flow models have them, in `test_flow`.
    others = {"res_multistep_ancestral", "sa_solver_pece", "exp_heun_2_x0_sde"}
    others |= noisy & set(limits.CFG_PP)
    assert noisy == {case["sampler"] for case in CASES} | others


def test_recipes_know_which_samplers_add_noise() -> None:
    assert {name for name, sampler in SAMPLERS.items() if sampler.brownian} == set(BROWNIAN)
    noisy = {name for name, sampler in SAMPLERS.items() if sampler.uses_noise}
    assert noisy == {*limits.ANCESTRAL, *BROWNIAN}


def test_cudas_numbers_are_cudas() -> None:
    assert cuda_randn(0, 0, 0, 12).tolist() == pytest.approx(OF_CUDA, abs=1e-5)


def test_cudas_numbers_are_normal_and_differ_by_seed_and_draw() -> None:
    count = PART + 1000
    found = [cuda_randn(*which, 0, count) for which in ((1, 0), (1, 1), (2, 0), (2**32 + 1, 0))]
    for each in found:
        assert each.mean().item() == pytest.approx(0, abs=0.03)
        assert each.std().item() == pytest.approx(1, abs=0.03)
    together = torch.stack(found)
    assert torch.corrcoef(together).fill_diagonal_(0).abs().max() < 0.03


def test_a_part_of_cudas_draw_is_that_part() -> None:
    whole = cuda_randn(5, 3, 0, 3 * PART)
    assert cuda_randn(5, 3, PART - 7, PART + 99).equal(whole[PART - 7 : 2 * PART + 92])


@pytest.mark.parametrize("name", [name for name in SAMPLERS if SAMPLERS[name].uses_noise])
@pytest.mark.parametrize("choice", [{}, {"noise": "gpu"}, {"noise": "gpu", "ensd": 0}])
def test_a_picture_has_the_same_noise_alone_in_a_batch_and_as_a_slice(
    name: str, choice: dict[str, Any]
) -> None:
    recipe = make_recipe(seed=9, count=3, sampler=name, **choice)
    batch, sampler = JobNoise(recipe), SAMPLERS[name]
    together = [batch.between_steps(each, SHAPE, sampler, SIGMAS) for each in range(3)]
    # Pictures advance together, one runs ahead, or one lags behind all others.
    drawn: dict[int, list[Tensor]] = {each: [] for each in range(3)}
    for picture in (0, 1, 2, 1, 0, 2, 0, 0, 1, 1, 2, 2):
        drawn[picture] += steps(together[picture], 1)
    for picture in range(3):
        alone = JobNoise(replace(recipe, picture=picture))
        assert alone.start(picture, SHAPE).equal(batch.start(picture, SHAPE))
        wanted = steps(alone.between_steps(picture, SHAPE, sampler, SIGMAS), 4)
        assert all(map(torch.equal, drawn[picture], wanted))


@pytest.mark.parametrize(
    ("choice", "calls"),
    [({}, 4), ({"noise": "gpu"}, 4), ({"sampler": "dpmpp_2m_sde"}, None)],
)
def test_a_job_draws_once_for_all_its_pictures(
    choice: dict[str, Any], calls: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(kind: Callable[..., Callable[[int], Tensor]]) -> Callable[..., Any]:
        def numbers(*args: Any) -> Callable[[int], Tensor]:
            draw = kind(*args)

            def note(number: int) -> Tensor:
                made.append(number)
                return draw(number)

            return note

        return numbers

    counting = {name: counted(kind) for name, kind in noises.NUMBERS.items()}
    monkeypatch.setattr(noises, "NUMBERS", counting)
    counts = []
    for count in (1, 8):
        made.clear()
        recipe = make_recipe(**{"count": count, "sampler": "euler_ancestral", **choice})
        job_noise = JobNoise(recipe)
        sampler = SAMPLERS[recipe.sampler]
        sources = [job_noise.between_steps(each, SHAPE, sampler, SIGMAS) for each in range(count)]
        for _ in range(4):
            for source in sources:
                source(X)
        counts.append(len(made))
    assert counts == [calls or counts[0]] * 2


def test_a_gpu_draws_between_steps_from_the_seed_itself() -> None:
    recipe = make_recipe(seed=0, sampler="euler_ancestral", noise="gpu")
    first, second = steps(added(recipe, SIGMAS, SHAPE), 2)
    assert first.flatten()[:12].tolist() == pytest.approx(OF_CUDA, abs=1e-5)
    assert second.flatten().equal(cuda_randn(0, 1, 0, X.numel()))
    assert start(recipe).equal(noise(0))


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
@pytest.mark.parametrize("ensd", [0, 31337, -3])
def test_a1111s_generator_goes_on_after_the_start_noise_or_begins_anew(
    kind: str, ensd: int
) -> None:
    recipe = make_recipe(seed=2, sampler="euler_ancestral", noise=kind, ensd=ensd)
    generator = noises.NUMBERS[kind]
    own = generator(2, 1, SHAPE, [0])
    assert start(recipe).equal(own(0))
    other = generator((2 + ensd) % 2**64, 1, SHAPE, [0])
    wanted = [own(1), own(2)] if ensd == 0 else [other(0), other(1)]
    assert all(map(torch.equal, steps(added(recipe, SIGMAS, SHAPE), 2), wanted))


def test_variations_are_of_the_same_numbers_as_the_start_noise() -> None:
    varied = make_recipe(seed=1, noise="gpu", ensd=0, variations=(Variation(seed=0, amount=1),))
    assert start(varied).flatten()[:12].tolist() == pytest.approx(OF_CUDA, abs=1e-5)


def test_a_path_is_the_same_wherever_it_is_looked_at() -> None:
    def path() -> BrownianPath:
        return BrownianPath(3, 0.1, 12.0, lambda seed: initial_noise(seed, 1, SHAPE))

    whole, by_parts = path().walk(0.1), path()
    parts = [by_parts.walk(sigma) for sigma in (7.0, 6.999, 2.5, 0.3, 0.1)]
    assert torch.allclose(sum(parts, torch.zeros(())), whole, atol=1e-5)
    for part, (high, low) in zip(parts, pairwise((12.0, 7.0, 6.999, 2.5, 0.3, 0.1)), strict=True):
        assert part.std().item() == pytest.approx(math.sqrt(high - low), rel=0.1)


def test_a_path_tells_a_millionth_apart_and_no_less() -> None:
    path = BrownianPath(3, 0.1, 12.0, lambda seed: initial_noise(seed, 1, SHAPE))
    path.walk(2.0)
    assert path.walk(2.0 - 1e-7).abs().max() == 0
    assert path.walk(2.0 - 2e-6).std().item() == pytest.approx(math.sqrt(2e-6), rel=0.1)


@pytest.mark.parametrize("is_flow", [False, True])
@pytest.mark.parametrize("noise_of", ["cpu", INDEPENDENT])
def test_the_noise_of_a_whole_step_holds_that_of_its_half(noise_of: str, is_flow: bool) -> None:
    flow = FlowSchedule(shift=3.0) if is_flow else None
    sigmas = torch.tensor([0.8, 0.6, 0.0]) if is_flow else torch.tensor([4.0, 1.0, 0.0])
    recipe = make_recipe(sampler="dpmpp_sde", noise=noise_of, width=512, height=512)
    shape = (4, 64, 64)
    half, whole = steps(added(recipe, sigmas, shape, flow), 2)
    if is_flow:
        # Half-way in log(σ/(1 − σ)).
        ratio = math.sqrt(0.8 / 0.2 * 0.6 / 0.4)
        middle = ratio / (1 + ratio)
        share = (0.8 - middle) / (0.8 - 0.6)
        if noise_of == INDEPENDENT:  # which shares in that ratio
            share = (4 - ratio) / (4 - 1.5)
    else:
        share = (4 - 2) / (4 - 1)
    both = torch.corrcoef(torch.stack([half.flatten(), whole.flatten()]))
    assert both[0, 1].item() == pytest.approx(math.sqrt(share), abs=0.02)
    assert whole.std().item() == pytest.approx(1, abs=0.02)


def test_older_recipes_draw_each_step_alone() -> None:
    """Marble's noise of SDE samplers before recipes of version 3: seed + 1, draw after draw."""
    old = Recipe.from_dict({**make_recipe(seed=4, sampler="dpmpp_2m_sde").to_dict(), "version": 2})
    generator = torch.Generator().manual_seed(5)
    for drawn in steps(added(old, SIGMAS, SHAPE)):
        assert drawn.equal(torch.randn(1, *SHAPE, generator=generator))


@pytest.mark.parametrize(
    ("name", "is_flow", "wanted"),
    [
        ("dpmpp_2m_sde", False, (-0.4919813, -0.4236149, 0.9063106, 0.4875204)),
        ("dpmpp_2m_sde", True, (-0.4957733, -0.7022002, 0.5726647, 0.3470615)),
        ("dpmpp_sde", False, (-0.7490160, -0.2828569, 0.9358224, 0.5782551)),
        ("dpmpp_sde", True, (-0.6534229, -0.0823736, 0.6682940, 0.3997982)),
        ("dpmpp_3m_sde", False, (-1.3148011, -1.8455232, 1.7659653, 1.3083202)),
        ("dpmpp_3m_sde", True, (-1.1488965, -1.0427917, 0.8304724, 0.4304811)),
    ],
)
def test_older_recipes_draw_what_they_drew(
    name: str, is_flow: bool, wanted: tuple[float, ...]
) -> None:
    """What the program made of these values before recipes of version 3."""
    sigmas = torch.tensor([1.0, 0.9, 0.7, 0.4, 0.1, 0.0]) if is_flow else SIGMAS
    flow = FlowSchedule(shift=3.0) if is_flow else None
    recipe = make_recipe(seed=11, count=3, picture=1, sampler=name, noise=INDEPENDENT)
    sampler, x = SAMPLERS[name], initial_noise(7, 1, (4, 8, 8)) * sigmas[0]
    source = added(recipe, sigmas, (4, 8, 8), flow)
    made = drive(sampler(x, sigmas, source, flow), denoise)
    assert made.flatten()[:4].tolist() == pytest.approx(wanted, abs=1e-6)


def test_choices_are_those_that_recipes_know() -> None:
    assert set(noises.NUMBERS) == set(limits.NOISES) - {INDEPENDENT}


@given(amount=st.floats(0, 1))
def test_noise_between_two_seeds_is_as_long_as_noise(amount: float) -> None:
    between = slerp(noise(1), noise(2), amount)
    assert between.std().item() == pytest.approx(1, abs=0.05)


def test_the_angle_grows_with_the_amount() -> None:
    first, second = noise(1), noise(2)

    def angle(a: Tensor, b: Tensor) -> float:
        return math.acos(float((a * b).sum() / (a.norm() * b.norm())))

    whole = angle(first, second)
    for amount in (0.2, 0.5, 0.9):
        assert angle(first, slerp(first, second, amount)) == pytest.approx(whole * amount, abs=0.03)


def test_no_way_and_the_whole_way() -> None:
    assert slerp(noise(1), noise(2), 0).equal(noise(1))
    assert slerp(noise(1), noise(2), 1).equal(noise(2))


def test_noise_towards_itself_or_its_opposite_stays_finite() -> None:
    assert slerp(noise(1), noise(1), 0.5).allclose(noise(1))
    assert slerp(noise(1), -noise(1), 0.5).isfinite().all()


def test_a_recipe_without_variations_starts_from_its_seed_alone() -> None:
    recipe = make_recipe(seed=3, count=2)
    assert start(recipe, 1).equal(initial_noise(3, 2, SHAPE, [1]))


def test_variations_follow_one_upon_the_other() -> None:
    recipe = make_recipe(
        seed=1, variations=(Variation(seed=2, amount=0.5), Variation(seed=3, amount=0.25))
    )
    expected = slerp(slerp(noise(1), noise(2), 0.5), noise(3), 0.25)
    assert start(recipe).equal(expected)


def test_each_picture_of_a_grid_varies_by_its_own_slice() -> None:
    recipe = make_recipe(seed=1, count=3, variations=(Variation(seed=2, amount=1),))
    assert start(recipe, 2).equal(initial_noise(2, 3, SHAPE, [2]))
