"""LoRAs: read in every form that trainers write, as diffusers reads them, switched each tick."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch._dynamo.utils import counters

from engine.denoise.conditions import Conditions
from engine.denoise.denoising import Denoising, evaluate
from engine.errors import BrokenModel, UnknownPart
from engine.events import Ended, Picture
from engine.executors.opening import compile_blocks
from engine.families.stable_diffusion import StableDiffusion, load
from engine.loading.lora import Loras
from engine.models.catalogue import describe
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.recipe.parts import Lora
from engine.recipe.recipe import Recipe
from engine.spec import Spec
from engine.text_encode.conditioning import TextEncoder
from tests.engine.pipeline.test_parity import by_diffusers, make_pipeline
from tests.engine.ticks import (
    ROOMY,
    OneModel,
    costing,
    drive,
    pipeline_on,
    pngs,
)
from tests.factories import make_recipe
from tests.loras import ALPHA, RANK, Pairs, random_lora, save, write_diffusers, write_kohya
from tests.single_files import make_true_model

FAMILIES = ("sd1", "sd2", "sdxl")


@pytest.fixture(scope="module", params=FAMILIES)
def true(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> StableDiffusion:
    """Return a small model of each family."""
    return make_true_model(tmp_path_factory.mktemp(request.param), request.param)


def parts(model: StableDiffusion) -> dict[str, Any]:
    """Return the parts of a model that a LoRA may change."""
    found = {"unet": model.unet, "text_encoder": model.text_encoder}
    return found | ({"text_encoder_2": model.text_encoder_2} if model.text_encoder_2 else {})


def pairs_of(model: StableDiffusion, **options: Any) -> Pairs:
    """Return a LoRA of all layers that diffusers reads, too: it drops these two without a word."""
    return random_lora(parts(model), skipped=("add_embedding", "text_projection"), **options)


@torch.inference_mode()
def by_marble(model: StableDiffusion, recipe: Recipe, shelf: ModelFiles) -> Tensor:
    adapters, text = Loras(model, shelf), TextEncoder(model)
    adapters.use(recipe.loras)
    positive, negative = (text.encode(words, key=recipe.loras) for words in (recipe.prompt, ""))
    picture = Denoising(model, recipe, 0, Conditions.of(positive, negative))
    while picture.request:
        picture.advance(evaluate(model, [picture])[0])
    adapters.use(())
    return picture.latents


def test_latents_equal_those_of_diffusers_with_peft(
    true: StableDiffusion, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    sets = {
        "kohya": (write_kohya, pairs_of(true, seed=1), {"unet": true.unet}),
        "diffusers": (write_diffusers, pairs_of(true, seed=2), {}),
    }
    for name, (write, pairs, more) in sets.items():
        write(tmp_path / "loras" / f"{name}.safetensors", pairs, **more)  # type: ignore[operator]
    used = (Lora(name="kohya", weight=0.8), Lora(name="diffusers", weight=-0.5))
    recipe = make_recipe(steps=4, loras=used)
    plain = by_marble(true, make_recipe(steps=4), ModelFiles(tmp_path, ModelKind.LORA))
    ours = by_marble(true, recipe, ModelFiles(tmp_path, ModelKind.LORA))
    assert (ours - plain).abs().max() > 0.1  # it matters
    pipeline = make_pipeline(true)
    try:
        for lora in used:
            file = tmp_path / "loras" / f"{lora.name}.safetensors"
            pipeline.load_lora_weights(file, adapter_name=lora.name)
        pipeline.set_adapters([lora.name for lora in used], [lora.weight for lora in used])
        theirs = by_diffusers(true, recipe)
    finally:
        pipeline.unload_lora_weights()
    assert (ours - theirs).abs().max() <= 1e-4
    assert torch.equal(
        by_marble(true, make_recipe(steps=4), ModelFiles(tmp_path, ModelKind.LORA)), plain
    )


def merged(layer: Any, pair: tuple[Tensor, Tensor], weight: float) -> Tensor:
    """Return a layer's weights with a pair added to them."""
    down, up = pair
    added = up.flatten(1) @ down.flatten(1)
    result: Tensor = layer.weight + weight * added.reshape(layer.weight.shape)
    return result


