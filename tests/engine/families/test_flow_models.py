"""What holds for each family that predicts velocities: sharing calls, masks, passes, previews."""

import re
from collections import defaultdict
from dataclasses import replace
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from PIL import Image

from engine.denoise.denoising import evaluate
from engine.errors import PromptError, UserError
from engine.events import Ended, Progress
from engine.families import flux, qwen_image
from engine.families.registry import load
from engine.files.stored import PictureFolder
from engine.loading.model import Model
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.models.parts import NETWORK
from engine.pictures.references import FLUX2
from engine.pipeline.batching import Batching
from engine.pipeline.loaded_model import LoadedModel
from engine.pipeline.placement import TEXT
from engine.recipe.context_length import Joining
from engine.recipe.parts import Upscale
from engine.recipe.recipe import Recipe
from engine.text_encode.conditioning import TextEncoder
from tests.engine.ticks import draw, make_loaded_model, make_pipeline, pngs, run
from tests.factories import make_recipe
from tests.flow_models import MAKERS, described

REFERENCES: Final = {"flux": 1, "flux2": 4, "flux2 dev": 4, "qwen edit": 3}
USUAL: Final = {"sampler": "euler", "schedule": "simple", "steps": 3, "width": 64, "height": 64}
LONG: Final = "a marble scholar who holds a book and reads it aloud in a garden of stone at noon"
ENOUGH: Final = 45.0  # dB


@pytest.fixture(scope="module", params=MAKERS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    name = request.param
    folder = MAKERS[name](tmp_path_factory.mktemp("models") / "model")
    checkpoint = described(folder, name.split()[0])
    checkpoint = replace(checkpoint, references=REFERENCES.get(name, 0))
    return load(checkpoint, torch.device("cpu"))


def recipe(**changes: Any) -> Recipe:
    return make_recipe(**{**USUAL, "checkpoint": "it", **changes})


def crowd() -> list[Recipe]:
    """Return recipes with other words, scales, seeds and steps, some of another size."""
    return [
        recipe(prompt="a cat", negative_prompt="dogs", guidance_scale=4.0, seed=1),
        recipe(prompt="a horse", guidance_scale=1.0, seed=2, steps=4),
        recipe(prompt=LONG, negative_prompt="", guidance_scale=3.0, seed=3),
        recipe(prompt="a fish", negative_prompt=LONG, guidance_scale=2.0, seed=4, steps=2),
        recipe(prompt="a cat", guidance_scale=1.0, seed=5, width=96),
        recipe(prompt=LONG, guidance_scale=1.0, seed=6, sampler="dpmpp_2m"),
        recipe(prompt=LONG * 3, guidance_scale=1.0, seed=7, sampler="euler_ancestral"),
        recipe(prompt="a wolf", negative_prompt="x", guidance_scale=5.0, seed=8, width=96),
    ]


def test_in_exact_mode_a_picture_is_the_same_bytes_alone_and_among_others(model: Model) -> None:
    alone = [pngs(draw(make_pipeline(model), [each], [0])[0]) for each in crowd()]
    together = draw(make_pipeline(model), crowd(), [0, 0, 1, 0, 2, 0, 1, 3])
    assert [pngs(news) for news in together] == alone
    assert all(len(each) == 1 for each in alone)


def test_in_throughput_mode_a_picture_is_nearly_the_same_alone_and_among_others(
    model: Model,
) -> None:
    modes = Batching.THROUGHPUT
    alone = [pngs(draw(make_pipeline(model, batching=modes), [each], [0])[0]) for each in crowd()]
    together = draw(make_pipeline(model, batching=modes), crowd(), [0, 0, 0, 0, 0, 0, 0, 0])
    for one, news in zip(alone, together, strict=True):
        assert psnr(one[0], pngs(news)[0]) >= ENOUGH


def test_pictures_that_are_edited_by_words_share_calls_as_well(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if model.reference_sizes is None:
        pytest.skip("it edits none by words")
    # Whose sizes are of a megapixel.
    monkeypatch.setattr(flux, "KONTEXT", FLUX2)
    monkeypatch.setattr(qwen_image, "QWEN_EDIT", FLUX2)
    monkeypatch.setattr(qwen_image, "SEEN", FLUX2)
    rng = np.random.default_rng(0)
    seen = tuple(
        stored(tmp_path, Image.fromarray(rng.integers(0, 255, (64, 96, 3), np.uint8)))
        for _ in range(2)
    )
    edits = [
        recipe(prompt="bronze", seed=1, references=seen[:1]),
        recipe(prompt="a cat", seed=2, references=seen[1:], steps=2),
        recipe(prompt="a cat", seed=3),
        recipe(prompt="both", seed=4, references=seen),
    ]
    if model.checkpoint.references == 1:
        edits.pop()
    pipeline = partial(make_pipeline, model, store=PictureFolder(tmp_path))
    alone = [pngs(draw(pipeline(), [each], [0])[0]) for each in edits]
    together = draw(pipeline(), edits, [0] * len(edits))
    assert [pngs(news) for news in together] == alone
    assert len({each[0] for each in alone}) == len(edits)


def psnr(first: bytes, second: bytes) -> float:
    """Return the ratio of signal to noise of two PNGs, dB."""
    error = ((pixels(first) - pixels(second)) ** 2).mean()
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(png)), np.float64)


