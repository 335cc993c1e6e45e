"""Stage 2: remove noise from latents, step by step.

A `Denoising` is the state of one picture between steps; `evaluate` computes the denoised latents
that any number of them request, in one call of the network, whatever their samplers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor

from engine.denoise.conditions import Asked, Box, Conditions, Guidance
from engine.denoise.control import ActiveControl, control_residuals
from engine.denoise.flow import FlowSchedule
from engine.denoise.freeu import features_weighed
from engine.denoise.inpainting import keep_unmasked
from engine.denoise.multidiffusion import count as count_tiles
from engine.denoise.multidiffusion import in_tiles
from engine.denoise.noise import JobNoise
from engine.denoise.perturbed import attention_perturbed
from engine.denoise.samplers import SAMPLERS, Request, Sampling, advance, numbered
from engine.denoise.schedules import sigmas_for
from engine.denoise.takeover import begun_anew, takeover_step
from engine.errors import UserError
from engine.loading.model import Conditioning, Model
from engine.loading.noise_schedule import SigmaTable
from engine.recipe.limits import ANEW, LARGEST
from engine.recipe.patches import perturbed_scale
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence
from engine.text_encode.conditioning import stack

Shape = tuple[int, int, int]  # one latent's: C, h, w
Watch = Callable[[Any], AbstractContextManager[None]]  # of a network, around its calls


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PassInputs:
    """The inputs of one pass of denoising; without latents it starts from noise alone.

    latents: of a start image, [1, C, h, w] fp32; strength: how far they are noised; steps: of the
    pass; mask: 1 where latents are painted, 0 where they are kept, [1, 1, h, w]; extra: further
    input channels of a network for inpainting, [1, E, h, w], or of each tile; tile: the side of the
    tiles, in latents; controls: its ControlNets; references: the latents of pictures that the
    network sees, each [1, C, …]; noise: of the job (None: of this picture alone).
    """

    width: int  # pixels
    height: int
    steps: int
    latents: Tensor | None = None
    strength: float = 1.0
    mask: Tensor | None = None
    extra: Tensor | None = None
    tile: int | None = None
    controls: tuple[ActiveControl, ...] = ()
    references: tuple[Tensor, ...] = ()
    noise: JobNoise | None = None


class Begun(NamedTuple):
    """Sampling that has begun: what it requests, the noise levels between which its steps go, and
    the step from which a second model answers, if one does.
    """

    sampling: Sampling
    state: Request | Tensor
    sigmas: Sequence[float]
    takeover: int | None = None


class Row(NamedTuple):
    """One row of a call: x, σ, further input channels, each control's strength in this step, and
    the latents of reference pictures.
    """

    x: Tensor
    sigma: float
    extra: Tensor | None
    control_scales: tuple[float, ...]
    references: tuple[Tensor, ...]


class Denoising:
    """The state of one picture between steps: its sampler's request, and the steps done.

    Without inputs it starts from noise, at the recipe's size. A request takes a call of 1 or 2
    rows: the negative prompt's row, where guidance needs it, before the prompt's. Prompts of very
    different lengths take a call each, and so do several conditions of a side; which of them act
    may change from call to call. conditions: the conditioning of each call of its request; begun:
    by another model, whose sampling goes on.
    """

    def __init__(
        self,
        model: Model,
        recipe: Recipe,
        picture: int,
        conditions: Conditions,
        inputs: PassInputs | None = None,
        begun: Begun | None = None,
    ) -> None:
        inputs = inputs or PassInputs(width=recipe.width, height=recipe.height, steps=recipe.steps)
        self.patches = recipe.patches
        model = model.read_as(self.patches)
        self.picture = picture
        self.extra = inputs.extra
        self.controls = inputs.controls
        self.references = inputs.references
        self.guidance = Guidance(conditions, guided_by(model, recipe), recipe.guidance_rescale)
        self.loras = recipe.loras
        scores = {True: recipe.negative_aesthetic_score, False: recipe.aesthetic_score}
        self._told = {
            (text, negative): model.conditions(
                text, inputs.width, inputs.height, recipe.guidance_scale, scores[negative]
            )
            for text, negative in conditions.texts
        }
        whole = shape_of(model, inputs.width, inputs.height)
        tile = inputs.tile or max(whole)
        _check_length(model, min(max(whole[1:]), tile))
        self.context_rule = model.context_rule(min(whole[2], tile), min(whole[1], tile))
        self.denoised: Tensor | None = None
        self.watch: Watch = nullcontext  # around the calls that answer each of its requests
        # Conditioning of the previous batch, reused while its members stay the same. They are held
        # weakly: this picture is one of them, and a circle would keep its controls in memory.
        self.stacked: tuple[tuple[object, ...], list[Conditioning]] | None = None
        begun = begun or _begin(model, recipe, picture, inputs)
        self._sampling, self._state, self._sigmas, self._takeover = begun
        self.total = len(self._sigmas) - 1
        assert isinstance(self._state, Request), "at least one step"
        self.shape: Shape = (whole[0], *self._state.x.shape[2:])  # of each request
        self.is_whole = self.shape == whole  # and not drawn in tiles
        tiles = 1 if inputs.tile is None else count_tiles(*whole[1:], inputs.tile)
        each = SAMPLERS[recipe.sampler].evaluations
        # At most: the last step may take one.
        until = self._takeover or self.total
        self.evaluations = each * (until - self._state.step) * tiles
        forecast = _forecast(conditions, self._sigmas, each, range(self._state.step, until))
        self.rows = 1
        if conditions.is_paired:
            lengths = {tuple(text.tokens for _, text, _ in asked) for asked in forecast}
            self.rows += all(map(self.context_rule.share_a_call, lengths))
        # Perturbed attention answers each call a second time.
        self.times = 2 if perturbed_scale(self.patches) else 1
        self.work = tiles * self.times * sum(self._work_of(asked) for asked in forecast)
        # A second model's, as if its calls were like these.
        self.work_after = self.work * (self.total - until) / (until - self._state.step)
        self._asked: list[Asked] = []
        self.conditions: tuple[Conditioning, ...] = ()
        self._ask()

    @property
    def kind(self) -> tuple[Hashable, ...]:
        """Return what the pictures of one call must have in common: shapes, their references'
        included, LoRAs, patches and controls, and how many calls answer them, of which parts of the
        latents.
        """
        controls = (control.key for control in self.controls)
        patches = (self.patches,) if self.patches else ()
        return self.shape, self.reference_shapes, self.loras, self.boxes, *patches, *controls

    @property
    def asked(self) -> list[Sequence[Asked]]:
        """Return what the rows of each call of its request ask."""
        return [self._asked[n : n + self.rows] for n in range(0, len(self._asked), self.rows)]

    @property
    def sigmas(self) -> Sequence[float]:
        """Return the noise levels between which its steps go."""
        return self._sigmas

    @property
    def boxes(self) -> tuple[Box | None, ...]:
        """Return which part of the latents the network sees in each call of its request."""
        return tuple(asked.condition.box for asked in self._asked[:: self.rows])

    @property
    def shares(self) -> tuple[float, ...]:
        """Return the share of the latents that the network sees in each call of its request."""
        return tuple(map(self._share, self.boxes))

    @property
    def reference_shapes(self) -> tuple[Shape, ...]:
        """Return the shapes of its references' latents."""
        return tuple((shape[1], shape[2], shape[3]) for shape in (r.shape for r in self.references))

    @property
    def tokens(self) -> tuple[int, ...]:
        """Return the length of its context, in tokens, in each call of its request."""
        return tuple(each.tokens for each in self.conditions)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Return the length of each text of its request, before they were brought to one."""
        return tuple(text.tokens for _, text, _ in self._asked)

    @property
    def request(self) -> Request | None:
        """Return the sampler's request, or None once it is done, or another model's to answer."""
        if not isinstance(self._state, Request) or self.is_taken_over:
            return None
        return self._state

    @property
    def is_taken_over(self) -> bool:
        """Return whether its next request is for a second model."""
        return isinstance(self._state, Request) and (
            self._takeover is not None and self._state.step >= self._takeover
        )

    @property
    def begun(self) -> Begun:
        """Return what a second model goes on with."""
        return Begun(self._sampling, self._state, self._sigmas)

    def call_rows(self, call: int) -> list[Row]:
        """Return its rows of a call of its request."""
        request, box = self.request, self.boxes[call]
        assert request is not None
        # ControlNets see the whole picture, and so no part of it.
        control_scales = tuple(
            0.0 if box else control.scale_at(request.step, self.total) for control in self.controls
        )
        x, extra = request.x, self.extra
        if box is not None:
            x, extra = box.of(x), None if extra is None else box.of(extra)
        return [Row(x, request.sigma, extra, control_scales, self.references)] * self.rows

    def guided(self, answers: Sequence[Tensor]) -> Tensor:
        """Return the guided prediction, [1, C, h, w], of the answers of its calls, [rows, …]."""
        assert self.request is not None
        return self.guidance(self._asked, _rows_of(answers), self.request)

    def towards(self, answers: Sequence[Tensor]) -> Tensor:
        """Return the prediction for the prompt, unguided, [1, C, h, w]; answers: as in `guided`."""
        assert self.request is not None
        return self.guidance.towards(self._asked, _rows_of(answers), self.request)

    def answered(self, guided: Tensor, answers: Sequence[Tensor]) -> Tensor:
        """Return what its sampler requested: the guided prediction, and mostly that is all."""
        assert self.request is not None
        if not self.request.unguided:
            return guided
        unguided = self.guidance.away(self._asked, _rows_of(answers), self.request)
        return torch.cat([guided, unguided])

    @property
    def latents(self) -> Tensor:
        """Return the finished latents, [1, C, h, w] fp32."""
        assert not isinstance(self._state, Request), "not finished"
        return self._state

    @property
    def step(self) -> int:
        """Return how many steps are done."""
        return self._state.step if isinstance(self._state, Request) else self.total

    def advance(self, denoised: Tensor) -> None:
        """Send the sampler the denoised latents that it requested, [1, C, h, w] fp32.

        They may have the unguided prediction behind them.
        """
        if self.is_whole:
            self.denoised = denoised[:1]
        self._state = advance(self._sampling, denoised)
        if self.request is None:
            self.stacked = None  # free its memory before the picture is decoded
        else:
            self._ask()

    def _ask(self) -> None:
        """Find what the network is asked for its request."""
        request = self.request
        assert request is not None
        asked = self.guidance.conditions.asked(request.call, request.sigma)
        if asked == self._asked:
            return
        self._asked = asked
        told = [self._told[text, negative] for _, text, negative in asked]
        self.conditions = (stack(told, self.context_rule),) if self.rows == 2 else tuple(told)

    def _work_of(self, asked: Sequence[Asked]) -> float:
        """Return the work of a request's calls, in rows of a usual context."""
        rule, tokens = self.context_rule, [text.tokens for _, text, _ in asked]
        if self.rows == 2:
            return rule.weight(rule.common(tokens))
        return sum(
            rule.weight(length) * self._share(each.condition.box)
            for length, each in zip(tokens, asked, strict=True)
        )

    def _share(self, box: Box | None) -> float:
        return box.size / prod(self.shape[1:]) if box else 1.0


