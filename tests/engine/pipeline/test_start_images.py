"""Pictures from pictures through the tick: the same whatever the company, and told in order."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.decode.vae import Pixels
from engine.device.out_of_memory import Ladder, Rung
from engine.errors import MissingPicture, OutOfMemory
from engine.events import Ended, Key, Picture, Progress, Stage
from engine.families.stable_diffusion import StableDiffusion
from engine.files.stored import PictureFolder, picture_path
from engine.finish.upscale import Upscaler
from engine.formats.metadata import read_recipe
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.pictures.images import to_png
from engine.pipeline.pipeline import Pipeline
from engine.recipe.parts import Margins, Upscale, Variation
from engine.recipe.recipe import Recipe
from engine.spec import Spec
from tests.engine.finish.test_upscale import saved
from tests.engine.pictures.test_start_image import disc
from tests.engine.pipeline.test_parity import load_cpu
from tests.engine.pipeline.test_residency import failing
from tests.engine.ticks import News, drive, make_pipeline, pngs
from tests.factories import make_recipe, pixels
from tests.models import make_model

IMAGE, MASK = "a" * 64, "b" * 64
START = pixels(5, 64, 64)

RECIPES = {
    "start image": make_recipe(image=IMAGE, strength=0.5),
    "mask": make_recipe(image=IMAGE, mask=MASK, strength=0.8, sampler="dpmpp_2m"),
    "margins": make_recipe(image=IMAGE, strength=1, width=96, margins=Margins(left=32)),
    "variation": make_recipe(variations=(Variation(seed=9, amount=0.3),)),
    "plain upscale": make_recipe(image=IMAGE, upscale=Upscale(factor=2)),
    "upscale": make_recipe(image=IMAGE, upscale=Upscale(factor=1.5, strength=0.5)),
    "two passes": make_recipe(count=2, upscale=Upscale(factor=1.5, strength=0.5)),
    "latent": make_recipe(upscale=Upscale(factor=2, by="latent", strength=0.5)),
    "given latent": make_recipe(image=IMAGE, upscale=Upscale(by="latent", strength=0.5)),
    "tiles": make_recipe(upscale=Upscale(factor=2, strength=0.5, tile=64)),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PictureFolder:
    folder = tmp_path_factory.mktemp("store")
    for name, image in ((IMAGE, Image.fromarray(START)), (MASK, disc())):
        path = picture_path(folder, name)
        path.parent.mkdir(parents=True)
        path.write_bytes(to_png(image))
    return PictureFolder(folder)


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    return load_cpu(make_model(tmp_path_factory.mktemp("nine") / "tiny", inputs=9))


@pytest.fixture
def pipeline(model: StableDiffusion, store: PictureFolder) -> Pipeline:
    return make_pipeline(model, store=store)


def spec(number: int, recipe: Recipe) -> Spec:
    return Spec(job=number, epoch=1, recipe=recipe)


def alone(model: StableDiffusion, store: PictureFolder, recipe: Recipe) -> list[News]:
    return drive(make_pipeline(model, store=store), {0: [spec(1, recipe)]})[1]


def image_of(news: Sequence[News]) -> Image.Image:
    [png] = pngs(news)
    return Image.open(io.BytesIO(png))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_it_becomes_pictures_of_the_promised_size_that_carry_the_recipe(
    model: StableDiffusion, store: PictureFolder, recipe: Recipe
) -> None:
    news = alone(model, store, recipe)
    assert news[-1] == Ended(None)
    made = [each for each in news if isinstance(each, Picture)]
    assert [picture.index for picture in made] == list(recipe.pictures)
    assert {(p.width, p.height) for p in made} == {recipe.size}
    assert read_recipe(made[0].png).recipe.inputs == recipe.inputs


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_it_is_the_same_among_neighbours_that_come_and_go(
    model: StableDiffusion, store: PictureFolder, pipeline: Pipeline, recipe: Recipe
) -> None:
    arrivals = {
        0: [spec(2, make_recipe(seed=2, steps=7))],
        1: [spec(1, recipe), spec(3, RECIPES["start image"])],
        3: [spec(4, RECIPES["mask"])],
    }
    told = drive(pipeline, arrivals)
    assert pngs(told[1]) == pngs(alone(model, store, recipe))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_its_steps_are_counted_through_all_passes(
    model: StableDiffusion, store: PictureFolder, recipe: Recipe
) -> None:
    progress = [
        each
        for each in alone(model, store, recipe)
        if isinstance(each, Progress) and each.stage is Stage.DENOISE
    ]
    steps, totals = [p.step for p in progress], {p.total for p in progress}
    assert steps == sorted(set(steps))
    assert totals == {steps[-1]}


def test_a_second_pass_is_announced_as_enlarging(
    model: StableDiffusion, store: PictureFolder
) -> None:
    stages = [p.stage for p in alone(model, store, RECIPES["upscale"]) if isinstance(p, Progress)]
    assert stages.index(Stage.UPSCALE) < stages.index(Stage.DECODE)


def test_a_weak_start_image_stays_nearer_than_a_strong_one(
    model: StableDiffusion, store: PictureFolder
) -> None:
    def distance(strength: float) -> float:
        made = image_of(alone(model, store, make_recipe(image=IMAGE, strength=strength, steps=8)))
        again = image_of(alone(model, store, make_recipe(image=IMAGE, strength=0.01, steps=8)))
        return float(np.abs(np.asarray(made, float) - np.asarray(again, float)).mean())

    assert distance(0.2) < distance(0.9)


def test_inpainting_keeps_every_byte_outside_the_mask(
    model: StableDiffusion, store: PictureFolder
) -> None:
    made, mask = np.asarray(image_of(alone(model, store, RECIPES["mask"]))), np.asarray(disc())
    assert np.array_equal(made[mask == 0], START[mask == 0])
    assert not np.array_equal(made[mask == 255], START[mask == 255])


def test_margins_keep_the_image_and_its_strip_fades(
    model: StableDiffusion, store: PictureFolder
) -> None:
    made = np.asarray(image_of(alone(model, store, RECIPES["margins"])))
    assert np.array_equal(made[:, 40:], START[:, 8:])


def test_a_plain_upscale_calls_no_network(model: StableDiffusion, store: PictureFolder) -> None:
    with failing(model.unet, "forward", 99), failing(model.vae, "decode", 99):
        made = image_of(alone(model, store, RECIPES["plain upscale"]))
    expected = Image.fromarray(START).resize((128, 128), Image.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(made), np.asarray(expected))


def test_variations_of_nothing_are_the_picture_itself(
    model: StableDiffusion, store: PictureFolder
) -> None:
    same = make_recipe(variations=(Variation(seed=9, amount=0),))
    plain, varied = (
        image_of(alone(model, store, recipe)).tobytes() for recipe in (make_recipe(), same)
    )
    assert plain == varied
    assert image_of(alone(model, store, RECIPES["variation"])).tobytes() != plain


def test_a_missing_start_image_ends_the_job_with_its_name(model: StableDiffusion) -> None:
    news = alone(model, PictureFolder(None), RECIPES["start image"])
    assert isinstance(news[-1], Ended)
    assert isinstance(news[-1].error, MissingPicture)
    assert IMAGE[:12] in str(news[-1].error)


@pytest.mark.parametrize("name", ["two passes", "tiles", "upscale"])
@pytest.mark.parametrize("tick", [1, 3, 5])
def test_cancelling_in_any_pass_ends_it_once(pipeline: Pipeline, name: str, tick: int) -> None:
    told = drive(pipeline, {0: [spec(1, RECIPES[name])]}, {tick: [Key(1, 1)]})
    assert sum(isinstance(each, Ended) for each in told[1]) == 1
    assert not pipeline.busy


@pytest.mark.parametrize("times", [1, 2])
def test_memory_that_runs_out_while_a_start_image_is_encoded_walks_the_ladder(
    model: StableDiffusion, store: PictureFolder, times: int
) -> None:
    ladder = Ladder()
    pipeline = make_pipeline(model, store=store, ladder=ladder)
    with failing(model.vae, "encode", times):
        told = drive(pipeline, {0: [spec(1, RECIPES["start image"])]})
    assert len(pngs(told[1])) == 1
    assert ladder.counts[Rung.TILED_ENCODE] == times - 1


def test_memory_that_never_comes_ends_in_one_sentence(
    model: StableDiffusion, store: PictureFolder
) -> None:
    with failing(model.vae.encoder.conv_in, "forward", 99):
        news = alone(model, store, RECIPES["start image"])
    assert isinstance(news[-1], Ended)
    assert isinstance(news[-1].error, OutOfMemory)


def test_the_store_names_files_as_storage_does(tmp_path: Path) -> None:
    assert picture_path(tmp_path, IMAGE) == tmp_path / "aa" / f"{IMAGE}.png"


def test_a_picture_is_enlarged_by_the_upscale_model_that_its_recipe_names(
    model: StableDiffusion, store: PictureFolder, tmp_path: Path
) -> None:
    (tmp_path / "upscale_models").mkdir()
    saved(tmp_path / "upscale_models", "ESRGAN ×2")
    upscaler = Upscaler(ModelFiles(tmp_path, ModelKind.UPSCALER), torch.device("cpu"), Ladder())
    pipeline = make_pipeline(model, store=store, upscale=upscaler)
    [name] = ModelFiles(tmp_path, ModelKind.UPSCALER).names()[2:]
    recipes = {
        number: make_recipe(image=IMAGE, upscale=Upscale(factor=2, by=by))
        for number, by in enumerate(("lanczos", name, "nobody"))
    }
    told = drive(pipeline, {0: [spec(number, recipe) for number, recipe in recipes.items()]})
    plain, networks = image_of(told[0]), image_of(told[1])
    assert plain.size == networks.size == (128, 128)
    assert plain.tobytes() != networks.tobytes()
    assert isinstance(told[2][-1], Ended)
    assert "There is no upscaler 'nobody'" in str(told[2][-1].error)


@pytest.mark.parametrize("name", ["tiles", "wide tiles", "two passes", "mask"])
def test_a_model_for_inpainting_takes_all_passes(
    inpainting: StableDiffusion, store: PictureFolder, name: str
) -> None:
    wide = make_recipe(width=128, upscale=Upscale(factor=1.5, strength=0.5, tile=96))
    recipe = {**RECIPES, "wide tiles": wide}[name]
    news = alone(inpainting, store, recipe)
    assert news[-1] == Ended(None)
    assert {Image.open(io.BytesIO(png)).size for png in pngs(news)} == {recipe.size}


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("recipe", [make_recipe(), RECIPES["mask"]], ids=["words", "mask"])
def test_what_a_model_for_inpainting_sees_is_encoded_by_the_ladder_too(
    inpainting: StableDiffusion, store: PictureFolder, recipe: Recipe, times: int
) -> None:
    ladder = Ladder()
    pipeline = make_pipeline(inpainting, store=store, ladder=ladder)
    with failing(inpainting.vae, "encode", times):
        told = drive(pipeline, {0: [spec(1, recipe)]})
    assert len(pngs(told[1])) == 1
    assert ladder.counts[Rung.TILED_ENCODE] == times - 1


@pytest.mark.parametrize("count", [1, 2])
def test_a_start_image_that_is_drawn_anew_larger_is_enlarged_once(
    model: StableDiffusion, store: PictureFolder, count: int
) -> None:
    enlarged: list[tuple[int, int]] = []
    plain = Upscaler(ModelFiles(None, ModelKind.UPSCALER), torch.device("cpu"), Ladder())

    def resize(pixels: Pixels, width: int, height: int, by: str) -> Pixels:
        enlarged.append((width, height))
        return plain(pixels, width, height, by)

    upscale = Upscale(factor=2, by="lanczos", strength=0.5)
    recipe = make_recipe(image=IMAGE, count=count, upscale=upscale)
    pipeline = make_pipeline(model, store=store, upscale=resize)
    assert len(pngs(drive(pipeline, {0: [spec(1, recipe)]})[1])) == count
    assert enlarged == [(128, 128)] * count
