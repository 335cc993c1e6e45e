"""From typed values to a complete recipe: the model's defaults, a seed, full names of files."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import MISSING, asdict, replace
from typing import Any, Final, NamedTuple

from bots.requests.aspect import sized, whole_size
from bots.requests.derive import START_STRENGTH, change, default_strength
from bots.requests.options import TYPED_AS, ImageWeight
from bots.requests.styles import WORDS
from engine.errors import MissingVae, OptionError, UserError, shorten, some
from engine.models.catalogue import STARTER, Catalogue, Checkpoint
from engine.models.control_files import find_control
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.models.second_model import check_second, is_second
from engine.recipe.conditions import check_texts
from engine.recipe.limits import CFG_PP, MARBLE, check_words
from engine.recipe.parts import Upscale
from engine.recipe.prompt_editing import foreign_signs
from engine.recipe.prompt_tags import choose, plain, take_loras
from engine.recipe.recipe import DEFAULTS, Recipe, random_seed
from engine.sentences import Sentence
from engine.text_encode.prompts import BREAK, EMBEDDING, marks

_ESCAPED_BRACE: Final = re.compile(r"\\([{}])")


class Built(NamedTuple):
    """A recipe, and what is said beside it: what the model lacks or rounds."""

    recipe: Recipe
    notes: tuple[Sentence, ...] = ()


class RecipeBuilder:
    """Builds recipes for the models and files that are there."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.loras = ModelFiles(catalogue.models_dir, ModelKind.LORA)
        self.vaes = ModelFiles(catalogue.models_dir, ModelKind.VAE)
        self.controls = ModelFiles(catalogue.models_dir, ModelKind.CONTROLNET)
        self.upscalers = ModelFiles(catalogue.models_dir, ModelKind.UPSCALER)

    def complete(self, values: Mapping[str, Any], kept: Container[str] = ()) -> Built:
        """Fill what was not typed from the model's defaults and a fresh seed.

        kept: names of values that nobody typed for this picture (a person's default options): what
        the model lacks of them is left out, and said. Raises `UserError` for all others it lacks.
        """
        checkpoint = self.catalogue.get(values.get("checkpoint", STARTER))
        usual = checkpoint.defaults
        filled = {
            **asdict(usual),
            "seed": random_seed(),
            **sized(values, usual.width * usual.height, checkpoint.multiple),
            "checkpoint": checkpoint.name,
        }
        if values.get("image"):
            filled.setdefault("strength", default_strength(values))
        _check_image_weight(values, values.get("image"))
        filled, notes = _rounded(filled, checkpoint)
        words = _read_words(filled, filled["seed"])
        notes += _unweighted(words, checkpoint)
        notes += _of_a1111(words, filled.get("syntax", MARBLE))
        typed = {name for name in (*values, *(words.keys() - filled)) if name not in kept}
        return self._fit(Recipe(**words), checkpoint, typed, notes)

    def change(self, recipe: Recipe, values: Mapping[str, Any], *, foreign: bool = False) -> Built:
        """Return a recipe with some values changed; foreign: nobody saw it here before.

        Raises `UserError` for those of them that the model lacks; what it lacks of the recipe is
        left out, and said.
        """
        checkpoint = self.catalogue.get(values.get("checkpoint", recipe.checkpoint))
        _check_image_weight(values, values.get("image", recipe.image))
        values = sized(values, recipe.width * recipe.height, checkpoint.multiple)
        values, notes = _rounded(values, checkpoint)
        words = _read_words(values, values.get("seed", recipe.seed))
        if foreign or checkpoint.name != recipe.checkpoint:
            notes += _unweighted(
                {name: getattr(recipe, name) for name in WORDS} | words, checkpoint
            )
        else:
            notes += _unweighted(words, checkpoint)
        if not foreign:
            notes += _of_a1111(words, words.get("syntax", recipe.syntax))
        return self._fit(change(recipe, words), checkpoint, words, notes)

    def fit(self, recipe: Recipe) -> Built:
        """Return a recipe as its model draws it, with the full names of model and files.

        Raises `UserError` for what is not there, or not made for the model.
        """
        return self._fit(recipe, self.catalogue.get(recipe.checkpoint), (), [])

    def _fit(
        self,
        recipe: Recipe,
        checkpoint: Checkpoint,
        typed: Container[str],
        notes: list[Sentence],
    ) -> Built:
        """Return a recipe without what its model lacks, in a size that it draws, with full names.

        Raises `UserError` where something that it lacks was typed.
        """
        if "fit" in typed and not (recipe.image or recipe.controls):
            raise OptionError("fit", recipe.fit, Sentence("without_image"))
        if recipe.strength is not None or recipe.image is None:  # else no network sees that size
            size, more = _rounded({"width": recipe.width, "height": recipe.height}, checkpoint)
            recipe, notes = replace(recipe, **size), [*notes, *more]
        recipe = _without_lacking(recipe, checkpoint, typed, notes)
        recipe = _without_references(recipe, checkpoint, notes)
        recipe = self._with_second(recipe, checkpoint, typed, notes)
        asked = "negative_prompt" in typed or "guidance_scale" in typed
        unread = recipe.guidance_scale == 1 and recipe.sampler not in CFG_PP
        if asked and recipe.negative_prompt and unread:
            notes.append(Sentence("negative_unread", model=checkpoint.name))
        check_texts(recipe, checkpoint.family.texts)
        return Built(self._with_full_names(recipe, checkpoint), tuple(notes))

    def _with_second(
        self,
        recipe: Recipe,
        checkpoint: Checkpoint,
        typed: Container[str],
        notes: list[Sentence],
    ) -> Recipe:
        """Return a recipe with the full name of its second model, if it has one.

        One that was not typed for this picture, and cannot go on with the first one's, is left out,
        which is said. Raises `UserError` for others, and where only the share of steps was typed.
        """
        if recipe.refiner is None:
            if "refiner_at" in typed:
                raise UserError(Sentence("refiner_at_alone"))
            return recipe
        second = self.catalogue.get(recipe.refiner)
        if "refiner" not in typed and not is_second(checkpoint, second):
            notes.append(Sentence("refiner_left_out", refiner=second.name, model=checkpoint.name))
            return replace(recipe, refiner=None)
        check_second(recipe, checkpoint, second)
        self._check_vae(recipe, second)
        return replace(recipe, refiner=second.name)

    def _check_vae(self, recipe: Recipe, checkpoint: Checkpoint) -> None:
        if not (checkpoint.has_vae or recipe.vae):
            raise MissingVae(checkpoint.name, self.vaes.names())

    def _with_full_names(self, recipe: Recipe, checkpoint: Checkpoint) -> Recipe:
        self._check_vae(recipe, checkpoint)
        return replace(
            recipe,
            checkpoint=checkpoint.name,
            loras=tuple(replace(lora, name=self.loras.resolve(lora.name)) for lora in recipe.loras),
            upscale=recipe.upscale and self._upscale(recipe.upscale),
            vae=recipe.vae and self.vaes.resolve(recipe.vae),
            controls=tuple(
                find_control(self.controls, each, checkpoint) for each in recipe.controls
            ),
        )

    def _upscale(self, upscale: Upscale) -> Upscale:
        self.upscalers.get(upscale.by)
        return replace(upscale, by=self.upscalers.resolve(upscale.by))