def _rows_of(answers: Sequence[Tensor]) -> list[Tensor]:
    return [row for answer in answers for row in torch.split(answer, 1)]


def _forecast(
    conditions: Conditions, sigmas: Sequence[float], each: int, steps: Iterable[int]
) -> list[list[Asked]]:
    """Return what is asked in each call of a sampler in some steps, of which one has `each`."""
    return [
        conditions.asked(step * each + number, sigmas[step])
        for step in steps
        for number in range(each)
    ]


def guided_by(model: Model, recipe: Recipe) -> float:
    """Return the scale of a recipe's guidance by its negative prompt: at 1 that has no effect.

    A model distilled with guidance takes the scale as an input, and no negative prompt.
    """
    return 1.0 if model.takes_guidance else recipe.guidance_scale


def shape_of(model: Model, width: int, height: int) -> Shape:
    """Return the shape of the latents that cover a picture of that size in pixels."""
    down, across = (-(-side // model.latent_scale) for side in (height, width))
    return model.latent_channels, down, across


def schedule_of(model: Model, recipe: Recipe, inputs: PassInputs) -> SigmaTable:
    """Return how noise levels are spaced in a pass."""
    steps = int(inputs.steps / inputs.strength)  # of which the last ones are taken
    schedule = model.noise(inputs.width, inputs.height, steps)
    if recipe.shift is not None and isinstance(schedule, FlowSchedule):
        # As in ComfyUI's nodes ModelSamplingSD3 and ModelSamplingAuraFlow.
        schedule = FlowSchedule(shift=recipe.shift)
    return schedule


def check_second_pass(model: Model, recipe: Recipe) -> None:
    """Raise `UserError` where the network cannot draw a recipe's second pass: before the first."""
    if recipe.upscale and recipe.second_pass_steps:
        tile = (recipe.upscale.tile or LARGEST) // model.latent_scale
        _check_length(model, min(max(shape_of(model, *recipe.size)[1:]), tile))


def _check_length(model: Model, side: int) -> None:
    """Raise `UserError` for more latents of a side than the network sees at once."""
    if model.longest is not None and side > model.longest:
        most, given = (f"{latents * model.latent_scale:,}" for latents in (model.longest, side))
        name = model.checkpoint.name
        raise UserError(Sentence("side_too_long", model=name, most=most, given=given))


def _begin(model: Model, recipe: Recipe, picture: int, inputs: PassInputs) -> Begun:
    """Begin sampling."""
    schedule = schedule_of(model, recipe, inputs)
    sigmas = sigmas_for(
        recipe.sampler, recipe.schedule, inputs.steps, inputs.strength, noise_schedule=schedule
    )
    shape = shape_of(model, inputs.width, inputs.height)
    sampler = SAMPLERS[recipe.sampler]
    if sampler.unguided and model.takes_guidance:
        facts = {"sampler": recipe.sampler, "model": model.checkpoint.name}
        raise UserError(Sentence("sampler_needs_negative", **facts))
    flow = schedule if isinstance(schedule, FlowSchedule) else None
    job_noise = inputs.noise or JobNoise(recipe)
    noise = job_noise.start(picture, shape).to(model.device)
    x = schedule.start(noise, float(sigmas[0]), inputs.latents)

    def run(x: Tensor, sigmas: Tensor) -> Sampling:
        source = job_noise.between_steps(picture, shape, sampler, sigmas, flow)
        return sampler(x, sigmas, source, schedule)

    takeover = takeover_step(recipe, sigmas, schedule)
    if takeover is not None and recipe.refiner_by == ANEW:
        rest = partial(run, sigmas=sigmas[takeover:])
        sampling = begun_anew(run(x, sigmas[: takeover + 1]), rest, takeover)
    else:
        sampling = run(x, sigmas)
    sampling = numbered(sampling)
    if inputs.mask is not None and inputs.latents is not None:
        sampling = keep_unmasked(sampling, inputs.latents, noise, inputs.mask, schedule.add_noise)
    if inputs.tile is not None and max(shape[1:]) > inputs.tile:
        sampling = in_tiles(sampling, inputs.tile)
    return Begun(sampling, advance(sampling), sampler.levels(sigmas, flow), takeover)


def evaluate(model: Model, batch: Sequence[Denoising], rows: int = 0) -> list[Tensor]:
    """Call the network for a batch; return each picture's guided `denoised`, [1, C, h, w], with
    the unguided one behind it where a sampler requests that.

    Every picture of the batch must have a request, and all one kind. Noise levels differ by row,
    and contexts of different lengths are brought to a common one. Each call is padded to `rows`
    rows, since their number moves the last bits of each row: at one number a picture's are always
    the same.
    """
    patches = batch[0].patches
    model = model.read_as(patches)
    with ExitStack() as watches, features_weighed(model.network, patches):
        for picture in batch:
            watches.enter_context(picture.watch(model.network))
        found = _answers(model, batch, rows)
        guided = [picture.guided(each) for picture, each in zip(batch, found, strict=True)]
        if scale := perturbed_scale(patches):
            with attention_perturbed(model.network):
                weaker = _answers(model, batch, rows)
            pairs = zip(batch, guided, found, weaker, strict=True)
            guided = [
                made + (picture.towards(full) - picture.towards(less)) * scale
                for picture, made, full, less in pairs
            ]
    parts = zip(batch, guided, found, strict=True)
    return [picture.answered(made, answers) for picture, made, answers in parts]


def _answers(model: Model, batch: Sequence[Denoising], rows: int) -> list[list[Tensor]]:
    """Return for each picture the answers of its calls, [1 or 2, C, h, w]."""
    padding = max(0, rows - sum(picture.rows for picture in batch))
    answers: list[Sequence[Tensor]] = []
    for call, conditioning in enumerate(_gather(batch, padding)):
        call_rows = [row for picture in batch for row in picture.call_rows(call)]
        answer = _predict(model, call_rows + call_rows[:1] * padding, conditioning, batch[0])
        own = [picture.rows for picture in batch]
        answers.append(torch.split(answer[: len(call_rows)], own))
    return [[answer[number] for answer in answers] for number in range(len(batch))]


def _predict(
    model: Model, rows: Sequence[Row], conditioning: Conditioning, leader: Denoising
) -> Tensor:
    """Call the network for rows of pictures of one kind."""
    extras = [row.extra for row in rows if row.extra is not None]
    return model.predict(
        torch.cat([row.x for row in rows]),
        torch.cat(extras) if extras else None,
        model.levels([row.sigma for row in rows]),
        conditioning,
        control=partial(control_residuals, leader.controls, [row.control_scales for row in rows]),
        references=[
            torch.cat(each) for each in zip(*(row.references for row in rows), strict=True)
        ],
    )


def call_on_noise(
    model: Model,
    shape: Shape,
    controls: Sequence[ActiveControl],
    rows: int,
) -> None:
    """Call the network with rows of noise in one latent's shape, to measure a call's cost.

    Prompts are of a usual length, and all controls are at full strength.
    """
    channels, height, width = shape
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0))
    x = draw((rows, channels, height, width)).to(model.device)
    beside = model.extra_channels
    extra = draw((rows, beside, height, width)).to(model.device) if beside else None
    control_scales = [(1.0,) * len(controls)] * rows
    model.predict(
        x,
        extra,
        model.levels([0.5] * rows),
        model.blank(rows),
        partial(control_residuals, controls, control_scales),
    )


def _gather(batch: Sequence[Denoising], padding: int) -> list[Conditioning]:
    """Return the batch's conditioning, stacked for each call; reused from the previous batch."""
    texts = (text for picture in batch for text in picture.conditions)
    members = (*map(ref, batch), padding, *texts)
    leader = batch[0]
    if leader.stacked is None or leader.stacked[0] != members:
        by_call = zip(*(picture.conditions for picture in batch), strict=True)
        leader.stacked = members, [stack(parts, leader.context_rule, padding) for parts in by_call]
    return leader.stacked[1]
