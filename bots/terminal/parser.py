"""The command line of `marble`: its commands, their options and help. Imports nothing heavy."""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, NoReturn

from bots.admission.naming import PLACES
from bots.requests.options import OPTIONS, SPELLINGS
from bots.requests.typed_options import check_known
from engine.errors import UnknownOption, UserError
from engine.recipe.parts import LANCZOS

Argument = tuple[Sequence[str], Mapping[str, Any]]  # its names, and what else `add_argument` takes
Command = tuple[str, *tuple[Argument, ...]]  # its help, and its arguments


class Parser(argparse.ArgumentParser):
    """Raises one sentence for bad input, instead of printing a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Raise the message as a sentence that may be shown."""
        raise UserError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")


def _value(
    name: str, metavar: str | None, text: str | None = None, *aliases: str, **how: Any
) -> Argument:
    return [name, *aliases], {"metavar": metavar, "help": text, **how}


def _flag(name: str, text: str) -> Argument:
    return [name], {"action": "store_true", "help": text}


FLAG: Final = re.compile(r"^--[A-Za-z][\w-]*")
NAMED: Final = "12 for a job, 12.3 for its third picture"
ID: Final = _value("id", None, f"{NAMED}; the latest if left out", nargs="?")
SOURCE: Final = _value(
    "id",
    None,
    f"{NAMED}, or a picture file with a recipe (Marble's, ComfyUI's or A1111's); "
    "the latest if left out",
    nargs="?",
)
TO: Final = _value("url", "URL", "file: (the data folder) or s3://bucket/prefix")
FROM: Final = _value(
    "--from",
    "URL",
    "where they are (default: MARBLE_PICTURES_URL, or the data folder)",
    dest="source",
)
WORDS: Final = _value("prompt", None, "what the picture should show", nargs="*")
EDIT: Final = _value(
    "prompt",
    None,
    "a picture (12.3, or a file; the latest if left out), then what to change in it",
    nargs="*",
)
BLEND: Final = _value(
    "prompt",
    None,
    "two to five pictures (12.3, or files), then what the blended one should show, if you like",
    nargs="*",
)
DESCRIBED: Final = _value(
    "id", None, f"{NAMED}, or a picture file; the latest if left out", nargs="?"
)
WITH: Final = _value(
    "--with",
    "FILE",
    "another picture that the words are about (a file, or 12.3); may be given several times",
    action="append",
)
PROMPT: Final = _value("--prompt", "TEXT", "another prompt")
IMAGE: Final = _value(
    "--image", "FILE", "start from this picture (a file, or 12.3 for one of yours)"
)
MASK: Final = _value(
    "--mask",
    "FILE",
    "draw only where this picture is white; or 'alpha': where the start image is transparent; "
    "or a colour painted over it, like red or #ff0000",
)
CONTROL: Final = _value(
    "--control",
    "MODEL:FILE",
    "guide the picture by a map, for example canny:house.png,find=canny,strength=0.8,start=0,"
    "end=0.6; may be given several times; 'none' for none",
    action="append",
)
OUT: Final = _value(
    "--out", "FILE", "save a copy as FILE (for example cat.png; several: cat.png, cat-2.png …)"
)
LATER: Final = _flag("--later", "do not wait: `marble serve` draws it")
OUTPUT: Final = (OUT, LATER)
RECIPE_OPTIONS: Final = [
    _value(
        *(f"--{each.name}", each.example, each.help.replace("%", "%%")),
        *(f"--{alias}" for alias in each.aliases),
        dest=f"option_{each.name}",
        action="append",  # so that two values of one are seen
    )
    for each in (*OPTIONS, *SPELLINGS)
]
ALONE: Final = {f"--{each.name}": each for each in OPTIONS if each.alone}
DRAWING: Final[tuple[Argument, ...]] = (*RECIPE_OPTIONS, IMAGE, MASK, CONTROL, *OUTPUT)
STRONG: Final = _flag("--strong", "change more of it")
UPSCALE_FACTOR: Final = _value("--factor", "X", "how many times, 1 to 8 (default 2)", default="2")
BY: Final = _value("--by", "NAME", "lanczos, latent or an upscale model", default=LANCZOS)
STRENGTH: Final = _value(
    "--strength", "X", "how much to redraw for more detail (default: depends on the model)"
)
PLAIN: Final = _flag("--plain", "only enlarge, without redrawing")
ZOOM_FACTOR: Final = _value("--factor", "X", "how far, 1.1 to 4 (default 2)", default="2")
DIRECTION: Final = _value("direction", None, "left, right, up or down")
BY_WORKFLOW: Final = _value(
    "--workflow", "NAME", "draw by a workflow of MARBLE_WORKFLOWS_DIR (`marble workflows`)"
)
PAGE: Final = _value(
    "--output", "FILE", "the page's file (default: making-of-12.3.html); others lie beside it"
)
GIF: Final = _flag("--gif", "write the animation as GIF, not as WebP")
RECIPE: Final = _value("file", None, "a picture by any program that draws, or a workflow")
RESULT: Final = _value(
    "--result", "NODE", "which node of a workflow is meant, where several save or show a picture"
)
WORKFLOW: Final = _value("file", None, "a workflow exported by ComfyUI, or a picture")
LIMIT: Final = _value("--limit", "N", "how many (default 20)", default="20")
LIKE: Final = _value(
    "--like", "WORDS", "of everybody's pictures those that show this, or are like a picture (12.3)"
)
ONCE: Final = _flag("--once", "print it once and exit")
REASON: Final = _value("reason", "REASON", "shown to people who wait", nargs="+")
PLACE: Final = _value("place", "PLACE", PLACES, nargs="?", default="*")
RULES: Final = _value(
    "rules",
    "NAME=VALUE",
    "for example per_minute=6 steps=1-30 blocked=word,other; an empty value removes it",
    nargs="*",
)
ALLOW_MISSING: Final = _flag("--ahead", "accept models, LoRAs and so on that are not installed yet")
MODELS: Final = _value("name", "NAME", "only these", nargs="*")
SUGGESTION: Final = _value("name", "NAME", "a suggestion, owner/name or owner/name/file", nargs="?")
STYLES_OF: Final = _value("--place", "PLACE", f"{PLACES} (the default)", default="*")
STYLE: Final = _value("name", "NAME")
STYLE_WORDS: Final = _value("prompt", "WORDS", "{prompt} stands for what people type", nargs="+")
NEGATIVE: Final = _value("--no", "TEXT", "what to leave out of the picture", default="")
DEEP: Final = _flag("--deep", "read every picture as well")
FILE: Final = _value("file", "FILE", type=Path)
AGE: Final = _value("--older-than", "AGE", "for example 90d or 1y", required=True)
PERSON: Final = _value("--person", "ID", "for example terminal:ada", required=True)

