"""The doctor's check of the owner's workflows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

from bots.operations.doctor import Finding, State
from bots.operations.settings import Settings
from bots.requests.recipe_builder import RecipeBuilder
from bots.requests.workflow_folder import WorkflowFolder
from engine.errors import UserError, some
from engine.models.catalogue import Catalogue
from engine.recipe.recipe import Recipe

T = TypeVar("T")

WHAT: Final = "workflows"
MARK: Final = "correct it in the node's title; the other marks hold"
CURE: Final = "mend or remove it; the others work"


async def check_workflows(settings: Settings) -> AsyncIterator[Finding]:
    """Read every workflow, and look for its models and other files."""
    found = await asyncio.to_thread(WorkflowFolder(settings.workflows_dir).look)
    for file, error in found.broken.items():
        yield Finding(WHAT, State.POOR, f"{file} is left out: {str(error).rstrip('.')}", CURE)
    builder, good = RecipeBuilder(await asyncio.to_thread(Catalogue, settings.models_dir)), []
    for name, workflow in found.workflows.items():
        for said in workflow.graph.unknown:
            yield Finding(WHAT, State.POOR, f"{name}: {said}", MARK)
        missing = await asyncio.to_thread(_missing, builder, workflow.recipe)
        for error in missing:
            cure = f"install it, or name another in {name}"
            yield Finding(WHAT, State.POOR, f"{name}: {str(error).rstrip('.')}", cure)
        if not missing:
            good.append(name)
    if good or not (found.broken or found.workflows):
        yield Finding(WHAT, State.GOOD, some(good) or f"none in {settings.workflows_dir}")


def _missing(builder: RecipeBuilder, recipe: Recipe) -> list[UserError]:
    """Return what is said of each file of a recipe that is not there, or else does not fit."""
    looks: list[tuple[Callable[[str], object], str]] = [
        *((builder.catalogue.get, name) for name in recipe.models),
        *((builder.loras.resolve, lora.name) for lora in recipe.loras),
        *((builder.controls.resolve, control.model) for control in recipe.controls),
    ]
    if recipe.vae:
        looks.append((builder.vaes.resolve, recipe.vae))
    if recipe.upscale:
        looks.append((builder.upscalers.get, recipe.upscale.by))
    missing = [error for look, name in looks if (error := _error(look, name))]
    if not missing and (error := _error(builder.fit, recipe)):
        missing.append(error)
    return missing


def _error(look: Callable[[T], object], what: T) -> UserError | None:
    try:
        look(what)
    except UserError as error:
        return error
    return None
