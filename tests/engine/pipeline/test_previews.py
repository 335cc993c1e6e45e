"""When previews are due, and what they may cost."""

import io

import pytest
from PIL import Image

from engine.decode.vae import PREVIEW_SIDE
from engine.events import Progress
from engine.families.stable_diffusion import StableDiffusion
from engine.pipeline.loaded_model import LoadedModel
from engine.pipeline.previews import EVERY, SECONDS, SHARE
from engine.spec import Spec
from tests.engine.ticks import News, drive, pipeline_on, pngs
from tests.factories import make_recipe


class Clock:
    """Tell a time that goes on by `tick` with each call of the U-Net, and by `cost` a preview."""

    def __init__(self, tick: float, cost: float = 0.0) -> None:
        self.now, self.tick, self.cost = 0.0, tick, cost

    def __call__(self) -> float:
        return self.now


def draw(
    model: StableDiffusion, clock: Clock, monkeypatch: pytest.MonkeyPatch, steps: int, jobs: int = 1
) -> dict[int, list[News]]:
    evaluate, preview = LoadedModel.evaluate, LoadedModel.preview

    def slow(self: LoadedModel, batch: list[object], rows: int) -> object:
        clock.now += clock.tick
        return evaluate(self, batch, rows)  # type: ignore[arg-type]

    def dear(self: LoadedModel, denoised: object) -> object:
        clock.now += clock.cost
        return preview(self, denoised)  # type: ignore[arg-type]

    monkeypatch.setattr(LoadedModel, "evaluate", slow)
    monkeypatch.setattr(LoadedModel, "preview", dear)
    pipeline = pipeline_on(model, clock=clock)
    specs = [
        Spec(job=n, epoch=1, recipe=make_recipe(steps=steps, guidance_scale=1.0))
        for n in range(jobs)
    ]
    told = drive(pipeline, {0: specs})
    pipeline.close()
    return told


def shown(news: list[News]) -> list[int]:
    """Return the steps at which there were previews."""
    return [each.step for each in news if isinstance(each, Progress) and each.preview]


def test_slow_steps_are_shown_every_few_and_the_last_is_left_to_the_picture(
    model: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = draw(model, Clock(SECONDS), monkeypatch, steps=16)[0]
    assert shown(news) == [EVERY, 2 * EVERY, 3 * EVERY]
    previews = [each.preview for each in news if isinstance(each, Progress) and each.preview]
    image = Image.open(io.BytesIO(previews[0]))
    assert (image.format, image.size) == ("JPEG", (64, 64))
    assert max(image.size) <= PREVIEW_SIDE


def test_fast_steps_are_shown_no_faster_than_anybody_could_see(
    model: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = draw(model, Clock(SECONDS / 10), monkeypatch, steps=40)[0]
    assert shown(news) == [12, 24, 36]


def test_dear_previews_keep_to_their_share_whoever_they_are_for(
    model: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(tick=0.1, cost=0.1)
    told = draw(model, clock, monkeypatch, steps=60, jobs=4)
    previews = sum(len(shown(news)) for news in told.values())
    assert 0 < previews * clock.cost <= SHARE * clock.now + clock.cost


def test_a_preview_that_fails_costs_nobody_a_picture(
    model: StableDiffusion, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: LoadedModel, denoised: object) -> bytes:
        raise ValueError("no such colour")

    clock = Clock(SECONDS)
    monkeypatch.setattr(LoadedModel, "preview", broken)
    pipeline = pipeline_on(model, clock=lambda: clock.now)
    specs = [Spec(job=n, epoch=1, recipe=make_recipe(steps=9)) for n in range(2)]
    evaluate = LoadedModel.evaluate

    def slow(self: LoadedModel, batch: list[object], rows: int) -> object:
        clock.now += clock.tick
        return evaluate(self, batch, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(LoadedModel, "evaluate", slow)
    told = drive(pipeline, {0: specs})
    pipeline.close()
    assert [len(pngs(told[n])) for n in range(2)] == [1, 1]
    assert "its preview failed" in caplog.text
