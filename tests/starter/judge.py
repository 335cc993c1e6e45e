"""A judge of pictures: a small network that names what a picture of the starter world shows.

`python -m tests.starter.judge` trains it anew on renders: blurred, noised, shrunk and shifted in
colour, so that it looks at content instead of at a renderer's texture. Held-out combinations are
among its renders: it must know a king of ice when it sees one.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from engine.starter.render.picture import render
from engine.starter.training.log import Log
from engine.starter.world import GROUNDS, MATERIALS, OBJECTS, SUBJECTS, Spec, draw_spec

WEIGHTS = Path(__file__).with_name("judge.safetensors")
CHOICES = {"subject": SUBJECTS, "material": MATERIALS, "object": OBJECTS, "ground": GROUNDS}
_SIZES = [len(choices) for choices in CHOICES.values()]
_WIDTHS = (24, 48, 96, 144)
_LOOK = 64  # px: what the judge sees of a picture
_SEED = 77
_HELD_OUT_SHARE = 0.1


@dataclass(frozen=True)
class Verdict:
    """What the judge sees in one picture: a name and its probability for each attribute."""

    names: dict[str, str]
    probabilities: dict[str, float]

    def matches(self, spec: Spec, attribute: str) -> bool:
        """Tell whether the judge sees the attribute that the spec asked for."""
        return self.names[attribute] == str(getattr(spec, attribute))


class Judge(nn.Module):
    """Four convolutions, then one linear layer over all attributes."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(zip((3, *_WIDTHS[:-1]), _WIDTHS, strict=True)):
            stride = 1 if i == 3 else 2
            convolution = nn.Conv2d(before, after, 3, stride, 1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        self.look = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Dropout(0.1))
        self.name = nn.Linear(_WIDTHS[-1] * 16, sum(_SIZES))

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Look at `[n, 3, 64, 64]` in -1 … 1; give one `[n, choices]` an attribute."""
        return tuple(self.name(self.look(pictures)).split(_SIZES, 1))


def load_judge() -> Judge:
    """Load the trained judge."""
    network = Judge()
    weights = {name: value.float() for name, value in load_file(WEIGHTS).items()}
    network.load_state_dict(weights, strict=False)  # without batch norm's step counters
    return network.eval()


@torch.no_grad()
def judge(network: Judge, pictures: NDArray[np.uint8]) -> list[Verdict]:
    """Name what is on pictures `[n, 128, 128, 3]`."""
    answers = [logits.softmax(1).max(1) for logits in network(shrink(pictures))]
    return [
        Verdict(
            {
                name: choices[int(answer.indices[row])]
                for (name, choices), answer in zip(CHOICES.items(), answers, strict=True)
            },
            {
                name: float(answer.values[row])
                for name, answer in zip(CHOICES, answers, strict=True)
            },
        )
        for row in range(len(pictures))
    ]


def is_right(spec: Spec, verdict: Verdict) -> bool:
    """Tell whether a picture shows all that was asked for; only people hold something."""
    asked = [name for name in CHOICES if name != "object" or spec.is_person]
    return all(verdict.matches(spec, name) for name in asked)


def shares(specs: Sequence[Spec], verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Give the share of pictures judged right, by attribute; held objects over people only."""
    pairs = list(zip(specs, verdicts, strict=True))
    people = [pair for pair in pairs if pair[0].is_person]
    over = {name: people if name == "object" else pairs for name in CHOICES}
    return {
        name: sum(verdict.matches(spec, name) for spec, verdict in over[name]) / len(over[name])
        for name in CHOICES
    }


def shrink(pictures: NDArray[np.uint8]) -> Tensor:
    """Turn pictures `[n, 128, 128, 3]` into what the judge looks at."""
    signed = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    return functional.interpolate(signed, size=_LOOK, mode="area")


def draw_renders(seed: int, count: int) -> tuple[list[Spec], NDArray[np.uint8]]:
    """Render pictures of the whole world, held-out combinations included."""
    rng = np.random.default_rng(seed)
    specs = [draw_spec(rng, held_out=rng.random() < _HELD_OUT_SHARE) for _ in range(count)]
    return specs, np.stack([render(spec, rng) for spec in specs])


def _disturb(pictures: Tensor, rng: np.random.Generator, generator: torch.Generator) -> Tensor:
    """Take away what a generated picture lacks: sharpness, clean areas, exact colours."""
    if rng.random() < 0.5:
        pictures = pictures.flip(-1)
    if rng.random() < 0.6:
        pictures = functional.avg_pool2d(pictures, 3, 1, 1)
    if rng.random() < 0.3:  # as coarse as a codec that fails on details
        small = functional.avg_pool2d(pictures, 2)
        pictures = functional.interpolate(small, scale_factor=2, mode="bilinear")
    if rng.random() < 0.5:
        noise = torch.randn(pictures.shape, generator=generator)
        pictures = pictures + rng.uniform(0.02, 0.12) * noise
    dx, dy = (int(i) for i in rng.integers(-2, 3, 2))
    pictures = pictures.roll((dy, dx), (-2, -1))
    return pictures * rng.uniform(0.9, 1.1) + rng.uniform(-0.06, 0.06)


def train_judge(renders: int, steps: int, log: Log) -> Judge:
    """Train the judge on fresh renders."""
    specs, pictures = draw_renders(_SEED, renders)
    looks = torch.cat([shrink(pictures[i : i + 500]) for i in range(0, renders, 500)])
    truth = torch.tensor(
        [[c.index(getattr(spec, name)) for name, c in CHOICES.items()] for spec in specs]
    )
    log.write(f"{renders} renders")
    torch.manual_seed(_SEED)
    network, rng = Judge(), np.random.default_rng(_SEED)
    generator = torch.Generator().manual_seed(_SEED)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for step in range(1, steps + 1):
        chosen = torch.from_numpy(rng.integers(0, renders, 64))
        answers = network(_disturb(looks[chosen], rng, generator))
        losses = [functional.cross_entropy(a, truth[chosen, i]) for i, a in enumerate(answers)]
        loss = torch.stack(losses).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 100 == 0:
            log.write(f"step {step}/{steps} loss {loss.item():.3f}")
    return network.eval()


def main() -> None:
    """Train, measure on renders it never saw, and write the weights as fp16."""
    parser = argparse.ArgumentParser(prog="python -m tests.starter.judge")
    parser.add_argument("--renders", type=int, default=12_000)
    parser.add_argument("--steps", type=int, default=1_500)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    log = Log(Path("runs") / "judge.log")
    network = train_judge(chosen.renders, chosen.steps, log)
    save_file(
        {
            name: value.half().contiguous()
            for name, value in network.state_dict().items()
            if value.dtype.is_floating_point
        },
        WEIGHTS,
    )
    WEIGHTS.chmod(0o644)
    specs, pictures = draw_renders(_SEED + 1, 1_000)
    right = shares(specs, judge(load_judge(), pictures))
    log.write("1000 unseen renders: " + ", ".join(f"{n} {s:.1%}" for n, s in right.items()))


if __name__ == "__main__":
    main()
