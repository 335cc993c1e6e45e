"""`marble styles`: words that a place keeps by a name, for `--style`."""

import argparse

from bots.admission.gate import Gate
from bots.admission.naming import read_place
from bots.operations.settings import Settings
from bots.requests.styles import Stylebook
from bots.requests.typed_options import read_style_words
from bots.service.app import roles_of, rules_of
from bots.terminal.console import Listing, open_console
from bots.terminal.places import person, present_place
from storage import Storage


async def styles(arguments: argparse.Namespace, settings: Settings) -> None:
    """Change the styles of a place, and list those that it has; raises `UserError`."""
    place = read_place(arguments.place)
    async with Storage.open(
        settings.data_dir, settings.database_url, settings.pictures_url
    ) as storage:
        place = await present_place(storage, place)
        book = Stylebook(storage, Gate(storage, roles_of(settings), rules_of(settings)))
        if arguments.act == "add":
            prompt, negative = read_style_words(" ".join(arguments.prompt), arguments.no)
            await book.add(place, arguments.name, prompt, negative, by=person())
        elif arguments.act == "remove":
            await book.remove(place, arguments.name, by=person())
        known = await storage.styles.list(place)
    table = Listing()
    for style in known:
        without = f" (not: {style.negative})" if style.negative else ""
        table.add(style.name, f"{style.prompt}{without}")
    nothing = "No styles yet. Try: marble styles add noir film noir, hard shadows"
    open_console().print(table if known else nothing)
