import json
from dataclasses import replace

import pytest

from engine.queue.estimates import MILLION, Speeds, Work, pixel_steps, work_of
from engine.recipe.conditions import calls_of, sides_of
from engine.recipe.limits import CALLS, SAMPLERS
from engine.recipe.parts import Area, Control, Upscale
from engine.recipe.patches import Patch
from tests.factories import make_recipe

MODEL = "starter"


def work(width: float = 1.0, calls: int = 10, model: str = MODEL) -> Work:
    return Work(model=model, width=width, calls=calls)


def test_work_is_pixels_times_rows_times_pictures_times_calls() -> None:
    recipe = make_recipe(width=1000, height=2000, steps=7, count=3, guidance_scale=4)
    assert work_of(recipe) == Work(model=MODEL, width=2.0 * 2 * 3, calls=7, pixels=2.0 * 3)


def test_two_models_are_measured_together() -> None:
    made = work_of(make_recipe(refiner="other"))
    assert (made.models, made.measured_as) == ((MODEL, "other"), f"{MODEL} → other")
    assert made.units == work_of(make_recipe()).units


def test_without_guidance_a_picture_is_one_row() -> None:
    assert work_of(make_recipe(guidance_scale=1)).width * 2 == work_of(make_recipe()).width


def test_a_long_prompt_is_more_work_than_a_short_one() -> None:
    plain, text = work_of(make_recipe()).width, "a marble scholar holding a book, " * 60
    both = work_of(make_recipe(prompt=text, negative_prompt=text)).width
    one = work_of(make_recipe(prompt=text)).width
    other = work_of(make_recipe(negative_prompt=text)).width
    assert plain < one == other < both < 2 * plain
    unguided = make_recipe(guidance_scale=1, negative_prompt=text)  # it is not read
    assert work_of(unguided).width * 2 == plain


def test_controls_are_work_while_they_have_their_say() -> None:
    whole, half = (Control(model="x", image="a" * 64, end=end) for end in (1.0, 0.5))
    plain = work_of(make_recipe()).width
    widths = [work_of(make_recipe(controls=given)).width for given in [(half,), (whole, whole)]]
    assert widths == pytest.approx([plain * 1.25, plain * 2])


def test_a_picture_that_is_edited_is_seen_in_each_call_and_decoded_in_none() -> None:
    plain = make_recipe(width=512, height=1024, steps=10)
    edited = replace(plain, references=("a" * 64, "b" * 64))
    assert work_of(edited).width == pytest.approx(5 * work_of(plain).width)
    assert work_of(edited).pixels == work_of(plain).pixels
    assert pixel_steps(edited) == 5 * pixel_steps(plain)


def test_one_picture_of_a_grid_is_the_work_of_one() -> None:
    assert work_of(make_recipe(count=4, picture=2)) == work_of(make_recipe())


def test_samplers_of_two_evaluations_take_one_for_the_last_step() -> None:
    assert work_of(make_recipe(sampler="heun", steps=10)).calls == 19


def test_cfg_pp_takes_two_rows_without_guidance_too() -> None:
    plain = work_of(make_recipe(guidance_scale=1.0))
    assert work_of(make_recipe(sampler="euler_cfg_pp", guidance_scale=1.0)).width == 2 * plain.width


def test_perturbed_attention_takes_each_call_twice() -> None:
    patches = (Patch(kind="perturbed_attention", numbers=(3,)),)
    assert work_of(make_recipe(sampler="heun", steps=10, patches=patches)).calls == 38


def test_pixel_steps_count_each_prompt_that_is_drawn_beside_others() -> None:
    plain = pixel_steps(make_recipe())
    three = make_recipe(prompt="a AND b AND c", syntax="a1111")
    assert pixel_steps(three) == 3 * plain
    assert pixel_steps(replace(three, syntax="marble")) == plain
    areas = (Area(prompt="b"), Area(prompt="c", width=0.5), Area(prompt="d", negative=True))
    assert pixel_steps(make_recipe(areas=areas)) == plain * 5 // 2


def test_only_calls_that_are_made_are_counted() -> None:
    edited = make_recipe(prompt="[a|b]", image="a" * 64, strength=0.01, steps=150, syntax="a1111")
    sides = sides_of(edited, calls_of(edited, 1))
    assert len(sides.positive[0].turns) == 150
    assert work_of(edited).calls == 150


def test_evaluations_are_those_of_the_samplers() -> None:
    from engine.denoise.samplers import SAMPLERS as RUN

    assert {name: RUN[name].evaluations for name in SAMPLERS} == {
        name: CALLS.get(name, 1) for name in SAMPLERS
    }


@pytest.mark.parametrize(
    ("prompt", "rows"),
    [("a [b|c]", 2), ("a AND b", 3), ("a :0.5 AND b :0.5", 3), ("a AND b AND c", 4)],
)
def test_each_prompt_that_composes_is_a_row(prompt: str, rows: int) -> None:
    plain = work_of(make_recipe(guidance_scale=1.0, width=512, height=512))
    composed = make_recipe(prompt=prompt, width=512, height=512, syntax="a1111")
    assert work_of(composed).width == pytest.approx(rows * plain.width)
    assert work_of(replace(composed, guidance_scale=1.0, prompt="a :0.5 AND b :0.5")).width == (
        pytest.approx(2 * plain.width)
    )


