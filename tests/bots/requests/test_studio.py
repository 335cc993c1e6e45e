from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bots.requests.default_options import save_options
from bots.requests.derive import NotInJob, change
from bots.requests.recipe_builder import RecipeBuilder
from bots.texts import say, tell, words_of
from engine.errors import (
    BrokenModel,
    MissingVae,
    OptionError,
    UnknownModel,
    UnknownPart,
    UserError,
)
from engine.models.catalogue import Catalogue
from engine.recipe.parts import Lora
from storage import Job, Status, UnknownJob, UnknownPicture
from tests.bots.conftest import ADA, House
from tests.factories import make_recipe


async def finished(house: House, job: Job) -> Job:
    """Wait until a job is over and return it as it then stands."""
    async for _ in house.worker.follow(job.id):
        pass
    return await house.storage.jobs.get(job.id)


async def test_what_was_not_typed_comes_from_the_model(house: House) -> None:
    recipe = house.studio.builder.complete(
        {"prompt": "a cat", "checkpoint": "tiny", "steps": 3}
    ).recipe
    assert (recipe.width, recipe.height, recipe.steps) == (64, 64, 3)
    assert recipe.sampler == "dpmpp_2m"


async def test_each_request_without_a_seed_gets_its_own(house: House) -> None:
    seeds = {house.studio.builder.complete({"prompt": "a cat"}).recipe.seed for _ in range(8)}
    assert len(seeds) > 1


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"prompt": ""}, OptionError),
        ({"prompt": "a cat", "checkpoint": "none"}, UnknownModel),
        ({"prompt": "a cat", "steps": 0}, OptionError),
    ],
)
async def test_a_refused_request_leaves_nothing_behind(
    house: House, values: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await house.studio.imagine(values, ADA)
    assert not await house.storage.history.page(person=ADA.person)


@pytest.mark.parametrize("prompt", ["\u200b", "\u2800\u3164", "\ufe0f \x00", "<lora:ink>\u200d"])
async def test_words_that_cannot_be_seen_are_refused_as_none_at_all(
    house: House, prompt: str
) -> None:
    drawn = await house.studio.imagine({"prompt": "👩\u200d🎨"}, ADA)
    assert drawn.recipe.prompt == "👩\u200d🎨", "what joins an emoji stays"
    seen = make_recipe(prompt=prompt, checkpoint="tiny")
    studio, words = house.studio, {"prompt": prompt}
    asked = (
        studio.imagine(words, ADA),
        studio.rerun(str(drawn.id), words, ADA),
        studio.remake(replace(seen, prompt="\u200b"), {}, ADA),
        studio.remake(seen, words, ADA),
    )
    for asking in asked:
        with pytest.raises(OptionError, match="a description of the picture, not ''"):
            await asking
    assert len(await house.storage.history.page(person=ADA.person)) == 1


async def test_a_job_is_committed_before_anybody_is_told(house: House) -> None:
    house.executor.gate.clear()
    job = await house.studio.imagine({"prompt": "a cat"}, ADA)
    assert (await house.storage.jobs.get(job.id)).status in (Status.QUEUED, Status.RUNNING)


async def test_a_rerun_knows_its_parent_and_keeps_its_seed(house: House) -> None:
    first = await house.studio.imagine({"prompt": "a cat", "count": 4, "seed": 7}, ADA)
    again = await house.studio.rerun(f"{first.id}.3", {}, ADA)
    assert (again.parent, again.parent_picture) == (first.id, 2)
    assert (again.recipe.seed, again.recipe.count, again.recipe.picture) == (7, 4, 2)


async def test_a_rerun_of_nothing_says_so(house: House) -> None:
    first = await house.studio.imagine({"prompt": "a cat"}, ADA)
    with pytest.raises(UnknownJob, match="no job 99"):
        await house.studio.rerun("99", {}, ADA)
    with pytest.raises(NotInJob, match=rf"job {first.id} has 1 picture, {first.id}\.1\."):
        await house.studio.rerun(f"{first.id}.2", {}, ADA)
    four = await house.studio.imagine({"prompt": "a cat", "count": 4}, ADA)
    with pytest.raises(NotInJob, match=r"has 4 pictures, 2\.1 to 2\.4\.") as caught:
        await house.studio.rerun(f"{four.id}.9", {}, ADA)
    assert tell(caught.value, words_of("zh")) == "没有图片 2.9：任务 2 有 4 张图，2.1 到 2.4。"
    with pytest.raises(UnknownPicture):
        await house.studio.rerun("twelve", {}, ADA)
    with pytest.raises((UnknownModel, BrokenModel)):
        await house.studio.rerun(str(first.id), {"checkpoint": "gone"}, ADA)


@pytest.mark.parametrize(
    ("values", "grid"),
    [
        ({}, (4, 2)),
        ({"steps": 9}, (4, 2)),
        ({"seed": 7}, (4, 2)),  # the seed that it has
        ({"seed": 8}, (1, None)),
        ({"count": 2}, (2, None)),
        ({"seed": 8, "count": 2}, (2, None)),
    ],
)
def test_one_picture_of_a_grid_keeps_its_place_until_its_noise_changes(
    values: dict[str, Any], grid: tuple[int, int | None]
) -> None:
    changed = change(make_recipe(seed=7, count=4, picture=2), values)
    assert (changed.count, changed.picture) == grid


def test_a_whole_grid_with_a_new_seed_stays_a_grid() -> None:
    changed = change(make_recipe(seed=7, count=4), {"seed": 8})
    assert (changed.seed, changed.count, changed.picture) == (8, 4, None)


async def test_a_model_without_a_vae_is_asked_for_with_one(house: House, more: Path) -> None:
    names = (
        "model.diffusion_model.input_blocks.0.0.weight",
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
        "cond_stage_model.transformer.text_model.a",
    )
    shapes = ((4, 4, 3, 3), (4, 768), (1,))
    tensors = {name: torch.zeros(shape) for name, shape in zip(names, shapes, strict=True)}
    save_file(tensors, more / "bare.safetensors")
    (more / "vae").mkdir()
    (more / "vae" / "mse.safetensors").write_bytes(b"")
    values = {"prompt": "a cat", "checkpoint": "bare"}
    with pytest.raises(MissingVae) as caught:
        house.studio.builder.complete(values)
    assert str(caught.value) == (
        "The model 'bare.safetensors' has no VAE: choose one from vae/ with --vae (mse); "
        "a tiny one can only decode."
    )
    assert "不含 VAE" in tell(caught.value, words_of("zh"))
    assert house.studio.builder.complete({**values, "vae": "mse.safetensors"}).recipe.vae == "mse"
    assert not await house.storage.history.page(person=ADA.person)


async def test_names_are_asked_about_where_they_fit_several_files(house: House, more: Path) -> None:
    for folder in ("sd15", "sdxl"):
        path = more / "loras" / folder / "detail.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    with pytest.raises(UserError) as caught:
        house.studio.builder.complete({"prompt": "a cat <lora:detail:0.5>"})
    assert "sd15/detail.safetensors, sdxl/detail.safetensors" in str(caught.value)
    assert "对应多个文件" in tell(caught.value, words_of("zh"))
    recipe = house.studio.builder.complete(
        {"prompt": "a cat <lora:sdxl\\Detail.safetensors:0.5>"}
    ).recipe
    assert recipe.loras == (Lora(name="sdxl/detail", weight=0.5),)
    assert house.studio.builder.loras.names() == ["sd15/detail", "sdxl/detail"]


@pytest.fixture
def more(house: House, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a models folder of a test's own, which the house looks into."""
    folder = tmp_path / "models"
    folder.mkdir()
    catalogue = Catalogue(folder, starter=models / "tiny")
    monkeypatch.setattr(house.studio, "builder", RecipeBuilder(catalogue))
    return folder


async def test_words_may_name_loras_and_leave_choices_to_the_seed(house: House) -> None:
    values = {"prompt": "a {gold|jade} cat <lora:ink_v2:0.5>", "negative_prompt": "{a|b}"}
    recipe = house.studio.builder.complete({**values, "seed": 3}).recipe
    assert recipe.prompt in ("a gold cat", "a jade cat")
    assert recipe.negative_prompt in "ab"
    assert recipe.loras == (Lora(name="Ink_v2", weight=0.5),)
    assert house.studio.builder.complete({**values, "seed": 3}).recipe == recipe
    prompts = {
        house.studio.builder.complete({**values, "seed": seed}).recipe.prompt for seed in range(9)
    }
    assert len(prompts) == 2


async def test_an_unknown_lora_is_refused_before_anything_is_kept(house: House) -> None:
    with pytest.raises(UnknownPart, match=r"no LoRA 'ink'.*available: Ink_v2"):
        await house.studio.imagine({"prompt": "a cat <lora:ink>"}, ADA)
    assert not await house.storage.history.page(person=ADA.person)


async def test_a_rerun_with_other_words_may_bring_other_loras(house: House) -> None:
    first = await house.studio.imagine({"prompt": "a cat <lora:Ink_v2>", "seed": 1}, ADA)
    same = await house.studio.rerun(str(first.id), {"steps": 2}, ADA)
    assert same.recipe.loras == (Lora(name="Ink_v2"),)
    other = await house.studio.rerun(str(first.id), {"prompt": "a {dog}<lora:Ink_v2:-1>"}, ADA)
    assert (other.recipe.prompt, other.recipe.loras[0].weight) == ("a {dog}", -1)
    none = await house.studio.rerun(str(first.id), {"loras": ()}, ADA)
    assert none.recipe.loras == ()


async def test_a_recipe_bears_its_models_full_name(house: House) -> None:
    recipe = house.studio.builder.complete({"prompt": "a cat", "checkpoint": "TINY"}).recipe
    assert recipe.checkpoint == "tiny"


async def test_that_the_best_is_shown_first_is_asked_for_and_kept_by_grids_drawn_again(
    house: House,
) -> None:
    studio, four = house.studio, {"prompt": "a cat", "count": 4, "checkpoint": "tiny"}
    plain = await studio.imagine(four, ADA)
    best = await studio.imagine({**four, "best": True}, ADA)
    image = (await finished(house, best)).pictures[0].sha256
    jobs = [
        await studio.rerun(str(best.id), {"steps": 3}, ADA),
        await studio.rerun(str(best.id), {"best": False}, ADA),
        await studio.rerun(f"{best.id}.2", {}, ADA),
        await studio.rerun(str(plain.id), {"best": True}, ADA),
        await studio.edit_image(image, {**four, "best": True}, ADA),
    ]
    assert [each.best for each in (plain, best, *jobs)] == [
        *(False, True),
        *(True, False, False, True, True),
    ]
    assert "best" not in best.recipe.to_dict()


async def test_the_best_of_one_picture_is_said_to_be_nothing(house: House) -> None:
    asker = replace(ADA, notes=[])
    alone = {"prompt": "a cat", "count": 1, "checkpoint": "tiny", "best": True}
    job = await house.studio.imagine(alone, asker)
    assert not job.best
    assert [say(each, words_of("en")) for each in asker.notes] == [
        "One picture is the best by itself: `--best` needs a `--count` of several."
    ]
    asker.notes.clear()
    await save_options(house.storage.people, ADA.person, {"best": "on"})
    del alone["best"]
    saved = [
        await house.studio.imagine({**alone, "count": count}, asker, ADA.person) for count in (1, 2)
    ]
    assert [each.best for each in saved] == [False, True]
    assert asker.notes == []
