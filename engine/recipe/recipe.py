"""The recipe: all that determines a picture's pixels, and nothing else.

Who asked, where, and what it was made from belong to the job. Standard library only: recipes
travel through every room, into the database and between processes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Final

from engine.errors import OptionError, UnknownOption
from engine.recipe.limits import (
    BROWNIAN,
    BY_STEPS,
    CPU,
    INDEPENDENT,
    MARBLE,
    NEGATIVE_SCORE,
    RANGES,
    SCORE,
    check,
    parse_seed,
)
from engine.recipe.parts import Area, Control, Lora, Margins, Upscale, Variation
from engine.recipe.patches import Patch
from engine.sentences import Sentence

VERSION: Final = 4
# Version 1 knew words alone, 2 one kind of noise, and 3 no fields from `refiner` on.
READABLE: Final = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that determines `count` pictures, or only number `picture` of them (counted from 0).

    A start image (`image`, fitted to the size by `fit`) is noised by `strength` and denoised again:
    all of it, where `mask` is white, or only the `margins` around it. Without a strength it is
    upscaled as it is. `references` are pictures that the model sees beside the prompt, as models
    that edit by words do; `shift` is that of a flow model's noise levels (None: its own). `noise`
    and `ensd` say whose numbers the noise is, as `engine.denoise.noise` tells. `refiner` is a
    second model, which takes over after a share of the steps (`refiner_at`), as `refiner_by` tells
    (`engine.recipe.limits`), and finishes the picture. `patches` change how a U-Net works, both
    models' where there are two. `syntax` says whose grammar the prompts have, and `areas` are texts
    beside them, for parts of the picture or of the noise. Every value is checked; the first one out
    of range raises `OptionError`.
    """

    prompt: str
    negative_prompt: str = ""
    seed: int
    steps: int
    guidance_scale: float
    width: int
    height: int
    count: int = 1
    picture: int | None = None
    sampler: str
    schedule: str
    checkpoint: str
    image: str | None = None
    fit: str = "crop"
    strength: float | None = None
    mask: str | None = None
    margins: Margins | None = None
    variations: tuple[Variation, ...] = ()
    controls: tuple[Control, ...] = ()
    upscale: Upscale | None = None
    loras: tuple[Lora, ...] = ()
    clip_skip: int | None = None
    guidance_rescale: float = 0.0
    vae: str | None = None
    references: tuple[str, ...] = ()
    shift: float | None = None
    noise: str = CPU
    ensd: int | None = None
    refiner: str | None = None
    refiner_at: float = 0.8
    refiner_by: str = BY_STEPS
    aesthetic_score: float = SCORE
    negative_aesthetic_score: float = NEGATIVE_SCORE
    patches: tuple[Patch, ...] = ()
    syntax: str = MARBLE
    areas: tuple[Area, ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            check_field(field.name, getattr(self, field.name))
        _check_together(self)
        if self.noise == INDEPENDENT and self.sampler not in BROWNIAN:
            object.__setattr__(self, "noise", CPU)  # which for other samplers is the same
        if self.refiner is None or not self.is_denoised:  # these say nothing then
            for name in ("refiner", "refiner_at", "refiner_by"):
                object.__setattr__(self, name, DEFAULTS[name])
        # 5 and 5.0 are one recipe: without this their JSON, and so the PNG's text, would differ.
        for name in FRACTIONS:
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, float(value))

    @property
    def pictures(self) -> tuple[int, ...]:
        """Return the indices of the pictures this recipe makes."""
        return tuple(range(self.count)) if self.picture is None else (self.picture,)

    @property
    def size(self) -> tuple[int, int]:
        """Return the width and height of the finished pictures, in pixels."""
        size = self.width, self.height
        return self.upscale.size(*size) if self.upscale else size

    @property
    def second_pass_steps(self) -> int:
        """Return the steps of the second pass on upscaled pictures, a share of all, or 0."""
        share = self.upscale.strength if self.upscale else None
        return max(1, round(self.steps * share)) if share else 0

    @property
    def models(self) -> tuple[str, ...]:
        """Return the models that it is drawn with, in order."""
        return (self.checkpoint, self.refiner) if self.refiner else (self.checkpoint,)

    @property
    def is_denoised(self) -> bool:
        """Return whether it has a first pass: else a start image is upscaled as it is."""
        return self.image is None or self.strength is not None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the stored pictures that it needs, by sha256."""
        maps = (control.image for control in self.controls)
        masks = (area.mask for area in self.areas)
        named = (self.image, self.mask, *maps, *self.references, *masks)
        return tuple(dict.fromkeys(name for name in named if name))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; seeds are text, since JSON's readers stop at 2^53.

        What is left at its default is left out, but for the fields of version 1. A recipe that an
        earlier version can say is written as that version, as it always was.
        """
        plain = asdict(self, dict_factory=_plain)
        written = {
            name: plain[name]
            for name, default in DEFAULTS.items()
            if name in VERSION_1_FIELDS or getattr(self, name) != default
        }
        version = 3 if written.keys().isdisjoint(VERSION_4_FIELDS) else 4
        if version == 3 and self.noise == noise_of_version_2(self.sampler) and self.ensd is None:
            version = 2
            written.pop("noise", None)
        return {"version": version, **written}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Read what `to_dict` wrote, or raise `OptionError` or `UnknownOption`."""
        values = dict(data)
        version = values.pop("version", None)
        if version not in READABLE:
            raise OptionError("version", version, Sentence("newer", version=VERSION))
        for name in values:
            if name not in DEFAULTS:
                raise UnknownOption(name, DEFAULTS)
        missing = {name for name, default in DEFAULTS.items() if default is MISSING}
        if missing := missing - values.keys():
            raise OptionError(min(missing), None, Sentence("given"))
        if version < 3:
            values["noise"] = noise_of_version_2(values["sampler"])
        return cls(**{name: read_field(name, value) for name, value in values.items()})


@dataclass(frozen=True, slots=True)
class NestedField:
    """Describe a field that holds parts of a recipe, and how it is read from JSON."""

    kind: type
    most: int  # of how many; 0: it is one
    read: Callable[[Any], Any]


NESTED: Final[Mapping[str, NestedField]] = {
    "margins": NestedField(Margins, 0, lambda data: Margins(**data)),
    "variations": NestedField(Variation, 16, Variation.from_dict),
    "controls": NestedField(Control, 4, lambda data: Control(**data)),
    "loras": NestedField(Lora, 16, lambda data: Lora(**data)),
    "upscale": NestedField(Upscale, 0, lambda data: Upscale(**data)),
    "references": NestedField(str, 4, str),
    "patches": NestedField(Patch, 8, Patch.from_dict),
    "areas": NestedField(Area, 16, lambda data: Area(**data)),
}
FRACTIONS: Final = (
    *("guidance_scale", "guidance_rescale", "strength", "shift"),
    *("refiner_at", "aesthetic_score", "negative_aesthetic_score"),
)
DEFAULTS: Final[Mapping[str, Any]] = {field.name: field.default for field in fields(Recipe)}
# Always written: readers of version 1 count on them.
VERSION_1_FIELDS: Final = tuple(DEFAULTS)[: tuple(DEFAULTS).index("image")]
VERSION_4_FIELDS: Final = tuple(DEFAULTS)[tuple(DEFAULTS).index("refiner") :]


def _plain(values: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a recipe's or a part's values as JSON has them."""
    plain = {name: [*value] if isinstance(value, tuple) else value for name, value in values}
    return plain | {"seed": str(plain["seed"])} if "seed" in plain else plain


