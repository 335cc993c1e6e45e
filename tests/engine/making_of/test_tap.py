"""Making-ofs of recipes of every kind: the same picture, and what is recorded beside it."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engine.device.out_of_memory import Ladder
from engine.errors import Cancelled, OutOfMemory
from engine.events import Ended, Key, Picture
from engine.families.registry import load
from engine.families.stable_diffusion import StableDiffusion
from engine.loading.model import Model
from engine.making_of.attention import MOST_TEXTS, has_cross_attention
from engine.making_of.record import Record, put_into, read_from
from engine.making_of.tap import FRAMES, WORDS, MakingOf
from engine.models.catalogue import Catalogue
from engine.pictures.images import to_png
from engine.pipeline.batching import Batching
from engine.pipeline.pipeline import Pipeline
from engine.pipeline.residency import Residency
from engine.recipe.parts import Area, Control, Lora, Margins, Upscale, Variation
from engine.recipe.patches import Patch
from engine.recipe.recipe import Recipe
from engine.spec import Spec
from tests.engine.denoise.test_control import make_network
from tests.engine.pictures.test_start_image import Kept, disc
from tests.engine.pipeline.test_residency import failing
from tests.engine.ticks import drive, make_pipeline, pipeline_on, pngs, run, unmeasured
from tests.factories import make_recipe
from tests.flow_models import described, make_z_image
from tests.loras import random_lora, write_kohya
from tests.models import make_model
from tests.starter.drawing import load_starter

IMAGE, MASK = "a" * 64, "b" * 64
STORE = Kept({IMAGE: to_png(disc()), MASK: to_png(disc())})
LONG = "a marble king holding a book by the sea at night, " * 8
START = {"image": IMAGE, "strength": 0.7}
RECIPES: dict[str, dict[str, Any]] = {
    "words": {},
    "unguided": {"guidance_scale": 1.0},
    "negative prompt": {"negative_prompt": "blurred, grey"},
    "weights": {"prompt": "a (marble:1.4) king (by the sea:0.7)"},
    "two windows": {"prompt": LONG},
    "windows beside one": {"prompt": LONG * 4, "negative_prompt": "grey"},
    "two calls a step": {"sampler": "heun"},
    "ancestral": {"sampler": "euler_ancestral"},
    "of a stochastic equation": {"sampler": "dpmpp_sde", "schedule": "karras"},
    "unguided prediction": {"sampler": "euler_cfg_pp"},
    "one of several": {"count": 3, "picture": 1},
    "start image": START,
    "mask": {**START, "mask": MASK},
    "margins": {**START, "strength": 1.0, "width": 96, "margins": Margins(left=32)},
    "variation": {"variations": (Variation(seed=9, amount=0.3),)},
    "prompt editing": {"prompt": "a [cat|king] by the [sea:library:0.5]", "syntax": "a1111"},
    "joined": {"prompt": "a king AND the sea :0.6", "syntax": "a1111"},
    "areas": {"areas": (Area(prompt="a cat", width=0.5), Area(prompt="dull", negative=True))},
    "weighed": {"patches": (Patch(kind="freeu_v2", numbers=(1.3, 1.4, 0.9, 0.2)),)},
    "perturbed": {"patches": (Patch(kind="perturbed_attention", numbers=(3,)),)},
    "rescaled": {"guidance_rescale": 0.7},
    "second pass": {"upscale": Upscale(factor=2, strength=0.5)},
    "second pass on latents": {"upscale": Upscale(factor=2, by="latent", strength=0.5)},
    "tiles": {"upscale": Upscale(factor=2, strength=0.5, tile=64)},
    "detail": {"image": IMAGE, "upscale": Upscale(factor=1.5, strength=0.5)},
    "larger": {"upscale": Upscale(factor=2)},
    "LoRA": {"loras": (Lora(name="ink", weight=0.8),)},
    "ControlNet": {"controls": (Control(model="disc", image=IMAGE, strength=0.7),)},
}


@pytest.fixture(scope="module")
def starter() -> StableDiffusion:
    return load_starter()


@pytest.fixture(scope="module")
def models_dir(starter: StableDiffusion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a LoRA and a ControlNet for the bundled model."""
    folder = tmp_path_factory.mktemp("shelf")
    (folder / "loras").mkdir()
    parts = {"unet": starter.unet, "text_encoder": starter.text_encoder}
    pairs = random_lora(parts, size=0.05)
    write_kohya(folder / "loras" / "ink.safetensors", pairs, starter.unet)
    make_network(starter.unet, 1).save_pretrained(folder / "controlnet" / "disc")
    return folder


class Taps:
    """Opens taps and keeps them."""

    def __init__(self) -> None:
        self.opened: list[MakingOf] = []

    def __call__(self) -> MakingOf:
        self.opened.append(MakingOf())
        return self.opened[-1]


@pytest.fixture
def taps() -> Taps:
    return Taps()


def pipeline_for(model: Model, models_dir: Path | None, taps: Taps | None = None) -> Pipeline:
    return make_pipeline(model, store=STORE, models_dir=models_dir, open_tap=taps or MakingOf)


