"""The world: what is drawn, what is said of it, and what is kept from training."""

import numpy as np
import pytest

from engine.starter.captions import ATTRIBUTES, draw_caption, plain_captions
from engine.starter.render.picture import render
from engine.starter.world import (
    GROUNDS,
    HELD_OUT_MATERIALS,
    HELD_OUT_OBJECTS,
    MATERIALS,
    OBJECTS,
    PEOPLE,
    SUBJECTS,
    Spec,
    draw_spec,
)

SCHOLAR = Spec(subject="scholar", material="marble", object="book", ground="library")


def _specs(count: int, *, held_out: bool = False) -> list[Spec]:
    rng = np.random.default_rng(5)
    return [draw_spec(rng, held_out=held_out) for _ in range(count)]


def test_training_shows_no_held_out_combination() -> None:
    for spec in _specs(2_000):
        assert (spec.subject, spec.material) not in HELD_OUT_MATERIALS
        assert (spec.subject, spec.object) not in HELD_OUT_OBJECTS


def test_held_out_specs_are_all_held_out() -> None:
    assert all(spec.is_held_out for spec in _specs(200, held_out=True))


def test_held_out_lists_name_things_of_the_world() -> None:
    assert {subject for subject, _ in HELD_OUT_MATERIALS} <= set(SUBJECTS)
    assert {material for _, material in HELD_OUT_MATERIALS} <= set(MATERIALS)
    assert {subject for subject, _ in HELD_OUT_OBJECTS} <= set(PEOPLE)
    assert 0.04 <= len(HELD_OUT_MATERIALS) / (len(SUBJECTS) * len(MATERIALS)) <= 0.08


@pytest.mark.parametrize(
    ("attribute", "choices"), [("material", MATERIALS), ("ground", GROUNDS)], ids=str
)
def test_attributes_are_drawn_about_uniformly(attribute: str, choices: tuple[str, ...]) -> None:
    drawn = [getattr(spec, attribute) for spec in _specs(4_000)]
    counts = [drawn.count(choice) for choice in choices]
    assert min(counts) > 0.7 * max(counts)


def test_only_people_hold_something() -> None:
    specs = _specs(1_000)
    assert {spec.object for spec in specs if spec.is_person} == set(OBJECTS)
    assert {spec.object for spec in specs if not spec.is_person} == {"none"}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_subject_is_drawn_the_same_from_the_same_seed(subject: str) -> None:
    spec = Spec(subject=subject, material="gold", object="none", ground="sea")
    first, second = (render(spec, np.random.default_rng(3)) for _ in range(2))
    other = render(spec, np.random.default_rng(4))
    assert first.shape == (128, 128, 3)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("held", OBJECTS[1:])
def test_what_is_held_changes_the_picture(held: str) -> None:
    empty = Spec(subject="scholar", material="marble", object="none", ground="blue")
    holding = Spec(subject="scholar", material="marble", object=held, ground="blue")
    pictures = [render(s, np.random.default_rng(3)).astype(int) for s in (empty, holding)]
    assert np.abs(pictures[0] - pictures[1]).mean() > 2


@pytest.mark.parametrize("subject", PEOPLE)
@pytest.mark.parametrize("held", ["sword", "lantern", "flower"])
def test_a_person_stands_alike_with_and_without_something_in_the_hand(
    subject: str, held: str
) -> None:
    """A pose of its own for empty hands is not composed with what training never put there."""
    empty, holding = (
        render(
            Spec(subject=subject, material="obsidian", object=thing, ground="white"),
            np.random.default_rng(3),
        )
        for thing in ("none", held)
    )
    beside_head = slice(6, 38), slice(36, 56)  # pixels: between the head and a blade
    left = [picture[beside_head].astype(int) for picture in (empty, holding)]
    assert np.abs(left[0] - left[1]).mean() < 28


def test_the_first_wish_reads_naturally() -> None:
    drawn = _captions(SCHOLAR, 4_000)
    assert "a marble scholar holding a book" in drawn
    assert any("拿着书的大理石学者" in text for text in drawn)


def test_captions_are_of_both_languages_about_half_each() -> None:
    texts = [
        draw_caption(spec, np.random.default_rng(i)).text for i, spec in enumerate(_specs(800))
    ]
    english = sum(text.isascii() for text in texts)
    assert 0.4 < english / len(texts) < 0.6


def test_every_attribute_is_sometimes_named_alone_and_sometimes_not_at_all() -> None:
    rng = np.random.default_rng(0)
    captions = [draw_caption(SCHOLAR, rng) for _ in range(1_000)]
    for attribute in ATTRIBUTES:
        assert sum(caption.named == {attribute} for caption in captions) > 15
        assert sum(attribute not in caption.named for caption in captions) > 50


def test_a_full_caption_names_what_there_is() -> None:
    rng = np.random.default_rng(0)
    for spec in _specs(200):
        named = draw_caption(spec, rng, full=True).named
        assert named == set(ATTRIBUTES) if spec.is_person else set(ATTRIBUTES) - {"object"}


def test_a_caption_is_in_the_language_that_is_asked_for() -> None:
    rng = np.random.default_rng(3)
    for spec in _specs(200):
        assert draw_caption(spec, rng, full=True, language="en").text.isascii()
        assert not draw_caption(spec, rng, full=True, language="zh").text.isascii()


def test_plain_captions_name_each_combination_once() -> None:
    english, chinese = plain_captions("en"), plain_captions("zh")
    people = len(PEOPLE) * len(OBJECTS)
    count = (people + len(SUBJECTS) - len(PEOPLE)) * len(MATERIALS) * len(GROUNDS)
    assert len(english) == len(set(english)) == len(set(chinese)) == count
    assert {"a bronze owl by the sea", "an ice king holding a flower at night"} <= set(english)
    assert {"青铜猫头鹰，海边", "空着手的大理石学者，图书馆里"} <= set(chinese)
    assert plain_captions("fr") == english


def test_an_unnamed_object_may_be_any_and_empty_hands_as_well() -> None:
    rng = np.random.default_rng(0)
    people = [spec for spec in _specs(6_000) if spec.is_person]
    unnamed = [spec.object for spec in people if "object" not in draw_caption(spec, rng).named]
    counts = [unnamed.count(name) for name in OBJECTS]
    assert min(counts) > 0.7 * max(counts)


def test_the_same_seed_gives_the_same_captions() -> None:
    assert _captions(SCHOLAR, 50) == _captions(SCHOLAR, 50)


def _captions(spec: Spec, count: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [draw_caption(spec, rng).text for _ in range(count)]
