from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bots.requests import derive
from bots.requests.aspect import size_like
from bots.requests.options import parse_values
from engine.errors import OptionError, UserError
from engine.recipe.parts import Margins, Upscale, Variation
from engine.recipe.recipe import Recipe
from storage import Job, Picture, Status
from tests.factories import make_recipe

SHA = "c" * 64
NATIVE = (64, 64)


def kept(index: int = 0, width: int = 64, height: int = 64) -> Picture:
    return Picture(job=1, index=index, seed=7, width=width, height=height, size=9, sha256=SHA)


def job(recipe: Recipe, *pictures: Picture, status: Status = Status.RENDERED) -> Job:
    return Job(
        id=12,
        recipe=recipe,
        status=status,
        person="x:1",
        place="x",
        reply={},
        message=None,
        parent=None,
        parent_picture=None,
        epoch=1,
        attempts=1,
        error=None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        started_at=None,
        finished_at=None,
        pictures=pictures,
    )


def test_a_subtle_variation_starts_from_the_picture_with_another_seed() -> None:
    recipe = make_recipe(count=4, picture=2)
    varied = derive.varied(recipe, kept(2), strong=False)
    assert (varied.image, varied.strength) == (SHA, derive.SUBTLE)
    assert (varied.count, varied.picture) == (1, None)
    assert varied.seed != recipe.seed


def test_a_strong_variation_keeps_the_recipe_but_for_its_noise() -> None:
    recipe = make_recipe(count=4)
    varied = derive.varied(recipe, kept(2), strong=True)
    assert replace(varied, variations=()) == replace(recipe, picture=2)
    again = derive.varied(varied, kept(2), strong=True)
    assert again.variations[:1] == varied.variations
    assert again.variations[1].seed != varied.variations[0].seed


def test_an_enlarged_picture_varies_strongly_from_its_own_pixels() -> None:
    recipe = make_recipe(image=SHA, upscale=Upscale())
    varied = derive.varied(recipe, kept(width=128, height=128), strong=True)
    assert (varied.image, varied.upscale, varied.variations) == (SHA, None, ())
    assert varied.strength == derive.BOLD > derive.SUBTLE


def test_an_upscale_starts_from_the_stored_picture_as_it_is() -> None:
    recipe = derive.enlarged(
        make_recipe(count=4), kept(2, 96, 64), factor=2, by="lanczos", strength=0.3, native=NATIVE
    )
    assert (recipe.width, recipe.height, recipe.size) == (96, 64, (192, 128))
    assert (recipe.image, recipe.strength, recipe.count, recipe.picture) == (SHA, None, 1, None)


@pytest.mark.parametrize(
    ("factor", "strength", "tile"), [(2, 0.3, None), (3, 0.3, 64), (3, None, None)]
)
def test_what_is_far_larger_than_the_model_knows_is_drawn_in_tiles(
    factor: float, strength: float | None, tile: int | None
) -> None:
    recipe = derive.enlarged(
        make_recipe(), kept(), factor=factor, by="lanczos", strength=strength, native=NATIVE
    )
    assert recipe.upscale is not None
    assert recipe.upscale.tile == tile


@pytest.mark.parametrize(("longest", "tile"), [(192, None), (191, 64), (None, None)])
def test_what_is_longer_than_the_model_sees_at_once_is_drawn_in_tiles(
    longest: int | None, tile: int | None
) -> None:
    recipe = derive.enlarged(
        make_recipe(),
        kept(0, 96, 64),
        factor=2,
        by="lanczos",
        strength=0.3,
        native=(64, 128),
        longest=longest,
    )
    assert recipe.upscale is not None
    assert recipe.upscale.tile == (tile and 128)


def test_an_upscale_beyond_the_limit_of_pixels_is_refused() -> None:
    with pytest.raises(OptionError, match="within 16 megapixels"):
        derive.enlarged(
            make_recipe(), kept(0, 2048, 2048), factor=4, by="lanczos", strength=None, native=NATIVE
        )


@pytest.mark.parametrize(("factor", "margin"), [(2.0, 16), (1.5, 11), (4.0, 24)])
def test_zooming_out_leaves_the_picture_in_the_middle(factor: float, margin: int) -> None:
    recipe = derive.zoomed(make_recipe(), kept(), factor)
    assert recipe.margins == Margins(left=margin, top=margin, right=margin, bottom=margin)
    assert (recipe.width, recipe.height, recipe.fit) == (64, 64, "resize")


@pytest.mark.parametrize("factor", [1.0, 0.5, 5.0, float("nan")])
def test_zooming_by_too_little_or_too_much_is_refused(factor: float) -> None:
    with pytest.raises(OptionError, match=r"factor must be between 1\.1 and 4"):
        derive.zoomed(make_recipe(), kept(), factor)


@pytest.mark.parametrize(
    ("direction", "size", "margins"),
    [
        ("left", (96, 64), Margins(left=32)),
        ("right", (96, 64), Margins(right=32)),
        ("up", (64, 96), Margins(top=32)),
        ("down", (64, 96), Margins(bottom=32)),
    ],
)
def test_panning_adds_half_a_picture_on_one_side(
    direction: str, size: tuple[int, int], margins: Margins
) -> None:
    recipe = derive.panned(make_recipe(), kept(), direction, 8)
    assert ((recipe.width, recipe.height), recipe.margins) == (size, margins)


def test_panning_elsewhere_is_refused() -> None:
    with pytest.raises(OptionError, match="one of left, right, up, down"):
        derive.panned(make_recipe(), kept(), "away", 8)