def spec(recipe: Recipe, job: int = 1) -> Spec:
    return Spec(job=job, epoch=1, recipe=recipe, making_of=True)


def made(pipeline: Pipeline, recipe: Recipe) -> bytes:
    """Return the file of a recipe's making-of."""
    *events, end = drive(pipeline, {0: [spec(recipe)]})[1]
    assert end == Ended(None)
    [png] = pngs(events)
    return png


def drawn(pipeline: Pipeline, recipe: Recipe) -> bytes:
    [png] = pngs(run(pipeline, recipe))
    return png


def recorded(pipeline: Pipeline, recipe: Recipe) -> Record:
    return read_from(made(pipeline, recipe))


@pytest.mark.parametrize("kind", RECIPES)
def test_the_picture_is_the_same_to_the_byte_and_shares_of_attention_are_whole(
    kind: str, starter: StableDiffusion, models_dir: Path, taps: Taps
) -> None:
    recipe = make_recipe(**{"prompt": "a marble king by the sea", **RECIPES[kind]})
    pipeline = pipeline_for(starter, models_dir, taps)
    png, first = made(pipeline, recipe), drawn(pipeline, recipe)
    record = read_from(png)
    assert png == put_into(first, record)
    assert record.sha256 == hashlib.sha256(first).hexdigest()
    assert record.frames
    assert record.channels
    [tap] = taps.opened
    assert tap.maps.heats
    for heat in tap.maps.heats.values():
        seen = heat.count > 0
        assert bool(seen.any())
        assert float((heat.mean.sum(0)[seen] - 1).abs().max()) <= 1e-4
    assert all(word.heat for text in record.texts if text.requests for word in text.words)


def test_a_second_models_part_is_recorded_too(tmp_path: Path) -> None:
    for seed, name in enumerate(("first", "second"), 1):
        make_model(tmp_path / name, seed=seed)
    models = Residency(
        Catalogue(tmp_path),
        lambda checkpoint, offloaded: load(checkpoint, torch.device("cpu")),
        unmeasured,
        Ladder(),
        2**40,
    )
    pipeline = pipeline_on(models, Batching.EXACT)
    recipe = make_recipe(checkpoint="first", refiner="second", refiner_at=0.5, steps=6)
    png, first = made(pipeline, recipe), drawn(pipeline, recipe)
    record = read_from(png)
    assert png == put_into(first, record)
    assert [(each.model, each.first) for each in record.passes] == [("first", 0), ("second", 3)]
    assert [(each.number, each.step) for each in record.frames] == [
        *[(0, step) for step in range(4)],
        *[(1, step) for step in range(4, 7)],
    ]
    assert record.texts[0].requests == 6


def test_a_family_without_cross_attention_has_guesses_but_no_heat(tmp_path: Path) -> None:
    folder = make_z_image(tmp_path)
    model = load(described(folder, "z"), torch.device("cpu"))
    assert not has_cross_attention(model.network)
    pipeline = pipeline_for(model, None)
    recipe = make_recipe(guidance_scale=1.0)
    png = made(pipeline, recipe)
    record = read_from(png)
    assert png == put_into(drawn(pipeline, recipe), record)
    assert (record.layers, len(record.frames)) == (0, recipe.steps + 1)
    assert all((text.windows, text.words) == (0, ()) for text in record.texts)


def test_the_prompt_is_recorded_as_it_is_read(starter: StableDiffusion) -> None:
    record = recorded(pipeline_for(starter, None), make_recipe(prompt="a (marble:1.4) xyzzy"))
    [text] = record.texts
    assert [word.text for word in text.words] == ["a", "marble", "xyzzy"]
    assert [word.weight for word in text.words] == [1.0, 1.4, 1.0]
    assert [len(word.ids) for word in text.words][:2] == [1, 1]
    assert "".join(text.words[2].pieces) == "xyzzy"
    assert len(text.words[2].ids) > 1
    assert (text.windows, text.requests) == (1, 4)


def test_words_without_spaces_are_those_of_the_tokenizer(starter: StableDiffusion) -> None:
    record = recorded(
        pipeline_for(starter, None), make_recipe(prompt="拿着灯笼的青铜战士", steps=1)
    )
    assert [word.text for word in record.texts[0].words] == ["拿着灯笼的", "青铜战士"]


def test_a_word_is_cut_where_a_window_ends_and_long_texts_are_shortened(
    starter: StableDiffusion,
) -> None:
    words = ["king"] * 74 + ["xyzzyxyzzy"]
    record = recorded(pipeline_for(starter, None), make_recipe(prompt=" ".join(words), steps=1))
    [text] = record.texts
    assert (text.windows, len(text.words), text.left_out) == (2, WORDS, 75 - WORDS)
    record = recorded(pipeline_for(starter, None), make_recipe(prompt="xyzzy" * 60, steps=1))
    assert [word.is_cut for word in record.texts[0].words] == [True]


