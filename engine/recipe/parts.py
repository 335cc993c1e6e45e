"""Parts of a recipe beside prompt and settings: variations, margins, ControlNets, LoRAs, upscaling.

Pictures are named by the sha256 of their file in the picture store. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.errors import OptionError
from engine.recipe.limits import LARGEST, LATENT_SIDE, check, parse_seed
from engine.sentences import Sentence

LANCZOS: Final = "lanczos"
LATENT: Final = "latent"
# Of the gradient: edges begin above the second, and go on above the first. Those that the canny
# models were trained with vary; these are the middle, and everybody's default.
CANNY: Final = (100, 200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """Mix the initial noise with another seed's by spherical interpolation, by `amount` (0 … 1)."""

    seed: int
    amount: float

    def __post_init__(self) -> None:
        check("seed", self.seed)
        check("variation", self.amount)
        object.__setattr__(self, "amount", float(self.amount))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Variation:
        """Read plain JSON values, or raise `OptionError`."""
        return cls(seed=parse_seed(data.get("seed")), amount=data.get("amount", None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """Pixels around the start image that are drawn anew (outpainting)."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def __post_init__(self) -> None:
        sides = (self.left, self.top, self.right, self.bottom)
        for side in sides:
            check("margin", side)
        if not any(sides):
            raise OptionError("margins", sides, Sentence("one_margin"))

    def inner(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the box of the start image in a picture of that size: left, top, right, bottom."""
        return self.left, self.top, width - self.right, height - self.bottom


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Apply a ControlNet with an image, or with what `preprocessor` finds in it.

    start, end: shares of the steps between which it is applied.
    """

    model: str
    image: str
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    preprocessor: str = "none"

    def __post_init__(self) -> None:
        check("control", self.model)
        check("image", self.image)
        check("control_strength", self.strength)
        check("share", self.start)
        check("share", self.end)
        check("preprocessor", self.preprocessor)
        if self.start >= self.end:
            raise OptionError(
                "control's end", self.end, Sentence("above_start", start=f"{self.start:g}")
            )
        for name in ("strength", "start", "end"):
            object.__setattr__(self, name, float(getattr(self, name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Add a LoRA to the model: to its U-Net by `weight`, to its text encoders by `text_weight`.

    Without a text weight both are the same.
    """

    name: str
    weight: float = 1.0
    text_weight: float | None = None

    def __post_init__(self) -> None:
        check("lora", self.name)
        for name in ("weight", "text_weight"):
            if (value := getattr(self, name)) is not None:
                check("lora_weight", value)
                object.__setattr__(self, name, float(value))
        if self.text_weight == self.weight:
            object.__setattr__(self, "text_weight", None)

    @property
    def weights(self) -> tuple[float, float]:
        """Return the weights of the U-Net and of the text encoders."""
        return self.weight, self.weight if self.text_weight is None else self.text_weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """A text beside the prompt, or the prompt itself, for a part of the picture or of the noise.

    prompt: None: the recipe's own, which then is drawn there alone; negative: whether it stands
    beside the negative prompt; left, top, width, height: of its box, shares of the picture; mask:
    white where it acts; bounds: whether the network sees no more than the mask's box; strength: its
    weight beside others; start, end: the shares of the noise between which it acts, from all noise
    to none; zero: whether zeros stand for the text, as ComfyUI's ConditioningZeroOut.
    """

    prompt: str | None = None
    negative: bool = False
    left: float = 0.0
    top: float = 0.0
    width: float = 1.0
    height: float = 1.0
    mask: str | None = None
    bounds: bool = False
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    zero: bool = False

    def __post_init__(self) -> None:
        if self.prompt is not None:
            check("prompt", self.prompt)
        if self.mask is not None:
            check("mask", self.mask)
        for name in ("left", "top", "width", "height", "start", "end"):
            check("share", getattr(self, name))
            object.__setattr__(self, name, float(getattr(self, name)))
        check("area_strength", self.strength)
        object.__setattr__(self, "strength", float(self.strength))
        for name in ("negative", "bounds", "zero"):
            check("flag", getattr(self, name))
        for side, begin, size in (
            ("left", self.left, self.width),
            ("top", self.top, self.height),
        ):
            if begin >= 1 or size <= 0:
                raise OptionError(f"area's {side}", begin, Sentence("inside_picture"))

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Return left, top, width and height of its box, shares of the picture."""
        return self.left, self.top, self.width, self.height

    @property
    def share(self) -> float:
        """Return the share of the picture in its box."""
        return min(self.width, 1 - self.left) * min(self.height, 1 - self.top)

    @property
    def acts(self) -> float:
        """Return the share of a pass's work that it takes: of the picture and of the noise."""
        return self.share * max(0.0, self.end - self.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscale:
    """Upscale the finished picture by `factor`.

    by: `lanczos`, `latent` (the latents are upscaled) or the name of an upscale model;
    strength: of a second denoising pass on the upscaled picture (None: no such pass);
    tile: the side in pixels of the overlapping tiles in which that pass is drawn (None: whole).
    """

    factor: float = 2.0
    by: str = LANCZOS
    strength: float | None = None
    tile: int | None = None

    def __post_init__(self) -> None:
        check("factor", self.factor)
        check("upscaler", self.by)
        if self.strength is not None:
            check("strength", self.strength)
        elif self.by == LATENT:
            raise OptionError("upscaler", LATENT, Sentence("with_second_pass"))
        if self.tile is not None:
            check("tile", self.tile)
        object.__setattr__(self, "factor", float(self.factor))

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size of the enlarged picture, whole latents each way; raises `OptionError`."""
        latents = (round(side * self.factor / LATENT_SIDE) for side in (width, height))
        large = tuple(LATENT_SIDE * max(1, side) for side in latents)
        if large[0] * large[1] > LARGEST:
            side = f"{width}×{height}"
            raise OptionError("factor", self.factor, Sentence("below_largest", size=side))
        return large[0], large[1]