WEB_LOGOUT: Final = _flag("--logout", "end all sessions of this terminal's person instead")

# By the words that are typed; those of a group follow it.
COMMANDS: Final[Mapping[str, Command]] = {
    "imagine": ("draw a picture from words", *(WORDS, BY_WORKFLOW, *DRAWING)),
    "rerun": ("draw a picture again: from its seed, or with changes", *(SOURCE, PROMPT, *DRAWING)),
    "edit": ("change a picture by words", *(EDIT, *RECIPE_OPTIONS, WITH, *OUTPUT)),
    "blend": ("make one picture of two to five", *(BLEND, *RECIPE_OPTIONS, *OUTPUT)),
    "describe": ("say in words what a picture shows", DESCRIBED),
    "vary": ("draw a picture like another one", ID, STRONG, *OUTPUT),
    "upscale": (
        "make a picture larger, with more detail",
        ID,
        UPSCALE_FACTOR,
        BY,
        STRENGTH,
        PLAIN,
        *OUTPUT,
    ),
    "zoom": ("show a picture from further away", ID, ZOOM_FACTOR, *OUTPUT),
    "pan": ("continue a picture to the left, right, up or down", ID, DIRECTION, *OUTPUT),
    "making-of": ("draw a picture again, and write a page on how it was made", ID, PAGE, GIF),
    "read": ("show what a picture file or workflow says of how it was made", RECIPE, RESULT),
    "run": ("draw what a ComfyUI workflow or a picture file says", *(WORKFLOW, RESULT, *DRAWING)),
    "history": ("list your latest pictures, or find some by what they show", LIMIT, LIKE),
    "show": ("show a picture and its recipe", ID, OUT),
    "queue": ("show running and waiting jobs, live", ONCE),
    "top": ("show what a service is doing, live: queue, rates, errors, device", ONCE),
    "pause": ("pause the queue, with a reason people see", REASON),
    "resume": ("resume the queue",),
    "rules": ("show or change the rules of a place", PLACE, RULES, ALLOW_MISSING),
    "chat": ("chat with Marble in this terminal",),
    "setup": ("ask for the chats' settings and write them to .env",),
    "doctor": ("check everything that Marble needs, and say how to fix it",),
    "web": ("open the web page in a browser, signed in as this machine's owner", WEB_LOGOUT),
    "serve": ("serve the chats, and draw what was requested with --later",),
    "models": ("list the installed models; `check` loads each",),
    "models check": ("load each model and say why one cannot be used", MODELS),
    "models get": ("download a model from Hugging Face, or list suggestions", SUGGESTION),
    "workflows": ("list the workflows of MARBLE_WORKFLOWS_DIR, and what may be set in them",),
    "styles": ("list the styles for --style; `add` or `remove` one", STYLES_OF),
    "styles add": ("add a style, replacing one of the same name", STYLE, STYLE_WORDS, NEGATIVE),
    "styles remove": ("remove a style", STYLE),
    "pictures": ("move the stored pictures: move",),
    "pictures move": ("take pictures to MARBLE_PICTURES_URL or elsewhere, while in use", TO, FROM),
    "clip": ("find pictures by what they show: index",),
    "clip index": ("prepare older pictures for `history --like`; it may be ended at any time",),
    "db": ("manage the database: upgrade, check, backup, restore, prune, export, forget",),
    "db upgrade": ("upgrade the database to this version (makes a backup first)",),
    "db check": ("look for damage and missing pictures", DEEP),
    "db backup": ("copy the database to a new file, while it is in use", FILE),
    "db restore": ("replace the database with a backup", FILE),
    "db prune": ("delete old jobs and their pictures, except favourites", AGE),
    "db export": ("write everything stored about a person to a zip file", PERSON, FILE),
    "db forget": ("delete everything stored about a person, for good", PERSON),
}


