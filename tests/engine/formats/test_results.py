"""Which picture of a graph is read, and values as ComfyUI and its canvas take them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from engine.errors import GraphError
from engine.formats.comfy.layout import to_workflow
from engine.formats.comfy.writer import to_graph
from engine.formats.graphs import results
from engine.formats.graphs.node_values import LoadedPicture
from engine.formats.graphs.recipe import from_graph
from engine.formats.reading import Reading
from engine.recipe.parts import Lora, Upscale
from engine.recipe.recipe import Recipe
from tests.engine.formats.test_comfy import default_graph
from tests.engine.recipes import IMAGE, read_graph, recipe_of
from tests.factories import make_recipe

PLAIN = recipe_of(default_graph())
TWICE = Upscale(factor=2)


def scaled(**nodes: Any) -> dict[str, Any]:
    """Return the default graph with its picture enlarged by node 12, and more nodes."""
    graph = default_graph()
    values = {"image": ["8", 0], "upscale_method": "lanczos", "scale_by": 2.0}
    graph["12"] = {"class_type": "ImageScaleBy", "inputs": values}
    return graph | {name: dict(zip(("class_type", "inputs"), node, strict=True))
                    for name, node in nodes.items()}  # fmt: skip


def takes(link: str | None) -> dict[str, Any]:
    return {} if link is None else {"images": [link, 0]}


@pytest.mark.parametrize(
    ("first", "second", "upscale", "said"),
    [
        # what node 9 is, what node 13 is, on node 12
        ("PreviewImage", "SaveImage", TWICE, ()),
        ("SaveImage", "PreviewImage", None, ()),
        ("SaveImage", "SaveImage", TWICE, ("node 13) is taken, not SaveImage (node 9)",)),
        ("PreviewImage", "PreviewImage", TWICE, ("node 13) is taken",)),
        ("SaveImage", "Image Comparer (rgthree)", None, ()),
        ("PreviewImage", "Image Save", TWICE, ("Image Save (node 13): not supported",)),
        ("PreviewImage", "easy showAnything", TWICE, None),
    ],
)
def test_what_is_saved_outranks_what_is_shown_and_the_choice_is_said(
    first: str, second: str, upscale: Upscale | None, said: tuple[str, ...] | None
) -> None:
    graph = scaled(**{"13": (second, takes("12"))})
    graph["9"]["class_type"] = first
    if said is None:  # it shows something, and nothing tells that it is this picture
        assert from_graph(graph).refused is not None
        return
    recipe, ignored = read_graph(graph)
    assert recipe == replace(PLAIN, upscale=upscale)
    assert len(ignored) == len(said)
    assert all(part in note for part, note in zip(said, ignored, strict=True))


@pytest.mark.parametrize(
    "kind", ["SaveAnimatedWEBP", "VHS_VideoCombine", "SaveVideo", "SaveLatent", "Export Mesh"]
)
def test_nothing_stands_for_what_is_saved_otherwise(kind: str) -> None:
    graph = scaled(**{"13": (kind, takes("12"))})
    graph["9"]["class_type"] = "PreviewImage"
    reading = from_graph(graph)
    assert f"saves by {kind} (node 13)" in str(reading.refused)
    assert reading.values["seed"] == PLAIN.seed
    assert reading.values["prompt"] == PLAIN.prompt
    assert reading.where["seed"] == "KSampler (node 3): seed"
    assert from_graph(graph, result="9").recipe == PLAIN


def test_previews_that_are_not_connected_are_skipped_and_a_lone_one_is_named() -> None:
    graph = scaled(**{"13": ("SaveImage", takes(None)), "14": ("PreviewImage", takes(None))})
    assert read_graph(graph) == (PLAIN, ())
    del graph["9"]
    with pytest.raises(GraphError, match=r"'images' of SaveImage \(node 13\) is not connected"):
        read_graph(graph)


def test_a_result_that_is_named_is_taken_and_one_that_is_none_is_refused() -> None:
    graph = scaled(**{"13": ("SaveImage", takes("12"))})
    assert from_graph(graph, result="9") == from_graph(default_graph())
    assert from_graph(graph, result="13").recipe.upscale == TWICE
    reading = from_graph(graph, result="12")
    assert "has no result '12'; its results: SaveImage (node 9), SaveImage" in str(reading.refused)


def test_of_many_results_some_are_named_and_that_there_are_more_is_said() -> None:
    more = {f"{at}": ("SaveImage", takes("12")) for at in range(20, 30)}
    graph = scaled(**more)
    named = "SaveImage (node 20), SaveImage (node 21), SaveImage (node 22)"
    refused = str(from_graph(graph, result="1").refused)
    assert refused.endswith(f"its results: SaveImage (node 9), {named}, ….")
    (note,) = from_graph(graph).ignored
    assert "not SaveImage (node 9), SaveImage (node 21), " in note
    assert "SaveImage (node 23), … (`--result 9`" in note


def test_what_leads_to_many_results_is_walked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def walked(*_: object) -> None:
        raise AssertionError("once for each result")

    graph = scaled(**{f"{at}": ("SaveImage", takes("12")) for at in range(20, 30)})
    found = from_graph(graph)
    monkeypatch.setattr(results, "behind", walked)
    assert from_graph(graph) == found
    assert found.recipe.upscale == TWICE


def test_a_kind_of_some_thousand_letters_is_no_word_for_saving() -> None:
    graph = default_graph()
    graph["9"]["class_type"] = "x" * 5_000 + "SaveImage"
    with pytest.raises(GraphError, match="saves nothing"):
        _ = read_graph(graph).recipe


@pytest.mark.parametrize(
    ("node", "values"),
    [
        ("3", {"seed": str(PLAIN.seed), "steps": "20", "cfg": "8.0", "denoise": "1"}),
        ("3", {"seed": float(PLAIN.seed), "steps": 20.0, "cfg": 8, "denoise": 1.0}),
        ("5", {"width": "512", "height": 512.0, "batch_size": "1"}),
    ],
)
def test_numbers_may_be_texts_and_whole_numbers_have_a_point(
    node: str, values: Mapping[str, Any]
) -> None:
    graph = default_graph()
    graph[node]["inputs"].update(values)
    assert read_graph(graph) == (replace(PLAIN, seed=int(float(PLAIN.seed))), ())


@pytest.mark.parametrize(
    ("kind", "size", "factor"),
    [
        ("ImageScale", (1024, 0), 2),
        ("ImageScale", (0, 768), 1.5),
        ("ImageScale", (0, 0), 1),
    ],
)
def test_a_side_of_0_keeps_the_shape(kind: str, size: tuple[int, int], factor: float) -> None:
    values: dict[str, Any] = {"image": ["8", 0], "upscale_method": "lanczos", "crop": "disabled"}
    values |= {"width": size[0], "height": size[1]}
    graph = default_graph() | {"12": {"class_type": kind, "inputs": values}}
    graph["9"]["inputs"]["images"] = ["12", 0]
    assert recipe_of(graph).size == (512 * factor, 512 * factor)


def test_a_side_of_0_keeps_the_shape_of_latents() -> None:
    graph = to_graph(make_recipe(upscale=Upscale(factor=2, by="latent", strength=0.5)))
    (name,) = (n for n, node in graph.items() if node["class_type"] == "LatentUpscaleBy")
    samples = graph[name]["inputs"]["samples"]
    values = {"samples": samples, "upscale_method": "nearest-exact", "crop": "disabled"}
    plain = make_recipe()
    graph[name] = {
        "class_type": "LatentUpscale",
        "inputs": {**values, "width": 2 * plain.width, "height": 0},
    }
    assert recipe_of(graph).upscale == Upscale(factor=2, by="latent", strength=0.5)


def test_break_is_a_word_to_comfyui() -> None:
    graph = default_graph()
    graph["6"]["inputs"]["text"] = "a BREAK (BREAK:1.2) BREAKER"
    assert recipe_of(graph).prompt == "a break (break:1.2) BREAKER"


def test_an_empty_prompt_and_a_size_off_the_grid_are_no_reasons_to_refuse() -> None:
    graph = default_graph()
    graph["6"]["inputs"]["text"] = ""
    graph["5"]["inputs"]["width"] = 515
    reading = from_graph(graph)
    assert reading.recipe == replace(PLAIN, prompt="")
    assert reading.ignored == ("515×512 pixels become 512×512, in whole latents",)


UNSEEN = {"cat.png": LoadedPicture(image=IMAGE, unseen=True)}


def test_nothing_is_said_of_a_size_that_nobody_has_seen() -> None:
    graph = default_graph() | {
        "20": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}},
        "21": {"class_type": "VAEEncode", "inputs": {"pixels": ["20", 0], "vae": ["4", 2]}},
    }
    graph["3"]["inputs"].update(latent_image=["21", 0], denoise=0.6)
    reading = from_graph(graph, UNSEEN)
    assert (reading.refused, reading.missing) == (None, ("width", "height"))
    assert reading.values["strength"] == 0.6
    values = {"image": ["8", 0], "upscale_method": "lanczos", "crop": "disabled"}
    graph["12"] = {"class_type": "ImageScale", "inputs": {**values, "width": 1536, "height": 1024}}
    graph["9"]["inputs"]["images"] = ["12", 0]
    reading = from_graph(graph, UNSEEN)
    assert (reading.refused, reading.values.get("upscale")) == (None, None)
    assert "enlarged to 1536×1024" in reading.ignored[1]
    seen = {"cat.png": LoadedPicture(image=IMAGE, width=768, height=512)}
    assert from_graph(graph, seen).recipe.upscale == TWICE


def canvas(recipe: Recipe = PLAIN) -> dict[str, Any]:
    flow: dict[str, Any] = json.loads(json.dumps(to_workflow(recipe)))
    return flow


def of_kind(flow: Mapping[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(node for node in flow["nodes"] if node["type"] == kind)
    return found


@pytest.mark.parametrize("control", [True, False, "fixed", "randomize", None])
def test_what_stands_behind_a_seed_of_any_age_is_no_value(control: object) -> None:
    flow = canvas()
    values = of_kind(flow, "KSampler")["widgets_values"]
    assert values[1] == "fixed"
    values[1:2] = [] if control is None else [control]
    assert read_graph(flow) == (PLAIN, ())


@pytest.mark.parametrize("mode", [2, 4])
def test_what_is_off_saves_nothing(mode: int) -> None:
    flow = canvas()
    more = json.loads(json.dumps(of_kind(flow, "SaveImage")))
    flow["nodes"].append({**more, "id": 99, "mode": mode})
    assert read_graph(flow) == (PLAIN, ())


def test_a_bypassed_lora_is_passed_through_by_its_types() -> None:
    flow = canvas(replace(PLAIN, loras=(Lora(name="ink"),)))
    of_kind(flow, "LoraLoader")["mode"] = 4
    assert recipe_of(flow) == PLAIN


@pytest.mark.parametrize("kind", ["Reroute", "Reroute (rgthree)"])
def test_reroutes_and_names_for_values_lead_to_what_they_stand_for(kind: str) -> None:
    flow = canvas()
    sampler = of_kind(flow, "KSampler")
    slot = next(each for each in sampler["inputs"] if each["name"] == "model")
    link = slot["link"]
    names = ["the model"]
    flow["nodes"] += [
        {"id": 90, "type": kind, "inputs": [{"name": "", "type": "*", "link": link}]},
        {"id": 91, "type": "SetNode", "inputs": [{"name": "MODEL", "type": "*", "link": 901}],
         "widgets_values": names},
        {"id": 92, "type": "GetNode", "inputs": [], "widgets_values": names},
    ]  # fmt: skip
    flow["links"] += [[901, 90, 0, 91, 0, "*"], [902, 92, 0, sampler["id"], 0, "MODEL"]]
    slot["link"] = 902
    assert read_graph(flow) == (PLAIN, ())


def test_nodes_are_named_by_their_titles() -> None:
    graph = default_graph()
    graph["3"]["_meta"] = {"title": "First pass"}
    graph["3"]["inputs"]["steps"] = "many"
    reading: Reading = from_graph(graph)
    assert "'steps' of First pass (KSampler, node 3) is not a number" in str(reading.refused)
    flow = canvas()
    node = of_kind(flow, "KSampler")
    node["title"] = "Second pass"
    node["widgets_values"][2] = "many"
    assert "of Second pass (KSampler, node" in str(from_graph(flow).refused)


def test_a_graph_that_cannot_be_drawn_says_what_stands_in_it() -> None:
    graph = default_graph()
    graph["3"]["class_type"] = "KSampler (Efficient)"  # of a kind that is not known
    graph["30"] = {
        "class_type": "LoraLoader",
        "inputs": {
            "model": ["4", 0], "clip": ["4", 1], "lora_name": "styles\\ink.safetensors",
            "strength_model": 0.5, "strength_clip": "0.25",
        },
    }  # fmt: skip
    graph["3"]["inputs"].update(model=["30", 0], denoise=0.5, seed=["31", 0])
    graph["31"] = {"class_type": "Seed Everywhere", "inputs": {"seed": 77}}
    reading = from_graph(graph)
    assert "comes from KSampler (Efficient) (node 3)" in str(reading.refused)
    assert reading.missing == ()
    assert reading.values["loras"] == (Lora(name="styles/ink", weight=0.5, text_weight=0.25),)
    expected = {"seed": 77, "strength": 0.5, "steps": 20, "width": 512, "prompt": PLAIN.prompt}
    assert {name: reading.values[name] for name in expected} == expected
    assert reading.where["seed"] == "Seed Everywhere (node 31): seed"
    assert reading.where["loras"] == "LoraLoader (node 30)"
    with pytest.raises(GraphError, match="Efficient"):
        reading.completed({})


def test_a_loras_weight_that_another_node_gives_is_told() -> None:
    graph = default_graph()
    graph["3"]["class_type"] = "KSampler (Efficient)"  # of a kind that is not known
    weights = {"strength_model": ["31", 0], "strength_clip": ["32", 0]}
    named = {"model": ["4", 0], "clip": ["4", 1], "lora_name": "ink.safetensors"}
    graph["30"] = {"class_type": "LoraLoader", "inputs": {**named, **weights}}
    graph["3"]["inputs"]["model"] = ["30", 0]
    graph["31"] = {"class_type": "PrimitiveFloat", "inputs": {"value": 0.6}}
    graph["32"] = {"class_type": "Any", "inputs": {"strength_clip": "0.2"}}
    lora = Lora(name="ink", weight=0.6, text_weight=0.2)
    assert from_graph(graph).values["loras"] == (lora,)


def test_a_value_that_is_none_names_the_node_that_it_comes_from() -> None:
    graph = default_graph()
    graph["6"]["inputs"]["text"] = ["5", 0]
    said = (
        "'text' of CLIPTextEncode (node 6) comes from EmptyLatentImage (node 5), which gives none"
    )
    assert said in str(from_graph(graph).refused)
    graph["6"]["inputs"]["text"] = ["99", 0]
    assert "comes from node 99, which does not exist" in str(from_graph(graph).refused)


@pytest.mark.parametrize("kind", ["SaveImage", "PreviewImage"])
def test_a_result_whose_picture_feeds_an_input_that_it_lacks_is_not_connected(kind: str) -> None:
    graph = default_graph()
    graph["9"] = {"class_type": kind, "inputs": {"image": ["8", 0]}}
    with pytest.raises(GraphError, match=rf"'images' of {kind} \(node 9\) is not connected"):
        read_graph(graph)
