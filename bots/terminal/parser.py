"""The command line of `marble`: its commands, their options and help. Imports nothing heavy."""

import argparse
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NoReturn

from bots.requests.options import OPTIONS
from bots.terminal.places import PLACES
from engine.errors import UnknownOption, UserError
from engine.recipe.parts import LANCZOS

NAMED: Final = "12 for a job, 12.3 for its third picture; the latest if left out"


class Parser(argparse.ArgumentParser):
    """Raises one sentence for bad input, instead of printing a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Raise the message as a sentence that may be shown."""
        raise UserError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")


def build_parser() -> Parser:
    """Describe the commands; the options of pictures come from the one table."""
    parser = Parser(prog="marble", description="Words become pictures, on your own GPU and models.")
    parser.add_argument("--version", action="version", version=f"marble {version('marble')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    imagine = _add(commands, "imagine", "draw a picture from words")
    imagine.add_argument("prompt", nargs="*", help="what the picture should show")
    _add_options(imagine)

    rerun = _add(commands, "rerun", "draw a picture again: from its seed, or with changes")
    rerun.add_argument(
        "id",
        nargs="?",
        help="12 for a job, 12.3 for its third picture, or a picture file with a recipe "
        "(Marble's, ComfyUI's or A1111's); the latest if left out",
    )
    rerun.add_argument("--prompt", metavar="TEXT", help="another prompt")
    _add_options(rerun)

    _add_derived(commands)

    read = _add(commands, "read", "show the recipe in a picture file or workflow")
    read.add_argument("file", help="a picture by Marble, ComfyUI or A1111, or a workflow")

    run = _add(commands, "run", "draw a ComfyUI workflow")
    run.add_argument("file", help="a workflow exported by ComfyUI, best in API format")
    _add_options(run)

    history = _add(commands, "history", "list your latest pictures")
    history.add_argument("--limit", default="20", metavar="N", help="how many (default 20)")

    show = _add(commands, "show", "show a picture and its recipe")
    show.add_argument(
        "id", nargs="?", help="12 for a job, 12.3 for its third picture; the latest if left out"
    )
    _add_out(show)

    queue = _add(commands, "queue", "show running and waiting jobs, live")
    queue.add_argument("--once", action="store_true", help="print it once and exit")

    top = _add(commands, "top", "show what a service is doing, live: queue, rates, errors, device")
    top.add_argument("--once", action="store_true", help="print it once and exit")

    pause = _add(commands, "pause", "pause the queue, with a reason people see")
    pause.add_argument("reason", nargs="+", metavar="REASON", help="shown to people who wait")
    _add(commands, "resume", "resume the queue")

    rules = _add(commands, "rules", "show or change the rules of a place")
    rules.add_argument("place", nargs="?", default="*", metavar="PLACE", help=PLACES)
    rules.add_argument(
        "rules",
        nargs="*",
        metavar="NAME=VALUE",
        help="for example per_minute=6 steps=1-30 blocked=word,other; an empty value removes it",
    )
    ahead = "accept models, LoRAs and so on that are not installed yet"
    rules.add_argument("--ahead", action="store_true", help=ahead)

    _add(commands, "chat", "chat with Marble in this terminal")
    _add(commands, "setup", "ask for the chats' settings and write them to .env")
    _add(commands, "doctor", "check everything that Marble needs, and say how to fix it")
    _add(commands, "serve", "serve the chats, and draw what was requested with --later")
    _add_models(commands)
    _add_styles(commands)
    _add_db(commands)
    return parser


def _add_derived(commands: Any) -> None:
    """Describe the commands that make a picture from another one."""
    vary = _add(commands, "vary", "draw a picture like another one")
    vary.add_argument("id", nargs="?", help=NAMED)
    vary.add_argument("--strong", action="store_true", help="change more of it")

    upscale = _add(commands, "upscale", "make a picture larger, with more detail")
    upscale.add_argument("id", nargs="?", help=NAMED)
    upscale.add_argument(
        "--factor", default="2", metavar="X", help="how many times, 1 to 8 (default 2)"
    )
    upscale.add_argument(
        "--by", default=LANCZOS, metavar="NAME", help="lanczos, latent or an upscale model"
    )
    upscale.add_argument(
        "--strength",
        metavar="X",
        help="how much to redraw for more detail (default: depends on the model)",
    )
    upscale.add_argument("--plain", action="store_true", help="only enlarge, without redrawing")

    zoom = _add(commands, "zoom", "show a picture from further away")
    zoom.add_argument("id", nargs="?", help=NAMED)
    zoom.add_argument("--factor", default="2", metavar="X", help="how far, 1.1 to 4 (default 2)")

    pan = _add(commands, "pan", "continue a picture to the left, right, up or down")
    pan.add_argument("id", nargs="?", help=NAMED)
    pan.add_argument("direction", help="left, right, up or down")

    for parser in (vary, upscale, zoom, pan):
        _add_out(parser)
        _add_later(parser)


def _add_db(commands: Any) -> None:
    """Add `marble db` and its own commands to the parser of `marble`."""
    text = "manage the database: upgrade, check, backup, restore, prune, export, forget"
    parser = _add(commands, "db", text)
    acts = parser.add_subparsers(dest="act", metavar="COMMAND", required=True)
    _add(acts, "upgrade", "upgrade the database to this version (makes a backup first)")
    check = _add(acts, "check", "look for damage and missing pictures")
    check.add_argument("--deep", action="store_true", help="read every picture as well")
    backup = _add(acts, "backup", "copy the database to a new file, while it is in use")
    backup.add_argument("file", type=Path, metavar="FILE")
    restore = _add(acts, "restore", "replace the database with a backup")
    restore.add_argument("file", type=Path, metavar="FILE")
    prune = _add(acts, "prune", "delete old jobs and their pictures, except favourites")
    prune.add_argument("--older-than", required=True, metavar="AGE", help="for example 90d or 1y")
    export = _add(acts, "export", "write everything stored about a person to a zip file")
    export.add_argument("--person", required=True, metavar="ID", help="for example terminal:ada")
    export.add_argument("file", type=Path, metavar="FILE")
    forget = _add(acts, "forget", "delete everything stored about a person, for good")
    forget.add_argument("--person", required=True, metavar="ID", help="for example terminal:ada")


def _add_models(commands: Any) -> None:
    """Add `marble models` and its own commands to the parser of `marble`."""
    text = "list the installed models; `check` loads each"
    parser: argparse.ArgumentParser = commands.add_parser("models", help=text, description=text)
    acts = parser.add_subparsers(dest="act", metavar="COMMAND")
    check = acts.add_parser("check", help="load each model and say why one cannot be used")
    check.add_argument("name", nargs="*", metavar="NAME", help="only these")
    get = acts.add_parser("get", help="download a model from Hugging Face, or list suggestions")
    get.add_argument(
        "name", nargs="?", metavar="NAME", help="a suggestion, owner/name or owner/name/file"
    )


def _add_styles(commands: Any) -> None:
    """Add `marble styles` and its own commands to the parser of `marble`."""
    text = "list the styles for --style; `add` or `remove` one"
    parser: argparse.ArgumentParser = commands.add_parser("styles", help=text, description=text)
    parser.add_argument("--place", default="*", metavar="PLACE", help=f"{PLACES} (the default)")
    acts = parser.add_subparsers(dest="act", metavar="COMMAND")
    add = acts.add_parser("add", help="add a style, replacing one of the same name")
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "prompt",
        nargs="+",
        metavar="WORDS",
        help="{prompt} stands for what people type",
    )
    add.add_argument("--no", default="", metavar="TEXT", help="what to leave out of the picture")
    remove = acts.add_parser("remove", help="remove a style")
    remove.add_argument("name", metavar="NAME")


