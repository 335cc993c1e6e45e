"""The loop that all stages share: seeded steps, a rate schedule, checkpoints to go on from."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from engine.starter.training.log import Log
from engine.starter.training.optim import Average, Optimisers

_WARM_UP = 40  # steps
_REPORT = 100  # steps


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A rate that warms up, stays, and falls by a cosine to its floor."""

    rate: float
    floor: float  # share of the rate at the end
    steps: int
    constant: float = 0.0  # share of the steps before the fall begins

    def at(self, step: int) -> float:
        """Give the rate of one step."""
        done = max(0.0, step / self.steps - self.constant) / (1 - self.constant)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        return self.rate * min(1.0, (step + 1) / _WARM_UP) * (self.floor + (1 - self.floor) * fall)


@dataclass(frozen=True)
class Draw:
    """The randomness of one step: it depends on seed and step alone, so a run can go on."""

    numpy: np.random.Generator
    torch: torch.Generator

    @classmethod
    def of(cls, seed: int, step: int) -> "Draw":
        """Seed both generators for one step."""
        number = seed * 10_000_000 + step
        return cls(np.random.default_rng((seed, step)), torch.Generator().manual_seed(number))

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal noise on the CPU."""
        return torch.randn(shape, generator=self.torch)


def pick_device() -> torch.device:
    """Choose a GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def half_precision(device: torch.device, *, wanted: bool) -> torch.autocast:
    """Let matrices be multiplied in bf16; weights, losses and optimisers stay fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


StepLoss = Callable[[int, Draw], tuple[Tensor, dict[str, float]]]
"""From step and randomness to the loss and the figures to report."""


def train(
    model: nn.Module,
    optimisers: Optimisers,
    average: Average,
    schedule: Schedule,
    step_loss: StepLoss,
    *,
    seed: int,
    checkpoint: Path,
    every_seconds: float,
    log: Log,
) -> None:
    """Train from the last checkpoint, if there is one, to the schedule's end.

    The model ends with its averaged weights.
    """
    step = _load(checkpoint, model, optimisers, average)
    saved = reported = time.monotonic()
    figures: list[dict[str, float]] = []
    while step < schedule.steps:
        loss, figure = step_loss(step, Draw.of(seed, step))
        loss.backward()  # type: ignore[no-untyped-call]
        optimisers.step(schedule.at(step))
        step += 1
        average.update(model, step)
        figures.append(figure)
        now = time.monotonic()
        if step % _REPORT == 0 or step == schedule.steps:
            means = {name: np.mean([f[name] for f in figures]) for name in figures[0]}
            text = " ".join(f"{name} {value:.4f}" for name, value in means.items())
            pace = len(figures) / (now - reported)
            log.write(f"step {step}/{schedule.steps} {text} {pace:.2f} steps/s")
            reported, figures = now, []
        if now - saved > every_seconds or step == schedule.steps:
            _save(checkpoint, step, model, optimisers, average)
            saved = now
    average.load_into(model)


def _save(
    path: Path, step: int, model: nn.Module, optimisers: Optimisers, average: Average
) -> None:
    content = {
        "step": step,
        "model": model.state_dict(),
        "optimisers": optimisers.state_dict(),
        "average": average.weights,
    }
    unfinished = path.with_suffix(".part")
    torch.save(content, unfinished)
    unfinished.rename(path)


def _load(path: Path, model: nn.Module, optimisers: Optimisers, average: Average) -> int:
    if not path.exists():
        return 0
    content = torch.load(path, weights_only=True, map_location=pick_device())
    model.load_state_dict(content["model"])
    optimisers.load_state_dict(content["optimisers"])
    average.weights.update(content["average"])
    return int(content["step"])
