"""A workflow of Marble's owner: a ComfyUI graph, and what people may set in it.

The titles of nodes say that: `prompt`, `image`, `seed, steps` (docs/workflows.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bots.requests.loaded_pictures import OURS, find_beside
from bots.requests.options import BEST, OPTIONS, Values
from bots.requests.styles import STYLE
from engine.errors import GraphError, UserError
from engine.formats.a1111.reader import is_a1111
from engine.formats.file_texts import holds_json
from engine.formats.graphs.marks import (
    RESULT,
    TEXTS,
    VALUE,
    MarkedGraph,
    Marks,
    loras_in,
    read_marks,
)
from engine.formats.graphs.node_values import LoadedPicture, as_number
from engine.formats.graphs.recipe import from_graph, pictures_of
from engine.formats.graphs.survey import INPUTS, SIDES
from engine.formats.metadata import graph_in, read_object, read_recipe
from engine.formats.reading import Reading
from engine.formats.texts import decode_text, parse_json
from engine.recipe.limits import LATENT_SIDE
from engine.recipe.prompt_tags import take_loras
from engine.recipe.recipe import Recipe, random_seed
from engine.sentences import Sentence

TEXT_FILES: Final = (".json", ".txt")  # endings: workflows, and what A1111 writes beside pictures
LARGEST_GRAPH: Final = 16 * 2**20  # bytes; ComfyUI's largest are some megabytes
IMAGE, MASK, PROMPT, SIZE, LORA, STRENGTH = "image", "mask", "prompt", "size", "lora", "strength"
SEED, FIXED_SEED = "seed", "fixed seed"
# What a node has that is marked, by the names of options; the first ones are listed first.
MARKED_INPUTS: Final[Mapping[str, tuple[str, ...]]] = {
    PROMPT: TEXTS,
    "negative": TEXTS,
    IMAGE: ("image",),
    MASK: ("image",),
    SEED: INPUTS["seed"],
    FIXED_SEED: INPUTS["seed"],
    SIZE: SIDES,
    "count": ("batch_size", "amount"),
    "steps": INPUTS["steps"],
    "guidance": INPUTS["guidance_scale"],
    STRENGTH: INPUTS["strength"],
    "sampler": INPUTS["sampler"],
    "schedule": INPUTS["schedule"],
    "model": INPUTS["checkpoint"],
    "refiner": INPUTS["checkpoint"],
    LORA: ("lora_name",),
    "vae": INPUTS["vae"],
    "clip-skip": ("stop_at_clip_layer",),
    "rescale": ("multiplier",),
    "shift": ("shift", "max_shift"),
}
ALWAYS: Final = (SEED, "count")  # which pictures, and how many, is free in every workflow
_FIELDS: Final = {option.field or option.name: option.name for option in OPTIONS}
# Fields by marks on values of which a graph may hold others, for a second pass or model.
CHECKED: Final = {
    **{
        name: (field,)
        for field, name in _FIELDS.items()
        if name in MARKED_INPUTS and name not in ("negative", SIZE)  # which others check
    },
    FIXED_SEED: ("seed",),
    STRENGTH: (STRENGTH, "upscale"),
}
# What a marked value becomes in a test of whether the recipe takes it, if not another number.
OTHERS: Final = {"sampler": ("euler", "heun"), "schedule": ("normal", "karras")}
# Options by what people's values are called: fields of a recipe, and inputs that are none.
OPTION_OF: Final = {**_FIELDS, **dict.fromkeys(SIDES, SIZE)}
TITLES: Final = {
    **{
        title.replace("-", " ").replace("_", " "): option.name
        for option in OPTIONS
        if option.name in MARKED_INPUTS
        for title in (option.name, *option.aliases, option.field)
        if title
    },
    **{name: name for name in (PROMPT, IMAGE, MASK, FIXED_SEED, RESULT)},
    **{"positive": PROMPT, "positive prompt": PROMPT, "denoise": STRENGTH},
    **dict.fromkeys(SIDES, SIZE),
}
MARKS: Final = Marks(TITLES, MARKED_INPUTS)
WORDS: Final = {PROMPT: "prompt", "negative": "negative_prompt"}  # fields by marks
ROOM: Final = "marbles-room"  # stands in a graph's text for what people write
SIDE: Final = 512  # pixels of pictures that are not there yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A graph with what is marked in it.

    inputs: what may be set, by the names of options; texts: prompts by fields, with `ROOM` for what
    people write; files: what is loaded where nobody gives a picture, by `IMAGE` and `MASK`; others:
    what is loaded always; loras: the names of marked ones; recipe: what it draws with stand-ins for
    pictures, where nobody sets anything; notes: on what is ignored of the graph and its titles.
    """

    name: str
    folder: Path
    graph: MarkedGraph
    inputs: tuple[str, ...]
    recipe: Recipe
    texts: Mapping[str, str]
    files: Mapping[str, str]
    others: tuple[str, ...]
    loras: frozenset[str]
    notes: tuple[str, ...] = ()

    @property
    def missing(self) -> str | None:
        """Return a picture that it always loads and that is not there; looks at the disk."""
        there = (name for name in self.others if not OURS.fullmatch(name))
        return next((name for name in there if find_beside(self.folder, name) is None), None)

    def check(self, values: Values) -> None:
        """Raise `UserError` for what people may not set in it; values: by fields of a recipe."""
        allowed = (*self.inputs, BEST, *([STYLE] if PROMPT in self.inputs else []))
        given = [OPTION_OF.get(field, field) for field in values]
        if take_loras(values.get("prompt", ""))[1]:
            given.append(LORA)
        for option in given:
            if option not in allowed:
                facts = {"name": self.name, "given": option, "inputs": ", ".join(allowed)}
                raise UserError(Sentence("workflow_unmarked", **facts))

    def read(self, pictures: Mapping[str, LoadedPicture]) -> Reading:
        """Return what its graph says with these pictures, by what it loads; blocks."""
        return from_graph(self.graph.nodes, pictures, self.graph.result)

    def drawn(self, reading: Reading, values: Values) -> Values:
        """Return what is changed of its reading where people gave values, except pictures."""
        found = {name: value for name, value in values.items() if name not in (IMAGE, MASK)}
        for field, text in self.texts.items():
            if field in found:
                found[field] = text.replace(ROOM, found[field])
        own, given = reading.values.get("loras", ()), found.get("loras")
        if own and given is None:  # tags in words, a style's among them, are added to these
            found["loras"] = own
        elif given is not None:
            found["loras"] = (*(lora for lora in own if lora.name not in self.loras), *given)
        upscale, held = reading.values.get("upscale"), _numbers(self.graph, STRENGTH)
        first = reading.values.get(STRENGTH) in held
        if STRENGTH in found and upscale and upscale.strength in held and not first:
            found["upscale"] = replace(upscale, strength=found.pop(STRENGTH))
        if FIXED_SEED not in self.graph.marked:
            found.setdefault("seed", random_seed())
        return found


