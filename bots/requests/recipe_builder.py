"""From typed values to a complete recipe: the model's defaults, a seed, full names of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from bots.requests.aspect import sized
from bots.requests.derive import change, default_strength
from bots.requests.styles import WORDS
from engine.errors import MissingVae
from engine.models.catalogue import STARTER, Catalogue
from engine.models.control_files import find_control
from engine.models.folders import ModelKind
from engine.models.model_files import ModelFiles
from engine.recipe.limits import check_words
from engine.recipe.parts import Upscale
from engine.recipe.prompt_tags import choose, take_loras
from engine.recipe.recipe import Recipe, random_seed


class RecipeBuilder:
    """Builds recipes for the models and files that are there."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.loras = ModelFiles(catalogue.models_dir, ModelKind.LORA)
        self.vaes = ModelFiles(catalogue.models_dir, ModelKind.VAE)
        self._controls = ModelFiles(catalogue.models_dir, ModelKind.CONTROLNET)
        self._upscalers = ModelFiles(catalogue.models_dir, ModelKind.UPSCALER)

    def complete(self, values: Mapping[str, Any]) -> Recipe:
        """Fill what was not typed from the model's defaults and a fresh seed."""
        checkpoint = self.catalogue.get(values.get("checkpoint", STARTER))
        usual = checkpoint.defaults
        filled = {
            **asdict(usual),
            "seed": random_seed(),
            **sized(values, usual.width * usual.height),
            "checkpoint": checkpoint.name,
        }
        if values.get("image"):
            filled.setdefault("strength", default_strength(values))
        return self.with_full_names(Recipe(**_read_words(filled, filled["seed"])))

    def change(self, recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
        """Return a recipe with some values changed."""
        values = sized(values, recipe.width * recipe.height)
        words = _read_words(values, values.get("seed", recipe.seed))
        return self.with_full_names(change(recipe, words))

    def with_full_names(self, recipe: Recipe) -> Recipe:
        """Return a recipe with the full names of its model and files.

        Raises `UserError` for what is not there, or not made for the model.
        """
        checkpoint = self.catalogue.get(recipe.checkpoint)
        if not (checkpoint.has_vae or recipe.vae):
            raise MissingVae(checkpoint.name, self.vaes.names())
        return replace(
            recipe,
            checkpoint=checkpoint.name,
            loras=tuple(replace(lora, name=self.loras.resolve(lora.name)) for lora in recipe.loras),
            upscale=recipe.upscale and self._upscale(recipe.upscale),
            vae=recipe.vae and self.vaes.resolve(recipe.vae),
            controls=tuple(
                find_control(self._controls, each, checkpoint) for each in recipe.controls
            ),
        )

    def _upscale(self, upscale: Upscale) -> Upscale:
        self._upscalers.get(upscale.by)
        return replace(upscale, by=self._upscalers.resolve(upscale.by))


def _read_words(values: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return values with the choices in their prompts made, and LoRA tags taken out of them."""
    found = dict(values)
    for name in WORDS:
        if isinstance(text := found.get(name), str):
            found[name] = choose(text, seed)
    if isinstance(prompt := found.get("prompt"), str):
        found["prompt"], tagged = take_loras(prompt)
        check_words(found["prompt"])
        if tagged:
            found["loras"] = (*found.get("loras", ()), *tagged)
    return found
