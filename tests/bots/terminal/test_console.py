"""Words are shown as they were typed, whole, on every console and in every table."""

import asyncio
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from bots.terminal.cli import main
from bots.terminal.console import Listing, PlainConsole, open_console, styled
from bots.terminal.progress import LiveProgress
from engine.events import Waiting
from storage import Storage
from tests.bots.terminal.conftest import Answer, Marble
from tests.conftest import ROOT
from tests.models import make_model

# Emoji codes, markup, what rich would highlight, and more than one blank.
WORDS = r"a [cat:dog:0.5] (gold:fire:1.2) :+1: [bold]x[/bold] [/] \[red] [link=http://a.b]  1,5 'q'"
TINY = ("--model", "tiny", "--steps", "1")


def shown(*what: object, columns: int = 80) -> str:
    """Return what a terminal of so many columns shows, without its styles."""
    file = io.StringIO()
    console = PlainConsole(file=file, force_terminal=True, width=columns)
    console.print(*what)
    return re.sub(r"\x1b\[[\d;]*m", "", file.getvalue())


def test_a_console_prints_words_as_typed() -> None:
    assert shown(WORDS, columns=200) == f"{WORDS}\n"
    assert shown(styled(WORDS, "dim"), columns=200) == f"{WORDS}\n"
    file = io.StringIO()
    open_console(file).print(WORDS * 9, styled(WORDS, "red"))
    assert file.getvalue() == f"{WORDS * 9} {WORDS}\n"


def test_a_console_is_not_told_what_to_do_by_words() -> None:
    assert shown("a\x1b[2Jb", styled("\x07c", "dim")) == "a\ufffd[2Jb \ufffdc\n"


def test_a_table_shows_words_as_typed_and_shortens_none() -> None:
    table = Listing("name", ":dog:")
    table.add(WORDS, styled("[red]", "red"))
    table.add("x" * 90, "y")
    assert re.search(r"name +:dog:", shown(table))
    assert WORDS in shown(table, columns=200)
    assert shown(table, columns=40).count("x") == 90 + WORDS.count("x")
    file = io.StringIO()
    open_console(file).print(table)
    gap = " " * (90 - len(WORDS))
    assert file.getvalue().splitlines()[1:] == [f"{WORDS}{gap}  [red]", f"{'x' * 90}  y"]


def test_a_cell_of_several_lines_keeps_its_column() -> None:
    table = Listing()
    table.add("prompt", "猫\nb\n\nc")
    table.add("seed", "7")
    file = io.StringIO()
    open_console(file).print(table)
    assert file.getvalue() == "prompt  猫\n        b\n\n        c\nseed    7\n"


def test_a_table_of_nothing_is_empty() -> None:
    file = io.StringIO()
    open_console(file).print(Listing())
    assert file.getvalue().strip() == ""
    assert shown(Listing()).strip() == ""


def test_a_progress_bar_says_why_nothing_starts_as_it_was_typed() -> None:
    file = io.StringIO()
    console = PlainConsole(file=file, force_terminal=True, width=300)
    with LiveProgress(console, previews=False) as progress:
        progress.show(Waiting(position=2, reason=WORDS))
    assert WORDS in re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", file.getvalue())


def test_every_command_shows_words_as_typed(marble: Marble, data: Path) -> None:
    drawn = marble("imagine", WORDS, "--no", WORDS, *TINY)
    assert drawn.code == 0, drawn.err
    assert WORDS in drawn.out
    found = re.search(r"^  1\.1  (\S+)$", drawn.out, re.M)
    assert found
    for command in (["show", "1"], ["read", found[1]], ["history"]):
        assert WORDS in marble(*command).out, command
    assert marble("rerun", "1", "--prompt", f"new {WORDS}").out.count(f"new {WORDS}") == 1
    assert WORDS in marble("styles", "add", "odd", WORDS, "--no", WORDS).out
    assert marble("styles").out == f"odd  {WORDS} (not: {WORDS})\n"
    reason = " ".join(WORDS.split())
    marble("pause", WORDS)
    assert reason in marble("queue").out
    assert reason in marble("top").out
    marble("resume")
    assert "gold:fire" in marble("rules", "*", "blocked=(gold:fire:1.2)").out


def test_errors_quote_words_as_typed(marble: Marble) -> None:
    for words in ("[cat:dog:0.5]", ":dog:", "[bold]x[/bold]"):
        assert words in marble("show", words).err
        assert words in marble("imagine", "a cat", "--sampler", words).err


def test_nothing_kept_can_give_orders_to_the_screen(marble: Marble, data: Path) -> None:
    """A moderator of a chat may keep any words."""

    async def keep() -> None:
        async with Storage.open(data) as storage:
            await storage.styles.add("*", "odd", "a\x1b]0;PWNED\x07", "", by="discord:1")

    asyncio.run(keep())
    assert marble("styles").out == "odd  a\ufffd]0;PWNED\ufffd\n"


def test_a_conversation_shows_words_as_typed(chat: Callable[[str], Answer]) -> None:
    answer = chat(f"{WORDS} {' '.join(TINY)}\n/show\n/history\n:nonsense [bold]:dog:[/bold]")
    assert answer.out.count(" ".join(WORDS.split("\n"))) == 3


def test_a_pipe_gets_whole_names_however_narrow_a_terminal_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{'a-very-long-name-' * 8}{which}" for which in ("fp16", "fp32")]
    for name in names:
        make_model(tmp_path / name)
    monkeypatch.setenv("MARBLE_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["models"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:] if line]
    assert set(names) < set(listed)


def test_consoles_and_tables_are_made_in_one_place() -> None:
    """Any other would read markup and emoji codes in words."""
    assert Text.from_markup(":dog:").plain == "🐶"  # why: it does so by itself
    assert isinstance(open_console(), Console)
    made = re.compile(r"\b(Console|Table|from_markup|render_str|TextColumn)\((?!.*markup=False)")
    places = {
        f"{path.name}: {found[0]}"
        for path in (ROOT / "bots").rglob("*.py")
        for found in made.finditer(path.read_text(encoding="utf-8"))
    }
    assert places == {
        "console.py: Table(",
        "console.py: render_str(",
        "chat.py: from_markup(",  # of the help, which is ours
    }