def read_field(name: str, data: Any) -> Any:
    """Return a field's value from plain JSON, or raise `OptionError`; not all is checked."""
    if name == "seed":
        return parse_seed(data)
    return _read_part(name, data) if name in NESTED else data


def check_field(name: str, value: object) -> None:
    """Raise `OptionError` where a field cannot have this value."""
    if name in NESTED:
        _check_part(name, value)
    elif value is not None or DEFAULTS[name] is not None:
        check(name, value)


def _check_part(name: str, value: object) -> None:
    part = NESTED[name]
    parts = value if part.most else () if value is None else (value,)
    if not (isinstance(parts, tuple) and all(isinstance(each, part.kind) for each in parts)):
        raise OptionError(name, value, Sentence("recipe_parts"))
    if part.most and len(parts) > part.most:
        raise OptionError(name, f"{len(parts):,}", Sentence("most_parts", most=part.most))
    if part.kind is str:
        for each in parts:
            check(name, each)


def _read_part(name: str, data: Any) -> Any:
    part = NESTED[name]
    try:
        if part.most:
            return tuple(part.read(each) for each in data)
        return None if data is None else part.read(data)
    except (TypeError, AttributeError):
        raise OptionError(name, data, Sentence("recipe_parts")) from None


def _check_together(recipe: Recipe) -> None:
    """Raise `OptionError` for values that are right alone but not beside each other."""
    if recipe.picture is not None and not recipe.picture < recipe.count:
        raise OptionError("picture", recipe.picture, Sentence("below_count", count=recipe.count))
    alone = recipe.upscale is not None and recipe.mask is None and recipe.margins is None
    if recipe.image is None and recipe.strength is not None:
        raise OptionError("strength", recipe.strength, Sentence("without_image"))
    if recipe.image is not None and recipe.strength is None and not alone:
        allowed = Sentence("beside_image", allowed=RANGES["strength"].said())
        raise OptionError("strength", None, allowed)
    for name in ("mask", "margins"):
        if getattr(recipe, name) is not None and recipe.image is None:
            raise OptionError(name, getattr(recipe, name), Sentence("with_image"))
    if recipe.noise == INDEPENDENT and recipe.ensd is not None:
        raise OptionError("ensd", recipe.ensd, Sentence("without_delta", noise=INDEPENDENT))
    if recipe.mask and recipe.margins:
        raise OptionError("mask", recipe.mask, Sentence("without_margins"))
    if recipe.margins:
        left, top, right, bottom = recipe.margins.inner(recipe.width, recipe.height)
        if right - left < 8 or bottom - top < 8:
            raise OptionError("margins", recipe.margins, Sentence("inner_pixels"))
    recipe.size  # noqa: B018  # it says itself what is wrong


def random_seed() -> int:
    """Draw a fresh seed, short enough that people can read it out and retype it."""
    return secrets.randbelow(2**32)


def noise_of_version_2(sampler: object) -> str:
    """Return a sampler's noise in recipes before version 3, which do not name it."""
    return INDEPENDENT if sampler in BROWNIAN else CPU