def workflow_in(data: bytes) -> Any:
    """Return the JSON of which a file consists, None for pictures and other texts.

    Raises `GraphError` where it is too large or damaged.
    """
    if not holds_json(data):
        return None
    try:
        return parse_graph(data)
    except GraphError:
        if is_a1111(decode_text(data) or "", comment=True):  # whose prompt begins so
            return None
        raise


def read_content(
    data: bytes,
    pictures: Mapping[str, LoadedPicture] | None = None,
    result: str | None = None,
    graph: Any = None,
) -> Reading:
    """Read what a picture, a text or a workflow says of how its picture was made; blocks.

    pictures, result: as for `read_recipe`; graph: what `workflow_in` found, if it was called.
    Raises `UserError`.
    """
    graph = workflow_in(data) if graph is None else graph
    if graph is None:
        reading = read_recipe(data, pictures, result)
    else:
        reading = read_object(graph, pictures, result)
    reading.check_result(result)
    return reading


def parse_graph(data: bytes) -> Any:
    """Read the JSON of a workflow file; raises `GraphError`."""
    if len(data) > LARGEST_GRAPH:
        sizes = {"size": len(data) >> 20, "most": LARGEST_GRAPH >> 20}
        raise GraphError(Sentence("graph_too_large", **sizes))
    try:
        return parse_json(decode_text(data) or "")
    except ValueError:
        raise GraphError(Sentence("graph_not_json")) from None


def read_workflow(name: str, folder: Path, data: bytes) -> Workflow | None:
    """Read a workflow, of JSON or in a PNG; None for a picture that holds none.

    Raises `UserError` where no picture can be drawn from it, or a mark makes no sense.
    """
    if holds_json(data):
        content = parse_graph(data)
    elif data.startswith(b"\x89PNG"):
        if (content := graph_in(data)) is None:
            return None
    else:
        raise GraphError(Sentence("graph_not_json"))
    graph = read_marks(content, MARKS)
    files = {mark: held[0] for mark in (IMAGE, MASK) if (held := graph.held(mark, "image"))}
    if MASK in files and IMAGE not in files:
        raise GraphError(Sentence("mark_mask_alone"))
    # A node that is marked as both is the image: its own transparency is the mask.
    graph = graph.with_files({mark: mark for mark in (MASK, IMAGE) if mark in files})
    reading = _with_stand_ins(graph, graph.nodes)
    recipe = reading.recipe  # which raises for what cannot be drawn
    _check_size(graph, recipe)
    _check_taken(graph, reading)
    texts = _texts(graph)
    inputs = {*graph.marked, *ALWAYS, *(mark for mark, field in WORDS.items() if field in texts)}
    return Workflow(
        name=name,
        folder=folder,
        graph=graph,
        inputs=tuple(mark for mark in MARKED_INPUTS if mark in inputs and mark != FIXED_SEED),
        recipe=recipe,
        texts=texts,
        files=files,
        others=tuple(each for each in pictures_of(graph.nodes) if each not in files),
        loras=frozenset(loras_in(graph, LORA)),
        notes=(*graph.unknown, *reading.ignored),
    )


