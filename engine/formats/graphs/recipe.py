"""The recipe of the picture that a graph saves."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from engine.errors import GraphError, UserError, shorten
from engine.formats.graphs.areas import AREAS
from engine.formats.graphs.flow_families import USUAL_VAES
from engine.formats.graphs.graph import Graph, Node, Rule
from engine.formats.graphs.latents import LATENTS, slices_like_marble
from engine.formats.graphs.masks import MASKS
from engine.formats.graphs.models import MODELS, one_model
from engine.formats.graphs.node_values import Draft, LoadedPicture, PendingUpscale
from engine.formats.graphs.pictures import ALPHA, PICTURES, note_filters
from engine.formats.graphs.results import choices, chosen, picture_of
from engine.formats.graphs.sampling import SAMPLERS
from engine.formats.graphs.sigmas import SIGMAS
from engine.formats.graphs.survey import survey
from engine.formats.graphs.upscaling import finished_upscale
from engine.formats.graphs.words import WORDS
from engine.formats.graphs.workflow import from_workflow
from engine.formats.reading import COMFYUI, Reading
from engine.pictures.masks import inverse_of
from engine.sentences import Sentence

VALUES: Final[Mapping[str, Rule]] = dict.fromkeys(
    (
        *("PrimitiveInt", "PrimitiveFloat", "PrimitiveBoolean"),
        *("PrimitiveString", "PrimitiveStringMultiline"),
    ),
    lambda node: node.value("value"),
)
RULES: Final[Mapping[str, Rule]] = {
    **VALUES, **MODELS, **WORDS, **AREAS, **PICTURES, **MASKS, **LATENTS, **SIGMAS, **SAMPLERS,
}  # fmt: skip
LOADERS: Final = ("LoadImage", "LoadImageOutput")
COLOURS: Final = ("red", "green", "blue")
OURS: Final = re.compile(r"[0-9a-f]{64}\.png")  # a picture named as our store names it


def from_graph(
    data: object | Graph,
    pictures: Mapping[str, LoadedPicture] | None = None,
    result: str | None = None,
) -> Reading:
    """Read a graph in API or UI format, or one that `parse` returned.

    pictures: by the names by which the graph loads them; those of our store need not be given.
    result: the node that is meant, where several save or show a picture. Where no picture can be
    drawn from the graph, the reading says why, and the values that stand in it. `GraphError` where
    there are none.
    """
    with bounded():
        graph = data.unread() if isinstance(data, Graph) else parse(data)
        saved = None
        try:
            saved = chosen(graph, result)
            files = _files(graph)
            ours = {file: _ours(file) for file in files.values() if OURS.fullmatch(file)}
            graph.pictures = {**ours, **(pictures or {})}
            values, refused = _values(graph, saved), None
        except UserError as error:
            values, refused = {}, error
        except ArithmeticError:
            values, refused = {}, GraphError(Sentence("graph_numbers"))
    noting = refused is not None
    found = survey(graph, saved, noting=noting)
    if not found and saved is not None:
        found = survey(graph, None, noting=noting)
    if refused is not None and not found:
        raise refused
    seen = {name: each.value for name, each in found.items()}
    where = {name: each.where for name, each in found.items() if seen[name] == values.get(name)}
    if refused is not None:
        values, where = seen, {name: each.where for name, each in found.items()}
    reading = Reading.of(COMFYUI, values, where, dict.fromkeys(graph.notes), refused)
    return replace(reading, results=tuple(choices(graph)))


def pictures_of(data: object) -> dict[str, set[str]]:
    """Return the pictures that a graph loads, each with the channels that it takes for masks.

    Raises `GraphError`.
    """
    with bounded():
        graph = parse(data)
        files = _files(graph)
        masks: dict[str, set[str]] = {file: set() for file in files.values()}
        inverted = bool(graph.all("InvertMask"))
        for load, channel in _channels(graph):
            masks[files[load]] |= {channel, inverse_of(channel)} if inverted else {channel}
        return masks


@contextmanager
def bounded() -> Iterator[None]:
    """Refuse nesting beyond Python's stack: nodes behind nodes, or values within values."""
    try:
        yield
    except RecursionError:
        raise GraphError(Sentence("graph_deep")) from None


def parse(data: object) -> Graph:
    """Return a graph in API or UI format, by its nodes; raises `GraphError`."""
    if isinstance(data, Mapping) and isinstance(sent := data.get("prompt"), Mapping):
        data = sent  # as it is sent to a server
    if isinstance(data, Mapping) and isinstance(data.get("nodes"), list):
        data = from_workflow(data)
    return Graph(data, RULES)


def _files(graph: Graph) -> dict[str, str]:
    """Return the files that nodes load, by node."""
    loaders = graph.all(*LOADERS, "LoadImageMask")
    return {node.name: str(node.value("image")) for node in loaders}


def _channels(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield nodes that load pictures, and channels of these, scaled or not, taken for masks."""
    for node in graph.all("LoadImageMask"):
        yield node.name, str(node.value("channel"))
    for source, slot, _ in graph.links():
        if slot == 1 and Node(graph, source).kind in LOADERS:
            yield source, ALPHA
    for node in graph.all("ImageToMask"):
        shown = _shown(node)
        if shown and shown.kind == "ImageScale":
            shown = _shown(shown)
        if shown and shown.kind in LOADERS:
            yield shown.name, str(node.value("channel"))


def _shown(node: Node) -> Node | None:
    """Return the node whose picture a node is given."""
    match node.inputs.get("image"):
        case [str() as source, 0] if source in node.graph.nodes:
            return Node(node.graph, source)
    return None


def _ours(file: str) -> LoadedPicture:
    name = file.removesuffix(".png")
    return LoadedPicture(image=name, masks=dict.fromkeys(COLOURS, name))


def _values(graph: Graph, saved: Node) -> dict[str, Any]:
    """Return the values of the recipe that a node saves."""
    draft = picture_of(saved)
    first, upscale = draft.drawn, draft.upscale
    if first is None or draft.vae is None:
        raise GraphError(Sentence("graph_saves_undrawn"))
    if draft.pending is not None and draft.pending != PendingUpscale():
        if upscale is not None:
            raise saved.fail(Sentence("graph_enlarged_twice"))
        if draft.pending.target and draft.width is None:
            size = "×".join(f"{side:g}" for side in draft.pending.target)
            saved.note(Sentence("graph_unseen_to", size=size))
        else:
            upscale = finished_upscale(saved, draft)
    note_filters(saved, draft)
    _check_pick(draft)
    files = first.model.file, first.values.get("refiner")
    if files[1] is not None and draft.vae.file == files[0]:
        saved.note(Sentence("graph_second_decodes"))
    vae = draft.vae.name
    if first.model.apart and vae in USUAL_VAES:
        vae = None  # the model's own
    return {
        **first.values,
        "checkpoint": one_model((files[0], None if draft.vae.file in files else draft.vae.file)),
        "width": draft.width,
        "height": draft.height,
        "count": draft.count,
        "picture": draft.picture,
        "image": draft.image,
        "mask": draft.mask,
        "margins": draft.margins,
        "strength": draft.strength,
        "vae": vae,
        "upscale": upscale,
    }


def _check_pick(draft: Draft) -> None:
    sides: Any = draft.width, draft.height
    whole = all(isinstance(side, int) for side in sides)
    if draft.early and whole and not slices_like_marble(*sides):
        size = f"{shorten(sides[0])}×{shorten(sides[1])}"
        raise GraphError(Sentence("graph_picks_early", size=size))
