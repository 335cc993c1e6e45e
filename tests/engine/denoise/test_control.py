"""Controls: diffusers' results, several at once, for their family, in nobody else's calls."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
)
from diffusers.models.controlnets.multicontrolnet import MultiControlNetModel
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.denoise.control import ActiveControl, load_control
from engine.denoise.schedules import sigmas_for
from engine.errors import BrokenModel, MissingPicture, UnknownPart, UserError
from engine.events import Ended
from engine.families.stable_diffusion import StableDiffusion
from engine.files.stored import PictureStore
from engine.models.catalogue import Checkpoint
from engine.models.control_files import check_family, context_width
from engine.models.families import BY_KEY
from engine.pictures.control_images import read_control_images
from engine.pictures.images import to_png
from engine.pipeline.loaded_model import LoadedModel
from engine.pipeline.pipeline import Pipeline
from engine.recipe.parts import Control, Upscale
from engine.recipe.recipe import Recipe
from engine.spec import Spec
from tests.engine.pictures.test_start_image import Kept
from tests.engine.pipeline.test_parity import make_pipeline as diffusers_pipeline
from tests.engine.ticks import drive, make_loaded_model, make_pipeline, pngs
from tests.factories import make_recipe
from tests.noises import initial_noise
from tests.single_files import make_true_model, unet_name

DISC, BARS = "a" * 64, "b" * 64


def disc() -> Image.Image:
    image = Image.new("RGB", (64, 64))
    ImageDraw.Draw(image).ellipse((12, 12, 51, 51), fill=(255, 200, 120))
    return image


def bars() -> Image.Image:
    columns = np.arange(64) // 8 % 2 * 255
    return Image.fromarray(np.broadcast_to(columns[None, :, None], (64, 64, 3)).astype(np.uint8))


BLOBS = Kept({DISC: to_png(disc()), BARS: to_png(bars())})


def make_network(unet: Any, seed: int) -> ControlNetModel:
    """Return a ControlNet of a U-Net's true form with effect: untrained ones have none."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
        for name, weight in network.named_parameters():
            if "controlnet_" in name:
                torch.nn.init.normal_(weight, std=0.2)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module", params=["sd1", "sd2", "sdxl"])
