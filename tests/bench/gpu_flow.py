"""Measure flow models' networks on a GPU: a part of `python -m tests.bench.gpu`.

Networks of true size with random weights, which are made on the device: Z-Image (6 billion) in bf16
and fp8, FLUX.1-dev (12 billion) in fp8, at 512² and 1024², 1 to 8 rows. A picture of a distilled
model is one row of a call; one with classifier-free guidance is two, of which that of the negative
prompt has a shorter text. Then each network is called by groups of blocks (`engine.device.groups`).
What does not fit in memory is named and left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import torch
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from torch import Tensor

from engine.device.backends import empty_cache, is_out_of_memory, wait
from engine.device.call_costs import Buckets
from engine.device.groups import Grouped
from engine.device.stored_weights import StoredWeight
from engine.families import flux, z_image
from engine.families.flow_model import USUAL, Make
from engine.loading.modules import Target
from engine.text_encode.conditioning import MULTIPLE
from tests.bench.big_models import Z_IMAGE
from tests.bench.engine import say

ROWS: Final = (1, 2, 4, 8)
SIDES: Final = (512, 1024)  # pixels
ROUNDS: Final = 3  # of each figure the least is taken
DTYPE: Final = torch.bfloat16  # of computation
FP8: Final = torch.float8_e4m3fn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shape:
    """A family's network, and what its calls are told.

    predict: answers a call by the network, latents, σ and texts; width: of a text; forms: of its
    weights; tokens: of the text of each row of a picture, by the way of its guidance.
    """

    name: str
    network: Callable[..., Any]
    config: Mapping[str, Any]
    network_of: Make
    predict: Callable[[Any, Tensor, Tensor, Sequence[Tensor]], Tensor]
    width: int
    forms: tuple[str, ...]
    tokens: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Picture:
    """Latents, [16, h, w], their σ, [] fp32, and a text, [tokens, width], for each row."""

    x: Tensor
    sigma: Tensor
    texts: tuple[Tensor, ...]


def predict_flux(network: Any, x: Tensor, sigma: Tensor, texts: Sequence[Tensor]) -> Tensor:
    """Return FLUX.1-dev's velocities; part of a text serves as CLIP's pooled embedding."""
    words = torch.stack(list(texts))
    pooled = words[:, 0, : network.config.pooled_projection_dim]
    return flux.predict(network, x, sigma, words, pooled, torch.full_like(sigma, 3.5))


SHAPES: Final = (
    Shape(
        name="Z-Image",
        network=z_image.Network,
        config=Z_IMAGE,
        network_of=z_image.network_of,
        predict=z_image.predict,
        width=2560,
        forms=("bf16", "fp8"),
        tokens={"distilled": (USUAL,), "CFG": (USUAL, MULTIPLE)},
    ),
    Shape(
        name="FLUX.1",
        network=FluxTransformer2DModel,
        config={"guidance_embeds": True},  # all else is what diffusers takes unless told
        network_of=flux.network_of,
        predict=predict_flux,
        width=4096,
        forms=("fp8",),
        tokens={"distilled": (512,)},
    ),
)


@torch.inference_mode()
def bench_flow(
    device: torch.device,
    shapes: Sequence[Shape] = SHAPES,
    sides: Sequence[int] = SIDES,
    most: int = ROWS[-1],
) -> None:
    """Print what calls of each network cost, up to so many rows, in pictures of those sides."""
    for shape in shapes:
        for form in shape.forms:
            network = if_it_fits(partial(make_network, shape, form, device))
            if network is None:
                say(f"{shape.name} {form}", "does not fit")
                continue
            for side in sides:
                for guidance in shape.tokens:
                    measure(shape, form, guidance, network, side, device, most)
            if_it_fits(partial(measure_by_groups, shape, form, network, sides, device))
            del network
            empty_cache()


def make_network(shape: Shape, form: str, device: torch.device) -> Any:
    """Return a network with random weights on a device; form: bf16, or fp8 with scales."""
    with torch.device("meta"):
        own = shape.network(**shape.config).state_dict()
    random = torch.Generator(device).manual_seed(0)
    weights = {name: make_weight(name, each.shape, form, random) for name, each in own.items()}
    return shape.network_of(weights, Target(DTYPE, device))


def make_weight(name: str, shape: torch.Size, form: str, random: torch.Generator) -> Tensor:
    """Return a random weight of the size that keeps values' spread from layer to layer."""
    if len(shape) == 1 and name.endswith(".weight"):  # of a norm
        return torch.ones(shape, dtype=DTYPE, device=random.device)
    weight = torch.randn(shape, dtype=DTYPE, device=random.device, generator=random)
    weight /= shape[-1] ** 0.5
    if form == "bf16" or not name.endswith(".weight"):
        return weight
    scale = weight.abs().max().float() / torch.finfo(FP8).max
    return StoredWeight((weight / scale).to(FP8), scale)