def _check_size(graph: MarkedGraph, recipe: Recipe) -> None:
    """Raise `GraphError` for a marked size that is not the one at which the picture is drawn."""
    for name in graph.marked.get(SIZE, ()):
        for side in SIDES:
            held = as_number(graph.nodes[name]["inputs"].get(side))
            if held is not None and held // LATENT_SIDE * LATENT_SIDE != getattr(recipe, side):
                raise graph.unused(SIZE, name)


def _check_taken(graph: MarkedGraph, reading: Reading) -> None:
    """Raise `GraphError` for a marked value that is not the one which the recipe takes.

    Such are a second model's guidance and a second pass's steps: with another value there, the
    recipe is the same in what the mark stands for, and what people give would change the first's.
    """
    for mark in (mark for mark in CHECKED if mark in graph.marked):
        for name in graph.marked[mark]:
            inputs = graph.nodes[name]["inputs"]
            options = [option for option in (*MARKED_INPUTS[mark], VALUE) if option in inputs]
            changed = {option: _other(mark, inputs[option]) for option in options}
            node = {**graph.nodes[name], "inputs": {**inputs, **changed}}
            try:
                found = _with_stand_ins(graph, {**graph.nodes, name: node})
            except UserError:
                continue  # so that the picture depends on it
            both = found.values, reading.values
            same = all(both[0].get(field) == both[1].get(field) for field in CHECKED[mark])
            if found.refused is None and same:
                raise graph.unused(mark, name)


def _other(mark: str, value: object) -> object:
    """Return another value than a marked one; links stay."""
    number = as_number(value)
    if number is not None:
        return number / 2 + 0.1 if mark == STRENGTH else number + 1
    if isinstance(value, str):
        return next(each for each in OTHERS.get(mark, (ROOM,)) if each != value)
    return value


def _numbers(graph: MarkedGraph, mark: str) -> set[float]:
    """Return the numbers that marked nodes hold for a mark."""
    nodes = (graph.nodes[name]["inputs"] for name in graph.marked.get(mark, ()))
    options = (*MARKED_INPUTS[mark], VALUE)
    found = (as_number(inputs.get(option)) for inputs in nodes for option in options)
    return {number for number in found if number is not None}


def _texts(graph: MarkedGraph) -> dict[str, str]:
    """Return the prompts into which people's words go, by fields, with `ROOM` in their place.

    Where no prompt is marked, it is the only text behind it. Raises `GraphError` for a mark on a
    text that is in no prompt.
    """
    found = {}
    for mark in (mark for mark in WORDS if mark in graph.marked):
        text = _prompt(graph, dict.fromkeys(graph.marked[mark], ROOM), WORDS[mark])
        if ROOM not in text:
            raise graph.unused(mark)
        found[WORDS[mark]] = text
    if PROMPT not in graph.marked:
        rooms = {name: f"{ROOM}{number}." for number, name in enumerate(graph.texts)}
        text = _prompt(graph, rooms, WORDS[PROMPT])
        if len(own := [room for room in rooms.values() if room in text]) == 1:
            found[WORDS[PROMPT]] = text.replace(own[0], ROOM)
    return found


def _prompt(graph: MarkedGraph, texts: Mapping[str, str], field: str) -> str:
    """Return a prompt with other texts in some nodes."""
    return str(_with_stand_ins(graph, graph.with_texts(texts)).values.get(field, ""))


def _with_stand_ins(graph: MarkedGraph, nodes: Mapping[str, Any]) -> Reading:
    """Return what nodes of a graph say with some pictures in the place of those they load."""
    given = {}
    for file, channels in pictures_of(nodes).items():
        if not OURS.fullmatch(file):
            image = hashlib.sha256(file.encode("utf-8", "replace")).hexdigest()
            masks = dict.fromkeys(channels, image)
            given[file] = LoadedPicture(image=image, width=SIDE, height=SIDE, masks=masks)
    return from_graph(nodes, given, graph.result)
