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

NAMED: Final = "12 for a job, 12.3 for its third picture; else the last"


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
    imagine.add_argument("prompt", nargs="*", help="what the picture shows")
    _add_options(imagine)

    rerun = _add(commands, "rerun", "draw a picture again: from its seed, or with changes")
    rerun.add_argument(
        "id",
        nargs="?",
        help="12 for a job, 12.3 for its third picture, or a picture file that carries its recipe "
        "(Marble's, ComfyUI's or A1111's); else the last",
    )
    rerun.add_argument("--prompt", metavar="TEXT", help="other words")
    _add_options(rerun)

    _add_derived(commands)

    read = _add(commands, "read", "say what a picture was made from, whoever made it")
    read.add_argument("file", help="a picture by Marble, ComfyUI or A1111, or a workflow")

    run = _add(commands, "run", "draw what a ComfyUI workflow says")
    run.add_argument("file", help="a workflow that ComfyUI exported, best in its API format")
    _add_options(run)

    history = _add(commands, "history", "list your latest pictures")
    history.add_argument("--limit", default="20", metavar="N", help="how many (default 20)")

    show = _add(commands, "show", "show a picture and what it was made from")
    show.add_argument(
        "id", nargs="?", help="12 for a job, 12.3 for its third picture; else the last"
    )
    _add_out(show)

    queue = _add(commands, "queue", "show what runs and what waits, live")
    queue.add_argument("--once", action="store_true", help="print it once and end")

    top = _add(commands, "top", "show what a service is doing, live: queue, rates, errors, device")
    top.add_argument("--once", action="store_true", help="print it once and end")

    pause = _add(commands, "pause", "let nothing more start, and tell people why")
    pause.add_argument("reason", nargs="+", metavar="REASON", help="what people who wait are told")
    _add(commands, "resume", "let jobs start again")

    rules = _add(commands, "rules", "show or change what people may ask for in a place")
    rules.add_argument("place", nargs="?", default="*", metavar="PLACE", help=PLACES)
    rules.add_argument(
        "rules",
        nargs="*",
        metavar="NAME=VALUE",
        help="for example per_minute=6 steps=1-30 blocked=word,other; nothing after = removes it",
    )
    ahead = "take names of models, LoRAs and the like that are not there yet"
    rules.add_argument("--ahead", action="store_true", help=ahead)

    _add(commands, "chat", "talk with Marble here as in a chat")
    _add(commands, "setup", "be asked for what the chats need, and have it written to .env")
    _add(commands, "doctor", "look at everything that Marble needs, and say what helps")
    _add(commands, "serve", "work in the background on what was asked for with --later")
    _add_models(commands)
    _add_styles(commands)
    _add_db(commands)
    return parser


def _add_derived(commands: Any) -> None:
    """Describe the commands that make a picture from another one."""
    vary = _add(commands, "vary", "draw a picture like another one")
    vary.add_argument("id", nargs="?", help=NAMED)
    vary.add_argument("--strong", action="store_true", help="less like it")

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
        help="how much detail is drawn into it (default: as suits the model)",
    )
    upscale.add_argument("--plain", action="store_true", help="larger at once, nothing drawn anew")

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
    text = "look after the database: upgrade, check, backup, restore, prune, export, forget"
    parser = _add(commands, "db", text)
    acts = parser.add_subparsers(dest="act", metavar="COMMAND", required=True)
    _add(acts, "upgrade", "bring the database to this version (a backup is made first)")
    check = _add(acts, "check", "look for damage and missing pictures")
    check.add_argument("--deep", action="store_true", help="read every picture as well")
    backup = _add(acts, "backup", "copy the database to a new file, while it is in use")
    backup.add_argument("file", type=Path, metavar="FILE")
    restore = _add(acts, "restore", "put a backup in the database's place")
    restore.add_argument("file", type=Path, metavar="FILE")
    prune = _add(acts, "prune", "remove old jobs and their pictures, but no favourites")
    prune.add_argument("--older-than", required=True, metavar="AGE", help="for example 90d or 1y")
    export = _add(acts, "export", "write all that is kept of a person to a zip file")
    export.add_argument("--person", required=True, metavar="ID", help="for example terminal:ada")
    export.add_argument("file", type=Path, metavar="FILE")
    forget = _add(acts, "forget", "remove all that is kept of a person, for good")
    forget.add_argument("--person", required=True, metavar="ID", help="for example terminal:ada")


def _add_models(commands: Any) -> None:
    """Add `marble models` and its own commands to the parser of `marble`."""
    text = "list the models that are here; `check` loads each"
    parser: argparse.ArgumentParser = commands.add_parser("models", help=text, description=text)
    acts = parser.add_subparsers(dest="act", metavar="COMMAND")
    check = acts.add_parser("check", help="load each model and tell why one cannot be used")
    check.add_argument("name", nargs="*", metavar="NAME", help="only these")
    get = acts.add_parser("get", help="fetch a model from the Hugging Face hub, or list offers")
    get.add_argument(
        "name", nargs="?", metavar="NAME", help="an offer, owner/name or owner/name/file"
    )


def _add_styles(commands: Any) -> None:
    """Add `marble styles` and its own commands to the parser of `marble`."""
    text = "list the words that are kept for --style; `add` and `remove` some"
    parser: argparse.ArgumentParser = commands.add_parser("styles", help=text, description=text)
    parser.add_argument("--place", default="*", metavar="PLACE", help=f"{PLACES} (the default)")
    acts = parser.add_subparsers(dest="act", metavar="COMMAND")
    add = acts.add_parser("add", help="keep words by a name; one of that name is replaced")
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "prompt", nargs="+", metavar="WORDS", help="{prompt} stands for what is typed later"
    )
    add.add_argument("--no", default="", metavar="TEXT", help="what the picture should not show")
    remove = acts.add_parser("remove", help="keep a style no longer")
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
            help=option.help["en"].replace("%", "%%"),
        )
    parser.add_argument(
        "--image", metavar="FILE", help="start from this picture (a file, or 12.3 for one of yours)"
    )
    parser.add_argument(
        "--mask",
        metavar="FILE",
        help="draw only where this picture is white; or 'alpha': where the start image is "
        "transparent; or a colour that was painted over it, like red or #ff0000",
    )
    parser.add_argument(
        "--control",
        action="append",
        metavar="MODEL:FILE",
        help="let a ControlNet steer by this map, for example canny:house.png,find=canny,"
        "strength=0.8,start=0,end=0.6; several steer together; 'none' for none",
    )
    _add_out(parser)
    _add_later(parser)


def _add_later(parser: Parser) -> None:
    parser.add_argument(
        "--later", action="store_true", help="do not wait: leave it to marble serve"
    )


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