@torch.inference_mode()
def test_a_row_is_what_it_is_alone_whatever_shares_its_call(model: Model) -> None:
    through = make_loaded_model(model)
    made = [through.begin(each)[0] for each in crowd() if each.width == 64]
    alone = [evaluate(model, [picture])[0] for picture in made]
    batches = defaultdict(list)
    for picture in made:
        pads = picture.context_rule.joining is Joining.PAD
        batches[picture.kind, picture.rows, pads or picture.tokens].append(picture)
    assert max(map(len, batches.values())) > 1
    for batch in batches.values():
        for picture, found in zip(batch, evaluate(model, batch), strict=True):
            expected = alone[made.index(picture)]
            assert (found - expected).abs().max() <= 1e-4


def test_a_mask_keeps_what_it_leaves(model: Model, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    start = Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8))
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    store = PictureFolder(tmp_path)
    named = {
        "image": stored(tmp_path, start),
        "mask": stored(tmp_path, Image.fromarray(mask)),
    }
    news = draw(make_pipeline(model, store=store), [recipe(**named, strength=0.6)], [0])[0]
    made = np.asarray(Image.open(BytesIO(pngs(news)[0])))
    assert np.array_equal(made[:, :24], np.asarray(start)[:, :24])
    assert not np.array_equal(made[:, 40:], np.asarray(start)[:, 40:])


def stored(folder: Path, image: Image.Image) -> str:
    """Put a picture into a store; return its name."""
    buffer = BytesIO()
    image.save(buffer, "PNG")
    name = sha256(buffer.getvalue()).hexdigest()
    path = folder / name[:2] / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    return name


def test_the_weaker_a_start_the_more_of_it_stays(model: Model, tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :64]
    start = np.stack([x * 4, y * 4, x + y], -1).astype(np.uint8)
    name = stored(tmp_path, Image.fromarray(start))
    through = make_loaded_model(model)
    with torch.inference_mode():
        unchanged = through.decode(through.encode(start))
    far = []
    for strength in (0.02, 0.5, 0.95):
        one = recipe(image=name, strength=strength, steps=4)
        made = pngs(draw(make_pipeline(model, store=PictureFolder(tmp_path)), [one], [0])[0])
        far.append(np.abs(pixels(made[0]) - unchanged.astype(float)).mean())
    assert far[0] < min(far[1:])


@pytest.mark.parametrize("by", ["lanczos", "latent"])
def test_a_second_pass_draws_twice_the_size(model: Model, by: str) -> None:
    one = recipe(upscale=Upscale(factor=2.0, by=by, strength=0.5))
    assert Image.open(BytesIO(pngs(run(make_pipeline(model), one))[0])).size == (128, 128)


def test_a_second_pass_may_have_sides_of_half_a_token(model: Model) -> None:
    one = recipe(upscale=Upscale(factor=1.4, strength=0.5))
    made = run(make_pipeline(model), one)
    assert Image.open(BytesIO(pngs(made)[0])).size == (88, 88)


def test_a_second_pass_may_be_drawn_in_tiles(model: Model) -> None:
    one = recipe(upscale=Upscale(factor=2.0, strength=0.5, tile=64))
    assert Image.open(BytesIO(pngs(run(make_pipeline(model), one))[0])).size == (128, 128)


