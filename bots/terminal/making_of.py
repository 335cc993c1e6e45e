"""`marble making-of`: draw a picture again, and write how it came about."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Final

from bots.operations.settings import Settings
from bots.presentation.making_of import MakingOf, animation, page, strip
from bots.terminal.arguments import new_file
from bots.terminal.commands import Session, in_session
from bots.texts import EN
from engine.errors import UserError

SUFFIX: Final = ".html"


async def making_of(arguments: Namespace, settings: Settings) -> None:
    """Write the page, the animation and the strip of a picture's making-of."""
    typed = arguments.output
    output = None if typed is None else new_file("--output", typed, [SUFFIX])
    write = partial(write_making_of, name=arguments.id, output=output, gif=arguments.gif)
    await in_session(arguments, settings, write)


async def write_making_of(
    session: Session, name: str | None, output: Path | None = None, *, gif: bool = False
) -> None:
    """Draw a picture again, and write its making-of; None is this person's latest.

    output: of the page, here by the picture's name where it is None; the others lie beside it.
    """
    making = await session.making_of(name)
    target = output or Path(f"making-of-{making.name}{SUFFIX}")
    for path in await asyncio.to_thread(_write, making, target, gif=gif):
        session.console.print(f"  {path}", soft_wrap=True)


def _write(making: MakingOf, target: Path, *, gif: bool) -> list[Path]:
    """Write the page, and beside it the animation and the strip; raises `UserError`."""
    moving = animation(making, "GIF" if gif else "WEBP")
    files = {
        target: page(making, EN).encode(),
        target.with_suffix(".gif" if gif else ".webp"): moving,
        target.with_suffix(".png"): strip(making),
    }
    for path, data in files.items():
        try:
            path.write_bytes(data)
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror}).") from None
    return list(files)
