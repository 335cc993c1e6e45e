"""Pictures that Marble knows nothing of: what their own texts say is told, and drawn again."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

from PIL import Image

from engine.formats.exif import write_texts
from engine.formats.metadata import read_recipe, write_png
from tests.bots.discord.conftest import Marble
from tests.bots.presentation.test_presentation import png
from tests.bots.workflow_graphs import marked, two_results
from tests.engine.formats import others
from tests.engine.formats.test_comfy import default_graph
from tests.factories import make_recipe, pixels
from tests.fakes.discord import FakeDiscord, Person

LINE = (
    "a **marble** owl\nSteps: 2, Sampler: Euler, CFG scale: 4, Seed: 5, Size: 64x64, "
    "Model: starter, RNG: CPU, Tiling: True, Version: v1.10.1"
)


def by_a1111() -> bytes:
    """Return a JPEG as A1111 writes it, with a setting that Marble does not know."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + LINE.encode("utf-16-be")
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(out, "JPEG", exif=exif)
    return out.getvalue()


def by_comfy(graph: Mapping[str, Any]) -> bytes:
    """Return a JPEG that carries a graph."""
    out = io.BytesIO()
    exif = write_texts({"prompt": json.dumps(graph)})
    Image.new("RGB", (64, 64), "teal").save(out, "JPEG", exif=exif)
    return out.getvalue()


async def test_a_strangers_picture_tells_what_it_was_made_from(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    told = await ann.chooses("Recipe", bob.posts("owl_1.jpg", by_a1111()))
    text = await told.said(r"Recipe of owl\_1.jpg** (A1111)")
    assert told.ephemeral
    assert r"prompt: a \*\*marble\*\* owl" in text
    assert "seed: 5" in text
    assert text.endswith("Could not be used: Tiling: True.")
    li = discord.person("li", locale="zh-CN")
    graph = by_comfy({"1": {"class_type": "KSampler", "inputs": {}}})
    told = await li.chooses("Recipe", bob.posts("a.jpg", graph))
    assert "ComfyUI 图什么也不保存" in await told.said("节点")


async def test_workflows_and_lines_in_text_files_are_told_and_drawn(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    line = LINE.replace("a **marble** owl", "[marble] owl")
    told = await ann.chooses("Recipe", bob.posts("owl.txt", line.encode()))
    assert r"prompt: \[marble\] owl" in await told.said("Recipe of owl.txt** (A1111)")
    workflow = bob.posts("two.json", json.dumps(two_results()).encode())
    told = await ann.chooses("Recipe", workflow)
    assert "several results" in await told.said("Recipe of two.json** (ComfyUI)")
    drawn = await ann.clicks("Draw another result", told, value="61")
    assert read_recipe(await drawn.picture()).recipe.seed == 7
    alone = bob.posts("one.json", json.dumps(marked()).encode())
    rerun = await ann.chooses("Rerun", alone)
    assert read_recipe(await rerun.picture()).recipe.seed == 156680208700286
    torn = await ann.chooses("Recipe", bob.posts("torn.json", b'{"nodes": ['))
    await torn.said("The file holds no ComfyUI workflow: it is not valid JSON.")


async def test_a_strangers_picture_is_drawn_again_for_all_and_what_is_missing_said_to_one(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    rerun = await ann.chooses("Rerun", bob.posts("owl.jpg", by_a1111()))
    assert rerun.interaction
    [note] = await discord.until(lambda: rerun.interaction.followups, "what is missing")  # type: ignore[union-attr]
    assert note.content == "Could not be used: Tiling: True."
    assert note.ephemeral
    shown = rerun.interaction.original
    assert shown
    await discord.until(lambda: shown.attachments and not shown.ephemeral, "the picture")
    await discord.until(lambda: "Same seed" in shown.buttons(), "the result")
    recipe = read_recipe(shown.attachments[0].data).recipe
    assert (recipe.prompt, recipe.seed, recipe.steps) == ("a **marble** owl", 5, 2)


async def test_a_picture_of_marbles_own_is_drawn_again_wherever_it_was_carried(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    grid = await bob.imagine("a marble scholar", seed="7", count=2, size="64")
    await grid.picture()
    await bob.reacts("✉️", grid)
    second = (await bob.gets_dm("Recipe of 1")).message.attachments[1].data
    rerun = await ann.chooses("Rerun", bob.posts("found.png", second))
    again = await rerun.picture()
    assert Image.open(io.BytesIO(again)).tobytes() == Image.open(io.BytesIO(second)).tobytes()
    assert not rerun.interaction.followups  # type: ignore[union-attr]


async def test_what_cannot_be_drawn_from_a_picture_is_refused_in_ones_language(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    ann.user.locale = "zh-CN"
    started = make_recipe(image="a" * 64, strength=0.5)
    refusals = {
        "没有配方": bob.posts("plain.png", png(64, 64)),
        "还需要另一张图，文件里没有": bob.posts(
            "start.png", write_png(pixels(1, 64, 64), started, 0)
        ),
        "没有 Marble 画的图片": (await bob.types("help")).message,
        "最多 20 MiB": bob.posts("large.png", bytes(21 * 2**20)),
    }
    for words, message in refusals.items():
        refused = await ann.chooses("Rerun", message)
        await refused.said(words)
        assert refused.ephemeral
    assert await (await ann.chooses("Vary", bob.posts("owl.jpg", by_a1111()))).said(
        "没有 Marble 画的图片"
    )
    assert {each.author.name for each in discord.shown()} == {"bob"}


async def test_another_programs_picture_is_told_and_drawn_with_what_it_does_not_say(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    said = {"prompt": "an owl", "base_model": "starter", "seed": "5", "steps": 2}
    found = bob.posts("owl.png", others.png({"parameters": json.dumps(said)}))
    told = await ann.chooses("Recipe", found)
    text = await told.said(r"Recipe of owl.png** (Fooocus)")
    assert r"seed: 5 (seed)" in text
    assert "Missing: guidance, width, height, sampler, schedule." in text
    rerun = await ann.chooses("Rerun", found)
    shown = rerun.interaction.original  # type: ignore[union-attr]
    assert shown
    await discord.until(lambda: shown.attachments and not shown.ephemeral, "the picture")
    [note] = await discord.until(lambda: rerun.interaction.followups, "what is filled in")  # type: ignore[union-attr]
    assert "taken from the model 'starter'" in note.content
    nameless = bob.posts("owl.png", others.png({"parameters": f"an owl\n{others.LINE}"}))
    refused = await ann.chooses("Rerun", nameless)
    await refused.said("does not name its model: choose one with `--model`")


async def test_a_graph_that_cannot_be_drawn_is_told_all_the_same(
    discord: FakeDiscord, marble: Marble, ann: Person, bob: Person
) -> None:
    graph = default_graph()
    graph["9"]["inputs"]["images"] = ["lost", 0]
    told = await ann.chooses("Recipe", bob.posts("a.jpg", by_comfy(graph)))
    text = await told.said("(ComfyUI)")
    assert "beautiful scenery" in text
    assert "Cannot be drawn: In the ComfyUI graph, 'images' of SaveImage (node 9) comes" in text
