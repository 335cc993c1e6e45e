"""A second model that takes over: the pictures, their company, memory, and what people are told."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.denoise.denoising import evaluate
from engine.denoise.noise import JobNoise
from engine.denoise.samplers import SAMPLERS
from engine.denoise.samplers.base import drive as sample
from engine.denoise.schedules import sigmas_for
from engine.denoise.takeover import takeover_step
from engine.device.out_of_memory import Ladder
from engine.errors import Cancelled, UnknownModel, UserError
from engine.events import Ended, Key, Progress, Stage
from engine.families.stable_diffusion import StableDiffusion, load
from engine.files.stored import PictureFolder
from engine.loading.noise_schedule import NoiseSchedule, model_input
from engine.models.catalogue import Catalogue, describe
from engine.pipeline.batching import Account
from engine.pipeline.job import RunningJob, start
from engine.pipeline.loaded_model import LoadedModel
from engine.pipeline.residency import Residency
from engine.recipe.limits import ANEW, BY_NOISE
from engine.recipe.parts import Upscale
from engine.recipe.recipe import Recipe
from engine.spec import Spec
from engine.text_encode.conditioning import TextEncoder
from tests.engine.ticks import (
    drive,
    load_apart,
    make_loaded_model,
    pipeline_on,
    pngs,
    run,
    steps,
    unmeasured,
)
from tests.factories import make_recipe
from tests.models import make_model
from tests.single_files import make_true_model

CPU = torch.device("cpu")
ROOM = 2**40  # bytes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two models of one form, and one whose latents are others'."""
    root = tmp_path_factory.mktemp("pair")
    make_model(root / "first", seed=1)
    make_model(root / "second", seed=2)
    return root


def residency(folder: Path, room: int = ROOM) -> Residency:
    catalogue = Catalogue(folder)
    return Residency(catalogue, lambda each, _: load(each, CPU), unmeasured, Ladder(), room)


def no_upscale(*_: object) -> Any:
    raise AssertionError("nothing is upscaled here")


def refined(**changes: Any) -> Recipe:
    values = {"checkpoint": "first", "refiner": "second", "refiner_at": 0.5, "steps": 6}
    return make_recipe(**{**values, **changes})


