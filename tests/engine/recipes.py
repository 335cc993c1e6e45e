"""Draw recipes of every kind: words alone, and all that a picture may be made from."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from hypothesis import strategies as st

from engine.formats.a1111.reader import from_a1111
from engine.formats.a1111.settings import NEGATIVE
from engine.formats.a1111.syntax import NETWORK
from engine.formats.graphs.node_values import LoadedPicture
from engine.formats.graphs.recipe import from_graph
from engine.formats.graphs.upscaling import factor_to
from engine.recipe.limits import INDEPENDENT, NOISES, SAMPLERS, SCHEDULES, SEED_LIMIT
from engine.recipe.parts import LANCZOS, Area, Control, Lora, Margins, Upscale, Variation
from engine.recipe.patches import PATCHES, Patch
from engine.recipe.recipe import Recipe
from engine.text_encode.prompts import BREAK
from tests.factories import make_recipe

IMAGE, MASK, MAP = "a" * 64, "b" * 64, "c" * 64
AWKWARD = (
    'a "quoted", comma: colon',
    "two\nlines",
    "{a|b} (c\\)",
    "http://x/*y*/",
    "拿着书的大理石学者",
    "🗿, é",
    "a (gold:1.2) king BREAK at night BREAK (rain)",
)
words = st.text(min_size=1, max_size=60).filter(str.strip) | st.sampled_from(AWKWARD)
strengths = st.floats(0.01, 1) | st.sampled_from((0.3, 0.5, 0.75, 1.0))
factors = st.floats(1, 4) | st.sampled_from((1.5, 2.0, 4.0))
names = st.sampled_from(("ink", "my style_v2.1", "a (b)"))
lora_weights = st.floats(-4, 4)
loras = st.builds(
    Lora, name=names, weight=lora_weights, text_weight=st.none() | lora_weights
)  # fmt: skip
seeds = st.integers(0, SEED_LIMIT - 1)
controls = st.lists(
    st.builds(Control, model=names, image=st.sampled_from((MAP, IMAGE)), strength=st.floats(0, 2)),
    min_size=1,
    max_size=3,
).map(tuple)
patches = st.sampled_from(sorted(PATCHES)).flatmap(
    lambda kind: st.builds(
        Patch,
        kind=st.just(kind),
        numbers=st.tuples(*(st.integers(0, int(each.high)) for each in PATCHES[kind])),
    )
)
upscalers = st.sampled_from(("lanczos", "4x-UltraSharp", "RealESRGAN_x4"))


@st.composite
def recipes(draw: st.DrawFn, prompts: st.SearchStrategy[str] = words) -> Recipe:
    """Draw any valid recipe of words alone."""
    count = draw(st.integers(1, 16))
    return make_recipe(
        prompt=draw(prompts),
        negative_prompt=draw(st.just("") | prompts),
        seed=draw(seeds),
        steps=draw(st.integers(1, 150)),
        guidance_scale=draw(st.floats(0, 30)),
        width=8 * draw(st.integers(8, 256)),
        height=8 * draw(st.integers(8, 256)),
        count=count,
        picture=draw(st.none() | st.integers(0, count - 1)),
        sampler=draw(st.sampled_from(SAMPLERS)),
        schedule=draw(st.sampled_from(SCHEDULES)),
        checkpoint=draw(st.sampled_from(("starter", "sd15.safetensors", "A, B: C.ckpt"))),
        loras=draw(st.lists(loras, max_size=3).map(tuple)),
        clip_skip=draw(st.none() | st.integers(1, 12)),
        guidance_rescale=draw(st.just(0.0) | st.floats(0, 1)),
        vae=draw(st.none() | names),
        noise=draw(st.sampled_from(NOISES)),
    )


def _enlarging(**changes: Any) -> st.SearchStrategy[Upscale]:
    return st.builds(Upscale, **{"factor": factors, "by": upscalers, **changes})


START: Mapping[str, Any] = {
    "image": st.just(IMAGE),
    "fit": st.sampled_from(("crop", "resize")),
    "strength": strengths,
}
LATENT = {"by": st.just("latent"), "strength": strengths}
# Kinds of recipes: what each has beside words. They all fit into a graph and into A1111's line,
# but for those named below.
shares = st.floats(0, 1)


def _areas(negative: bool) -> st.SearchStrategy[list[Area]]:
    """Draw the areas of a side: first its own prompt's, then others."""
    own, others = (
        st.builds(
            Area,
            prompt=prompt,
            negative=st.just(negative),
            left=st.floats(0, 0.9),
            width=st.floats(0.01, 1),
            mask=st.none() | st.just(MASK),
            strength=st.floats(0, 10),
            start=shares,
            end=st.floats(0, 0.9),
        )
        for prompt in (st.none(), st.sampled_from(("a dog", "(gold:1.2) BREAK c")))
    )
    return st.tuples(st.lists(own, max_size=1), st.lists(others, min_size=1, max_size=2)).map(
        lambda both: [*both[0], *both[1]]
    )