def test_guesses_go_from_noise_to_the_picture_and_are_few(starter: StableDiffusion) -> None:
    recipe = make_recipe(prompt="a marble king by the sea", steps=60, width=128, height=128)
    png = made(pipeline_for(starter, None), recipe)
    record = read_from(png)
    assert [frame.step for frame in record.frames][:: len(record.frames) - 1] == [0, 60]
    assert len(record.frames) == FRAMES + 1
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), float)

    def far(number: int) -> float:
        frame = Image.open(io.BytesIO(record.frames[number].picture)).convert("RGB")
        return float(np.abs(np.asarray(frame, float) - picture).mean())

    assert far(0) > far(len(record.frames) // 2) > far(-1)
    assert far(-1) < 4
    assert len(record.to_json()) < 500_000
    assert set(record.seconds) >= {"encode", "denoise", "decode"}


def test_a_record_is_read_as_it_was_written(starter: StableDiffusion) -> None:
    record = recorded(pipeline_for(starter, None), make_recipe(prompt="a king by the sea"))
    assert Record.from_json(record.to_json()) == record


def test_texts_beyond_the_first_ones_are_not_measured(starter: StableDiffusion, taps: Taps) -> None:
    turns = "|".join(f"{n}" for n in range(MOST_TEXTS + 2))
    recipe = make_recipe(prompt=f"a king [{turns}]", syntax="a1111", steps=MOST_TEXTS + 2)
    record = recorded(pipeline_for(starter, None, taps), recipe)
    assert len(record.texts) == MOST_TEXTS + 2
    assert [bool(text.requests) for text in record.texts] == [True] * MOST_TEXTS + [False] * 2


class Calls:
    """Notes of each call of a network its rows and the processors of its layers."""

    def __init__(self, network: Any) -> None:
        self.seen: list[tuple[int, list[Any]]] = []
        self._layers = [layer for name, layer in network.named_modules() if "attn" in name[-6:]]

    def __call__(self, network: Any, inputs: tuple[Any, ...]) -> None:
        self.seen.append((len(inputs[0]), self.processors))

    @property
    def processors(self) -> list[Any]:
        return [layer.processor for layer in self._layers if hasattr(layer, "processor")]


@pytest.fixture
def calls(starter: StableDiffusion) -> Iterator[Calls]:
    calls = Calls(starter.network)
    hook = starter.network.register_forward_pre_hook(calls)
    yield calls
    hook.remove()


def test_jobs_without_taps_have_the_calls_and_processors_that_they_always_had(
    starter: StableDiffusion, calls: Calls
) -> None:
    before, recipe = calls.processors, make_recipe(prompt="a king", steps=3)
    plain = Spec(job=1, epoch=1, recipe=recipe)
    drive(make_pipeline(starter), {0: [plain]})
    alone, calls.seen = calls.seen, []
    assert all(processors == before for _, processors in alone)
    drive(make_pipeline(starter), {0: [plain, spec(make_recipe(prompt="a cat", steps=3), 2)]})
    untapped = [call for call in calls.seen if call[1] == before]
    tapped = [call for call in calls.seen if call[1] != before]
    assert untapped == alone
    # As many calls of as many rows, with others' processors in place of cross-attention's.
    assert [rows for rows, _ in tapped] == [rows for rows, _ in alone]
    assert calls.processors == before
    assert not any(
        module._forward_pre_hooks
        for module in starter.network.modules()
        if module is not starter.network
    )
    assert [*starter.network._forward_pre_hooks.values()] == [calls]


def test_processors_are_removed_where_a_job_is_cancelled_or_fails(
    starter: StableDiffusion, calls: Calls
) -> None:
    before, recipe = calls.processors, make_recipe(prompt="a king", steps=3)
    ended = drive(make_pipeline(starter), {0: [spec(recipe)]}, {2: [Key(1, 1)]})[1][-1]
    assert isinstance(ended, Ended)
    assert isinstance(ended.error, Cancelled)
    assert calls.processors == before
    with failing(starter.network.mid_block, "forward", 1000):
        ended = drive(make_pipeline(starter), {0: [spec(recipe)]})[1][-1]
    assert isinstance(ended, Ended)
    assert isinstance(ended.error, OutOfMemory)
    assert calls.processors == before


def test_a_call_that_is_tried_again_for_want_of_memory_counts_once(
    starter: StableDiffusion,
) -> None:
    recipe = make_recipe(prompt=LONG, negative_prompt="grey", steps=3)
    with failing(starter.network.mid_block, "forward", 1):
        record = recorded(pipeline_for(starter, None), recipe)
    assert record.texts[0].requests == 3


def test_a_making_of_among_others_changes_no_picture(starter: StableDiffusion) -> None:
    recipes = [make_recipe(prompt=f"a king {n}", seed=n) for n in range(3)]
    pipeline = make_pipeline(starter)
    specs = [Spec(job=n, epoch=1, recipe=each) for n, each in enumerate(recipes)]
    told = drive(pipeline, {0: [*specs, spec(recipes[0], 9)]})
    for number, recipe in enumerate(recipes):
        assert pngs(told[number]) == [drawn(make_pipeline(starter), recipe)]
    [picture] = [each for each in told[9] if isinstance(each, Picture)]
    assert picture.png == put_into(pngs(told[0])[0], read_from(picture.png))
