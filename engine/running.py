"""A job at work: its pictures, how far they are, and what is still to be told of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.batching import Account, Turn
from engine.denoise import Denoising
from engine.events import Progress, Stage
from engine.executors import Spec
from engine.recipe import Recipe
from engine.reports import Key
from engine.resident import Resident


@dataclass(slots=True, eq=False, kw_only=True)
class Running:
    """Hold a job between ticks."""

    spec: Spec
    resident: Resident
    account: Account
    turns: Sequence[Turn[Denoising]]
    told: int = 0  # the last step that was reported
    shown_at: float = 0.0  # when its last preview was made, or it began
    missing: int = field(init=False)  # pictures that are still to be handed over

    def __post_init__(self) -> None:
        self.missing = len(self.turns)

    @property
    def key(self) -> Key:
        """Return the job's name."""
        return key_of(self.spec)

    @property
    def recipe(self) -> Recipe:
        """Return what is drawn."""
        return self.spec.recipe

    @property
    def step(self) -> int:
        """Return the steps that are done, as a mean of its pictures, rounded down."""
        return sum(turn.picture.step for turn in self.turns) // len(self.turns)

    @property
    def total(self) -> int:
        """Return the steps that each of its pictures takes."""
        return self.turns[0].picture.total

    def progress(self, preview: bytes | None = None) -> Progress:
        """Return how far its denoising is."""
        return Progress(stage=Stage.DENOISE, step=self.told, total=self.total, preview=preview)


def key_of(spec: Spec) -> Key:
    """Return the name of the claim that a spec stands for."""
    return Key(spec.job, spec.epoch)


def start(
    spec: Spec, resident: Resident, open_account: Callable[[float], Account], now: float
) -> Running:
    """Begin a job's pictures, and open its account of the device's time."""
    pictures = resident.begin(spec.recipe)
    buckets = resident.buckets(spec.recipe, pictures[0])
    asks = sum(picture.evaluations * buckets.cost(picture.rows) for picture in pictures)
    account = open_account(asks)
    kind = (resident, resident.shape(spec.recipe))
    turns = [
        Turn(
            picture=picture,
            account=account,
            kind=kind,
            buckets=buckets,
            rows=picture.rows,
            tokens=picture.tokens,
            left=picture.evaluations,
            alone=spec.alone,
        )
        for picture in pictures
    ]
    return Running(spec=spec, resident=resident, account=account, turns=turns, shown_at=now)