def _with_values(words: Sequence[str]) -> Iterator[str]:
    """Yield what was typed, with the values of options that stand alone."""
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        option = ALONE.get(word)
        bare = option and following.lower() not in option.choices
        yield f"{word}={option.alone}" if option and bare else word


def build_parser() -> Parser:
    """Describe the commands of the table."""
    parser = Parser(prog="marble", description="Words become pictures, on your own GPU and models.")
    parser.add_argument("--version", action="version", version=f"marble {version('marble')}")
    groups = {"": parser.add_subparsers(dest="command", metavar="COMMAND", required=True)}
    for words, (text, *arguments) in COMMANDS.items():
        group, _, name = words.rpartition(" ")
        command = groups[group].add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(words=words)
        for names, how in arguments:
            command.add_argument(*names, **how)
        if words in ("models", "styles", "db", "pictures", "clip"):
            required = words in ("db", "pictures", "clip")  # the others list what there is
            groups[words] = command.add_subparsers(dest="act", metavar="COMMAND", required=required)
    return parser


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments of a command line; raises `UserError`."""
    words = sys.argv[1:] if argv is None else argv
    words = [FLAG.sub(lambda found: found[0].lower(), word) for word in words]
    words = list(_with_values(words))
    arguments, rest = build_parser().parse_known_args(words)
    flags = [word for word in rest if word.startswith("-")]
    if flags:
        known = [name for names, _ in COMMANDS[arguments.words][1:] for name in names]
        known = ["--help", *(name for name in known if name[0] == "-")]
        if all(flag.startswith("--") for flag in flags):
            names = (flag.lstrip("-").partition("=")[0] for flag in flags)
            check_known(names, [name.lstrip("-") for name in known])
        raise UnknownOption(flags[0], known)
    if arguments.command in ("imagine", "edit", "blend"):
        # argparse stops taking words at the first option; people do not.
        arguments.prompt = [*arguments.prompt, *rest]
    elif rest:
        raise UserError(f"`marble {arguments.command}` does not know what to do with {rest[0]!r}.")
    return arguments
