"""Pictures by workflows of the owner: what people set, what holds, what a place allows."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bots.admission.gate import Gate
from bots.operations.settings import load_settings
from bots.requests.default_options import save_options
from bots.requests.options import parse_values
from bots.requests.studio import Asker
from bots.requests.typed_options import split_message
from bots.requests.workflow_doctor import check_workflows
from bots.requests.workflow_folder import WorkflowFolder
from bots.requests.workflows import WORKFLOW, Workflows, read_choices, values_of
from bots.service.app import roles_of, rules_of
from bots.texts import tell, words_of
from engine.errors import UserError
from storage import Job
from tests.bots.conftest import House
from tests.bots.workflow_graphs import from_picture, marked, with_loras, with_mask, write

ANN = Asker(person="discord:ann", place="discord:1")
Draw = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(
        tmp_path / "workflows",
        portrait=marked(model="tiny"),
        redraw=from_picture(),
        paint=with_mask(),
    )


@pytest.fixture
def workflows(house: House, folder: Path) -> Workflows:
    settings = load_settings({}, env_file="")
    gate = Gate(house.storage, roles_of(settings), rules_of(settings))
    return Workflows(WorkflowFolder(folder), house.studio, house.storage.pictures, gate)


async def draw(workflows: Workflows, name: str, **values: Any) -> Job:
    return await workflows.draw(name, values, replace(ANN, notes=[]))


def png(width: int, height: int, colour: str = "teal") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


async def test_what_people_set_replaces_what_nodes_hold_and_nothing_else_does(
    house: House, workflows: Workflows
) -> None:
    saved = {"steps": "30", "negative": "birds", "size": "128x64", "sampler": "heun"}
    await save_options(house.storage.people, ANN.person, saved)
    await house.storage.styles.add(ANN.place, "noir", "film noir", "", by="discord:judge")
    typed = parse_values([("guidance", "3"), ("seed", "7"), ("style", "noir")])
    job = await draw(workflows, "Portrait", prompt="a cat", **typed)
    recipe = job.recipe
    assert (recipe.prompt, recipe.negative_prompt) == ("a cat, film noir", "text, watermark")
    assert (recipe.guidance_scale, recipe.seed, recipe.steps) == (3, 7, 4)
    assert (recipe.width, recipe.height, recipe.sampler) == (64, 64, "euler")
    assert (recipe.checkpoint, job.style) == ("tiny", "noir")
    again = (await draw(workflows, "portrait")).recipe
    assert again.prompt == "beautiful scenery nature glass bottle landscape"
    assert again.seed != (await draw(workflows, "portrait")).recipe.seed
    wide = (await draw(workflows, "portrait", **parse_values([("size", "4:1")]))).recipe
    assert (wide.width, wide.height) == (256, 64)
    # The recipe is as any other: it is drawn again without the workflow.
    rerun = await house.studio.rerun(str(job.id), {"steps": 2}, replace(ANN, notes=[]))
    assert rerun.recipe == replace(recipe, steps=2)


async def test_loras_of_the_graph_stay_beside_those_in_words(
    workflows: Workflows, folder: Path
) -> None:
    graph = with_loras(Ink_v2="lora")
    graph["4"]["inputs"]["ckpt_name"] = "tiny"
    write(folder, inked=graph)
    own = (await draw(workflows, "inked")).recipe
    assert [(lora.name, lora.weight) for lora in own.loras] == [("Ink_v2", 1)]
    both = (await draw(workflows, "inked", prompt="a cat <lora:Ink_v2:0.3>")).recipe
    assert [(lora.name, lora.weight) for lora in both.loras] == [("Ink_v2", 1), ("Ink_v2", 0.3)]
    given = (await draw(workflows, "inked", **parse_values([("lora", "Ink_v2:0.5")]))).recipe
    assert [(lora.name, lora.weight) for lora in given.loras] == [("Ink_v2", 0.5)]


async def test_a_given_picture_goes_where_the_graph_loads_one(
    house: House, workflows: Workflows, folder: Path
) -> None:
    with pytest.raises(UserError) as refused:
        await draw(workflows, "redraw")
    said = "The workflow redraw starts from a picture of yours: give it as image."
    assert str(refused.value) == said
    assert tell(refused.value, words_of("zh")) == (
        "工作流 redraw 从你的一张图片开始：请用 image 给出。"
    )
    image = await house.studio.keep_image(png(128, 64))
    recipe = (await draw(workflows, "redraw", image=image, strength=0.4)).recipe
    assert (recipe.image, recipe.strength) == (image, 0.4)
    assert (recipe.width, recipe.height) == (128, 64)
    (folder / "cat.png").write_bytes(png(192, 128))  # what the node holds, for who gives none
    recipe = (await draw(workflows, "redraw")).recipe
    assert (recipe.width, recipe.height, recipe.strength) == (192, 128, 0.5)
    (folder / "cat.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"^The picture 'cat.png' of the workflow cannot be used: "):
        await draw(workflows, "redraw")


async def test_white_is_what_is_drawn_whatever_a_graph_makes_of_its_mask(
    house: House, workflows: Workflows
) -> None:
    image = await house.studio.keep_image(png(64, 64))
    with pytest.raises(UserError, match=r"^The workflow paint starts .*: give it as mask\.$"):
        await draw(workflows, "paint", image=image)
    mask = await house.studio.keep_mask(image, png(64, 64, "white"))
    recipe = (await draw(workflows, "paint", image=image, mask=mask)).recipe
    assert (recipe.image, recipe.mask) == (image, mask)
    white = Image.open(io.BytesIO(house.storage.pictures.fetch(mask)))
    assert np.asarray(white.convert("L")).min() == 255


async def test_what_is_not_marked_and_what_is_not_there_are_one_sentence(
    workflows: Workflows,
) -> None:
    for values, said in (
        ({"steps": 9}, "nothing is marked as steps; what may be set: prompt, negative, image"),
        ({"width": 64, "height": 64}, "nothing is marked as size; what may be set: prompt, neg"),
    ):
        with pytest.raises(UserError, match=said):
            await draw(workflows, "redraw", **values)
    with pytest.raises(UserError, match="marked as image"):
        await draw(workflows, "portrait", image="0" * 64)
    with pytest.raises(UserError) as refused:
        await draw(workflows, "potrait")
    assert str(refused.value) == (
        "There is no workflow 'potrait' (did you mean 'portrait'?); available workflows: paint, "
        "portrait, redraw."
    )
    none = replace(workflows, folder=WorkflowFolder(None))
    with pytest.raises(UserError, match="no workflow 'x'; Marble's owner offers none"):
        await draw(none, "x")


async def test_a_places_rules_hold_for_workflows_and_their_recipes(
    house: House, workflows: Workflows
) -> None:
    gate = workflows.gate
    await gate.narrow(ANN.place, {"workflows": "Portrait, gone"}, "discord:judge")
    assert [each.name for each in await workflows.offered(ANN.place)] == ["portrait"]
    assert len(await workflows.offered("discord:2")) == 3
    with pytest.raises(UserError) as refused:
        await draw(workflows, "redraw")
    assert str(refused.value) == "Here workflows must be one of Portrait, gone, not 'redraw'."
    await draw(workflows, "portrait")
    gated = replace(workflows, studio=type(house.studio)(
        house.studio.catalogue, house.storage, house.worker, gate=gate
    ))  # fmt: skip
    with pytest.raises(UserError, match=r"no workflow 'gone'; available workflows: portrait\.$"):
        await draw(workflows, "gone")
    await gate.narrow(ANN.place, {"steps": "1-3"}, "discord:judge")
    with pytest.raises(UserError, match="Here steps must be between 1 and 3, not 4"):
        await draw(gated, "portrait")


async def test_the_doctor_names_what_is_left_out_and_missing_models(folder: Path) -> None:
    write(folder, torn=[], gone=marked(model="huge.safetensors"))
    settings = load_settings({"MARBLE_WORKFLOWS_DIR": str(folder)}, env_file="")
    lines = [str(finding) for finding in [each async for each in check_workflows(settings)]]
    assert lines == [
        "look  workflows  torn.json is left out: The ComfyUI graph has no nodes: mend or remove "
        "it; the others work",
        "look  workflows  gone: There is no model 'huge.safetensors'; available models: starter: "
        "install it, or name another in gone",
        "look  workflows  portrait: There is no model 'tiny'; available models: starter: install "
        "it, or name another in portrait",
        "ok    workflows  paint, redraw",
    ]


async def test_the_doctor_names_words_that_mark_nothing(tmp_path: Path) -> None:
    write(tmp_path, drawn=marked({"6": "my prompt for cats", "3": "seed, step, what else"}))
    settings = load_settings({"MARBLE_WORKFLOWS_DIR": str(tmp_path)}, env_file="")
    lines = [str(finding) for finding in [each async for each in check_workflows(settings)]]
    title = "look  workflows  drawn: seed, step, what else (KSampler, node 3)"
    cure = "correct it in the node's title; the other marks hold"
    assert lines == [
        f"{title}: 'step' in its title is no mark (did you mean 'steps'?): {cure}",
        f"{title}: 'what else' in its title is no mark: {cure}",
        "ok    workflows  drawn",
    ]
    (workflow,) = WorkflowFolder(tmp_path).look().workflows.values()
    assert workflow.inputs == ("prompt", "seed", "count")
    assert len(workflow.notes) == 2


async def test_the_doctor_names_every_file_that_is_missing(tmp_path: Path) -> None:
    graph = marked()
    graph["30"] = {
        "class_type": "LoraLoader",
        "inputs": {
            "model": ["4", 0],
            "clip": ["4", 1],
            "lora_name": "ink.safetensors",
            "strength_model": 1.0,
            "strength_clip": 1.0,
        },
    }
    graph["31"] = {"class_type": "VAELoader", "inputs": {"vae_name": "soft.safetensors"}}
    graph["3"]["inputs"]["model"] = ["30", 0]
    for name in ("6", "7"):
        graph[name]["inputs"]["clip"] = ["30", 1]
    graph["8"]["inputs"]["vae"] = ["31", 0]
    write(tmp_path, drawn=graph)
    settings = load_settings({"MARBLE_WORKFLOWS_DIR": str(tmp_path)}, env_file="")
    lines = [str(finding) for finding in [each async for each in check_workflows(settings)]]
    assert [line.partition(";")[0] for line in lines] == [
        "look  workflows  drawn: There is no LoRA 'ink'",
        "look  workflows  drawn: There is no VAE 'soft'",
    ]


def read(text: str) -> tuple[list[Any], str | None]:
    """Read a text as the places do, from their reader of one job's."""
    choices, workflow = read_choices(text, lambda each: split_message(each, [WORKFLOW]))
    return [values_of(choice, workflow) for choice in choices], workflow


@pytest.mark.parametrize(
    ("text", "asked", "workflow"),
    [
        ("a cat --steps 9", [{"prompt": "a cat", "steps": 9}], None),
        ("{red, blue} cat", [{"prompt": "red cat"}, {"prompt": "blue cat"}], None),
        (
            "a cat --steps {8, 9}",
            [{"prompt": "a cat", "steps": 8}, {"prompt": "a cat", "steps": 9}],
            None,
        ),
        ("a cat --workflow portrait", [{"prompt": "a cat"}], "portrait"),
        ("--workflow portrait --steps 9", [{"steps": 9}], "portrait"),
    ],
)
def test_a_text_asks_for_a_job_a_choice_and_names_a_workflow(
    text: str, asked: list[Any], workflow: str | None
) -> None:
    assert read(text) == (asked, workflow)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--steps 9", "a description of the picture"),
        ("{a cat, } --steps 9", "a description of the picture"),
        ("{red, blue} cat --workflow portrait", "A workflow draws one job at a time"),
        ("a cat --workflow {portrait, redraw}", "A workflow draws one job at a time"),
        ("a cat --steps {9, many}", "steps must be a whole number"),
    ],
)
def test_a_text_of_which_one_choice_asks_for_nothing_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        read(text)
