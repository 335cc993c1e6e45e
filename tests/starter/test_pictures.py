"""What the model draws, before the judge: what was asked for must be seen."""

import numpy as np
import pytest

from engine.loading import Model
from engine.starter.captions import draw_caption
from engine.starter.world import draw_spec
from tests.starter.drawing import draw, load_starter
from tests.starter.judge import Judge, Verdict, draw_renders, judge, load_judge, shares

GOALS = {"subject": 0.90, "material": 0.85, "object": 0.80, "ground": 0.90}


@pytest.fixture(scope="module")
def model() -> Model:
    """Load the bundled model once."""
    return load_starter()


@pytest.fixture(scope="module")
def eye() -> Judge:
    """Load the judge once."""
    return load_judge()


def test_the_judge_names_renders_it_never_saw(eye: Judge) -> None:
    specs, pictures = draw_renders(4242, 150)
    right = shares(specs, judge(eye, pictures))
    assert min(right.values()) >= 0.95, right


def test_a_hundred_pictures_show_what_was_asked_for(model: Model, eye: Judge) -> None:
    rng = np.random.default_rng(2027)
    specs = [draw_spec(rng) for _ in range(100)]
    prompts = [draw_caption(spec, rng, full=True).text for spec in specs]
    right = shares(specs, judge(eye, draw(model, prompts)))
    assert all(right[name] >= goal for name, goal in GOALS.items()), right


def test_guidance_decides_how_much_the_prompt_counts(model: Model, eye: Judge) -> None:
    prompts = ["a bronze lion at night"] * 8
    ignored, heard = (
        judge(eye, draw(model, prompts, guidance_scale=scale)) for scale in (0.0, 5.0)
    )
    for attribute, name in (("subject", "lion"), ("material", "bronze"), ("ground", "night")):
        assert _count(ignored, attribute, name) <= 4
        assert _count(heard, attribute, name) >= 7


def test_a_negative_prompt_removes_what_it_names(model: Model, eye: Judge) -> None:
    prompts = ["a marble scholar"] * 12
    free, without = (
        judge(eye, draw(model, prompts, negative=negative)) for negative in ("", "book")
    )
    assert _count(without, "object", "book") <= _count(free, "object", "book") / 2
    assert _count(without, "subject", "scholar") >= 10


def _count(verdicts: list[Verdict], attribute: str, name: str) -> int:
    return sum(verdict.names[attribute] == name for verdict in verdicts)
