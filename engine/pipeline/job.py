"""A running job: its pictures, their progress, and which pass they are in.

Most jobs take one pass: denoise, decode. An upscale with detail takes a second pass, which starts
from the result of the first. Where a recipe names a second model, that takes over in the first pass
and does all that follows. In between the job holds no model, so that jobs never wait for each
other's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from engine.decode.vae import Pixels
from engine.denoise.denoising import Begun, Denoising
from engine.denoise.noise import JobNoise
from engine.errors import UserError
from engine.events import Key, Progress, Stage
from engine.files.stored import PictureStore
from engine.models.catalogue import Checkpoint
from engine.models.second_model import as_second_draws
from engine.pictures.control_images import ControlImage, read_control_images
from engine.pictures.masks import read_area_masks
from engine.pictures.references import read_references
from engine.pictures.start_image import StartImage, read_start_image
from engine.pipeline.batching import Account, Member
from engine.pipeline.loaded_model import LoadedModel
from engine.pipeline.taps import UNTAPPED, Tap
from engine.recipe.parts import LATENT
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence
from engine.spec import Spec

# Pixels, a width, a height and an upscaler's name → pixels of that size.
Upscale = Callable[[Pixels, int, int, str], Pixels]


@dataclass(slots=True, eq=False, kw_only=True)
class RunningJob:
    """The state of a job between ticks.

    held: the model that draws it, None while it waits for its second one; checkpoint: the first
    one; drawn: its recipe as the model that is held draws it; tap: what looks on; members: its
    pictures in the current pass; none where a start image is only upscaled.
    """

    spec: Spec
    held: LoadedModel | None
    checkpoint: Checkpoint
    drawn: Recipe
    account: Account
    upscale: Upscale
    tap: Tap = UNTAPPED
    start_image: StartImage | None = None
    control_images: tuple[ControlImage, ...] = ()
    references: tuple[Pixels, ...] = ()
    area_masks: Mapping[str, Pixels] = field(default_factory=dict)
    members: Sequence[Member[Denoising]] = ()
    last_reported_step: int = 0
    last_preview_at: float = 0.0  # seconds: of its last preview, or its start
    pictures_left: int = field(init=False)  # not yet delivered
    _before: int = field(init=False, default=0)  # steps of finished passes
    _again: list[Member[Denoising]] = field(init=False, default_factory=list)
    _unmeasured: list[Member[Denoising]] = field(init=False)  # what their calls cost
    _second_cost: float = field(init=False, default=0.0)  # of a second model, until it is measured
    _second: bool = field(init=False, default=False)  # whether this is the second pass
    _noise: JobNoise = field(init=False)  # of the second pass
    _passes: int = field(init=False)  # still to come after the current one
    _begun: Sequence[Begun] = field(init=False, default=())  # what the second model goes on with

    def __post_init__(self) -> None:
        self.pictures_left = len(self.recipe.pictures)
        upscale = self.recipe.upscale
        self._noise = JobNoise(self.recipe)
        self._passes = int(upscale is not None and upscale.strength is not None)
        self._unmeasured = [*self.members]

    @property
    def key(self) -> Key:
        """Return the claim of its job."""
        return key_of(self.spec)

    @property
    def recipe(self) -> Recipe:
        """Return its recipe."""
        return self.spec.recipe

    @property
    def loaded_model(self) -> LoadedModel:
        """Return the model that draws it."""
        assert self.held is not None, "between two models"
        return self.held

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Return the models that have drawn it."""
        last = self.loaded_model.model.checkpoint
        return (self.checkpoint,) if last is self.checkpoint else (self.checkpoint, last)

    @property
    def is_taken_over(self) -> bool:
        """Return whether its first model has done its part, and the second one has not begun."""
        return bool(self.members) and all(each.picture.is_taken_over for each in self.members)

    def release(self) -> None:
        """Let go of the first model, and of all that refers to it."""
        self._begun = [member.picture.begun for member in self.members]
        self.members = ()
        self.leave()

    def leave(self) -> None:
        """Stop using a model, if one is held."""
        if self.held is not None:
            self.held.users -= 1
            self.held = None

    def take_over(self, second: LoadedModel) -> None:
        """Go on with the second model; a user from the start, lest it make room for its parts."""
        second.users += 1
        self.held = second
        self.drawn = as_second_draws(self.recipe, self.checkpoint, second.model.checkpoint)
        self.control_images = self.control_images if self.drawn.controls else ()
        self.references = self.references if self.drawn.references else ()
        pictures = second.begin(
            self.drawn,
            self.start_image,
            self.control_images,
            self.references,
            self.area_masks,
            self._begun,
        )
        self._begun = ()
        self._owe(-self._second_cost)
        self._second_cost = 0.0
        self.members = [self._member_of(each) for each in pictures]
        self._unmeasured = [*self.members]

    @property
    def step(self) -> int:
        """Return the steps done: the mean of its pictures, rounded down."""
        if not self.members:
            return self._before
        return self._before + sum(member.picture.step for member in self.members) // len(
            self.members
        )

    @property
    def total(self) -> int:
        """Return the steps that each of its pictures takes, in all passes."""
        this = self.members[0].picture.total if self.members else 0
        return self._before + this + self._passes * self.recipe.second_pass_steps

    @property
    def at_rest(self) -> bool:
        """Return whether none of its pictures waits for a call of the network."""
        return not any(member.picture.request for member in self.members)

    @property
    def ready(self) -> Sequence[Member[Denoising]]:
        """Return its pictures that wait for a call, and of which is known what it costs."""
        return [
            member
            for member in self.members
            if member.picture.request and member not in self._unmeasured
        ]

    def measure(self, *, calls: bool) -> bool:
        """Measure what calls for its pictures cost, as `Costs.measure` does, and take it over."""
        while self._unmeasured:
            member = self._unmeasured[0]
            if not self.loaded_model.costs.measure(member.picture, calls=calls):
                return False
            member.buckets = self.loaded_model.costs.of(member.picture)
            # Were it alone in each call, and a second model, which is measured later, like it.
            each, picture = member.buckets.cost(member.rows), member.picture
            self._owe(each * (picture.work + picture.work_after))
            self._second_cost += each * picture.work_after
            del self._unmeasured[0]
        return True

    def _owe(self, seconds: float) -> None:
        self.account.total += seconds
        self.account.remaining += seconds

    @property
    def stage(self) -> Stage:
        """Return the stage that decoding belongs to: a first pass before a second is upscaling."""
        return Stage.UPSCALE if self._passes else Stage.DECODE

    def progress(self, preview: bytes | None = None) -> Progress:
        """Return the progress of its denoising."""
        return Progress(
            stage=Stage.DENOISE, step=self.last_reported_step, total=self.total, preview=preview
        )

    def results(self) -> list[Tensor | Pixels]:
        """Return each picture's latents after this pass, or its start image where none was run."""
        if self.members:
            return [member.picture.latents for member in self.members]
        assert self.start_image is not None
        given: Tensor | Pixels = self.start_image.pixels
        if self.recipe.upscale and self.recipe.upscale.by == LATENT:
            given = self.loaded_model.encode(self.start_image.pixels, self.recipe.vae)
        return [given for _ in self.recipe.pictures]

    def finish_picture(self, number: int, made: Tensor | Pixels) -> Pixels | None:
        """Decode and finish one picture after a pass; number: its place among the job's pictures.

        Returns its pixels [H, W, 3], uint8, or None where a second pass begins with them.
        """
        upscale = self.recipe.upscale
        if self._passes and upscale and upscale.by == LATENT and isinstance(made, Tensor):
            self._start_second_pass(number, made)
            return None
        if isinstance(made, Tensor):
            self.tap.denoised(made)
        with self.tap.timed(Stage.DECODE):
            pixels = (
                self.loaded_model.decode(made, self.recipe.vae)
                if isinstance(made, Tensor)
                else made
            )
        recipe = self.recipe
        width, height = recipe.size if self._second else (recipe.width, recipe.height)
        pixels = pixels[:height, :width]  # latents may cover more
        if self._second:
            return pixels
        if self.start_image:
            pixels = self.start_image.composite(pixels)
        if upscale:
            with self.tap.timed(Stage.UPSCALE):
                pixels = self.upscale(pixels, *self.recipe.size, upscale.by)
        if not self._passes:
            return pixels
        self._start_second_pass(number, pixels)
        return None

    def _start_second_pass(self, number: int, made: Tensor | Pixels) -> None:
        """Start a picture's second pass, once all pictures of the job have finished the first."""
        picture = self.loaded_model.begin_second_pass(
            self.drawn,
            self.drawn.pictures[number],
            made,
            self.control_images,
            self.references,
            self._noise,
            self.area_masks,
        )
        member = self._member_of(picture)
        self._unmeasured.append(member)
        self._again.append(member)
        if len(self._again) == len(self.recipe.pictures):
            self._before = self.total - self.recipe.second_pass_steps
            self.members, self._again = self._again, []
            self._second, self._passes = True, 0

    def _member_of(self, picture: Denoising) -> Member[Denoising]:
        self.tap.began(self.loaded_model, self.drawn, picture)
        return member_of(picture, self.spec, self.loaded_model, self.account)


