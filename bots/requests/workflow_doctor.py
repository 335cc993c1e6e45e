"""The doctor's check of the owner's workflows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from bots.operations.doctor import Finding, State
from bots.operations.settings import Settings
from bots.requests.workflow_folder import WorkflowFolder
from engine.errors import UserError, some
from engine.models.catalogue import Catalogue

WHAT: Final = "workflows"
CURE: Final = "mend or remove it; the others work"


async def check_workflows(settings: Settings) -> AsyncIterator[Finding]:
    """Read every workflow, and look for its model."""
    found = await asyncio.to_thread(WorkflowFolder(settings.workflows_dir).look)
    for file, error in found.broken.items():
        yield Finding(WHAT, State.POOR, f"{file} is left out: {str(error).rstrip('.')}", CURE)
    catalogue, good = await asyncio.to_thread(Catalogue, settings.models_dir), []
    for name, workflow in found.workflows.items():
        try:
            await asyncio.to_thread(catalogue.get, workflow.checkpoint)
            good.append(name)
        except UserError as error:
            cure = f"install it, or name another in {name}"
            yield Finding(WHAT, State.POOR, f"{name}: {str(error).rstrip('.')}", cure)
    if good or not (found.broken or found.workflows):
        yield Finding(WHAT, State.GOOD, some(good) or f"none in {settings.workflows_dir}")
