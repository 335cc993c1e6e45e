"""A job at work: its pictures, how far they are, and what is still to be told of it.

Most jobs take one pass: denoise, decode. One that enlarges its pictures and draws detail into them
takes a second, on what the first one made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from engine.decode.vae import Pixels
from engine.denoise.denoising import Denoising
from engine.events import Key, Progress, Stage
from engine.pictures.control_images import ControlImage
from engine.pictures.start_image import StartImage
from engine.pipeline.batching import Account, Turn
from engine.pipeline.resident import Resident
from engine.recipe.context_length import weight
from engine.recipe.parts import LATENT
from engine.recipe.recipe import Recipe
from engine.spec import Spec

# Pixels, a width, a height and an upscaler's name → pixels of that size.
Enlarge = Callable[[Pixels, int, int, str], Pixels]


@dataclass(slots=True, eq=False, kw_only=True)
class Running:
    """Hold a job between ticks.

    turns: its pictures in the pass at hand; none where a start image is only enlarged.
    """

    spec: Spec
    resident: Resident
    account: Account
    enlarge: Enlarge
    canvas: StartImage | None = None
    hints: tuple[ControlImage, ...] = ()
    turns: Sequence[Turn[Denoising]] = ()
    told: int = 0  # the last step that was reported
    shown_at: float = 0.0  # when its last preview was made, or it began
    missing: int = field(init=False)  # pictures that are still to be handed over
    _before: int = field(init=False, default=0)  # steps of the passes that are over
    _again: list[Turn[Denoising]] = field(init=False, default_factory=list)
    _second: bool = field(init=False, default=False)  # the pass at hand is the second one
    _passes: int = field(init=False)  # that are still to come after the one at hand

    def __post_init__(self) -> None:
        self.missing = len(self.recipe.pictures)
        upscale = self.recipe.upscale
        self._passes = int(upscale is not None and upscale.strength is not None)

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
        if not self.turns:
            return self._before
        return self._before + sum(turn.picture.step for turn in self.turns) // len(self.turns)

    @property
    def total(self) -> int:
        """Return the steps that each of its pictures takes, in all passes."""
        this = self.turns[0].picture.total if self.turns else 0
        return self._before + this + self._passes * self.recipe.second_pass_steps

    @property
    def at_rest(self) -> bool:
        """Say whether no picture of it waits for a call of the U-Net."""
        return not any(turn.picture.request for turn in self.turns)

    @property
    def stage(self) -> Stage:
        """Return what the decoding of its pictures is part of."""
        return Stage.UPSCALE if self._passes else Stage.DECODE

    def progress(self, preview: bytes | None = None) -> Progress:
        """Return how far its denoising is."""
        return Progress(stage=Stage.DENOISE, step=self.told, total=self.total, preview=preview)

    def made(self) -> list[Tensor | Pixels]:
        """Return what the pass at hand made, or else what there is of each picture."""
        if self.turns:
            return [turn.picture.latents for turn in self.turns]
        assert self.canvas is not None
        given: Tensor | Pixels = self.canvas.pixels
        if self.recipe.upscale and self.recipe.upscale.by == LATENT:
            given = self.resident.encode(self.canvas.pixels, self.recipe.vae)
        return [given for _ in self.recipe.pictures]

    def reveal(self, number: int, made: Tensor | Pixels) -> Pixels | None:
        """Decode what a pass made of the picture in that place, and finish it.

        Returns its pixels, or None where another pass begins on them.
        """
        upscale = self.recipe.upscale
        if self._passes and upscale and upscale.by == LATENT and isinstance(made, Tensor):
            self._go_on(number, made)
            return None
        pixels = self.resident.decode(made, self.recipe.vae) if isinstance(made, Tensor) else made
        if self._second:
            return pixels
        if self.canvas:
            pixels = self.canvas.composite(pixels)
        if upscale:
            pixels = self.enlarge(pixels, *self.recipe.size, upscale.by)
        if not self._passes:
            return pixels
        self._go_on(number, pixels)
        return None

    def _go_on(self, number: int, made: Tensor | Pixels) -> None:
        """Begin a picture's second pass; it waits for those of its siblings."""
        picture = self.resident.resume(self.recipe, self.recipe.pictures[number], made, self.hints)
        more = cost_of(self.resident, picture)
        self.account.asks += more
        self.account.needs += more
        self._again.append(turn_of(picture, self.spec, self.resident, self.account))
        if len(self._again) == len(self.recipe.pictures):
            self._before = self.total - self.recipe.second_pass_steps
            self.turns, self._again = self._again, []
            self._second, self._passes = True, 0


def key_of(spec: Spec) -> Key:
    """Return the name of the claim that a spec stands for."""
    return Key(spec.job, spec.epoch)


def start(
    spec: Spec,
    resident: Resident,
    canvas: StartImage | None,
    hints: tuple[ControlImage, ...],
    enlarge: Enlarge,
    open_account: Callable[[float], Account],
    now: float,
) -> Running:
    """Begin a job's pictures, and open its account of the device's time."""
    recipe = spec.recipe
    taken_as_it_is = recipe.image is not None and recipe.strength is None
    pictures = [] if taken_as_it_is else resident.begin(recipe, canvas, hints)
    account = open_account(sum(cost_of(resident, picture) for picture in pictures))
    return Running(
        spec=spec,
        resident=resident,
        account=account,
        enlarge=enlarge,
        canvas=canvas,
        hints=hints,
        turns=[turn_of(picture, spec, resident, account) for picture in pictures],
        shown_at=now,
    )


def cost_of(resident: Resident, picture: Denoising) -> float:
    """Return the seconds that all calls for a picture would take alone."""
    one = resident.costs.of(picture).cost(picture.rows)
    return picture.evaluations * one * sum(map(weight, picture.tokens))


def turn_of(
    picture: Denoising, spec: Spec, resident: Resident, account: Account
) -> Turn[Denoising]:
    """Put a picture into the line for calls of the U-Net."""
    return Turn(
        picture=picture,
        account=account,
        kind=(resident, *picture.kind),
        buckets=resident.costs.of(picture),
        rows=picture.rows,
        tokens=picture.tokens,
        left=picture.evaluations,
        alone=spec.alone,
    )