def test_a_picture_that_grew_too_wide_is_panned_no_further() -> None:
    with pytest.raises(OptionError, match="width must be"):
        derive.panned(make_recipe(width=2048), kept(0, 2048, 64), "left", 8)


def test_what_is_painted_over_is_drawn_anew_at_the_pictures_own_size() -> None:
    recipe = make_recipe(
        seed=7, upscale=Upscale(factor=2.0), variations=(Variation(seed=1, amount=0.5),)
    )
    painted = derive.repainted(recipe, kept(0, 128, 96), "d" * 64)
    assert (painted.image, painted.mask, painted.strength) == (SHA, "d" * 64, 1.0)
    assert (painted.width, painted.height, painted.upscale) == (128, 96, None)
    assert (painted.prompt, painted.variations, painted.seed != 7) == (recipe.prompt, (), True)


@pytest.mark.parametrize(
    ("wanted", "size", "margins"),
    [
        (Margins(left=32, top=8), (96, 72), Margins(left=32, top=8)),
        (Margins(right=13), (80, 64), Margins(right=16)),
        (Margins(left=9, right=4), (80, 64), Margins(left=12, right=4)),
        (
            Margins(left=3, top=1, right=1, bottom=5),
            (72, 72),
            Margins(left=7, top=1, right=1, bottom=7),
        ),
    ],
)
def test_a_picture_is_extended_at_its_own_size_up_to_the_models_multiple(
    wanted: Margins, size: tuple[int, int], margins: Margins
) -> None:
    recipe = derive.extended(make_recipe(upscale=Upscale(factor=2.0)), kept(), wanted, 8)
    assert ((recipe.width, recipe.height), recipe.margins) == (size, margins)
    left, top, right, bottom = margins.inner(*size)
    assert (right - left, bottom - top) == (64, 64)


def test_a_picture_is_not_extended_beyond_the_limit() -> None:
    with pytest.raises(OptionError, match="width must be"):
        derive.extended(make_recipe(), kept(), Margins(left=2048), 8)


def test_a_new_seed_leaves_variations_behind() -> None:
    recipe = make_recipe(variations=(Variation(seed=1, amount=0.2),))
    assert derive.change(recipe, {"seed": 8}).variations == ()
    assert derive.change(recipe, {"steps": 8}).variations == recipe.variations


@pytest.mark.parametrize("noise", ["cpu", "gpu", "independent"])
def test_noise_that_is_asked_for_is_not_a1111s(noise: str) -> None:
    recipe = make_recipe(sampler="dpmpp_2m_sde", noise="gpu", ensd=0)
    changed = derive.change(recipe, parse_values([("noise", noise)]))
    assert (changed.noise, changed.ensd) == (noise, None)
    assert derive.change(recipe, {"steps": 8}).ensd == 0


@pytest.mark.parametrize(
    ("values", "strength"),
    [({}, derive.START_STRENGTH), ({"mask": "d" * 64}, 1.0), ({"strength": 0.3}, 0.3)],
)
def test_a_start_image_has_a_strength_even_if_none_was_typed(
    values: dict[str, Any], strength: float
) -> None:
    assert derive.change(make_recipe(), {"image": SHA, **values}).strength == strength


def test_the_picture_that_is_meant_must_be_one_and_be_there() -> None:
    grid = job(make_recipe(count=2), kept(0), kept(1))
    assert derive.the_picture(grid, 1).index == 1
    assert derive.the_picture(job(make_recipe(), kept()), None).index == 0
    with pytest.raises(UserError, match=r"has 2 pictures; choose one, for example 12\.1"):
        derive.the_picture(grid, None)
    with pytest.raises(UserError, match=r"There is no picture 12\.3: job 12 has"):
        derive.the_picture(grid, 2)
    with pytest.raises(UserError, match="Job 12 has no pictures to start from"):
        derive.the_picture(job(make_recipe(), status=Status.FAILED), None)


@pytest.mark.parametrize(
    ("image", "multiple", "size"),
    [
        ((512, 512), 8, (512, 512)),
        ((1920, 1080), 8, (680, 384)),
        ((1920, 1080), 16, (688, 384)),
        ((1920, 1080), 32, (672, 384)),
        ((10, 160), 8, (128, 2048)),
        ((10, 160), 32, (128, 2048)),
        ((32, 1), 8, (2048, 64)),
        ((1, 20), 8, (104, 2048)),
        ((50, 1), 8, (2048, 64)),
    ],
)
def test_a_size_takes_the_shape_of_the_image_at_the_models_pixels(
    image: tuple[int, int], multiple: int, size: tuple[int, int]
) -> None:
    assert size_like(*image, 512 * 512, multiple) == size


def test_a_side_at_its_limit_keeps_the_shape_and_not_the_pixels() -> None:
    assert size_like(5, 1, 1024 * 1024, 8) == (2048, 408)
    assert size_like(5, 1, 64 * 64, 8) == (320, 64)


def test_a_strong_variation_of_a_subtle_one_starts_from_its_own_pixels() -> None:
    subtle = derive.varied(make_recipe(), kept(), strong=False)
    other = replace(kept(), sha256="e" * 64)
    strong = derive.varied(subtle, other, strong=True)
    assert (strong.image, strong.strength, strong.variations) == ("e" * 64, derive.BOLD, ())


def test_another_start_image_leaves_the_mask_of_the_old_one_behind() -> None:
    recipe = make_recipe(image=SHA, mask="d" * 64, strength=1)
    assert derive.change(recipe, {"image": "e" * 64}).mask is None
