"""`marble setup`: ask for what the chats need, and write it to `.env`, for its owner alone."""

import argparse
import asyncio
import getpass
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bots.operations.settings import Settings, load_settings
from bots.terminal.escaping import printable
from engine.errors import SettingError

ENV: Final = Path(".env")


@dataclass(frozen=True, slots=True)
class Question:
    """Say what is asked, which variable it sets, and what an answer looks like."""

    key: str
    text: str
    form: str  # a regular expression
    allowed: str
    secret: bool = False


QUESTIONS: Final = (
    Question(
        "MARBLE_DISCORD_TOKEN",
        "The token of your Discord bot (docs/discord.md)",
        r"[\w-]+\.[\w-]+\.[\w-]+",
        "three parts with dots between them, as the developer portal shows it",
        secret=True,
    ),
    Question(
        "MARBLE_TELEGRAM_TOKEN",
        "The token of your Telegram bot, from @BotFather (docs/telegram.md)",
        r"\d+:[\w-]{20,}",
        "a number, a colon and letters, as @BotFather shows it",
        secret=True,
    ),
    Question(
        "MARBLE_OWNERS",
        "Who may do everything from a chat, like discord:123, telegram:45",
        r"\w+:[^\s,]+(\s*,\s*\w+:[^\s,]+)*",
        "people as platform:name, separated by commas",
    ),
    Question(
        "MARBLE_MODELS_DIR",
        "A folder with your own models",
        r".*",
        "a folder that exists and can be read",
    ),
)


async def setup(arguments: argparse.Namespace, settings: Settings) -> None:
    """Ask every question, and write the answers; an empty answer leaves a variable as it is."""
    sys.stdout.write("Enter leaves a line as it is; a single - empties it.\n")
    answers = {question.key: await asyncio.to_thread(_ask, question) for question in QUESTIONS}
    given = {key: "" if answer == "-" else answer for key, answer in answers.items() if answer}
    if not given:
        sys.stdout.write("Nothing was changed.\n")
        return
    load_settings({**os.environ, **given})  # says what is wrong before anything is written
    write(ENV, given)
    sys.stdout.write(
        f"{ENV} is written, and yours alone. Now `marble doctor`, then `marble serve`.\n"
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
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "w", encoding="utf-8") as out:
        out.write("".join(f"{line}\n" for line in lines))
    draft.replace(file)


def _line(key: str, value: str) -> str:
    plain = re.fullmatch(r"[\w:/.,+@-]*", value)
    return f"{key}={value}" if plain else f"{key}='{value.translate(_QUOTED)}'"


_QUOTED: Final = str.maketrans({"'": r"\'", "\\": r"\\"})


def _ask(question: Question) -> str:
    """Ask until the answer has the form; from a pipe, the first answer counts."""
    tty = sys.stdin.isatty()
    read: Callable[[str], str] = getpass.getpass if question.secret and tty else _read
    while True:
        answer = read(f"{question.text}: ").strip()
        if answer in ("", "-") or re.fullmatch(question.form, answer):
            return answer
        error = SettingError(question.key, _hidden(question, answer), question.allowed)
        if not tty:
            raise error
        sys.stdout.write(f"{printable(str(error))}\n")


def _hidden(question: Question, answer: str) -> str:
    return f"{len(answer)} characters" if question.secret else answer


def _read(prompt: str) -> str:
    sys.stdout.write(prompt)
    sys.stdout.flush()
    return sys.stdin.readline()