def by_hand(first: StableDiffusion, second: StableDiffusion, recipe: Recipe, at: int) -> Tensor:
    """Return latents by a loop around both U-Nets, with Marble's noise, sigmas and embeddings."""
    sigmas = sigmas_for(
        recipe.sampler, recipe.schedule, recipe.steps, noise_schedule=first.noise_schedule
    )
    x = JobNoise(recipe).start(0, (4, recipe.height // 8, recipe.width // 8))
    x = x * (sigmas[0] ** 2 + 1) ** 0.5
    text = {id(model): _arguments(model, recipe) for model in (first, second)}
    for step in range(recipe.steps):
        model = first if step < at else second
        sigma = sigmas[step]
        timestep = model.noise_schedule.timestep(sigma).float()
        both = model_input(x, sigma).repeat(2, 1, 1, 1)
        negative, positive = model.unet(both, timestep, **text[id(model)]).sample.chunk(2)
        epsilon = negative + (positive - negative) * recipe.guidance_scale
        x = x + epsilon * (sigmas[step + 1] - sigma)
    return x


def _arguments(model: StableDiffusion, recipe: Recipe) -> dict[str, Any]:
    texts = [TextEncoder(model).encode(words) for words in (recipe.negative_prompt, recipe.prompt)]
    size = [float(recipe.height), float(recipe.width)]
    last = [[2.5], [6.0]] if model.checkpoint.family.is_refiner else [size, size]
    return {
        "encoder_hidden_states": torch.cat([text.embeds for text in texts]),
        "added_cond_kwargs": {
            "text_embeds": torch.cat([text.others["pooled"] for text in texts]),
            "time_ids": torch.tensor([[*size, 0.0, 0.0, *each] for each in last]),
        },
    }


@torch.inference_mode()
def by_marble(first: StableDiffusion, second: StableDiffusion, recipe: Recipe) -> Tensor:
    one, other = (make_loaded_model(model) for model in (first, second))
    (picture,) = one.begin(recipe)
    while picture.request:
        picture.advance(evaluate(first, [picture])[0])
    assert picture.is_taken_over
    (rest,) = other.begin(replace(recipe, refiner=None), begun=[picture.begun])
    while rest.request:
        rest.advance(evaluate(second, [rest])[0])
    return rest.latents


@pytest.mark.parametrize("second", ["refiner", "sdxl"])
def test_pictures_of_sdxl_equal_a_plain_loop_around_both_unets(second: str, tmp_path: Path) -> None:
    models = make_true_model(tmp_path / "a", "sdxl"), make_true_model(tmp_path / "b", second)
    models[1].unet.conv_out.weight.mul_(0.5)
    recipe = refined(negative_prompt="a cat", refiner_at=0.75, steps=4)
    with torch.inference_mode():
        theirs = by_hand(*models, recipe, at=3)
        alone = by_hand(models[0], models[0], recipe, at=3)
    ours = by_marble(*models, recipe)
    assert (theirs - alone).abs().max() > 1e-3
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.std()


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "euler_ancestral", "dpmpp_2m_sde"])
@pytest.mark.parametrize("by", ["steps", ANEW])
def test_one_sampler_goes_on_or_another_begins_anew(sampler: str, by: str, folder: Path) -> None:
    first, second = (load(describe(name, folder / name), CPU) for name in ("first", "second"))
    recipe = refined(sampler=sampler, refiner_by=by, guidance_scale=1.0)
    sigmas = sigmas_for(sampler, "normal", 6, noise_schedule=first.noise_schedule)
    text = {id(model): TextEncoder(model).encode(recipe.prompt) for model in (first, second)}
    shape, kind = (4, 8, 8), SAMPLERS[sampler]

    @torch.inference_mode()
    def denoise(x: Tensor, sigma: float) -> Tensor:
        model = first if sigma > sigmas[3] else second
        timestep = model.noise_schedule.timestep(sigma).float()
        epsilon = model.unet(model_input(x, sigma), timestep, text[id(model)].embeds).sample
        found: Tensor = x - epsilon * sigma
        return found

    def drawn(x: Tensor, some: Tensor) -> Tensor:
        source = JobNoise(recipe).between_steps(0, shape, kind, some)
        return sample(kind(x, some, source), denoise)

    x = JobNoise(recipe).start(0, shape) * (sigmas[0] ** 2 + 1) ** 0.5
    expected = drawn(drawn(x, sigmas[:4]), sigmas[3:]) if by == ANEW else drawn(x, sigmas)
    assert (by_marble(first, second, recipe) - expected).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"steps": 20, "refiner_at": 0.8}, 16),
        ({"steps": 7, "refiner_at": 0.5}, 4),
        ({"steps": 30, "refiner_at": 20 / 30}, 20),
        ({"steps": 4, "refiner_at": 0.999}, 3),
        ({"steps": 4, "refiner_at": 0.001}, 1),
        ({"steps": 1}, None),
        ({"refiner": None}, None),
        # The levels are every 52.6th of 1,000 from 999 on: the 16th is 157.7, the 17th 105.2.
        ({"steps": 20, "refiner_at": 0.8, "refiner_by": BY_NOISE}, 16),
        ({"steps": 20, "refiner_at": 0.85, "refiner_by": BY_NOISE}, 17),
        ({"steps": 20, "refiner_at": 0.8, "refiner_by": BY_NOISE, "schedule": "karras"}, 12),
        # The last of four is the 1st of 1,000: 0.75 of the levels are done; A1111 never changes.
        ({"steps": 4, "refiner_at": 0.8, "refiner_by": BY_NOISE, "schedule": "simple"}, None),
    ],
)
def test_the_step_from_which_the_second_model_draws(
    changes: dict[str, Any], at: int | None
) -> None:
    recipe, table = refined(**changes), NoiseSchedule()
    sigmas = sigmas_for("euler", recipe.schedule, recipe.steps, noise_schedule=table)
    assert takeover_step(recipe, sigmas, table) == at


def test_a_picture_is_the_same_alone_in_company_and_as_a_slice(folder: Path) -> None:
    recipe = refined(count=2, sampler="euler_ancestral")
    together = pngs(run(pipeline_on(residency(folder)), recipe))
    for picture, png in enumerate(together):
        alone = run(pipeline_on(residency(folder)), replace(recipe, picture=picture))
        assert pngs(alone) == [png]
    others = [refined(seed=3), make_recipe(checkpoint="second"), make_recipe(checkpoint="first")]
    jobs = [Spec(job=n, epoch=1, recipe=each) for n, each in enumerate([recipe, *others])]
    news = drive(pipeline_on(residency(folder)), {0: jobs[:2], 2: jobs[2:]})
    assert pngs(news[0]) == together
    plain = pngs(run(pipeline_on(residency(folder)), others[2]))
    assert pngs(news[3]) == plain


def test_progress_counts_the_steps_of_both(folder: Path) -> None:
    pipeline = pipeline_on(residency(folder))
    told = run(pipeline, refined(upscale=Upscale(factor=1.5, strength=0.5)))
    progress = [each for each in told if isinstance(each, Progress)]
    stages = [each.stage for each in progress if each.stage is not Stage.DENOISE]
    assert stages == [
        Stage.LOAD,
        Stage.ENCODE,
        Stage.LOAD,
        Stage.ENCODE,
        Stage.UPSCALE,
        Stage.DECODE,
    ]
    assert [step for step in steps(told) if step] == [1, 2, 3, 3, 4, 5, 6, 7, 8, 9]
    assert {each.total for each in progress if each.stage is Stage.DENOISE} == {9}


