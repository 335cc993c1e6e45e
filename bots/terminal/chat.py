"""`marble chat`: words become pictures, line by line, as in the chats.

Works with a person who types and with lines from a pipe alike.
"""

import argparse
import asyncio
import shlex
import signal
import sys
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
)
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from bots.chat.actions import ACTIONS as TABLE
from bots.chat.actions import VARIATION
from bots.chat.answers import NAMES, plain_name, read_button, unknown_command
from bots.operations.settings import Settings
from bots.requests.options import Values, parse_values
from bots.requests.studio import Studio
from bots.requests.typed_options import split_message
from bots.requests.workflow_file import TEXT_FILES
from bots.terminal.arguments import BAD_INPUT, OK, number
from bots.terminal.commands import Make, Session, in_session, read_blend, read_edit, read_imagine
from bots.terminal.console import styled
from bots.terminal.files import looks_like_file, picture_file
from bots.terminal.inputs import INPUTS, read_direction, read_source, read_values
from bots.terminal.making_of import write_making_of
from engine.errors import LONGEST_PATH, UnknownOption, UserError, shorten

HELP: Final = """\
[bold]a marble scholar[/bold]     any words become a picture; /imagine in front is welcome
[bold]--seed 7 --steps 20[/bold]  anywhere among them: --size --count --no --guidance --sampler …
[bold]--image cat.jpg[/bold]      start from a picture, or from 12.3; also --mask --control
[bold]--workflow portrait[/bold]  draw by a workflow of the owner's (`marble workflows`)
[bold]:seed[/bold]   :seed 12.3   the last picture, or the named one, again from its seed
[bold]:dice[/bold]   :dice 12.3   the same words with a new seed
[bold]:seed 12 --no book[/bold]   … with something changed
[bold]:edit[/bold] 12.3 make it bronze   changed by words; also :edit photo.jpg …
[bold]:blend[/bold] 12.3 cat.jpg   one picture of two to five; words behind them say of what
[bold]:describe[/bold] 12.3        what a picture shows, in words
[bold]:making-of[/bold] 12.3       drawn again, and a page written on how it was made
[bold]:vary[/bold]   :vary 12.3 strong   a picture like it
[bold]:upscale[/bold] 12.3 x2    larger; [bold]:zoom[/bold] 12.3 x2 from further away
[bold]:pan[/bold] 12.3 left       continued to one side: left, right, up or down
[bold]picture.png[/bold]          a file dropped here: what it was made from, drawn again
[bold]:star[/bold]   :star 12.3   a favourite, or no longer; [bold]/history favourites[/bold]
[bold]/history like a lion[/bold] pictures that show it; [bold]/history like 12.3[/bold]
[bold]/history[/bold]             what you drew; [bold]/show 12[/bold] tells from what
[bold]/quit[/bold]                the end, as Ctrl-D; Ctrl-C stops a picture"""

PAGE: Final = 10  # entries of a history
FAVOURITES: Final = "favourites"  # what stands behind /history: alone,
LIKE: Final = "like "  # … and before what a picture shows
SIGNS: Final = {"/": ":", ":": "/"}
# A word alone that everybody tries; /imagine in front draws it.
HELPS: Final = ("/help", ":help", "help", "?")
ENDS: Final = ("/quit", ":quit", "quit", "/exit", ":exit", "exit", ":q")
LONGEST_LINE: Final = 2**24  # bytes; far above any prompt, which is then refused by its length

Action = Callable[[Session, str], Awaitable[object]]


async def chat(arguments: argparse.Namespace, settings: Settings) -> int | None:
    """Answer lines; from a pipe, the exit code says whether every line could be answered."""
    return await in_session(arguments, settings, _converse)


async def _converse(session: Session) -> int:
    """Read and answer lines until the input ends or `/quit`; a mistake costs one sentence."""
    failures = 0
    async for line in _typed(session.console) if sys.stdin.isatty() else _piped():
        if line.strip().lower() in ENDS:
            break
        try:
            await _interruptible(_answer(session, line))
        except UserError as error:
            failures += 1
            session.console.print(styled(str(error), "red"), soft_wrap=True)
    return BAD_INPUT if failures and not session.console.is_terminal else OK


async def _interruptible(answer: Coroutine[Any, Any, None]) -> None:
    """Await an answer; Ctrl-C ends it, and not the conversation."""
    task = asyncio.create_task(answer, name="marble-answer")
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    try:
        await asyncio.wait([task])
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        task.cancel()
    if not task.cancelled():
        task.result()


async def _answer(session: Session, line: str) -> None:
    """Run a line's command; raises `UserError`."""
    word, _, rest = line.strip().partition(" ")
    if not word:
        return
    if (line.strip() if word.isalpha() else word).lower() in HELPS:  # "help me" is drawn
        session.console.print(Text.from_markup(HELP, emoji=False))
    elif action := COMMANDS.get(word.lower().replace(VARIATION, "")):
        await action(session, rest.strip())
    elif file := dropped(line):
        await session.run(file, {})
    elif word.startswith("/") and (name := _one_word(line)) and looks_like_file(name, *TEXT_FILES):
        raise UserError(f"There is no file {shorten(name, LONGEST_PATH)}.")
    elif word.startswith(("/", ":")):
        named = NAMES.get(plain_name(word[1:]))  # a button of the chats may be a command here
        raise unknown_command(word, (*COMMANDS, "/help", "/quit"), named and TABLE[named].terminal)
    elif button := read_button(line):
        await DOES[TABLE[button[0]].terminal](session, await session.numbered(button[1]))
    else:
        await _imagine(session, line)