def _add(commands: Any, name: str, text: str) -> Parser:
    parser: Parser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    return parser


def _add_options(parser: Parser) -> None:
    for option in OPTIONS:
        flags = [f"--{name}" for name in (option.name, *option.aliases)]
        parser.add_argument(
            *flags,
            dest=f"option_{option.name}",
            metavar=option.example,
            help=option.help.replace("%", "%%"),
        )
    parser.add_argument(
        "--image", metavar="FILE", help="start from this picture (a file, or 12.3 for one of yours)"
    )
    parser.add_argument(
        "--mask",
        metavar="FILE",
        help="draw only where this picture is white; or 'alpha': where the start image is "
        "transparent; or a colour painted over it, like red or #ff0000",
    )
    parser.add_argument(
        "--control",
        action="append",
        metavar="MODEL:FILE",
        help="guide the picture by a map, for example canny:house.png,find=canny,"
        "strength=0.8,start=0,end=0.6; may be given several times; 'none' for none",
    )
    _add_out(parser)
    _add_later(parser)


def _add_later(parser: Parser) -> None:
    parser.add_argument("--later", action="store_true", help="do not wait: `marble serve` draws it")


def _add_out(parser: Parser) -> None:
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="save a copy as FILE (for example cat.png; several: cat.png, cat-2.png …)",
    )


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments of a command line; raises `UserError`."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    flags = [word for word in rest if word.startswith("-")]
    if flags:
        raise UnknownOption(flags[0], _flags_of(parser, arguments))
    if rest and arguments.command != "imagine":
        raise UserError(f"`marble {arguments.command}` does not know what to do with {rest[0]!r}.")
    if arguments.command == "imagine":
        # argparse stops taking words at the first option; people do not.
        arguments.prompt = " ".join([*arguments.prompt, *rest])
    return arguments


def _flags_of(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[str]:
    """Return the options that the command takes that was typed, and no other command's."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            chosen = action.choices.get(str(getattr(arguments, action.dest, "")))
            return _flags_of(chosen, arguments) if chosen else []
    return [flag for flag in parser._option_string_actions if flag.startswith("--")]
