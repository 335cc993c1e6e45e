"""The pages of the documentation name only what exists: files, functions, commands, settings."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import chain
from typing import Final

import pytest

from bots.chat.actions import ACTIONS, BELOW_PICTURE, FOR_ALL, KEYCAPS
from bots.discord.adapter import REACTIONS
from bots.discord.commands.menus import MENUS, START
from bots.operations.settings import FOR_TESTS, VARIABLES
from bots.telegram.commands import COMMANDS as TELEGRAM
from bots.terminal.parser import parse
from bots.texts import EN
from bots.texts.commands import COMMANDS
from engine.errors import UserError
from tests.conftest import ROOT
from tests.rooms import mermaid

DOCS: Final = ROOT / "docs"
TOP: Final = ("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
PAGES: Final = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (*(ROOT / name for name in TOP), *sorted(DOCS.glob("*.md")))
}
# The changelog also names what is gone.
PRESENT: Final = [page for page in PAGES if page != "CHANGELOG.md"]
FOLDERS: Final = ("bots", "deploy", "docs", "engine", "migrations", "storage", "tests")
# What begins with a slash beside the commands of chats: endpoints, and commands of @BotFather.
OTHERS: Final = {"livez", "readyz", "metrics", "newbot", "setprivacy"}
# Of Discord's buttons, in English.
LABELS: Final = tuple(
    label
    for name in (*chain(*BELOW_PICTURE, *FOR_ALL), "cancel")
    if (label := ACTIONS[name].label_in(EN))
)

FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
SPAN: Final = re.compile(r"`([^`]+)`")
LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
STEP: Final = re.compile(r"((?:bots|engine|migrations|storage|tests)/[\w/.]+\.py)::?([\w.]+)")
HEADING: Final = re.compile(r"^#+ (.*)$", re.M)
COMMENT: Final = re.compile(r"\s+# .*$|^# .*$", re.M)


def blocks(text: str) -> list[str]:
    """Return the contents of a page's code blocks."""
    return [code for _, code in FENCE.findall(text)]


def spans(text: str) -> list[str]:
    """Return what a page shows as code within its text."""
    return [" ".join(span.split()) for span in SPAN.findall(FENCE.sub("", text))]


def code_lines(text: str) -> Iterator[str]:
    """Yield the lines of a page's shell blocks without comments, and its code within lines."""
    for language, code in FENCE.findall(text):
        if language in ("sh", ""):
            yield from (line for line in COMMENT.sub("", code).splitlines() if line.strip())
    yield from spans(text)


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = (re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(text))
    return {title.replace(" ", "-") for title in titles}


def dotted(node: ast.AST, before: str = "") -> Iterator[str]:
    """Yield the names that a module defines: functions, classes, their members, variables."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield f"{before}{child.name}"
            yield from dotted(child, f"{before}{child.name}.")
        elif isinstance(child, ast.Assign):
            names = (each.id for each in child.targets if isinstance(each, ast.Name))
            yield from (f"{before}{name}" for name in names)
        elif isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
            yield f"{before}{child.target.id}"


@cache
def names_in(file: str) -> frozenset[str]:
    return frozenset(dotted(ast.parse((ROOT / file).read_text(encoding="utf-8"))))


@pytest.mark.parametrize("page", PAGES)
def test_its_links_lead_somewhere(page: str) -> None:
    for link in LINK.findall(FENCE.sub("", PAGES[page])):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        found = (ROOT / page).parent / path if path else ROOT / page
        assert found.exists(), link
        if anchor:
            assert anchor in anchors(found.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("page", PRESENT)
def test_the_functions_that_it_names_exist(page: str) -> None:
    for file, name in STEP.findall(PAGES[page]):
        assert name in names_in(file), f"{file}:{name}"


@pytest.mark.parametrize("page", PRESENT)
def test_the_files_that_it_names_exist(page: str) -> None:
    for span in spans(PAGES[page]):
        path = re.split(r"::?|\s", span)[0]
        if "/" in path and path.partition("/")[0] in FOLDERS:
            assert list(ROOT.glob(path.rstrip("/"))), path


@pytest.mark.parametrize("page", PRESENT)
def test_the_make_targets_that_it_names_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for line in code_lines(PAGES[page]):
        for target in re.findall(r"(?:^|&& )make ([a-z-]+)", line):
            assert target in targets, line


@pytest.mark.parametrize("page", PRESENT)
def test_the_modules_that_it_runs_exist(page: str) -> None:
    for line in code_lines(PAGES[page]):
        for module in re.findall(r"python -m ((?:tests|engine)\.[\w.]+)", line):
            assert find_spec(module), line


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each `marble` command that a page shows."""
    for line in code_lines(text):
        found = re.match(r"(?:MARBLE_\w+=\S+ )*marble ([a-z].*)", line.strip())
        if found and "…" not in found[1]:
            yield shlex.split(found[1])


