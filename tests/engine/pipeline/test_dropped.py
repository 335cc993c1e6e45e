"""A model that is dropped is gone at once, whatever was used on it."""

import gc
import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from engine.device.call_costs import Buckets
from engine.device.out_of_memory import Ladder
from engine.events import Key
from engine.executors.opening import compile_blocks
from engine.families.stable_diffusion import load
from engine.models.catalogue import Catalogue
from engine.pipeline.pipeline import Pipeline
from engine.pipeline.placement import PARTS
from engine.pipeline.residency import Residency
from engine.recipe.parts import Control, Lora, Upscale
from engine.spec import Spec
from tests.engine.denoise.test_control import make_network
from tests.engine.pictures.test_start_image import Kept
from tests.engine.ticks import costing, make_loaded_model, pipeline_on, run
from tests.factories import make_recipe
from tests.loras import random_lora, write_kohya
from tests.models import make_model
from tests.tiny_vaes import makers_decoder, write_makers

CPU = torch.device("cpu")
HINT = "a" * 64
USED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "LoRAs": {"loras": (Lora(name="ink"), Lora(name="ink", weight=-0.5))},
    "a control": {"controls": (Control(image=HINT, model="disc"),)},
    "a VAE of its own": {"vae": "other"},
    "a tiny VAE": {"vae": "small"},
    "an embedding": {"prompt": "a embedding:cat"},
    "a second pass": {"upscale": Upscale(factor=1.5, strength=0.5)},
    "siblings": {"count": 3, "steps": 3},
}
EVERYTHING = {name: value for changes in USED.values() for name, value in changes.items()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models folder: two models, and one of each kind of part for them."""
    home = tmp_path_factory.mktemp("home")
    for seed, name in enumerate("ab"):
        make_model(home / "diffusers" / name, seed=seed)
    first = load(Catalogue(home).get("a"), CPU)
    parts = {"unet": first.unet, "text_encoder": first.text_encoder}
    write_kohya(home / "loras" / "ink.safetensors", random_lora(parts), first.unet)
    make_network(first.unet, 1).save_pretrained(home / "controlnet" / "disc")
    first.vae.save_pretrained(home / "vae" / "other")
    write_makers(home / "vae_approx", makers_decoder(), "small")
    (home / "embeddings").mkdir()
    save_file({"emb_params": torch.ones(2, 32)}, home / "embeddings" / "cat.safetensors")
    return home


@pytest.fixture
def uncollected(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing be freed but by its last reference."""
    gc.collect()
    gc.disable()
    monkeypatch.setattr(gc, "collect", lambda: None)
    yield
    monkeypatch.undo()
    gc.enable()


def open_pipeline(home: Path, compiled: bool = False) -> Pipeline:
    """Return a pipeline that has room for one model."""

    def load_one(checkpoint: Any, offloaded: bool) -> Any:
        model = load(checkpoint, CPU)
        if compiled:
            compile_blocks(model)
        return model

    picture = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), 200, np.uint8)).save(picture, "PNG")
    measure = costing(Buckets({1: 1.0, 2: 1.0, 4: 1.0}))
    residency = Residency(Catalogue(home), load_one, measure, Ladder(), budget=1)
    ticks = iter(range(10**6))  # each preview is due
    return pipeline_on(
        residency, store=Kept({HINT: picture.getvalue()}), clock=lambda: 100.0 * next(ticks)
    )


def watch(pipeline: Pipeline) -> dict[str, Any]:
    """Return weak references to all that a loaded model consists of."""
    loaded_model = pipeline._models.get("a")
    assert loaded_model
    modules = {
        f"{part} {n}": m for part in PARTS for n, m in enumerate(loaded_model._parts.modules(part))
    }
    modules |= {f"lent {name}": lent.vae for name, lent in loaded_model._vaes._models.items()}
    layers = {f"{name}: {n}": m for name, each in modules.items() for n, m in each.named_modules()}
    return {name: ref(each) for name, each in {"loaded_model": loaded_model, **layers}.items()}


def tensor_bytes() -> int:
    """Return the bytes of all tensors that are alive; what torch.compile traces with has none."""
    plain = (torch.Tensor, torch.nn.Parameter)
    found = [each for each in gc.get_objects() if type(each) in plain]
    return sum(
        {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in found}.values()
    )


def drop(pipeline: Pipeline) -> None:
    """Let another model take the place of the first."""
    run(pipeline, make_recipe(checkpoint="b", steps=1))