def _read_words(values: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return values with the choices in their prompts made, and LoRA tags taken out of them.

    Braces with a backslash before them were text, and lose it.
    """
    found = dict(values)
    for name in WORDS:
        if isinstance(text := found.get(name), str):
            found[name] = _ESCAPED_BRACE.sub(r"\1", choose(text, seed))
    if isinstance(prompt := found.get("prompt"), str):
        found["prompt"], tagged = take_loras(prompt)
        check_words(found["prompt"])
        if tagged:
            found["loras"] = (*found.get("loras", ()), *tagged)
    return found


def _unweighted(words: Mapping[str, Any], checkpoint: Checkpoint) -> list[Sentence]:
    """Return what is said of weights, BREAK and embeddings in words for a model without them."""
    if checkpoint.weighs and checkpoint.embeds and checkpoint.breaks:
        return []
    typed = [each for name in WORDS for each in marks(words.get(name, ""))]
    model = checkpoint.name
    if not checkpoint.weighs:
        return [Sentence("unweighted", model=model, typed=_shown(typed))] if typed else []
    named = [each for each in typed if EMBEDDING.fullmatch(each)]
    breaks = [each for each in typed if BREAK.fullmatch(each)]
    notes = []
    if named and not checkpoint.embeds:
        notes.append(Sentence("not_embedded", model=model, typed=_shown(named)))
    if breaks and not checkpoint.breaks:
        notes.append(Sentence("unbroken", model=model, typed=_shown(breaks)))
    return notes


def _shown(typed: Iterable[str]) -> str:
    return some([shorten(each) for each in dict.fromkeys(typed)])


def _of_a1111(words: Mapping[str, Any], syntax: str) -> list[Sentence]:
    """Return what is said of signs in typed words that mean something to A1111 alone."""
    typed = [each for name in WORDS for each in foreign_signs(words.get(name, ""))]
    if syntax != MARBLE or not typed:
        return []
    return [Sentence("of_a1111", typed=some([shorten(each) for each in dict.fromkeys(typed)]))]


def _rounded(
    values: Mapping[str, Any], checkpoint: Checkpoint
) -> tuple[dict[str, Any], list[Sentence]]:
    """Return values with the nearest size that a model draws, and what is said of another."""
    if not {"width", "height"} <= values.keys():
        return {**values}, []
    asked = values["width"], values["height"]
    size = whole_size(*asked, checkpoint.multiple)
    if size == asked:
        return {**values}, []
    note = Sentence(
        "size_rounded",
        model=checkpoint.name,
        asked="×".join(map(str, asked)),
        size="×".join(map(str, size)),
        multiple=checkpoint.multiple,
    )
    return {**values, "width": size[0], "height": size[1]}, [note]


def _check_image_weight(values: Mapping[str, Any], image: str | None) -> None:
    """Raise `UserError` for `--iw` where there is no start image."""
    strength = values.get("strength")
    if isinstance(strength, ImageWeight) and image is None:
        raise UserError(Sentence("iw_alone"))


def _without_lacking(
    recipe: Recipe, checkpoint: Checkpoint, typed: Container[str], notes: list[Sentence]
) -> Recipe:
    """Return a recipe with nothing in the fields that its model lacks; notes: what is left out.

    Raises `UserError` where that was typed.
    """
    fixed = fixed_values(checkpoint)
    nothing = {name: DEFAULTS[name] for name in DEFAULTS if name in checkpoint.lacks} | fixed
    lacking = [name for name, value in nothing.items() if getattr(recipe, name) != value]
    for name in lacking:
        facts = {"option": name, "called": TYPED_AS.get(name, name), "model": checkpoint.name}
        if name in fixed:
            value, given = plain(fixed[name]), plain(getattr(recipe, name))
            if name in typed:
                raise UserError(Sentence("fixed_option", value=value, **facts))
            notes.append(Sentence("fixed_kept", value=value, given=given, **facts))
        elif name in typed:
            raise UserError(Sentence("lacks_option", **facts))
    if left_out := [name for name in lacking if name not in fixed]:
        notes.append(_left_out(left_out, checkpoint))
    return replace(recipe, **{name: nothing[name] for name in lacking})


def fixed_values(checkpoint: Checkpoint) -> dict[str, float]:
    """Return the fields that have one value alone with a model: distilled ones' guidance."""
    lacking = (name for name in DEFAULTS if name in checkpoint.lacks and DEFAULTS[name] is MISSING)
    return {name: getattr(checkpoint.defaults, name) for name in lacking}


def lacking_options(checkpoint: Checkpoint) -> list[str]:
    """Return what a model does not have, as it is typed, without `fixed_values`."""
    lacking = checkpoint.lacks - fixed_values(checkpoint).keys()
    return [flag for field, flag in TYPED_AS.items() if field in lacking]


def _left_out(lacking: Iterable[str], checkpoint: Checkpoint) -> Sentence:
    called = ", ".join(TYPED_AS.get(name, name) for name in lacking)
    return Sentence("left_out", option=", ".join(lacking), called=called, model=checkpoint.name)


def _without_references(recipe: Recipe, checkpoint: Checkpoint, notes: list[Sentence]) -> Recipe:
    """Return a recipe with no more reference pictures than its model takes; notes: what is said.

    Where it takes none, the first one becomes the start image.
    """
    name, most = checkpoint.name, checkpoint.references
    if len(recipe.references) <= most:
        return recipe
    if most:
        notes.append(Sentence("references_left_out", model=name, most=most))
        return replace(recipe, references=recipe.references[:most])
    if recipe.image:
        notes.append(_left_out(["references"], checkpoint))
        return replace(recipe, references=())
    notes.append(not_edited(checkpoint, START_STRENGTH))
    return replace(recipe, references=(), image=recipe.references[0], strength=START_STRENGTH)


def not_edited(checkpoint: Checkpoint, strength: float) -> Sentence:
    """Return what is said where a model that does not edit by words draws from the picture."""
    return Sentence("not_edited", model=checkpoint.name, strength=plain(strength))
