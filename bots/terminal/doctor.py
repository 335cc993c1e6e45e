"""`marble doctor` in a terminal: a line for each finding, and an exit code for scripts."""

import argparse

from rich.console import Console
from rich.text import Text

from bots.cli import FAILED, OK
from bots.doctor import State, examine
from bots.settings import Settings

STYLES = {State.GOOD: "green", State.POOR: "yellow", State.BAD: "bold red"}


async def doctor(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print what every check finds; return 1 if something is wrong."""
    console, wrong = Console(highlight=False, soft_wrap=True), 0
    async for finding in examine(settings):
        line = Text(str(finding))
        line.stylize(STYLES[finding.state], 0, len(finding.state))
        console.print(line)
        wrong += finding.state is State.BAD
    if wrong:
        console.print(f"{wrong} of these keep Marble from working.")
    return FAILED if wrong else OK