def key_of(spec: Spec) -> Key:
    """Return the claim that a spec belongs to."""
    return Key(spec.job, spec.epoch)


def start(
    spec: Spec,
    loaded_model: LoadedModel,
    store: PictureStore,
    upscale: Upscale,
    open_account: Callable[[float], Account],
    now: float,
    tap: Tap = UNTAPPED,
) -> RunningJob:
    """Read a job's images, start its pictures, and open its account of device time."""
    recipe = spec.recipe
    start_image = read_start_image(recipe, store)
    control_images = read_control_images(recipe, store)
    references = _read_references(recipe, store, loaded_model)
    area_masks = read_area_masks(recipe, store)
    pictures = (
        loaded_model.begin(recipe, start_image, control_images, references, area_masks)
        if recipe.is_denoised
        else []
    )
    for picture in pictures:
        tap.began(loaded_model, recipe, picture)
    account = open_account(0.0)  # until it is measured
    return RunningJob(
        spec=spec,
        held=loaded_model,
        checkpoint=loaded_model.model.checkpoint,
        drawn=recipe,
        account=account,
        upscale=upscale,
        tap=tap,
        start_image=start_image,
        control_images=control_images,
        references=references,
        area_masks=area_masks,
        members=[member_of(picture, spec, loaded_model, account) for picture in pictures],
        last_preview_at=now,
    )


def _read_references(
    recipe: Recipe, store: PictureStore, loaded_model: LoadedModel
) -> tuple[Pixels, ...]:
    sizes = loaded_model.model.reference_sizes
    if recipe.references and sizes is None:
        raise UserError(Sentence("no_references", model=recipe.checkpoint))
    return read_references(recipe, store, sizes) if sizes else ()


def member_of(
    picture: Denoising, spec: Spec, loaded_model: LoadedModel, account: Account
) -> Member[Denoising]:
    """Describe a picture to the batcher."""
    return Member(
        picture=picture,
        account=account,
        kind=(loaded_model, *picture.kind),
        buckets=loaded_model.costs.of(picture),
        rows=picture.rows,
        tokens=picture.tokens,
        shares=picture.shares,
        times=picture.times,
        left=picture.evaluations,
        context_rule=picture.context_rule,
        lengths=picture.lengths,
        alone=spec.alone or spec.making_of,
    )


def follow(member: Member[Denoising], loaded_model: LoadedModel) -> None:
    """Tell the batcher of what a picture asks for next."""
    picture = member.picture
    member.kind = (loaded_model, *picture.kind)
    member.tokens, member.lengths, member.shares = picture.tokens, picture.lengths, picture.shares