def still(watched: dict[str, Any]) -> list[str]:
    return [name for name, alive in watched.items() if alive() is not None]


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("used", [*USED, "everything"])
def test_a_dropped_model_is_gone_whatever_was_used_on_it(home: Path, used: str) -> None:
    changes = {"steps": 5, **(EVERYTHING if used == "everything" else USED[used])}
    pipeline = open_pipeline(home)
    run(pipeline, make_recipe(checkpoint="a", steps=1))  # small tables are made once
    drop(pipeline)
    before = tensor_bytes()
    run(pipeline, make_recipe(checkpoint="a", **changes))
    watched = watch(pipeline)
    assert len(watched) > 100
    drop(pipeline)
    pipeline.close()
    assert not still(watched)
    assert tensor_bytes() == pytest.approx(before, rel=0.02)


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("used", [*USED, "everything"])
def test_the_budget_counts_all_that_is_gone_with_a_model(home: Path, used: str) -> None:
    pipeline = open_pipeline(home)
    run(pipeline, make_recipe(checkpoint="a", steps=1))  # small tables are made once
    drop(pipeline)
    before = tensor_bytes() - size(pipeline, "b")
    run(pipeline, make_recipe(checkpoint="a", steps=5))
    changes = EVERYTHING if used == "everything" else USED[used]
    run(pipeline, make_recipe(checkpoint="a", **changes))
    assert size(pipeline, "a") == pytest.approx(tensor_bytes() - before, rel=0.02)


def size(pipeline: Pipeline, name: str) -> int:
    loaded_model = pipeline._models.get(name)
    assert loaded_model
    return loaded_model.size


def run_out(*_: object) -> None:
    """Stand before a module and run out of memory."""
    raise torch.cuda.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("end", ["cancelled", "broken", "refused", "without memory"])
def test_a_model_whose_job_did_not_end_well_is_gone_too(
    home: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "engine.pipeline.pipeline.log.disabled", True
    )  # pytest keeps all that is logged
    pipeline = open_pipeline(home)
    recipe = make_recipe(checkpoint="a", **EVERYTHING)
    pipeline.admit(Spec(job=1, epoch=1, recipe=recipe))
    kept = [*pipeline.tick()]  # as who listens may keep what is reported
    watched = watch(pipeline)
    if end == "cancelled":
        kept += [*pipeline.tick()]
        pipeline.cancel(Key(1, 1))
    elif end == "broken":
        loaded_model = pipeline._models.get("a")
        assert loaded_model
        loaded_model.model.network.conv_in.weight = torch.nn.Parameter(torch.zeros(1), False)
        del loaded_model
    elif end == "without memory":
        loaded_model = pipeline._models.get("a")
        assert loaded_model
        loaded_model.model.network.register_forward_pre_hook(run_out)
        del loaded_model
    else:
        pipeline.admit(Spec(job=2, epoch=1, recipe=make_recipe(checkpoint="a", vae="none")))
    while pipeline.busy:
        kept += [*pipeline.tick()]
    drop(pipeline)
    pipeline.close()
    assert not still(watched)
    assert kept


@pytest.mark.filterwarnings("ignore")  # torch's own compiler still uses what torch warns about
@pytest.mark.slow
def test_a_compiled_model_is_gone_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.Module, "compile", _compile_quickly)
    pipeline = open_pipeline(home, compiled=True)
    run(pipeline, make_recipe(checkpoint="a", steps=1, loras=USED["LoRAs"]["loras"]))
    watched = watch(pipeline)
    gc.disable()
    drop(pipeline)
    gc.enable()
    pipeline.close()
    assert not still(watched)


def _compile_quickly(module: Any, **options: Any) -> None:
    module._compiled_call_impl = torch.compile(module._call_impl, backend="eager", **options)


@pytest.mark.parametrize("broken", ["text_encoder", "network", "vae"])
def test_a_move_that_fails_leaves_no_part_marked_as_present(home: Path, broken: str) -> None:
    loaded_model = make_loaded_model(load(Catalogue(home).get("a"), CPU), offloaded=True)
    loaded_model._parts.move_to_device("vae" if broken == "network" else "network")
    before = loaded_model._parts.present
    module, moved = loaded_model._parts.modules(broken)[0], list[str]()
    move = module.to

    def fail(device: torch.device) -> Any:
        if not moved:
            moved.append("tried")
            run_out()
        moved.append("moved")
        return move(device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "to", fail)
        with suppress(torch.OutOfMemoryError):
            loaded_model._parts.move_to_device(broken)
        assert loaded_model._parts.present is None  # not the one before, which was sent away
        assert before
        loaded_model._parts.move_to_device(
            before
        )  # which brings it back, rather than trust that it is there
        assert loaded_model._parts.present == before
        assert moved[-1] == "moved"