@pytest.mark.parametrize("form", ["kohya", "original", "peft", "old", "processors"])
def test_every_layer_is_found_under_every_name(
    true: StableDiffusion, tmp_path: Path, form: str
) -> None:
    convolutions = form != "processors"
    pairs = random_lora(parts(true), convolutions=convolutions)
    scale = 1.0
    path = tmp_path / "loras" / "it.safetensors"
    if form in ("kohya", "original"):
        write_kohya(path, pairs, true.unet, original=form == "original")
        scale = ALPHA / RANK
    elif form == "processors":
        save(path, as_processors(pairs))
    else:
        endings = ("lora_A", "lora_B") if form == "peft" else ("lora.down", "lora.up")
        write_diffusers(path, pairs, endings)
    adapters = Loras(true, ModelFiles(tmp_path, ModelKind.LORA))
    adapters.use((Lora(name="it", weight=0.5, text_weight=0.25),))
    for part, layers in pairs.items():
        modules = dict(getattr(true, part).named_modules())
        for name, pair in layers.items():
            layer = modules[name]
            x = torch.randn(3, *layer.weight.shape[1:2], *[6] * (layer.weight.ndim - 2))
            weight = scale * (0.5 if part == "unet" else 0.25)
            with torch.inference_mode():
                got = layer(x)
                plain = layer.weight.clone()
                layer.weight.copy_(merged(layer, pair, weight))
                adapters.use(())
                wanted = layer(x)
                layer.weight.copy_(plain)
                adapters.use((Lora(name="it", weight=0.5, text_weight=0.25),))
            assert torch.allclose(got, wanted, atol=1e-4), f"{part} {name}"
    adapters.use(())


def as_processors(pairs: Pairs) -> dict[str, Tensor]:
    """Spell attention's projections as diffusers' oldest files do; leave the rest out."""
    tensors = {}
    for part, layers in pairs.items():
        for name in list(layers):
            old = re.sub(r"\.to_(q|k|v|out)(\.0)?$", r".processor.to_\1_lora", name)
            old = re.sub(r"\.(q|k|v|out)_proj$", r".to_\1_lora", old)
            if old == name:
                del layers[name]
                continue
            down, up = layers[name]
            spelled = old if part == "unet" else f"text_model.{old.removeprefix('text_model.')}"
            tensors[f"{part}.{spelled}.down.weight"] = down
            tensors[f"{part}.{spelled}.up.weight"] = up
    return tensors


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusion:
    """Return a small SD1."""
    return make_true_model(tmp_path_factory.mktemp("small"), "sd1")


@pytest.fixture
def shelf(small: StableDiffusion, tmp_path: Path) -> ModelFiles:
    """Return a shelf with two LoRAs for the small model."""
    for seed, name in enumerate(("one", "two")):
        pairs = random_lora({"unet": small.unet}, seed=seed)
        write_kohya(tmp_path / "loras" / f"{name}.safetensors", pairs, small.unet)
    return ModelFiles(tmp_path, ModelKind.LORA)


def drawn(
    model: StableDiffusion, shelf: ModelFiles, recipes: Sequence[Recipe]
) -> tuple[list[Any], list[Any]]:
    """Draw recipes together; return each one's news, and the sets that shared each call."""
    calls: list[Any] = []
    models = OneModel(model, shelf._models_dir, costing(ROOMY))
    loaded_model = models.get("")
    plain = loaded_model._call

    def watch(batch: Sequence[Denoising], rows: int) -> list[Tensor]:
        calls.append({picture.loras for picture in batch})
        return plain(batch, rows)

    with patch.object(loaded_model, "_call", watch):
        pipeline = pipeline_on(models)
        told = drive(pipeline, {0: [Spec(job=n, epoch=1, recipe=r) for n, r in enumerate(recipes)]})
        pipeline.close()
    loaded_model._loras.use(())  # other loaded models of these tests hook the same layers
    return [told[number] for number in range(len(recipes))], calls


def test_jobs_of_other_sets_never_share_a_call_and_draw_as_alone(
    small: StableDiffusion, shelf: ModelFiles
) -> None:
    one, two = Lora(name="one"), Lora(name="two", weight=0.5)
    sets: list[Any] = [(), (one,), (two,), (one, two), (one,)]
    recipes = [make_recipe(steps=3, seed=n, loras=used) for n, used in enumerate(sets)]
    together, calls = drawn(small, shelf, recipes)
    assert all(len(used) == 1 for used in calls)
    assert {next(iter(used)) for used in calls} == set(sets)
    assert len(calls) < 3 * len(sets)  # the two jobs of one set shared theirs
    for recipe, news in zip(recipes, together, strict=True):
        alone, _ = drawn(small, shelf, [recipe])
        assert pngs(news) == pngs(alone[0]), recipe.loras


def without_half(path: Path) -> None:
    tensors = load_file(path)
    del tensors[next(name for name in tensors if name.endswith("lora_up.weight"))]
    save(path, tensors)


def with_nan(path: Path) -> None:
    tensors = load_file(path)
    next(t for name, t in tensors.items() if "lora_up" in name).view(-1)[0] = torch.nan
    save(path, tensors)


