"""Names and descriptions of commands and their options, in English.

Keys are commands (`imagine`), subcommands (`mydata export`), options of any command (`:prompt`) or
of one (`cancel:job`), and menus (`menu Recipe`). English names are the keys' own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import shorten
from typing import Final

from bots.requests.options import OPTIONS

DESCRIPTION: Final = 100  # characters, Discord's limit


@dataclass(frozen=True, slots=True)
class CommandText:
    """The name and the description of a command, an option or a menu in one language."""

    name: str
    description: str = ""  # at most `DESCRIPTION` characters; menus have none


_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "imagine": "Draw what you describe",
    ":prompt": "what the picture shows",
    "imagine:prompt": "what the picture shows; without it, a form opens",
    "imagine:workflow": "draw by a workflow of Marble's owner; without a prompt, by its own",
    "history": "Your latest pictures",
    "history:search": "only prompts with these words",
    "history:like": "only what shows this, or is like a picture such as 12.3",
    "history:favourites": "only what you marked with ⭐",
    "show": "Show a picture again",
    ":picture": "12 for a job, 12.3 for a picture",
    "settings": "Your default options",
    "settings show": "Show your settings",
    "settings set": "Change your settings",
    "settings reset": "Clear your settings",
    "queue": "Running and waiting jobs",
    "cancel": "Stop one of your jobs",
    "cancel:job": "which one; your latest if left out",
    "models": "Which models can draw",
    "stats": "How much has been drawn",
    "style": "Saved styles of this server",
    "style list": "List the styles",
    "style add": "Add a style (moderators)",
    "style remove": "Remove a style (moderators)",
    "style:name": "name of the style",
    "style:prompt": "text to add; {prompt} stands for what people typed",
    "style:negative": "what the picture should not show",
    "help": "What Marble can do, and how",
    "privacy": "What is stored about you",
    "mydata": "Your data",
    "mydata export": "Get everything stored about you",
    "mydata delete": "Delete everything stored about you",
    "web": "Your pictures in a browser: a link that signs you in",
    "web:logout": "sign out of the web page everywhere instead",
    "moderate": "For moderators",
    "moderate ban": "Ban somebody from drawing here",
    "moderate unban": "Lift a ban",
    "moderate channel": "Show or change the rules here",
    "moderate log": "What moderators did",
    "moderate pause": "Pause the queue, with a reason people see",
    "moderate resume": "Resume the queue",
    "moderate:person": "who",
    "moderate:reason": "reason, shown to them",
    "moderate:hours": "for how many hours; permanent if left out",
    "moderate:open": "whether drawing is allowed here",
    "moderate:steps": "range like 1-30, or none",
    "moderate:guidance": "range like 1-12",
    "moderate:width": "range in pixels like 64-768",
    "moderate:height": "range in pixels like 64-768",
    "moderate:count": "range like 1-4",
    "moderate:models": "only these, separated by commas",
    "moderate:per_minute": "jobs per minute and person",
    "moderate:place_per_minute": "jobs per minute in total",
    "moderate:blocked": "words, separated by commas",
    "moderate:safety": "off, spoiler or refuse",
    "moderate:rule": "name of another rule",
    "moderate:value": "value of that rule, or none",
    "moderate:server": "for the whole server, not only this channel",
    "menu Recipe": "",
    "menu Rerun": "",
    "menu Vary": "",
    "menu Upscale": "",
    "menu Use as start image": "",
    "edit": "Change a picture by words",
    "edit:prompt": "what to change, like: make it bronze",
    "edit:image": "picture to change; or, beside `picture`, one that the words are about",
    "edit:another": "another picture that the words are about",
    "describe": "Say in words what a picture shows",
    "describe:image": "picture to describe",
    "making_of": "Draw a picture again, and show how it was made",
    "blend": "Make one picture of two to five",
    "blend:prompt": "what it should show; may be left out",
    "blend:pictures": "Marble's pictures by their names, like 12.3 14",
    **{f"blend:image{n}": "a picture to blend" for n in ("", 2, 3, 4, 5)},
    ":image": "picture to start from",
    ":mask": "white where the start image is redrawn",
    **{f":{option.name}": shorten(option.help, DESCRIPTION, placeholder="…") for option in OPTIONS},
}
COMMANDS: Final[Mapping[str, CommandText]] = {
    key: CommandText(re.split("menu |[ :]", key)[-1], text) for key, text in _DESCRIPTIONS.items()
}