def opened(recipe: Recipe, model: LoadedModel, folder: Path) -> RunningJob:
    job = start(
        Spec(job=1, epoch=1, recipe=recipe), model, PictureFolder(folder), no_upscale, Account, 0.0
    )
    assert job.measure(calls=True)
    return job


@torch.inference_mode()
def test_a_job_is_taken_to_cost_the_steps_of_both_from_the_start(folder: Path) -> None:
    models = residency(folder)
    first, second = (models.load(name) for name in ("first", "second"))
    assert first
    assert second
    whole = opened(refined(refiner=None), first, folder).account.total
    job = opened(refined(), first, folder)
    assert job.account.total == pytest.approx(whole)
    (picture,) = [member.picture for member in job.members]
    while picture.request:
        picture.advance(evaluate(first.model, [picture])[0])
    job.release()
    job.take_over(second)
    assert job.measure(calls=True)
    assert job.account.total == job.account.remaining == pytest.approx(whole)


def sizes(folder: Path) -> list[int]:
    models = residency(folder)
    found = [models.load(name) for name in ("first", "second")]
    return [each.size for each in found if each]


@pytest.mark.parametrize("apart", [False, True])
def test_two_jobs_that_want_each_others_model_both_end_where_one_fits(
    folder: Path, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = [refined(), refined(checkpoint="second", refiner="first"), refined(seed=3)]
    alone = [pngs(run(pipeline_on(residency(folder)), each)) for each in recipes]
    models = residency(folder, int(1.5 * max(sizes(folder))))
    if apart:
        load_apart(monkeypatch)
    jobs = [Spec(job=n, epoch=1, recipe=each) for n, each in enumerate(recipes)]
    news = drive(pipeline_on(models), {0: jobs})
    assert [pngs(news[job.job]) for job in jobs] == alone


def test_both_models_stay_where_both_fit(folder: Path) -> None:
    models = residency(folder)
    run(pipeline_on(models), refined())
    loaded = [models.get(name) for name in ("first", "second")]
    assert [each and each.users for each in loaded] == [0, 0]
    again = run(pipeline_on(models), refined(seed=3))
    assert Stage.LOAD not in [each.stage for each in again if isinstance(each, Progress)]


@pytest.mark.parametrize("tick", [1, 3, 5])
def test_a_job_can_be_cancelled_before_between_and_in_the_second_part(
    tick: int, folder: Path
) -> None:
    models = residency(folder)
    jobs = [Spec(job=1, epoch=1, recipe=refined())]
    news = drive(pipeline_on(models), {0: jobs}, {tick: [Key(1, 1)]})[1]
    assert isinstance(news[-1], Ended)
    assert isinstance(news[-1].error, Cancelled)
    loaded = [models.get(name) for name in ("first", "second")]
    assert [each.users for each in loaded if each] == [0] * len([each for each in loaded if each])


def test_what_cannot_be_drawn_is_said_before_anything_is(folder: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        shutil.copytree(folder / name, tmp_path / name)
    index = tmp_path / "second" / "model_index.json"
    index.write_text(
        index.read_text().replace("StableDiffusionPipeline", "StableDiffusionXLPipeline")
    )
    shutil.copytree(tmp_path / "second/text_encoder", tmp_path / "second/text_encoder_2")
    config = tmp_path / "second/unet/config.json"
    config.write_text(
        config.read_text().replace('"cross_attention_dim": 32', '"cross_attention_dim": 64')
    )
    for refiner, kind in (("second", UserError), ("absent", UnknownModel)):
        news = drive(
            pipeline_on(residency(tmp_path)),
            {0: [Spec(job=1, epoch=1, recipe=refined(refiner=refiner))]},
        )[1]
        assert Stage.DENOISE not in [each.stage for each in news if isinstance(each, Progress)]
        assert isinstance(news[-1], Ended)
        assert isinstance(news[-1].error, kind)
    said = "'second' (Stable Diffusion XL form) cannot finish what 'first' (Stable Diffusion form)"
    with pytest.raises(UserError) as caught:
        run(pipeline_on(residency(tmp_path)), refined())
    assert said in str(caught.value)


def test_a_start_image_that_is_only_upscaled_has_no_second_model(folder: Path) -> None:
    recipe = refined(image="0" * 64, upscale=Upscale())
    assert (recipe.models, recipe.refiner_at) == (("first",), 0.8)
    assert refined(image="0" * 64, strength=0.5).models == ("first", "second")
