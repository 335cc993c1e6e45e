"""The text of /privacy: which data is stored, in the owner's words or in Marble's."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from bots.operations.settings import Settings
from bots.texts import Words

log = logging.getLogger(__name__)

LONGEST: Final = 20_000  # bytes that are read; adapters cut it shorter


async def privacy_text(settings: Settings, words: Words) -> str:
    """Return `privacy.LANGUAGE.md` or `privacy.md` of the data folder, else Marble's own text.

    The file is read each time, so that an edit applies at once.
    """
    for name in (f"privacy.{words.language}.md", "privacy.md"):
        if text := await asyncio.to_thread(_read, settings.data_dir / name):
            return text
    return words.privacy


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(LONGEST).decode("utf-8", "ignore").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        log.error(
            "%s cannot be read (%s); /privacy answers with Marble's own text", file, error.strerror
        )
        return ""
