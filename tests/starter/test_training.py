"""Training: what decides the weights, and that a stopped run goes on where it was."""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from engine.starter.form import alphas_cumprod
from engine.starter.recipe import RECIPE, RenderRecipe
from engine.starter.train import STAGES, main
from engine.starter.training.log import Log
from engine.starter.training.loop import Draw, Schedule, train
from engine.starter.training.optim import Average, Optimisers, orthogonalise
from engine.starter.training.pictures import spec_of
from engine.starter.training.unet import draw_timesteps


class _Stopped(Exception):
    """Stand for a person who stops the run."""


def _run(work: Path, *, steps: int, stop_at: int | None = None) -> Tensor:
    """Fit a line for some steps, seeded; give its weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 1))

    def step_loss(step: int, draw: Draw) -> tuple[Tensor, dict[str, float]]:
        if step == stop_at:
            raise _Stopped
        loss = (model(draw.normal(8, 4)) - 1).square().mean()
        return loss, {"loss": loss.item()}

    train(
        model,
        Optimisers(model, ("1",)),
        Average(model, 0.9),
        Schedule(rate=0.01, floor=0.1, steps=steps),
        step_loss,
        seed=1,
        checkpoint=work / "line.pt",
        every_seconds=0.0,
        log=Log(work / "log"),
    )
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    wanted = _run(whole, steps=12)
    with pytest.raises(_Stopped):
        _run(broken, steps=12, stop_at=7)
    assert torch.equal(_run(broken, steps=12), wanted)


def test_the_rate_warms_up_stays_and_falls() -> None:
    schedule = Schedule(rate=1.0, floor=0.1, steps=1_000, constant=0.5)
    assert schedule.at(0) < 0.1
    assert schedule.at(499) == pytest.approx(1.0)
    assert schedule.at(1_000) == pytest.approx(0.1)


@pytest.mark.parametrize("shape", [(2, 8, 32), (3, 32, 8)], ids=str)
def test_orthogonalised_matrices_keep_their_directions_and_lose_their_lengths(
    shape: tuple[int, ...],
) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert float(values.max() / values.min()) < float(
        torch.linalg.svdvals(matrices).max() / torch.linalg.svdvals(matrices).min()
    )
    assert float(values.min()) > 0.4
    assert float(values.max()) < 1.4


def test_noise_levels_are_stable_diffusions() -> None:
    signal = alphas_cumprod()
    sigmas = ((1 - signal) / signal).sqrt()
    assert float(sigmas[0]) == pytest.approx(0.0291672, rel=1e-4)
    assert float(sigmas[-1]) == pytest.approx(14.614641, rel=1e-4)


def test_timesteps_cover_the_whole_range_in_the_promised_shares() -> None:
    drawn = torch.cat([draw_timesteps(RECIPE.unet, Draw.of(0, step)) for step in range(50)])
    early = float((drawn < RECIPE.unet.early_below).float().mean())
    assert early == pytest.approx(RECIPE.unet.early, abs=0.03)
    assert int(drawn.min()) < 20
    assert int(drawn.max()) > 980


def test_a_training_pictures_spec_depends_on_seed_and_index_alone() -> None:
    recipe = RenderRecipe()
    assert [spec_of(recipe, 5), spec_of(recipe, 6)] == [spec_of(recipe, 5), spec_of(recipe, 6)]
    assert len({spec_of(recipe, index) for index in range(50)}) > 40


def test_an_unknown_stage_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["paint", "--work", str(tmp_path)])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "no such stage: paint" in message
    assert all(re.search(stage, message) for stage in STAGES)
