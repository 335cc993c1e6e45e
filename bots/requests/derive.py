"""Recipes of pictures made from others: variations, upscales, zooms, pans. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from engine.errors import OptionError, UserError
from engine.recipe.limits import LATENT_SIDE, Range, one_of
from engine.recipe.parts import Margins, Upscale, Variation
from engine.recipe.recipe import DEFAULTS, Recipe, random_seed
from engine.sentences import Sentence
from storage import Job, Picture

# What tells one picture of a grid apart: changing any of it makes "picture 3 of 4" meaningless.
GRID_FIELDS: Final = ("seed", "count")
# What says which picture is drawn; all else says how its model draws.
OF_THE_PICTURE: Final = frozenset(
    (
        *("prompt", "seed", "width", "height", "count", "picture", "variations", "checkpoint"),
        *("image", "fit", "strength", "mask", "margins", "controls", "upscale", "references"),
        *("areas", "syntax"),
    )
)
START_STRENGTH: Final = 0.7  # the start image's layout stays, its surface does not
PAINT_STRENGTH: Final = 1.0  # under a mask nothing of what was there is wanted
SUBTLE: Final = 0.55  # strength with which a picture is drawn anew: what words left open stays
STRONG: Final = 0.6  # of the way to another seed's noise: the composition changes
BOLD: Final = 0.8  # strength in its place, where a picture is not what its noise made alone
TILED: Final = 4  # times the pixels that a model was made for; above, detail is drawn in tiles
PAN: Final = 0.5  # of a side that is added
ZOOMS: Final = Range(1.1, 4)
DIRECTIONS: Final = ("left", "right", "up", "down")


class NotInJob(UserError):
    """Says which pictures a job has, where another one was named."""

    def __init__(self, job: Job, name: str) -> None:
        pictures = job.recipe.pictures
        first, last = (f"{job.id}.{number + 1}" for number in (pictures[0], pictures[-1]))
        said = Sentence("one_picture_in_job", name=name, job=job.id, first=first)
        if (count := len(pictures)) > 1:
            said = Sentence(
                "pictures_in_job", name=name, job=job.id, count=count, first=first, last=last
            )
        super().__init__(said)


def change(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """Return the recipe with some values changed.

    A new seed or count leaves its grid behind, and a new seed what varied the old one. Noise that
    is asked for is not A1111's, which an `ensd` makes it.
    """
    changed = {name: value for name, value in values.items() if getattr(recipe, name) != value}
    if recipe.picture is not None and any(name in changed for name in GRID_FIELDS):
        changed = {"count": 1, "picture": None, **changed}
    if "seed" in changed:
        changed = {"variations": (), **changed}
    if "noise" in values:
        changed = {"ensd": None, **changed}
    if "image" in changed:  # a mask or margins belong to the picture that they were made for
        changed = {"mask": None, "margins": None, **changed}
    if changed.get("image") and recipe.strength is None:
        changed = {"strength": default_strength(changed), **changed}
    return replace(recipe, **changed)


def default_strength(values: Mapping[str, Any]) -> float:
    """Return the strength of a start image where none was typed."""
    return PAINT_STRENGTH if values.get("mask") else START_STRENGTH


def of_picture(job: Job, picture: int | None) -> Recipe:
    """Return the recipe of one picture of a job, or of all; raises `NotInJob`."""
    if picture is None or picture in job.recipe.pictures:
        alone = picture is None or job.recipe.count == 1
        return job.recipe if alone else replace(job.recipe, picture=picture)
    raise NotInJob(job, f"{job.id}.{picture + 1}")


def the_picture(job: Job, picture: int | None) -> Picture:
    """Return the one stored picture that is meant, or raise `UserError`."""
    if picture is not None:
        of_picture(job, picture)
    found = [kept for kept in job.pictures if picture in (None, kept.index)]
    if not found:
        raise UserError(Sentence("no_pictures", job=job.id))
    if len(found) > 1:
        count, example = len(found), f"{job.id}.{job.recipe.pictures[0] + 1}"
        raise UserError(Sentence("which_picture", job=job.id, count=count, example=example))
    return found[0]


def varied(recipe: Recipe, picture: Picture, *, strong: bool) -> Recipe:
    """Return a recipe for another picture like it: subtly, or strongly, different.

    Subtly: the picture is the start image, so that whatever its words left open stays (turned
    noise changes it one time in six: docs/starter-model.md). Strongly: its noise is turned towards
    another seed's; but where it was enlarged or kept something of a start image, and so is not what
    its noise made alone, it becomes the start image as well.
    """
    by_noise = recipe.upscale is None and recipe.strength in (None, PAINT_STRENGTH)
    if strong and by_noise:
        alone = recipe if recipe.count == 1 else replace(recipe, picture=picture.index)
        variation = Variation(seed=random_seed(), amount=STRONG)
        return replace(alone, variations=(*recipe.variations, variation))
    start = replace(_from(recipe, picture), references=recipe.references)
    return replace(start, strength=BOLD if strong else SUBTLE, seed=random_seed())


def manner(recipe: Recipe) -> dict[str, Any]:
    """Return the values of a recipe that say how its model draws, but not what."""
    return {name: getattr(recipe, name) for name in DEFAULTS if name not in OF_THE_PICTURE}


def enlarged(
    recipe: Recipe,
    picture: Picture,
    *,
    factor: float,
    by: str,
    strength: float | None,
    native: tuple[int, int],
    longest: int | None = None,
) -> Recipe:
    """Return a recipe that makes a picture larger, and with a strength draws detail into it.

    native: the size that the model was made for; longest: pixels of a side that it sees at once.
    What is longer, or far larger than the native size, is drawn in tiles of about that size: whole,
    attention would take memory by the square of the pixels, and see things that it was not trained
    on.
    """
    start = _from(recipe, picture)
    width, height = _whole(picture.width), _whole(picture.height)
    upscale = Upscale(factor=factor, by=by, strength=strength)
    large = upscale.size(width, height)
    too_long = longest is not None and max(large) > longest
    if strength is not None and (too_long or math.prod(large) > TILED * math.prod(native)):
        upscale = replace(upscale, tile=max(native))
    return replace(start, width=width, height=height, strength=None, upscale=upscale)


def zoomed(recipe: Recipe, picture: Picture, factor: float) -> Recipe:
    """Return a recipe that shows a picture from further away, with more of the scene around it."""
    if factor not in ZOOMS:
        raise OptionError("factor", factor, ZOOMS.said())
    start = _from(recipe, picture)
    across, down = (round((side - side / factor) / 2) for side in (start.width, start.height))
    margins = Margins(left=across, right=across, top=down, bottom=down)
    return replace(start, margins=margins, strength=PAINT_STRENGTH, seed=random_seed(), areas=())


def panned(recipe: Recipe, picture: Picture, direction: str, multiple: int) -> Recipe:
    """Return a recipe that continues a picture to one side, by half of it.

    multiple: of which the sides of the model's pictures are, in pixels.
    """
    if direction not in DIRECTIONS:
        raise OptionError("direction", direction, one_of(DIRECTIONS))
    start = _from(recipe, picture)
    edge = {"up": "top", "down": "bottom"}.get(direction, direction)
    sideways = direction in ("left", "right")
    across = _whole(start.width * PAN, multiple) if sideways else 0
    down = 0 if sideways else _whole(start.height * PAN, multiple)
    return replace(
        start,
        width=start.width + across,
        height=start.height + down,
        margins=Margins(**{edge: across or down}),
        strength=PAINT_STRENGTH,
        seed=random_seed(),
        areas=(),  # which were parts of the picture as it was
    )


def repainted(recipe: Recipe, picture: Picture, mask: str) -> Recipe:
    """Return a recipe that draws a picture anew where a mask (by sha256) is white.

    At the picture's own size, so that all else stays as it is, byte for byte.
    """
    return replace(
        _from(recipe, picture),
        width=_whole(picture.width),
        height=_whole(picture.height),
        mask=mask,
        strength=PAINT_STRENGTH,
        seed=random_seed(),
        areas=(),
    )


def extended(recipe: Recipe, picture: Picture, margins: Margins, multiple: int) -> Recipe:
    """Return a recipe that continues a picture by margins, in pixels, at its own size.

    What is missing to sides that are multiples of `multiple` is added to the wider of two margins.
    """
    left, right = _rounded_up(picture.width, margins.left, margins.right, multiple)
    top, bottom = _rounded_up(picture.height, margins.top, margins.bottom, multiple)
    return replace(
        _from(recipe, picture),
        width=picture.width + left + right,
        height=picture.height + top + bottom,
        margins=Margins(left=left, right=right, top=top, bottom=bottom),
        strength=PAINT_STRENGTH,
        seed=random_seed(),
        areas=(),
    )


def _rounded_up(side: int, before: int, after: int, multiple: int) -> tuple[int, int]:
    missing = -(side + before + after) % multiple
    return (before + missing, after) if before > after else (before, after + missing)


def _from(recipe: Recipe, picture: Picture) -> Recipe:
    """Return a recipe that starts from a finished picture of another, and from nothing else."""
    return replace(
        recipe,
        image=picture.sha256,
        fit="resize",
        strength=START_STRENGTH,
        mask=None,
        margins=None,
        controls=(),
        variations=(),
        upscale=None,
        references=(),
        count=1,
        picture=None,
    )


def _whole(side: float, multiple: int = LATENT_SIDE) -> int:
    return max(multiple, multiple * round(side / multiple))