@pytest.mark.parametrize(
    ("areas", "rows"),
    [
        ((Area(prompt="b"),), 3),
        ((Area(prompt="b", width=0.5),), 2 + 0.5 * 2),  # the negative prompt is asked there, too
        ((Area(width=0.5), Area(prompt="b", left=0.5, width=0.5)), 1 + 0.5 * 4),
        ((Area(prompt="b", width=0.5), Area(negative=True, width=0.5)), 1 + 0.5 * 2),
        ((Area(end=0.25), Area(prompt="b", start=0.25)), 2),
    ],
)
def test_an_area_is_as_much_of_a_row_as_it_has_of_the_picture_and_the_noise(
    areas: tuple[Area, ...], rows: float
) -> None:
    plain = work_of(make_recipe(guidance_scale=1.0, width=512, height=512))
    placed = make_recipe(areas=areas, width=512, height=512)
    assert work_of(placed).width == pytest.approx(rows * plain.width)


def test_speed_is_what_was_measured() -> None:
    speeds = Speeds()
    assert not speeds.has_measured(MODEL)
    speeds.learn(work(calls=10), 5.0)
    assert speeds.has_measured(MODEL)
    assert speeds.seconds(work(calls=20)) == pytest.approx(10.0)


def test_a_model_that_was_never_measured_is_taken_for_a_usual_one() -> None:
    speeds = Speeds()
    assert speeds.seconds(work()) > 0
    speeds.learn(work(calls=10), 5.0)
    assert speeds.seconds(work(model="other")) == pytest.approx(5.0)
    assert not speeds.has_measured("other")


def test_speed_follows_what_changes_and_shrugs_at_one_hiccup() -> None:
    speeds = Speeds()
    for _ in range(20):
        speeds.learn(work(), 1.0)
    speeds.learn(work(), 10.0)
    assert 1.0 < speeds.seconds(work()) < 3.0
    for _ in range(20):
        speeds.learn(work(), 5.0)
    assert speeds.seconds(work()) == pytest.approx(5.0, rel=0.1)


def test_decoding_is_measured_apart_from_the_steps() -> None:
    speeds = Speeds()
    job = Work(model=MODEL, width=1.0, calls=10, pixels=2.0)
    speeds.learn(job, 11.0, decoding=1.0)
    longer = Work(model=MODEL, width=1.0, calls=20, pixels=4.0)
    assert speeds.seconds(longer) == pytest.approx(20.0 + 2.0)
    speeds.learn(job, 11.0)  # from a source that does not know the stages
    assert speeds.seconds(job) == pytest.approx(11.0, rel=0.02)


def test_what_was_measured_crosses_to_another_process() -> None:
    speeds = Speeds()
    speeds.learn(Work(model=MODEL, width=1.0, calls=10, pixels=2.0), 11.0, decoding=1.0)
    speeds.learn_loading(MODEL, 5.0)
    twin = Speeds(json.loads(json.dumps(speeds.to_dict())))
    assert twin.to_dict() == speeds.to_dict()
    assert (twin.loading(MODEL), twin.loading("other")) == (5.0, 5.0)
    assert Speeds().loading(MODEL) == 0.0


def test_a_second_pass_is_work_at_its_own_size() -> None:
    """Four times the pixels at half the steps are twice the work again."""
    plain = make_recipe(width=1000, height=1000, steps=10)
    detailed = replace(plain, upscale=Upscale(factor=2.0, strength=0.5))
    assert work_of(detailed).units == pytest.approx(work_of(plain).units * 3)
    assert work_of(detailed).pixels == pytest.approx(5.0)
    assert pixel_steps(detailed) == 30 * MILLION


def test_a_second_pass_in_tiles_is_as_much_work_as_its_tiles() -> None:
    """Of 2048 pixels in tiles of 1024 three cover each side: 9 of them, 2.25 times the picture."""
    plain = make_recipe(width=1024, height=1024, steps=10)
    whole = replace(plain, upscale=Upscale(factor=2.0, strength=0.5))
    tiled = replace(plain, upscale=Upscale(factor=2.0, strength=0.5, tile=1024))
    assert work_of(tiled).units == pytest.approx(work_of(plain).units * (1 + 9 / 2))
    assert pixel_steps(tiled) == pytest.approx(pixel_steps(plain) * (1 + 9 / 2))
    assert work_of(tiled).pixels == work_of(whole).pixels  # decoded as a whole


def test_controls_have_no_say_in_tiles() -> None:
    control = Control(model="canny", image="a" * 64)
    plain = make_recipe(width=1024, height=1024, steps=10, controls=(control,))
    tiled = replace(plain, upscale=Upscale(factor=2.0, strength=0.5, tile=1024))
    drawn_plainly = replace(tiled, controls=())
    more = work_of(tiled).units - work_of(drawn_plainly).units
    assert more == pytest.approx(work_of(plain).units - work_of(replace(plain, controls=())).units)


def test_a_picture_that_is_only_enlarged_takes_no_steps_but_is_not_free() -> None:
    enlarged = make_recipe(width=1000, height=1000, image="0" * 64, upscale=Upscale(factor=2.0))
    assert work_of(enlarged).units == 0
    assert (work_of(enlarged).pixels, pixel_steps(enlarged)) == (4.0, 4 * MILLION)
    speeds = Speeds()
    speeds.learn(work_of(enlarged), 3.0, decoding=2.0)
    assert speeds.seconds(work_of(enlarged)) == pytest.approx(2.0)


def test_a_picture_that_is_only_enlarged_teaches_nothing_of_its_models_decoding() -> None:
    speeds = Speeds()
    drawn = work_of(make_recipe())
    enlarged = work_of(make_recipe(image="a" * 64, upscale=Upscale(factor=4)))
    speeds.learn(drawn, 4.0, decoding=1.0)
    before = speeds.seconds(drawn)
    speeds.learn(enlarged, 60.0, decoding=60.0)
    assert enlarged.model == drawn.model
    assert speeds.seconds(drawn) == pytest.approx(before)