def mistake_in(words: list[str]) -> str | None:
    """Return what the command line refuses, or None."""
    try:
        parse(words)
    except SystemExit:  # --help
        return None
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize("page", PRESENT)
def test_the_commands_that_it_shows_can_be_typed(page: str) -> None:
    for words in commands(PAGES[page]):
        mistake = mistake_in(words) or ""
        # In the text a command may be named without its arguments.
        is_named = f"marble {shlex.join(words)}" in spans(PAGES[page])
        assert not mistake or (is_named and "required" in mistake), (words, mistake)


@pytest.mark.parametrize("page", PRESENT)
def test_the_settings_that_it_names_exist(page: str) -> None:
    for name in re.findall(r"MARBLE_[A-Z_]+\b", PAGES[page]):
        assert name in VARIABLES or name.startswith(FOR_TESTS), name


@pytest.mark.parametrize("page", PRESENT)
def test_the_chat_commands_that_it_names_exist(page: str) -> None:
    known = {key.partition(" ")[0] for key in COMMANDS} | TELEGRAM.keys() | OTHERS
    for span in spans(PAGES[page]):
        if found := re.match(r"/([a-z]+)(?: |$)", span):
            assert found[1] in known, span


def test_the_page_for_discord_names_its_buttons_reactions_and_menus() -> None:
    page = PAGES["docs/discord.md"]
    for label in (*LABELS, *MENUS, START, *(REACTIONS.keys() - {*KEYCAPS})):
        assert label in page, label


@pytest.mark.parametrize("page", [path.name for path in DOCS.glob("*.md")])
def test_the_index_lists_it(page: str) -> None:
    assert page == "README.md" or f"]({page})" in PAGES["docs/README.md"]


def test_the_code_names_pages_that_exist() -> None:
    for folder in ("bots", "engine", "migrations", "storage", "tests", "deploy"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yaml", ".service", ".json"):
                for page in re.findall(r"\bdocs/[\w-]+\.md\b", path.read_text(encoding="utf-8")):
                    assert (ROOT / page).is_file(), f"{path}: {page}"


def test_both_readmes_show_the_same_commands_and_links() -> None:
    english, chinese = PAGES["README.md"], PAGES["README.zh-CN.md"]
    assert [without_words(code) for code in blocks(english)] == [
        without_words(code) for code in blocks(chinese)
    ]
    other = {"README.md", "README.zh-CN.md"}
    links = [
        {link.partition("#")[0] for link in LINK.findall(text)} - other
        for text in (english, chinese)
    ]
    assert links[0] == links[1]
    assert "](README.zh-CN.md)" in english
    assert "](README.md)" in chinese


def without_words(code: str) -> list[str]:
    """Return a code block's lines without comments."""
    return [line.rstrip() for line in COMMENT.sub("", code).splitlines()]


def test_the_picture_of_the_rooms_is_that_of_the_imports() -> None:
    """`python -m tests.rooms` prints it anew."""
    assert "\n".join(mermaid()) in PAGES["docs/architecture.md"]


def test_the_table_of_rooms_counts_their_modules() -> None:
    rows = re.findall(r"^\| `(\w+/\w+/)` \|.*\| (\d+) \|$", PAGES["docs/architecture.md"], re.M)
    assert rows
    for room, count in rows:
        modules = [path for path in (ROOT / room).rglob("*.py") if path.name != "__init__.py"]
        assert (room, int(count)) == (room, len(modules))


def test_the_glossary_has_at_most_forty_terms() -> None:
    glossary = PAGES["docs/architecture.md"].partition("\n## Glossary\n")[2].partition("\n## ")[0]
    terms = re.findall(r"\*\*(.+?)\*\*", glossary)
    assert 20 <= len(terms) <= 40
