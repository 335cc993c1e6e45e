"""`marble chat`: words become pictures, line by line, as in the chats.

Works with a person who types and with lines from a pipe alike.
"""

import asyncio
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from bots.requests.options import Values, parse_values
from bots.requests.typed_options import split_message
from bots.terminal.arguments import BAD_INPUT, OK, number
from bots.terminal.console import styled
from bots.terminal.files import looks_like_file, picture_file
from bots.terminal.inputs import INPUTS, TypedInputs, read_direction
from bots.terminal.recipe_files import WORKFLOW
from bots.terminal.session import Session
from engine.errors import LONGEST_PATH, UnknownOption, UserError, shorten

HELP: Final = """\
[bold]a marble scholar[/bold]     any words become a picture; /imagine in front is welcome
[bold]--seed 7 --steps 20[/bold]  anywhere among them: --size --count --no --guidance --sampler …
[bold]--image cat.jpg[/bold]      start from a picture, or from 12.3; also --mask --control
[bold]:seed[/bold]   :seed 12.3   the last picture, or the named one, again from its seed
[bold]:dice[/bold]   :dice 12.3   the same words with a new seed
[bold]:seed 12 --no book[/bold]   … with something changed
[bold]:vary[/bold]   :vary 12.3 strong   a picture like it
[bold]:upscale[/bold] 12.3 x2    larger; [bold]:zoom[/bold] 12.3 x2 from further away
[bold]:pan[/bold] 12.3 left       continued to one side: left, right, up or down
[bold]picture.png[/bold]          a file dropped here: what it was made from, drawn again
[bold]/history[/bold]             what you drew; [bold]/show 12[/bold] tells from what
[bold]/quit[/bold]                the end, as Ctrl-D; Ctrl-C stops a picture"""

LONGEST_LINE: Final = 2**24  # bytes; far above any prompt, which is then refused by its length

Action = Callable[[Session, str], Awaitable[object]]


async def converse(session: Session) -> int:
    """Read and answer lines until the input ends or `/quit`.

    A mistake in a line costs one sentence. Returns the exit code: `BAD_INPUT` where a line of a
    pipe could not be answered.
    """
    failures = 0
    async for line in _typed(session.console) if sys.stdin.isatty() else _piped():
        if line.strip().lower() in ("/quit", "/exit", ":q"):
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
    if word == "/help":
        session.console.print(Text.from_markup(HELP, emoji=False))
    elif action := ACTIONS.get(word.lower()):
        await action(session, rest.strip())
    elif file := dropped(line):
        await session.run(file, {})
    elif word.startswith("/") and (name := _one_word(line)) and looks_like_file(name, WORKFLOW):
        raise UserError(f"There is no file {shorten(name, LONGEST_PATH)}.")
    elif word.startswith(("/", ":")):
        raise UnknownOption(word, ACTIONS)
    else:
        await _imagine(session, line)


def dropped(line: str) -> Path | None:
    """Return the picture or workflow that is all that a line names, as terminals drop files."""
    name = _one_word(line)
    return picture_file(name, WORKFLOW) if name else None


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


async def _request(session: Session, text: str) -> Values:
    """Read words and options, input pictures among them, as values of recipe fields."""
    prompt, typed = split_message(text, INPUTS)
    inputs, options = TypedInputs.take(typed)
    values = {"prompt": prompt} | parse_values(options)
    return {**values, **await inputs.keep(session.studio, session.store)}


async def _imagine(session: Session, text: str) -> None:
    await session.draw(session.studio.imagine(await _request(session, text), session.asker))


async def _same_seed(session: Session, text: str) -> None:
    await _rerun(session, text, {})


async def _new_seed(session: Session, text: str) -> None:
    await _rerun(session, text, parse_values([("seed", "new")]))


async def _rerun(session: Session, text: str, values: Mapping[str, object]) -> None:
    """Rerun what `12.3 --steps 30` names; words after the name would be a new prompt."""
    changes = await _request(session, text)
    name, _, words = str(changes.pop("prompt")).partition(" ")
    if words:
        changes["prompt"] = words
    await session.rerun(name or None, {**values, **changes})


async def _vary(session: Session, text: str) -> None:
    words = text.split()
    strong = words[-1:] == ["strong"]
    name = await session.named(_only(words[:-1] if strong else words))
    await session.draw(session.studio.vary(name, session.asker, strong=strong))


async def _upscale(session: Session, text: str) -> None:
    name, factor = await _name_and_factor(session, text)
    await session.draw(session.studio.upscale(name, session.asker, factor=factor))


async def _zoom(session: Session, text: str) -> None:
    name, factor = await _name_and_factor(session, text)
    await session.draw(session.studio.zoom(name, session.asker, factor=factor))


async def _pan(session: Session, text: str) -> None:
    names, direction = read_direction(text.split())
    name = await session.named(_only(names))
    await session.draw(session.studio.pan(name, session.asker, direction))


async def _name_and_factor(session: Session, text: str) -> tuple[str, float]:
    """Read `12.3`, `x2` or `12.3 x2`: a picture's name, and a factor (2 where none is typed)."""
    words = text.split()
    factor = words.pop()[1:] if words and words[-1].lower().startswith("x") else "2"
    return await session.named(_only(words)), number("factor", factor)


def _only(words: Sequence[str]) -> str | None:
    """Return the one word there is, or None; raises `UserError` where there are more."""
    if len(words) > 1:
        raise UserError(f"A picture is named by one word, like 12.3, not {' '.join(words)!r}.")
    return words[0] if words else None


async def _show(session: Session, text: str) -> None:
    await session.show(text or None)


async def _history(session: Session, text: str) -> None:
    await session.history(limit=10)


ACTIONS: Final[Mapping[str, Action]] = {
    "/imagine": _imagine,
    ":seed": _same_seed,
    "🌱": _same_seed,
    ":dice": _new_seed,
    "🎲": _new_seed,
    ":vary": _vary,
    ":upscale": _upscale,
    ":zoom": _zoom,
    ":pan": _pan,
    "/show": _show,
    "/history": _history,
}
