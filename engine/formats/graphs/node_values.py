"""Values that nodes' outputs stand for in a recipe, as `graphs.graph` computes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from engine.recipe.parts import LANCZOS, Control, Margins, Upscale
from engine.recipe.patches import Patch

DIGITS: Final = 20  # of a seed
EXACT: Final = 2**53  # above it not every whole number is a float


def as_number(value: object) -> int | float | None:
    """Return a number as ComfyUI takes it: "20" is one, and 20.0 a whole one. None if it is none.

    Numbers beyond all that are exact stay as they are written: the recipe says what they may be.
    """
    if isinstance(value, str):
        try:
            value = float(value) if len(value) > DIGITS or not value.isdecimal() else int(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return int(value)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPicture:
    """A picture that a graph loads: its name in our store, its size, and masks made of it.

    masks: channel (`alpha`, `red`, `green`, `blue`) → name; alpha's is white where it is clear.
    unseen: nobody has its file, and nothing is said of a size that depends on it.
    """

    image: str
    width: int | None = None
    height: int | None = None
    masks: Mapping[str, str] = field(default_factory=dict)
    unseen: bool = False


@dataclass(frozen=True, slots=True)
class GraphShift:
    """How far a node shifts noise levels; size: for which FLUX.1-dev's own shift is that far."""

    shift: float
    size: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class GraphModel:
    """A network or text encoder: its file, and LoRAs as (node, weight) in their order.

    apart: it lies in files of its own, which name the model where it is a network; family: the key
    of the flow models that text encoders are loaded for; told: whether their networks take
    guidance as an input, so far as is known.
    """

    file: object
    loras: tuple[tuple[str, float], ...] = ()
    rescale: float = 0.0
    skip: int | None = None
    shift: GraphShift | None = None
    apart: bool = False
    family: str | None = None
    told: bool = True
    patches: tuple[Patch, ...] = ()


@dataclass(frozen=True, slots=True)
class GraphVae:
    """A VAE: the model's own (`file`), or another one (`name`)."""

    file: object = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class GraphPlace:
    """Where and when a text acts, and how it weighs beside others.

    box: x, y, width and height; of_picture: it is in shares of the picture, not in pixels; mask,
    bounds, strength, start, end: as of an `Area`; of_mask: a further strength.
    """

    box: tuple[float, float, float, float] | None = None
    of_picture: bool = False
    mask: str | None = None
    bounds: bool = False
    strength: float = 1.0
    of_mask: float = 1.0
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, slots=True)
class GraphPart:
    """A text beside a prompt's first; zero: zeros stand for it."""

    text: Any
    zero: bool
    place: GraphPlace


@dataclass(frozen=True, slots=True)
class GraphPrompt:
    """A prompt, its text encoder, and the ControlNets on it.

    both: controls act on the other prompt, too; sizes: SDXL's size conditioning, (width, height);
    fit: how its ControlNet images are fitted; guidance: that the network is told; references:
    pictures that it sees beside the text; zero: all is zeros, and the text says nothing; score: of
    beauty, which SDXL's refiner is told; place: where it acts; beside: texts of which each is
    predicted by itself.
    """

    text: Any
    encoder: GraphModel
    controls: tuple[Control, ...] = ()
    both: bool = True
    sizes: frozenset[tuple[float, float]] = frozenset()
    fit: str | None = None
    guidance: Any = None
    references: tuple[str, ...] = ()
    zero: bool = False
    score: Any = None
    place: GraphPlace = GraphPlace()
    beside: tuple[GraphPart, ...] = ()

    @property
    def parts(self) -> tuple[GraphPart, ...]:
        """Return its texts with their places."""
        return GraphPart(self.text, self.zero, self.place), *self.beside

    def with_parts(self, parts: Iterable[GraphPart]) -> GraphPrompt:
        """Return it with other texts; the first one is its own."""
        first, *beside = parts
        return replace(
            self, text=first.text, zero=first.zero, place=first.place, beside=tuple(beside)
        )


@dataclass(frozen=True, slots=True)
class GraphNoise:
    """Noise, by its seed; None: none is added."""

    seed: Any


@dataclass(frozen=True, slots=True)
class GraphSampler:
    """A sampler, by its name."""

    name: Any


@dataclass(frozen=True, slots=True)
class GraphSigmas:
    """Noise levels: the last `steps` of a schedule, a share of `strength` of all.

    model: whose shift they have; size: of the picture that FLUX.2's own are for, which have none;
    of_sd: they are Stable Diffusion's, whatever the model is; until: of all steps of the schedule,
    the one behind which they end (None: the last).
    """

    schedule: Any
    steps: Any
    strength: Any = 1
    model: GraphModel | None = None
    size: tuple[Any, Any] | None = None
    of_sd: bool = False
    until: int | None = None


@dataclass(frozen=True, slots=True)
class GraphGuider:
    """A model and what guides it; without a negative prompt there is no guidance."""

    model: GraphModel
    positive: GraphPrompt
    negative: GraphPrompt | None = None
    cfg: Any = 1


@dataclass(frozen=True, slots=True)
class Pass:
    """A sampler's settings: recipe fields by name, its model, and what guides it."""

    values: Mapping[str, Any]
    model: GraphModel
    guided: GraphGuider

    def with_values(self, **changes: Any) -> Pass:
        """Return the pass with some values changed."""
        return replace(self, values={**self.values, **changes})


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Where a sampler stopped, before noise was gone: behind so many steps of all of these.

    values: its settings, by fields of a recipe.
    """

    step: int
    steps: int
    guided: GraphGuider
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PendingUpscale:
    """An upscale that more nodes may change: by a factor, or else to a size in pixels."""

    by: str = LANCZOS
    factor: float = 1.0
    target: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A picture between nodes: what it started from, and what was done to it.

    early: `picture` was picked before anything was drawn; drawn: the first pass, once there is one;
    filters: by which pixels were scaled, (node, method); encoded: the node that made latents of a
    start image; unfinished: where its last pass stopped before the end;
    padded: the node that set its margins, until its mask is set, too.
    """

    width: Any
    height: Any
    count: Any = 1
    picture: Any = None
    early: bool = False
    image: str | None = None
    fit: str | None = None
    mask: str | None = None
    margins: Margins | None = None
    padded: str | None = None
    vae: GraphVae | None = None
    drawn: Pass | None = None
    unfinished: Unfinished | None = None
    strength: Any = None
    pending: PendingUpscale | None = None
    filters: tuple[tuple[str, str], ...] = ()
    encoded: str | None = None
    upscale: Upscale | None = None