def test_a_side_beyond_its_positions_is_one_sentence_and_drawn_in_tiles(model: Model) -> None:
    if model.longest is None:
        pytest.skip("it has positions for any side")
    side = (model.longest + 2) * model.latent_scale
    with pytest.raises(UserError, match=f"{side - 16} pixels a side at once, not {side};"):
        run(make_pipeline(model), recipe(width=side))
    larger = recipe(width=side // 2, upscale=Upscale(factor=2.0, strength=0.5))
    news = draw(make_pipeline(model), [larger], [0])[0]
    assert not [each for each in news if isinstance(each, Progress) and each.step]  # not drawn
    assert isinstance(news[-1], Ended)
    assert f"{side - 16} pixels a side at once, not {side};" in str(news[-1].error)
    one = recipe(width=side // 2, upscale=Upscale(factor=2.0, strength=0.5, tile=64))
    assert Image.open(BytesIO(pngs(run(make_pipeline(model), one))[0])).size == (side, 128)


def test_progress_has_previews(model: Model) -> None:
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            self.now += 1.0
            return self.now

    news = draw(make_pipeline(model, clock=Clock()), [recipe(steps=9)], [0])[0]
    shown = [each.preview for each in news if isinstance(each, Progress) and each.preview]
    assert shown
    assert Image.open(BytesIO(shown[0])).format == "JPEG"


@torch.inference_mode()
def test_break_is_a_word_as_any_other(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def encoded(prompt: str) -> list[torch.Tensor]:
        found = model.prompts(ModelFiles(None, ModelKind.EMBEDDING)).encode(prompt, None)
        return [found.embeds, *found.others.values()]

    found, without = encoded("a cat BREAK a dog"), encoded("a cat a dog")
    assert not all(map(torch.equal, found, without))
    monkeypatch.setattr("engine.text_encode.prompts.BREAK", re.compile("(?!)"))
    assert all(map(torch.equal, found, encoded("a cat BREAK a dog")))


def test_a_prompt_of_too_many_tokens_is_one_sentence(model: Model) -> None:
    with pytest.raises(PromptError, match="tokens"):
        TextEncoder(model).encode("ab " * 4000)


def test_a_recipes_shift_stands_in_for_the_models_own(model: Model) -> None:
    own, same, other = (
        pngs(run(make_pipeline(model), recipe(shift=shift))) for shift in (None, None, 9.0)
    )
    assert own == same
    assert own != other


@pytest.mark.parametrize("references", [0, 1])
def test_blocks_that_go_to_the_device_one_after_another_draw_the_same(
    model: Model, references: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if references and not model.reference_sizes:
        pytest.skip("it edits no pictures by words")
    seen = [np.full((64, 64, 3), 99, np.uint8)] * references
    words = recipe(prompt=LONG, negative_prompt="dogs", guidance_scale=3.0, steps=2)

    def drawn(loaded_model: LoadedModel) -> tuple[torch.Tensor, np.ndarray[Any, Any]]:
        with torch.inference_mode():
            (picture,) = loaded_model.begin(words, references=seen)
            while picture.request:
                (answer,) = loaded_model.evaluate([picture], picture.rows)
                assert isinstance(answer, torch.Tensor)
                picture.advance(answer)
            return picture.latents, loaded_model.decode(picture.latents)

    modules = (model.network, *model.encoders.values())
    its = {id(t): t for each in modules for t in (*each.parameters(), *each.buffers())}
    for tensor in its.values():  # where a file's weights begin may change last bits
        tensor.data = tensor.detach().clone()
    wanted = drawn(make_loaded_model(model))
    by_groups = make_loaded_model(model, by_groups=(TEXT, NETWORK))
    # What is not copied to the device consists of no numbers.
    true = {key: tensor.detach().clone() for key, tensor in its.items()}
    places = {tensor.data_ptr(): key for key, tensor in its.items()}
    monkeypatch.setattr(
        "engine.device.groups.copy_beside",
        lambda tensor, device: true[places[tensor.data_ptr()]].clone(),
    )
    with torch.no_grad():
        for tensor in its.values():
            if tensor.is_floating_point():
                tensor.fill_(torch.nan)
        try:
            found = drawn(by_groups)
        finally:
            for key, tensor in its.items():
                tensor.copy_(true[key])
    assert torch.equal(found[0], wanted[0])
    assert np.array_equal(found[1], wanted[1])
    del by_groups
    assert torch.equal(drawn(make_loaded_model(model))[0], wanted[0])