areas = st.tuples(_areas(False), _areas(True)).map(lambda both: (*both[0], *both[1]))
KINDS: dict[str, Mapping[str, Any]] = {
    "words": {},
    "start image": START,
    "mask": {**START, "mask": st.just(MASK)},
    "controls": {"controls": controls, "fit": START["fit"]},
    "controls on a start image": {**START, "controls": controls},
    "larger": {"upscale": _enlarging()},
    "start image, larger": {**START, "upscale": _enlarging()},
    "mask, larger": {**START, "mask": st.just(MASK), "upscale": _enlarging()},
    "two passes": {"upscale": _enlarging(strength=strengths)},
    "two passes on latents": {"upscale": _enlarging(**LATENT)},
    "two passes with controls": {
        "controls": controls,
        "fit": START["fit"],
        "upscale": _enlarging(strength=strengths),
    },
    "detail": {**START, "strength": st.none(), "upscale": _enlarging(strength=strengths)},
    "detail on latents": {**START, "strength": st.none(), "upscale": _enlarging(**LATENT)},
    "two passes on a start image": {**START, "upscale": _enlarging(strength=strengths)},
    "start image, only larger": {**START, "strength": st.none(), "upscale": _enlarging()},
    "padded": {**START, "fit": st.just("pad")},
    "variations": {
        "variations": st.lists(
            st.builds(Variation, seed=seeds, amount=st.floats(0, 1)), min_size=1, max_size=3
        ).map(tuple)
    },
    "margins": {**START, "margins": st.builds(Margins, left=st.integers(1, 30))},
    "patched": {"patches": st.lists(patches, min_size=1, max_size=4).map(tuple)},
    "tiles": {"upscale": _enlarging(strength=strengths, tile=st.just(64))},
    "areas": {"areas": areas},
    "edited": {"references": st.just((IMAGE,)) | st.just((IMAGE, MAP))},
}
NO_GRAPH = {"start image, only larger", "padded", "variations", "margins", "tiles", "edited"}
NO_LINE = {"areas", "two passes on a start image"} | {
    "variations",
    "margins",
    "patched",
    "tiles",
    "edited",
}


@st.composite
def derived(draw: st.DrawFn, kind: str, plain: st.SearchStrategy[Recipe] | None = None) -> Recipe:
    """Draw a recipe of one of `KINDS`."""
    bare = draw(recipes() if plain is None else plain)
    if "upscale" in KINDS[kind]:  # 16 megapixels are the most
        bare = replace(bare, width=min(bare.width, 1000), height=min(bare.height, 1000))
    return replace(bare, **{name: draw(values) for name, values in KINDS[kind].items()})


def settled(recipe: Recipe) -> Recipe:
    """Return the recipe of the same pixels that a graph leads back to.

    Only a size is known of an enlargement; of steps of which a share is taken, the share; white
    space around BREAK means nothing.
    """
    changes: dict[str, Any] = {
        name: " BREAK ".join(BREAK.split(text)) if BREAK.search(text) else text
        for name, text in (("prompt", recipe.prompt), ("negative_prompt", recipe.negative_prompt))
    }
    if upscale := recipe.upscale:
        shortest = factor_to(recipe.width, recipe.height, recipe.size)
        changes["upscale"] = replace(upscale, factor=shortest)
        idle = upscale.by == LANCZOS and upscale.strength is None and shortest == 1
        if idle and (recipe.image is None or recipe.strength is not None):
            changes["upscale"] = None
        if recipe.strength is None and recipe.image and upscale.strength:
            changes["steps"] = max(1, min(150, round(recipe.second_pass_steps / upscale.strength)))
    return replace(recipe, **changes)


def keeps_its_prompts(recipe: Recipe) -> bool:
    """Return whether A1111's line keeps prompts to the letter: it trims their lines."""
    texts = [recipe.prompt, recipe.negative_prompt]
    trimmed = ["\n".join(map(str.strip, text.split("\n"))).lstrip("\n") for text in texts]
    tagged = NETWORK.search(recipe.prompt) or any(NEGATIVE in text for text in texts)
    return trimmed == texts and not tagged


def with_a1111s_noise(data: st.DataObject, recipe: Recipe) -> Recipe:
    """Return a recipe whose noise may be drawn as A1111 does, which no graph can say."""
    ensd = data.draw(st.none() | st.sampled_from((0, 31337, -1)))
    return replace(recipe, ensd=None if recipe.noise == INDEPENDENT else ensd)


class Read(NamedTuple):
    recipe: Recipe
    ignored: tuple[str, ...]


def read_graph(data: object, pictures: Mapping[str, LoadedPicture] | None = None) -> Read:
    reading = from_graph(data, pictures)
    return Read(reading.recipe, reading.ignored)


def read_line(text: str) -> Read:
    reading = from_a1111(text)
    return Read(reading.recipe, reading.ignored)


def recipe_of(data: object, pictures: Mapping[str, LoadedPicture] | None = None) -> Recipe:
    return from_graph(data, pictures).recipe
