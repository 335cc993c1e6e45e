"""`marble setup`: ask for what the chats need, and write it to `.env`, for its owner alone."""

import argparse
import asyncio
import getpass
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bots.operations.settings import SECRET, VARIABLES, Settings
from bots.terminal.escaping import printable
from engine.errors import SettingError
from engine.files.private import create

ENV: Final = Path(".env")
# Variables, in the order in which they are asked for.
QUESTIONS: Final = {
    "MARBLE_DISCORD_TOKEN": "The token of your Discord bot (docs/discord-setup.md)",
    "MARBLE_TELEGRAM_TOKEN": "The token of your Telegram bot (docs/telegram-setup.md)",
    "MARBLE_OWNERS": "Who may do everything from a chat, like discord:123, telegram:45",
    "MARBLE_MODELS_DIR": "A folder with your own models",
}


async def setup(arguments: argparse.Namespace, settings: Settings) -> None:
    """Ask every question, and write the answers; an empty answer leaves a variable as it is."""
    sys.stdout.write("Press Enter to keep a value, type - to clear it.\n")
    answers = {key: await asyncio.to_thread(_ask, key) for key in QUESTIONS}
    given = {key: "" if answer == "-" else answer for key, answer in answers.items() if answer}
    if not given:
        sys.stdout.write("Nothing was changed.\n")
        return
    write(ENV, given)
    sys.stdout.write(
        f"{ENV} is written, readable only by you. Next: `marble doctor`, then `marble serve`.\n"
    )


def write(file: Path, values: Mapping[str, str]) -> None:
    """Set variables in a file and leave its other lines alone; nobody else may read it."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    left = dict(values)
    for number, line in enumerate(lines):
        key = line.partition("=")[0].strip()
        if key in left:
            lines[number] = _line(key, left.pop(key))
    lines += [_line(key, value) for key, value in left.items()]
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    create(draft)
    draft.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    draft.replace(file)


def _line(key: str, value: str) -> str:
    plain = re.fullmatch(r"[\w:/.,+@-]*", value)
    quoted = re.sub(r"['\\]", r"\\\g<0>", value)
    return f"{key}={value}" if plain else f"{key}='{quoted}'"


def _ask(key: str) -> str:
    """Ask until the setting can be read; from a pipe, the first answer counts."""
    tty = sys.stdin.isatty()
    read: Callable[[str], str] = getpass.getpass if key in SECRET and tty else _read
    while True:
        answer = read(f"{QUESTIONS[key]}: ").strip()
        try:
            if answer not in ("", "-"):
                VARIABLES[key].read(key, answer)
            return answer
        except SettingError as error:
            if not tty:
                raise
            sys.stdout.write(f"{printable(str(error))}\n")


def _read(prompt: str) -> str:
    sys.stdout.write(prompt)
    sys.stdout.flush()
    return sys.stdin.readline()