def true(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> StableDiffusion:
    """Return a model of each family: its true form with fewer channels, random weights."""
    return make_true_model(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def shelf_folder(true: StableDiffusion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models folder with two control models for the model."""
    models_dir = tmp_path_factory.mktemp("control")
    for seed, name in enumerate(("disc", "bars"), 1):
        make_network(true.unet, seed).save_pretrained(models_dir / "controlnet" / name)
    return models_dir


def loaded_model_of(model: StableDiffusion, models_dir: Path) -> LoadedModel:
    return make_loaded_model(model, models_dir)


@torch.inference_mode()
def by_marble(loaded_model: LoadedModel, recipe: Recipe, store: PictureStore = BLOBS) -> Tensor:
    (picture,) = loaded_model.begin(recipe, control_images=read_control_images(recipe, store))
    while picture.request:
        answer = loaded_model.evaluate([picture], picture.rows)[0]
        assert isinstance(answer, Tensor), answer
        picture.advance(answer)
    return picture.latents


def by_diffusers(model: StableDiffusion, models_dir: Path, recipe: Recipe) -> Tensor:
    plain = diffusers_pipeline(model)
    kind = (
        StableDiffusionXLControlNetPipeline
        if model.checkpoint.family.is_xl
        else StableDiffusionControlNetPipeline
    )
    networks = [
        ControlNetModel.from_pretrained(models_dir / "controlnet" / control.model)
        for control in recipe.controls
    ]
    others = {} if model.checkpoint.family.is_xl else {"requires_safety_checker": False}
    pipeline = kind(**plain.components, controlnet=MultiControlNetModel(networks), **others)
    pipeline.set_progress_bar_config(disable=True)
    schedule = model.noise_schedule
    sigmas = sigmas_for(recipe.sampler, recipe.schedule, recipe.steps, noise_schedule=schedule)
    pipeline.scheduler.inject(sigmas, schedule.timestep(sigmas[:-1]).float())
    latents: Tensor = pipeline(
        recipe.prompt,
        negative_prompt=recipe.negative_prompt,
        image=[Image.open(io.BytesIO(BLOBS.read(c.image))) for c in recipe.controls],
        controlnet_conditioning_scale=[control.strength for control in recipe.controls],
        control_guidance_start=[control.start for control in recipe.controls],
        control_guidance_end=[control.end for control in recipe.controls],
        height=recipe.height,
        width=recipe.width,
        num_inference_steps=recipe.steps,
        guidance_scale=recipe.guidance_scale,
        latents=initial_noise(recipe.seed, 1, (4, recipe.height // 8, recipe.width // 8)),
        output_type="latent",
    ).images
    return latents


ONE = (Control(model="disc", image=DISC),)
TWO = (
    Control(model="disc", image=DISC, strength=0.6, end=0.5),
    Control(model="bars", image=BARS, strength=1.4, start=0.25),
)


@pytest.mark.parametrize(
    "changes",
    [
        {"controls": ONE},
        {"controls": ONE, "guidance_scale": 1.0, "schedule": "karras"},
        {"controls": TWO, "guidance_scale": 7.5, "negative_prompt": "a cat"},
    ],
    ids=["one", "without guidance", "two"],
)
def test_latents_equal_those_of_diffusers(
    true: StableDiffusion, shelf_folder: Path, changes: dict[str, Any]
) -> None:
    recipe = make_recipe(**{"steps": 8, "width": 64, "height": 64, **changes})
    loaded_model = loaded_model_of(true, shelf_folder)
    ours = by_marble(loaded_model, recipe)
    plain = by_marble(loaded_model, make_recipe(**{**recipe_values(recipe), "controls": ()}))
    assert (ours - plain).abs().max() > 0.05  # the controls are heard
    assert (ours - by_diffusers(true, shelf_folder, recipe)).abs().max() <= 1e-4


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in Recipe.__dataclass_fields__}


@pytest.mark.parametrize("start", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("end", [0.6, 1.0])
def test_a_control_has_its_say_in_its_share_of_the_steps(start: float, end: float) -> None:
    control = ActiveControl(
        network=None, image=torch.zeros(1), strength=0.7, start=start, end=end, key=0
    )
    heard = [step for step in range(10) if control.scale_at(step, 10)]
    assert heard == list(range(round(start * 10), round(end * 10)))
    assert {control.scale_at(step, 10) for step in heard} == {0.7}


def test_a_control_that_is_over_leaves_the_steps_after_it_alone(
    true: StableDiffusion, shelf_folder: Path
) -> None:
    loaded_model = loaded_model_of(true, shelf_folder)
    recipe = make_recipe(steps=4, controls=(Control(model="disc", image=DISC, end=0.2),))
    # Its share is shorter than a step: it never has a say, and no bit is changed.
    assert torch.equal(
        by_marble(loaded_model, recipe), by_marble(loaded_model, make_recipe(steps=4))
    )


def as_original(network: ControlNetModel, unet: Any) -> dict[str, Tensor]:
    """Return a network's weights under the names of the paper's own code."""
    embedding = {"conv_in": "0", "conv_out": "14"} | {
        f"blocks.{number}": str(2 * (number + 1)) for number in range(6)
    }
    named = {}
    for name, value in network.state_dict().items():
        head, _, leaf = name.rpartition(".")
        if head.startswith("controlnet_cond_embedding."):
            name = f"input_hint_block.{embedding[head.partition('.')[2]]}.{leaf}"
        elif head.startswith("controlnet_down_blocks."):
            name = f"zero_convs.{head.rpartition('.')[2]}.0.{leaf}"
        elif head == "controlnet_mid_block":
            name = f"middle_block_out.0.{leaf}"
        else:
            name = unet_name(name, unet.config)
        named[f"control_model.{name}"] = value.contiguous()
    return named


@pytest.mark.parametrize("names", ["diffusers'", "the original's"])
def test_a_single_file_holds_the_same_network(
    true: StableDiffusion, shelf_folder: Path, tmp_path: Path, names: str
) -> None:
    folder = shelf_folder / "controlnet" / "disc"
    file = tmp_path / "disc.safetensors"
    state = load_file(folder / "diffusion_pytorch_model.safetensors")
    whole = load_control("disc", folder, true)
    save_file(state if names == "diffusers'" else as_original(whole, true.unet), file)
    found = load_control("disc", file, true).state_dict()
    assert found.keys() == whole.state_dict().keys()
    assert all(torch.equal(value, found[name]) for name, value in whole.state_dict().items())


def described(family: str) -> Checkpoint:
    its = BY_KEY[family]
    return Checkpoint(name="mine", folder=Path(), family=its, defaults=its.defaults(64))


def test_a_control_for_another_family_is_refused_by_its_shapes(
    true: StableDiffusion, shelf_folder: Path, tmp_path: Path
) -> None:
    folder = shelf_folder / "controlnet" / "disc"
    file = tmp_path / "disc.safetensors"
    save_file(as_original(load_control("disc", folder, true), true.unet), file)
    own, title = true.checkpoint.family.key, true.checkpoint.family.title
    for path in (folder, file):
        assert context_width("disc", path) == true.checkpoint.family.context_width
        check_family("disc", path, described(own))
        other = described("sd1" if own == "sd2" else "sd2")
        with pytest.raises(UserError) as caught:
            check_family("disc", path, other)
        assert str(caught.value) == (
            f"The control model 'disc' is made for {title}; "
            f"the model 'mine' is {other.family.title}."
        )


def test_a_network_of_another_form_is_refused(true: StableDiffusion, tmp_path: Path) -> None:
    small = {**true.unet.config, "block_out_channels": [32] * len(true.unet.down_blocks)}
    unet = type(true.unet).from_config(small)
    make_network(unet, 1).save_pretrained(tmp_path / "other")
    with pytest.raises(BrokenModel, match=r"block_out_channels is .* another form"):
        load_control("other", tmp_path / "other", true)


@pytest.mark.parametrize("kind", ["cut", "text", "not a ControlNet", "other class", "no weights"])
def test_what_is_no_control_model_is_named(
    true: StableDiffusion, shelf_folder: Path, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "x.safetensors"
    if kind in ("other class", "no weights"):
        path = tmp_path / "x"
        path.mkdir()
        name = "ControlNetUnionModel" if kind == "other class" else "ControlNetModel"
        (path / "config.json").write_text(f'{{"_class_name": "{name}"}}')
    elif kind == "not a ControlNet":
        save_file({"weight": torch.zeros(2)}, path)
    else:
        whole = shelf_folder / "controlnet" / "disc" / "diffusion_pytorch_model.safetensors"
        path.write_bytes(whole.read_bytes()[:-100] if kind == "cut" else b"a poem " * 100)
    with pytest.raises(BrokenModel, match=r"^The control model 'x' cannot be loaded"):
        load_control("x", path, true)


@pytest.mark.parametrize("shape", [(), (4,), (4, 4, 1)])
def test_layers_that_read_text_have_two_sides(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "odd.safetensors"
    tensors = {"zero_convs.0.0.weight": torch.zeros(1), "a.attn2.to_k.weight": torch.zeros(shape)}
    save_file(tensors, path)
    with pytest.raises(BrokenModel, match="its layers that read text have the shape"):
        context_width("odd", path)


def test_a_shape_that_says_nothing_is_left_to_the_loader(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"_class_name": "ControlNetModel"}')
    check_family("x", tmp_path, described("sd1"))


def controlled_pipeline(model: StableDiffusion, models_dir: Path) -> Pipeline:
    """Return a pipeline whose calls have room for many pictures."""
    return make_pipeline(model, models_dir=models_dir, store=BLOBS)


def test_jobs_of_other_controls_never_share_a_call_and_keep_their_bytes(
    true: StableDiffusion, shelf_folder: Path
) -> None:
    one, other = (Control(model="disc", image=image) for image in (DISC, BARS))
    recipes = [
        make_recipe(steps=3, seed=seed, controls=given)
        for seed, given in enumerate([(), (one,), (one,), (other,), (one, other)])
    ]
    calls = []
    pipeline = controlled_pipeline(true, shelf_folder)
    loaded_model = pipeline._models.load("x")
    assert loaded_model is not None
    evaluate = loaded_model.evaluate

    def watch(batch: Any, rows: int) -> Any:
        calls.append([picture.kind[1:] for picture in batch])
        return evaluate(batch, rows)

    loaded_model.evaluate = watch  # type: ignore[method-assign]
    specs = [Spec(job=n, epoch=1, recipe=recipe) for n, recipe in enumerate(recipes)]
    together = drive(pipeline, {0: specs})
    pipeline.close()
    assert all(len(set(kinds)) == 1 for kinds in calls)
    assert max(len(kinds) for kinds in calls) == 2  # the two with equal controls
    assert len(calls) == 3 * 4
    for number, recipe in enumerate(recipes):
        alone = controlled_pipeline(true, shelf_folder)
        solo = drive(alone, {0: [Spec(job=0, epoch=1, recipe=recipe)]})[0]
        alone.close()
        assert pngs(together[number]) == pngs(solo) != []


def test_the_second_pass_is_steered_too(true: StableDiffusion, shelf_folder: Path) -> None:
    def drawn(given: tuple[Control, ...]) -> bytes:
        recipe = make_recipe(
            steps=3, controls=given, upscale=Upscale(factor=1.5, by="latent", strength=0.5)
        )
        pipeline = controlled_pipeline(true, shelf_folder)
        news = drive(pipeline, {0: [Spec(job=0, epoch=1, recipe=recipe)]})[0]
        pipeline.close()
        return pngs(news)[0]

    plain, control_residuals = drawn(()), drawn(ONE)
    sizes = {Image.open(io.BytesIO(png)).size for png in (plain, control_residuals)}
    assert sizes == {(96, 96)}
    assert plain != control_residuals
    assert control_residuals == drawn(ONE)


@pytest.mark.parametrize(
    ("control", "error"),
    [
        (Control(model="nothing", image=DISC), UnknownPart),
        (Control(model="disc", image="c" * 64), MissingPicture),
    ],
)
def test_a_job_whose_control_is_not_there_ends_with_a_sentence_and_others_go_on(
    true: StableDiffusion, shelf_folder: Path, control: Control, error: type[Exception]
) -> None:
    pipeline = controlled_pipeline(true, shelf_folder)
    told = drive(
        pipeline,
        {
            0: [
                Spec(job=0, epoch=1, recipe=make_recipe(controls=(control,))),
                Spec(job=1, epoch=1, recipe=make_recipe()),
            ]
        },
    )
    pipeline.close()
    end = told[0][-1]
    assert isinstance(end, Ended)
    assert isinstance(end.error, error)
    assert pngs(told[1])


def test_controls_go_where_the_u_net_goes(
    true: StableDiffusion, shelf_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make_recipe(steps=2, controls=ONE)
    expected = by_marble(loaded_model_of(true, shelf_folder), recipe)
    moved: list[torch.device] = []
    move = ControlNetModel.to

    def watch(network: ControlNetModel, device: torch.device) -> ControlNetModel:
        moved.append(device)
        return move(network, device)

    monkeypatch.setattr(ControlNetModel, "to", watch)
    loaded_model = make_loaded_model(true, shelf_folder, offloaded=True)
    latents = by_marble(loaded_model, recipe)
    loaded_model.decode(latents)
    assert torch.equal(latents, expected)
    assert len(moved) >= 3  # loaded, brought with the U-Net, taken away for the VAE


def test_loaded_controls_count_as_the_models_size_and_the_latest_few_stay(
    true: StableDiffusion, shelf_folder: Path, tmp_path: Path
) -> None:
    asked: list[int] = []
    loaded_model = make_loaded_model(true, shelf_folder, make_room=asked.append)
    by_marble(loaded_model, make_recipe(steps=1))  # what is remembered of its prompts counts, too
    bare = loaded_model.size
    by_marble(loaded_model, make_recipe(steps=1, controls=TWO))
    both = sum(
        weight.nbytes for each in loaded_model.controls.modules for weight in each.parameters()
    )
    assert len(loaded_model.controls.modules) == 2
    assert loaded_model.size == bare + both
    assert sum(asked) == pytest.approx(both, rel=0.01)  # before they were loaded
    by_marble(loaded_model, make_recipe(steps=1, controls=TWO))
    assert len(asked) == 2  # they were there
