"""Guidance, and what it must leave alone."""

import pytest
import torch
from torch import Tensor

from engine.denoise.guidance import guide, needs_negative, rescale

X, COND, UNCOND = torch.randn(3, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


GUIDED = guide(torch.cat([UNCOND, COND]), 7.5)


@pytest.mark.parametrize(("scale", "expected"), [(1.0, False), (0.0, True), (1.01, True)])
def test_only_scale_one_needs_no_negative(scale: float, expected: bool) -> None:
    assert needs_negative(scale) == expected


def test_guidance_goes_from_the_unconditional_past_the_conditional() -> None:
    rows = torch.cat([UNCOND, COND])
    assert torch.equal(guide(rows, 0.0), UNCOND)
    assert torch.allclose(guide(rows, 3.0) - COND, 2 * (COND - UNCOND), atol=1e-5)


def test_scale_one_is_the_prompts_row_alone() -> None:
    assert guide(COND, 1.0) is COND


def test_no_rescale_changes_nothing() -> None:
    assert torch.allclose(rescale(GUIDED, COND, X, 2.0, 0.0), GUIDED, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.03, 2.0, 14.6])
def test_full_rescale_gives_v_the_deviation_of_the_prompts_own(sigma: float) -> None:
    def deviation(denoised: Tensor) -> Tensor:
        v = (X / (sigma**2 + 1) - denoised) * ((sigma**2 + 1) ** 0.5 / sigma)
        deviations: Tensor = v.std(dim=(1, 2, 3))
        return deviations

    rescaled = rescale(GUIDED, COND, X, sigma, 1.0)
    assert torch.allclose(deviation(rescaled), deviation(COND), rtol=1e-4)
    assert (deviation(GUIDED) > deviation(COND)).all()