def measure(
    shape: Shape,
    form: str,
    guidance: str,
    network: Any,
    side: int,
    device: torch.device,
    most: int,
) -> None:
    """Print what calls cost by their rows, whether bits hold, and the rows that follow."""
    name = f"{shape.name} {form} {side}² {guidance}"
    tokens = shape.tokens[guidance]
    predict = partial(shape.predict, network)
    make = partial(make_picture, side // 8, tokens, shape.width, device)
    costs = {}
    for rows in ROWS:
        if not len(tokens) <= rows <= most:
            continue
        pictures = [make(seed) for seed in range(rows // len(tokens))]
        found = if_it_fits(partial(cost_and_bits, predict, pictures, make(len(pictures)), device))
        if found is None:
            say(f"{name}, {rows} rows", "does not fit")
            break
        costs[rows], exact = found
        bits = "same bits" if exact else "DIFFERS"
        say(
            f"{name}, {rows} rows",
            f"{costs[rows] * 1e3:.1f} ms",
            f"{costs[rows] / rows * 1e3:.1f}",
            bits,
        )
    if costs:
        buckets = Buckets(costs)
        exact_rows = buckets.canonical(len(tokens))
        say(f"{name}: exact {exact_rows} rows, throughput {buckets.widest()} rows")


def measure_by_groups(
    shape: Shape, form: str, network: Any, sides: Sequence[int], device: torch.device
) -> None:
    """Print what a picture's call costs, and takes on the device, with two blocks there at a time.

    And whether its bits are those of the whole network, which is in main memory by then.
    """
    tokens = next(iter(shape.tokens.values()))
    predict = partial(shape.predict, network)
    pictures = [make_picture(side // 8, tokens, shape.width, device, 0) for side in sides]
    whole = [call(predict, [picture]) for picture in pictures]
    network.to("cpu")
    empty_cache()
    grouped = Grouped(network, device)
    grouped.come()
    for side, picture, wanted in zip(sides, pictures, whole, strict=True):
        bits = "same bits" if torch.equal(call(predict, [picture]), wanted) else "DIFFERS"
        cost = min(seconds(predict, [picture], device) for _ in range(ROUNDS))
        say(
            f"{shape.name} {form} {side}² by groups",
            f"{cost * 1e3:.1f} ms",
            f"{grouped.size / 1e9:.1f} GB",
            bits,
        )


def make_picture(
    side: int, tokens: Sequence[int], width: int, device: torch.device, seed: int
) -> Picture:
    """Return random latents of that side, a σ, and a text of so many tokens for each row."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn((16, side, side), generator=random).to(device, DTYPE)
    sigma = torch.rand((), generator=random).to(device)
    texts = (torch.randn((count, width), generator=random).to(device, DTYPE) for count in tokens)
    return Picture(x, sigma, tuple(texts))


def call(predict: Callable[..., Tensor], pictures: Sequence[Picture]) -> Tensor:
    """Return the velocities of all rows of pictures, [n, 16, h, w]."""
    rows = [(each.x, each.sigma, text) for each in pictures for text in each.texts]
    x, sigma, texts = zip(*rows, strict=True)
    return predict(torch.stack(x), torch.stack(sigma), texts)


def cost_and_bits(
    predict: Callable[..., Tensor], pictures: Sequence[Picture], one: Picture, device: torch.device
) -> tuple[float, bool]:
    """Return the seconds of a call, and whether one more picture's bits hold in such calls."""
    assert call(predict, pictures).isfinite().all()  # the first call of a size chooses kernels
    return min(seconds(predict, pictures, device) for _ in range(ROUNDS)), is_exact(
        predict, pictures, one
    )


def seconds(
    predict: Callable[..., Tensor], pictures: Sequence[Picture], device: torch.device
) -> float:
    """Return the seconds that a call takes."""
    wait(device)
    begun = time.perf_counter()
    call(predict, pictures)
    wait(device)
    return time.perf_counter() - begun


def is_exact(predict: Callable[..., Tensor], others: Sequence[Picture], one: Picture) -> bool:
    """Tell whether a picture among others, in any place, is what it is among its own copies.

    All calls have as many pictures as there are others, of which it takes one's place.
    """
    rows = len(one.texts)
    alone = call(predict, [one] * len(others))[:rows]
    for place in range(len(others)):
        mixed = call(predict, [*others[:place], one, *others[place + 1 :]])
        if not torch.equal(mixed[place * rows : (place + 1) * rows], alone):
            return False
    return True


def if_it_fits(work: Callable[[], T]) -> T | None:
    """Return the result of work, or None where it runs out of memory."""
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    empty_cache()
    return None
