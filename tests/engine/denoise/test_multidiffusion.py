import pytest
import torch

from engine.denoise.multidiffusion import count, in_tiles
from engine.denoise.samplers import SAMPLERS, Request
from engine.denoise.samplers.base import drive
from engine.pictures.tile_grid import drawn
from tests.noises import draws

SIGMAS = torch.tensor([10.0, 3.0, 1.0, 0.0])


def test_a_denoiser_that_looks_at_single_points_gives_the_same_in_tiles() -> None:
    x = torch.randn(1, 4, 20, 28, generator=torch.Generator().manual_seed(1)) * 10

    def denoise(part: torch.Tensor, sigma: float) -> torch.Tensor:
        return torch.tanh(part / (1 + sigma))

    whole = drive(SAMPLERS["euler"](x, SIGMAS, draws(0)), denoise)
    tiles = drive(in_tiles(SAMPLERS["euler"](x, SIGMAS, draws(0)), 8), denoise)
    assert (whole - tiles).abs().max() <= 1e-5


def test_every_request_has_the_shape_of_a_tile_and_there_are_as_many_as_counted() -> None:
    x = torch.randn(1, 4, 20, 28)
    state: Request | torch.Tensor
    run, seen = in_tiles(SAMPLERS["euler"](x, SIGMAS, draws(0)), 8), []
    state = next(run)
    try:
        while True:
            seen.append((state.step, tuple(state.x.shape)))
            state = run.send(state.x)
    except StopIteration:
        pass
    assert {shape for _, shape in seen} == {(1, 4, 8, 8)}
    assert len(seen) == 3 * count(20, 28, 8)
    assert [step for step, _ in seen] == sorted(step for step, _ in seen)


@pytest.mark.parametrize(("width", "height"), [(28, 20), (64, 64), (9, 33), (5, 40), (6, 7)])
@pytest.mark.parametrize("tile", [8, 12, 16])
def test_estimates_count_the_pixels_of_all_tiles(width: int, height: int, tile: int) -> None:
    seen = []

    def denoise(part: torch.Tensor, sigma: float) -> torch.Tensor:
        seen.append(part.shape[2] * part.shape[3] * 8 * 8)
        return part

    x = torch.zeros(1, 4, height, width)
    drive(in_tiles(SAMPLERS["euler"](x, SIGMAS, draws(0)), tile), denoise)
    assert 3 * drawn(width * 8, height * 8, tile * 8) == sum(seen)


def test_a_side_shorter_than_a_tile_is_one_tile() -> None:
    assert count(8, 8, 16) == 1
    assert count(8, 32, 16) == 3


def test_no_seam_shows_where_tiles_disagree() -> None:
    """Each tile answers with another constant: what comes out rises and falls, without a jump."""
    x, answers = torch.zeros(1, 1, 8, 64), iter(range(100))

    def denoise(part: torch.Tensor, sigma: float) -> torch.Tensor:
        return torch.full_like(part, next(answers) % 2)

    made = drive(in_tiles(SAMPLERS["euler"](x, SIGMAS[-2:], draws(0)), 16), denoise)
    steps = made[0, 0, 0].diff().abs()
    assert made.max() == 1
    assert steps.max() < 0.6
