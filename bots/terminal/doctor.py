"""`marble doctor` in a terminal: a line for each finding, and an exit code for scripts."""

import argparse

from bots.operations.doctor import State, checks_of, examine
from bots.operations.settings import Settings
from bots.terminal.arguments import FAILED, OK
from bots.terminal.console import open_console, styled
from engine.sentences import fill

STYLES = {State.GOOD: "green", State.POOR: "yellow", State.BAD: "bold red"}


async def doctor(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print what every check finds; return 1 if something is wrong."""
    console, wrong = open_console(soft_wrap=True), 0
    async for finding in examine(settings, checks_of(settings)):
        line = styled(str(finding), "none")
        line.stylize(STYLES[finding.state], 0, len(finding.state))
        console.print(line)
        wrong += finding.state is State.BAD
    if wrong:
        console.print(fill("{n} {n:problem keeps|problems keep} Marble from working.", n=wrong))
    return FAILED if wrong else OK
