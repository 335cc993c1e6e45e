"""The recipe of the picture that a graph saves."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from engine.errors import GraphError, shorten
from engine.formats.graphs.graph import Graph
from engine.formats.graphs.latents import LATENTS, slices_like_marble
from engine.formats.graphs.models import ENCODERS, MODELS, VAES
from engine.formats.graphs.node_values import Draft, LoadedPicture, PendingUpscale
from engine.formats.graphs.nodes import OUTPUTS
from engine.formats.graphs.pictures import ALPHA, IMAGES, MASKS, note_filters
from engine.formats.graphs.reader import Reader, Rules
from engine.formats.graphs.sampling import one_model
from engine.formats.graphs.upscaling import finished_upscale
from engine.formats.graphs.words import WORDS
from engine.formats.graphs.workflow import from_workflow, is_workflow
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence

RULES: Final[Rules] = {
    "MODEL": MODELS,
    "CLIP": ENCODERS,
    "VAE": VAES,
    "CONDITIONING": WORDS,
    "LATENT": LATENTS,
    "IMAGE": IMAGES,
    "MASK": MASKS,
}
COLOURS: Final = ("red", "green", "blue")
OURS: Final = re.compile(r"([0-9a-f]{64})\.png")  # a picture named as our store names it


@dataclass(frozen=True, slots=True)
class PictureInput:
    """Name a picture that a graph loads, and the channels of it that it takes for masks."""

    name: str
    channels: frozenset[str] = frozenset()


def from_graph(
    data: object, pictures: Mapping[str, LoadedPicture] | None = None
) -> tuple[Recipe, tuple[str, ...]]:
    """Read a graph in API or UI format: the recipe, and the parts of the graph that are ignored.

    pictures: by the names by which the graph loads them; those of our store need not be given.
    `GraphError` names a node that is not known, a missing input, a circle; `OptionError` a value
    that Marble does not allow.
    """
    with _bounded():
        graph = _parse(data)
        ours = {file: _ours(file) for file in _files(graph).values() if OURS.fullmatch(file)}
        reader = Reader(graph, RULES, {**ours, **(pictures or {})})
        recipe = _recipe(reader)
        return recipe, tuple(dict.fromkeys(reader.notes))


def pictures_of(data: object) -> list[PictureInput]:
    """Return the pictures that a graph loads, or raise `GraphError`."""
    with _bounded():
        graph = _parse(data)
        files = _files(graph)
        masks: dict[str, set[str]] = {file: set() for file in files.values()}
        for load, channel in _channels(graph):
            masks[files[load]].add(channel)
        return [PictureInput(file, frozenset(channels)) for file, channels in masks.items()]


@contextmanager
def _bounded() -> Iterator[None]:
    """Refuse nesting beyond Python's stack: nodes behind nodes, or values within values."""
    try:
        yield
    except RecursionError:
        raise GraphError(Sentence("graph_deep")) from None


def _parse(data: object) -> Graph:
    if isinstance(data, Mapping) and isinstance(sent := data.get("prompt"), Mapping):
        data = sent  # as it is sent to a server
    return Graph.parse(from_workflow(data) if is_workflow(data) else data)  # type: ignore[arg-type]


def _files(graph: Graph) -> dict[str, str]:
    """Return the files that nodes load, by node."""
    loads = graph.all("LoadImage", "LoadImageMask")
    return {name: str(graph.value(name, "image")) for name in loads}


def _channels(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield nodes that load pictures, and channels of these, scaled or not, taken for masks."""
    for name in graph.all("LoadImageMask"):
        yield name, str(graph.value(name, "channel"))
    for source, slot in graph.links():
        if slot == 1 and graph.kind(source) == "LoadImage":
            yield source, ALPHA
    for name in graph.all("ImageToMask"):
        shown = _shown(graph, name)
        if shown and graph.kind(shown) == "ImageScale":
            shown = _shown(graph, shown)
        if shown and graph.kind(shown) == "LoadImage":
            yield shown, str(graph.value(name, "channel"))


def _shown(graph: Graph, name: str) -> str | None:
    """Return the node whose picture a node is given."""
    match graph.nodes[name]["inputs"].get("image"):
        case [str() as source, 0] if source in graph.nodes:
            return source
    return None


def _ours(file: str) -> LoadedPicture:
    name = file.removesuffix(".png")
    return LoadedPicture(image=name, masks=dict.fromkeys(COLOURS, name))


def _recipe(reader: Reader) -> Recipe:
    saved, draft = _saved(reader)
    first, upscale = draft.drawn, draft.upscale
    if first is None or draft.vae is None:
        raise GraphError(Sentence("graph_saves_undrawn"))
    if draft.pending is not None and draft.pending != PendingUpscale():
        if upscale is not None:
            raise reader.fail(saved, Sentence("graph_enlarged_twice"))
        upscale = finished_upscale(reader, saved, draft)
    note_filters(reader, draft)
    _check_pick(draft)
    files = [first.model.file, *([draft.vae.file] if draft.vae.file else [])]
    return Recipe(
        **first.values,
        checkpoint=one_model(files),  # type: ignore[arg-type]  # the recipe checks it
        width=draft.width,
        height=draft.height,
        count=draft.count,
        picture=draft.picture,
        image=draft.image,
        mask=draft.mask,
        strength=draft.strength,
        vae=draft.vae.name,
        upscale=upscale,
    )


def _saved(reader: Reader) -> tuple[str, Draft]:
    """Return the one picture that is saved or shown, and a node that does it."""
    outputs = reader.graph.all(*OUTPUTS)
    if not outputs:
        raise GraphError(Sentence("graph_saves_nothing", nodes=", ".join(OUTPUTS)))
    sources = {reader.graph.link(name, "images") for name in outputs}
    if len(sources) != 1:
        raise GraphError(Sentence("graph_several_results", count=len(sources)))
    return outputs[0], reader.input(outputs[0], "images", Draft)


def _check_pick(draft: Draft) -> None:
    sides: Any = draft.width, draft.height
    whole = all(isinstance(side, int) for side in sides)
    if draft.early and whole and not slices_like_marble(*sides):
        size = f"{shorten(sides[0])}×{shorten(sides[1])}"
        raise GraphError(Sentence("graph_picks_early", size=size))
