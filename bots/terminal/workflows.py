"""`marble workflows`: the owner's workflows, for --workflow."""

import argparse

from bots.operations.settings import Settings
from bots.requests.workflow_folder import WorkflowFolder
from bots.terminal.console import Listing, open_console, styled
from bots.terminal.recipe_files import note_ignored


async def workflows(arguments: argparse.Namespace, settings: Settings) -> None:
    """List the workflows with what may be set in them, and why files are left out."""
    found, console = WorkflowFolder(settings.workflows_dir).look(), open_console()
    table = Listing()
    for name in sorted(found.workflows):
        table.add(name, ", ".join(found.workflows[name].inputs))
    if found.workflows:
        console.print(table)
    elif settings.workflows_dir is None:
        console.print("No workflows: MARBLE_WORKFLOWS_DIR names no folder (docs/workflows.md).")
    else:
        console.print(f"No workflows in {settings.workflows_dir}.", soft_wrap=True)
    for name, workflow in sorted(found.workflows.items()):
        note_ignored(tuple(f"{name}: {note}" for note in workflow.notes), console)
    for file, error in found.broken.items():
        console.print(styled(f"Left out: {file}: {error}", "dim"), soft_wrap=True)
