"""Stage 2: remove noise from latents, step by step.

A `Denoising` is the state of one picture between steps; `evaluate` computes the denoised latents
that any number of them request, in one call of the network, whatever their samplers.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple
from weakref import ref

import torch
from torch import Tensor

from engine.denoise.control import ActiveControl, control_residuals
from engine.denoise.flow import FlowSchedule
from engine.denoise.freeu import features_weighed
from engine.denoise.guidance import guide, needs_negative, rescale
from engine.denoise.inpainting import keep_unmasked
from engine.denoise.multidiffusion import count as count_tiles
from engine.denoise.multidiffusion import in_tiles
from engine.denoise.noise import JobNoise
from engine.denoise.perturbed import attention_perturbed
from engine.denoise.samplers import SAMPLERS, Request, Sampling, advance
from engine.denoise.schedules import sigmas_for
from engine.denoise.takeover import begun_anew, takeover_step
from engine.errors import UserError
from engine.loading.model import Conditioning, Model
from engine.recipe.limits import ANEW, LARGEST
from engine.recipe.patches import perturbed_scale
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence
from engine.text_encode.conditioning import stack

Shape = tuple[int, int, int]  # one latent's: C, h, w


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
    """Sampling that has begun: what it requests, its steps, and the one from which a second model
    answers, if one does.
    """

    sampling: Sampling
    state: Request | Tensor
    total: int
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

    Without inputs it starts from noise, at the recipe's size. negative: None where it has no effect
    (`guided_by`). conditions: its conditioning for each call that a request takes: mostly one call
    of 1 or 2 rows, the negative prompt's row, where guidance needs it, before the prompt's. Prompts
    of very different lengths take a call each. begun: by another model, whose sampling goes on.
    """

    def __init__(
        self,
        model: Model,
        recipe: Recipe,
        picture: int,
        positive: Conditioning,
        negative: Conditioning | None,
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
        self.guidance_scale = guided_by(model, recipe)
        self.guidance_rescale = recipe.guidance_rescale
        self.loras = recipe.loras
        texts: tuple[Conditioning, ...] = (positive,)
        if needs_negative(self.guidance_scale):
            assert negative is not None
            texts = negative, positive
        scores = recipe.negative_aesthetic_score, recipe.aesthetic_score
        told = [
            model.conditions(text, inputs.width, inputs.height, recipe.guidance_scale, score)
            for text, score in zip(texts, scores[-len(texts) :], strict=True)
        ]
        whole = shape_of(model, inputs.width, inputs.height)
        tile = inputs.tile or max(whole)
        _check_length(model, min(max(whole[1:]), tile))
        self.context_rule = model.context_rule(min(whole[2], tile), min(whole[1], tile))
        self.lengths = tuple(text.tokens for text in texts)
        together = self.context_rule.share_a_call(self.lengths)
        self.conditions = (stack(told, self.context_rule),) if together else tuple(told)
        self.denoised: Tensor | None = None
        # Conditioning of the previous batch, reused while its members stay the same. They are held
        # weakly: this picture is one of them, and a circle would keep its controls in memory.
        self.stacked: tuple[tuple[object, ...], list[Conditioning]] | None = None
        begun = begun or _begin(model, recipe, picture, inputs)
        self._sampling, self._state, self.total, self._takeover = begun
        assert isinstance(self._state, Request), "at least one step"
        self.shape: Shape = (whole[0], *self._state.x.shape[2:])  # of each request
        self._whole = self.shape == whole
        calls = 1 if inputs.tile is None else count_tiles(*whole[1:], inputs.tile)
        # At most: the last step may take one.
        own = (self._takeover or self.total) - self._state.step
        self.evaluations = SAMPLERS[recipe.sampler].evaluations * own * calls

    @property
    def rows(self) -> int:
        """Return its rows in a call: two with guidance, else one."""
        return self.conditions[0].rows

    @property
    def kind(self) -> tuple[Hashable, ...]:
        """Return what the pictures of one call must have in common: shapes, their references'
        included, LoRAs, patches and controls, and how many calls answer them.
        """
        controls = (control.key for control in self.controls)
        patches = (self.patches,) if self.patches else ()
        calls = len(self.conditions)
        return self.shape, self.reference_shapes, self.loras, calls, *patches, *controls

    @property
    def reference_shapes(self) -> tuple[Shape, ...]:
        """Return the shapes of its references' latents."""
        return tuple((shape[1], shape[2], shape[3]) for shape in (r.shape for r in self.references))

    @property
    def tokens(self) -> tuple[int, ...]:
        """Return the length of its context, in tokens, in each call that a request takes."""
        return tuple(each.tokens for each in self.conditions)

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
        return Begun(self._sampling, self._state, self.total)

    def call_rows(self) -> list[Row]:
        """Return its rows of the next call."""
        request = self.request
        assert request is not None
        control_scales = tuple(
            control.scale_at(request.step, self.total) for control in self.controls
        )
        row = Row(request.x, request.sigma, self.extra, control_scales, self.references)
        return [row] * self.rows

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
        """Send the sampler the denoised latents that it requested, [1, C, h, w] fp32."""
        if self._whole:
            self.denoised = denoised
        self._state = advance(self._sampling, denoised)
        if self.request is None:
            self.stacked = None  # free its memory before the picture is decoded


def guided_by(model: Model, recipe: Recipe) -> float:
    """Return the scale of a recipe's guidance by its negative prompt: at 1 that has no effect.

    A model distilled with guidance takes the scale as an input, and no negative prompt.
    """
    return 1.0 if model.takes_guidance else recipe.guidance_scale


def shape_of(model: Model, width: int, height: int) -> Shape:
    """Return the shape of the latents that cover a picture of that size in pixels."""
    down, across = (-(-side // model.latent_scale) for side in (height, width))
    return model.latent_channels, down, across


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
    steps = int(inputs.steps / inputs.strength)  # of which the last ones are taken
    schedule = model.noise(inputs.width, inputs.height, steps)
    if recipe.shift is not None and isinstance(schedule, FlowSchedule):
        # As in ComfyUI's nodes ModelSamplingSD3 and ModelSamplingAuraFlow.
        schedule = FlowSchedule(shift=recipe.shift)
    sigmas = sigmas_for(
        recipe.sampler, recipe.schedule, inputs.steps, inputs.strength, noise_schedule=schedule
    )
    shape = shape_of(model, inputs.width, inputs.height)
    sampler = SAMPLERS[recipe.sampler]
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
    if inputs.mask is not None and inputs.latents is not None:
        sampling = keep_unmasked(sampling, inputs.latents, noise, inputs.mask, schedule.add_noise)
    if inputs.tile is not None and max(shape[1:]) > inputs.tile:
        sampling = in_tiles(sampling, inputs.tile)
    return Begun(sampling, advance(sampling), len(sigmas) - 1, takeover)


def evaluate(model: Model, batch: Sequence[Denoising], rows: int = 0) -> list[Tensor]:
    """Call the network for a batch; return each picture's guided `denoised`, [1, C, h, w].

    Every picture of the batch must have a request, and all one kind. Noise levels differ by row,
    and contexts of different lengths are brought to a common one. Each call is padded to `rows`
    rows, since their number moves the last bits of each row: at one number a picture's are always
    the same.
    """
    call_rows = [row for picture in batch for row in picture.call_rows()]
    used, patches = len(call_rows), batch[0].patches
    model = model.read_as(patches)
    call_rows += call_rows[:1] * max(0, rows - used)
    extras = [row.extra for row in call_rows if row.extra is not None]
    predict = partial(
        model.predict,
        torch.cat([row.x for row in call_rows]),
        torch.cat(extras) if extras else None,
        model.levels([row.sigma for row in call_rows]),
        control=partial(
            control_residuals, batch[0].controls, [row.control_scales for row in call_rows]
        ),
        references=[
            torch.cat(rows) for rows in zip(*(row.references for row in call_rows), strict=True)
        ],
    )
    conditions = _gather(batch, len(call_rows) - used)

    def answered() -> list[Tensor]:
        """Return each picture's prediction for its prompts, the negative one's before the other."""
        answers = [predict(each)[:used] for each in conditions]
        by_call = [torch.split(answer, [picture.rows for picture in batch]) for answer in answers]
        return [torch.cat(parts) for parts in zip(*by_call, strict=True)]

    with features_weighed(model.network, patches):
        found = answered()
        guided = [_guide(each, picture) for each, picture in zip(found, batch, strict=True)]
        if scale := perturbed_scale(patches):
            with attention_perturbed(model.network):
                weaker = answered()
            pairs = zip(guided, found, weaker, strict=True)
            guided = [made + (full[-1:] - less[-1:]) * scale for made, full, less in pairs]
    return guided


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


def _guide(denoised: Tensor, picture: Denoising) -> Tensor:
    """Return the guided prediction from a picture's rows, [1 or 2, C, h, w]."""
    guided, request = guide(denoised, picture.guidance_scale), picture.request
    if request is None or not picture.guidance_rescale or len(denoised) == 1:
        return guided
    return rescale(guided, denoised[1:], request.x, request.sigma, picture.guidance_rescale)


def _gather(batch: Sequence[Denoising], padding: int) -> list[Conditioning]:
    """Return the batch's conditioning, stacked for each call; reused from the previous batch."""
    members = (*map(ref, batch), padding)
    leader = batch[0]
    if leader.stacked is None or leader.stacked[0] != members:
        by_call = zip(*(picture.conditions for picture in batch), strict=True)
        leader.stacked = members, [stack(parts, leader.context_rule, padding) for parts in by_call]
    return leader.stacked[1]