BROKEN: dict[str, tuple[Any, str]] = {
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-10]), "it is cut short"),
    "empty": (lambda path: path.write_bytes(b""), "it is empty"),
    "half": (without_half, "is missing"),
    "nan": (with_nan, "holds values that are no numbers"),
    "no LoRA": (lambda path: save(path, {"a": torch.zeros(2)}), "it is no LoRA"),
    "OFT": (lambda path: save(path, {"x.oft_blocks": torch.zeros(2)}), "it is an OFT"),
    "unknown": (
        lambda path: save(
            path, {"q.lora_down.weight": torch.zeros(1, 2), "q.lora_up.weight": torch.zeros(2, 1)}
        ),
        "it is not made for Stable Diffusion 1.x models",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_lora_ends_its_own_job_with_one_sentence(
    small: StableDiffusion, shelf: ModelFiles, tmp_path: Path, what: str
) -> None:
    spoil, said = BROKEN[what]
    spoil(tmp_path / "loras" / "one.safetensors")
    recipes = [make_recipe(steps=2, loras=(Lora(name=name),)) for name in ("one", "two")]
    told, _ = drawn(small, shelf, recipes)
    broken = told[0][-1]
    assert isinstance(broken, Ended)
    assert isinstance(broken.error, BrokenModel)
    assert said in str(broken.error)
    assert "\n" not in str(broken.error)
    assert [type(news) for news in told[1]][-2:] == [Picture, Ended]


def test_a_lora_for_another_family_is_named(small: StableDiffusion, tmp_path: Path) -> None:
    other = make_true_model(tmp_path / "sdxl", "sdxl")
    path = tmp_path / "loras" / "xl.safetensors"
    write_kohya(path, random_lora({"unet": other.unet}), other.unet, original=True)
    with pytest.raises(BrokenModel, match="Stable Diffusion 1"):
        Loras(small, ModelFiles(tmp_path, ModelKind.LORA)).use((Lora(name="xl"),))


def test_an_unknown_lora_is_answered_with_the_known_ones(
    small: StableDiffusion, shelf: ModelFiles
) -> None:
    with pytest.raises(UnknownPart, match=r"There is no LoRA 'on' \(did you mean 'one'\?\)"):
        Loras(small, shelf).use((Lora(name="on"),))


def test_sets_are_made_once_and_switching_copies_nothing(
    small: StableDiffusion, shelf: ModelFiles
) -> None:
    adapters = Loras(small, shelf)
    sets = [(Lora(name="one"),), (Lora(name="two"),), ()]
    for used in sets:
        adapters.use(used)
    made = {used: id(adapters._sets[used]) for used in sets}
    for used in sets * 3:
        adapters.use(used)
        assert id(adapters._active) == made[used]


@pytest.mark.skipif(not shutil.which("g++"), reason="compiling for a processor takes g++")
# torch's own compiler still uses what torch warns about.
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")
@torch.inference_mode()
@pytest.mark.slow
def test_what_is_compiled_never_serves_another_sets_weights(
    tiny_folder: Path, model: StableDiffusion, tmp_path: Path
) -> None:
    compiled = load(describe("tiny", tiny_folder), torch.device("cpu"))
    compile_blocks(compiled)
    for seed, name in enumerate(("one", "two")):
        pairs = random_lora({"unet": model.unet}, seed=seed)["unet"]
        # A block of its own for the layers in the middle is enough, and compiled in less time.
        pairs = {layer: pair for layer, pair in pairs.items() if layer.startswith("mid_block")}
        write_kohya(tmp_path / "loras" / f"{name}.safetensors", {"unet": pairs}, model.unet)
    one, half, two = Lora(name="one"), Lora(name="one", weight=0.5), Lora(name="two")
    given = torch.randn(2, 4, 8, 8), torch.tensor([500.0, 300.0]), torch.randn(2, 77, 32)
    plain, fast = (
        Loras(model, ModelFiles(tmp_path, ModelKind.LORA)),
        Loras(compiled, ModelFiles(tmp_path, ModelKind.LORA)),
    )
    counts = []
    for used in ((), (one,), (two,), (), (half,), (one,)):
        plain.use(used)
        fast.use(used)
        wanted, got = (each.unet(*given, return_dict=False)[0] for each in (model, compiled))
        assert (got - wanted).abs().max() <= 1e-5, used
        counts.append(counters["stats"]["unique_graphs"])
    plain.use(())
    assert counts[0] > 0  # it was compiled indeed
    assert counts[1] == counts[2]  # and once for sets of one form
    assert counts[3] == counts[5]