def dropped(line: str) -> Path | None:
    """Return the picture, workflow or text that is all a line names, as terminals drop files."""
    name = _one_word(line)
    return picture_file(name, *TEXT_FILES) if name else None


def _one_word(line: str) -> str | None:
    """Return the one word that a line is, its quotes taken off, or None."""
    try:
        words = shlex.split(line)
    except ValueError:  # an apostrophe
        return None
    return words[0] if len(words) == 1 else None


async def _typed(console: Console) -> AsyncIterator[str]:
    """Yield the lines that a person types, with editing and history; Ctrl-C or Ctrl-D ends."""
    # Most commands read no lines.
    from prompt_toolkit import PromptSession
    from prompt_toolkit.patch_stdout import patch_stdout

    console.print("Describe a picture. ", styled("/help shows more.", "dim"), sep="")
    prompt: PromptSession[str] = PromptSession("marble> ")
    while True:
        try:
            with patch_stdout(raw=True):
                line = await prompt.prompt_async()
        except (EOFError, KeyboardInterrupt):
            return
        yield line


async def _piped() -> AsyncIterator[str]:
    """Yield the lines of a pipe or a file."""
    # A thread that still waits for a pipe must not keep the process alive, so pipes are read by
    # the loop itself; a file never lets anybody wait.
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    loop = asyncio.get_running_loop()
    try:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    except (ValueError, PermissionError):
        for line in await asyncio.to_thread(sys.stdin.readlines):
            yield line
        return
    while data := await reader.readline():
        yield data.decode("utf-8", "replace")


def _values(text: str) -> Values:
    """Read words and options as values of recipe fields; `prompt` is always among them."""
    prompt, typed = split_message(text, INPUTS)
    return {"prompt": prompt} | read_values(typed)


async def _imagine(session: Session, text: str) -> None:
    await session.imagine(*read_imagine(text))


async def _rerun(session: Session, text: str, first: Iterable[tuple[str, str]] = ()) -> None:
    """Rerun what `12.3 --steps 30` names; words after the name would be a new prompt.

    first: options, which those in the text override.
    """
    values = parse_values(first) | _values(text)
    name, _, words = values.pop("prompt").partition(" ")
    await session.rerun(name or None, values | ({"prompt": words} if words else {}))


async def _edit(session: Session, text: str) -> None:
    name, words = read_source(text.split(maxsplit=1))
    values, others = read_edit(words)
    await session.edit(name, values, others)


async def _blend(session: Session, text: str) -> None:
    await session.blend(*read_blend(text.split()))


async def _vary(session: Session, text: str) -> None:
    words = text.split()
    strong = words[-1:] == ["strong"]
    await session.derive(Studio.vary, _only(words[:-1] if strong else words), strong=strong)


async def _enlarge(make: Make, session: Session, text: str) -> None:
    """Upscale or zoom by `12.3`, `x2` or `12.3 x2`; the factor is 2 where none is typed."""
    words = text.split()
    factor = words.pop()[1:] if words and words[-1].lower().startswith("x") else "2"
    await session.derive(make, _only(words), factor=number("factor", factor))


async def _pan(session: Session, text: str) -> None:
    names, direction = read_direction(text.split())
    await session.derive(Studio.pan, _only(names), direction=direction)


def _only(words: list[str]) -> str | None:
    """Return the one word there is, or None; raises `UserError` where there are more."""
    if len(words) > 1:
        raise UserError(f"A picture is named by one word, like 12.3, not {' '.join(words)!r}.")
    return words[0] if words else None


async def _history(session: Session, text: str) -> None:
    if text == FAVOURITES:
        await session.favourites(limit=PAGE)
    elif like := text.removeprefix(LIKE) if text.startswith(LIKE) else "":
        await session.alike(like.strip(), limit=PAGE)
    elif text:
        raise UnknownOption(text, [FAVOURITES, LIKE.strip()])
    else:
        await session.history(limit=PAGE)


DOES: Final[Mapping[str, Action]] = {  # by the words of the table of actions
    ":seed": _rerun,
    ":dice": partial(_rerun, first=[("seed", "new")]),
    ":edit": _edit,
    ":blend": _blend,
    ":describe": lambda session, text: session.describe(text or None),
    ":making-of": lambda session, text: write_making_of(session, text or None),
    ":vary": _vary,
    ":upscale": partial(_enlarge, Studio.upscale),
    ":zoom": partial(_enlarge, Studio.zoom),
    ":pan": _pan,
    ":star": lambda session, text: session.favourite(text or None),
    "/show": lambda session, text: session.show(text or None),
}


def _commands() -> Iterator[tuple[str, Action]]:
    """Yield what begins a line; a word with either sign, since the chats have / for all of them."""
    for word, action in _table():
        yield word, action
        if word[0] in SIGNS:
            yield SIGNS[word[0]] + word[1:], action


def _table() -> Iterator[tuple[str, Action]]:
    yield "/imagine", _imagine
    yield "/history", _history
    for action in TABLE.values():
        if action.terminal:
            word, *more = action.terminal.split()
            yield word, DOES[word]
            if action.emoji and not more:
                yield action.emoji.replace(VARIATION, ""), DOES[word]


COMMANDS: Final[Mapping[str, Action]] = dict(_commands())
