"""The `marble` command: settings, logging, exit codes. Each command imports what it needs."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from importlib import import_module
from typing import Any, Final

from bots.operations import logs, proxy
from bots.operations.settings import Settings, load_settings
from bots.terminal.arguments import BAD_INPUT, FAILED, INTERRUPTED, OK
from bots.terminal.escaping import complain
from bots.terminal.parser import parse
from engine.errors import UserError

# The modules of handlers that are in none of their command's name.
MODULES: Final = {
    **dict.fromkeys(
        ("imagine", "rerun", "edit", "blend", "describe", "vary", "upscale", "zoom", "pan"),
        "commands",
    ),
    **dict.fromkeys(("run", "history", "show", "serve"), "commands"),
    **dict.fromkeys(("pause", "resume"), "queue"),
    "read": "recipe_files",
    "pictures": "picture_store",
}

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0 done, 2 bad input, 130 interrupted, 1 otherwise."""
    logs.set_up(debug=False)
    try:
        arguments = parse(argv)
        settings = load_settings()
        service = arguments.command == "serve"
        secrets = (*settings.secrets, *proxy.secrets_of(settings))
        logs.set_up(settings.debug, secrets, service=service)
        proxy.export(settings)
        return asyncio.run(_run(arguments, settings))
    except UserError as error:
        complain(str(error))
        return FAILED if error.passing else BAD_INPUT
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    except BrokenPipeError:
        # `marble history | head`: the reader has seen enough. Keep Python from saying so again
        # when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception:
        log.exception("an unexpected error occurred")
        return FAILED


async def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the handler of a command: `check` of db.py for `marble db check`, else `styles` or so."""
    # What is imported stays: a collector that looks through it takes a tenth of a short command.
    gc.disable()
    command = arguments.command.replace("-", "_")
    module = import_module(f"bots.terminal.{MODULES.get(command, command)}")
    gc.freeze()
    gc.enable()
    handler: Callable[[argparse.Namespace, Settings], Coroutine[Any, Any, int | None]]
    handler = getattr(module, arguments.words.split()[-1], None) or getattr(module, command)
    task = asyncio.ensure_future(handler(arguments, settings))
    # SIGTERM cancels as Ctrl-C does by asyncio.run.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task or OK


if __name__ == "__main__":
    sys.exit(main())
