"""`marble styles`: words that a place keeps by a name, for `--style`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Final

from bots.terminal.places import PLACES, present_place, read_place

if TYPE_CHECKING:
    from bots.operations.settings import Settings
    from bots.requests.styles import Stylebook

PLACE: Final = f"{PLACES} (the default)"


def add_parser(commands: Any) -> None:
    """Add `marble styles` and its own commands to the parser of `marble`."""
    text = "list the words that are kept for --style; `add` and `remove` some"
    parser: argparse.ArgumentParser = commands.add_parser("styles", help=text, description=text)
    parser.add_argument("--place", default="*", metavar="PLACE", help=PLACE)
    acts = parser.add_subparsers(dest="act", metavar="COMMAND")
    add = acts.add_parser("add", help="keep words by a name; one of that name is replaced")
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "prompt", nargs="+", metavar="WORDS", help="{prompt} stands for what is typed later"
    )
    add.add_argument("--no", default="", metavar="TEXT", help="what the picture should not show")
    remove = acts.add_parser("remove", help="keep a style no longer")
    remove.add_argument("name", metavar="NAME")


async def styles(arguments: argparse.Namespace, settings: Settings) -> None:
    """Change the styles of a place, and list those that it has; raises `UserError`."""
    from bots.admission.gate import Gate
    from bots.requests.styles import Stylebook
    from bots.service.app import roles_of, rules_of
    from bots.terminal.console import Listing, open_console
    from storage import Storage

    place = read_place(arguments.place)
    async with Storage.open(settings.data_dir, settings.database_url) as storage:
        place = await present_place(storage, place)
        book = Stylebook(storage, Gate(storage, roles_of(settings), rules_of(settings)))
        await _change(book, place, arguments)
        known = await book.list(place)
    table = Listing()
    for style in known:
        without = f" (not: {style.negative})" if style.negative else ""
        table.add(style.name, f"{style.prompt}{without}")
    nothing = "No styles yet. Try: marble styles add noir film noir, hard shadows"
    open_console().print(table if known else nothing)


async def _change(book: Stylebook, place: str, arguments: argparse.Namespace) -> None:
    from bots.requests.typed_options import read_style_words
    from bots.terminal.session import person

    if arguments.act == "add":
        prompt, negative = read_style_words(" ".join(arguments.prompt), arguments.no)
        await book.add(place, arguments.name, prompt, negative, by=person())
    elif arguments.act == "remove":
        await book.remove(place, arguments.name, by=person())
