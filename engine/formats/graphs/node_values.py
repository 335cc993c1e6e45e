"""Values that nodes' outputs stand for in a recipe, as `graphs.graph` computes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.recipe.parts import LANCZOS, Control, Upscale


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPicture:
    """A picture that a graph loads: its name in our store, its size, and masks made of it.

    masks: channel (`alpha`, `red`, `green`, `blue`) → name; alpha's is white where it is clear.
    """

    image: str
    width: int | None = None
    height: int | None = None
    masks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GraphModel:
    """A U-Net or text encoder: its file, and LoRAs as (node, weight) in their order."""

    file: object
    loras: tuple[tuple[str, float], ...] = ()
    rescale: float = 0.0
    skip: int | None = None


@dataclass(frozen=True, slots=True)
class GraphVae:
    """A VAE: the model's own (`file`), or another one (`name`)."""

    file: object = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class GraphPrompt:
    """A prompt, its text encoder, and the ControlNets on it.

    both: controls act on the other prompt, too; sizes: SDXL's size conditioning, (width, height);
    fit: how its ControlNet images are fitted.
    """

    text: Any
    encoder: GraphModel
    controls: tuple[Control, ...] = ()
    both: bool = True
    sizes: frozenset[tuple[float, float]] = frozenset()
    fit: str | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """A sampler's settings: recipe fields by name, and its model."""

    values: Mapping[str, Any]
    model: GraphModel


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
    filters: by which pixels were scaled, (node, method).
    """

    width: Any
    height: Any
    count: Any = 1
    picture: Any = None
    early: bool = False
    image: str | None = None
    fit: str | None = None
    mask: str | None = None
    vae: GraphVae | None = None
    drawn: Pass | None = None
    strength: Any = None
    pending: PendingUpscale | None = None
    filters: tuple[tuple[str, str], ...] = ()
    upscale: Upscale | None = None
