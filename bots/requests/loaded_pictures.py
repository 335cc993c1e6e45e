"""Pictures that ComfyUI's graphs load: found beside them, and described for who reads the graph."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.errors import ImageError
from engine.formats.graphs.node_values import LoadedPicture
from engine.pictures.image_header import read_image_header

if TYPE_CHECKING:
    from bots.requests.studio import Studio
    from storage.jobs.picture_files import Pictures

# Where ComfyUI keeps the pictures that its graphs load, seen from a workflow's own folder.
FOLDERS: Final = (".", "input", "../input", "../../input")
ANNOTATED: Final = re.compile(r" \[(input|output|temp)\]$")  # ComfyUI's note on a file's folder
OURS: Final = re.compile(r"[0-9a-f]{64}\.png")


def find_beside(folder: Path, name: str) -> Path | None:
    """Return the file that a workflow in a folder loads, if it is there."""
    within = Path(ANNOTATED.sub("", name))
    if within.is_absolute() or ".." in within.parts:
        return None  # a workflow of somebody else's takes no picture from elsewhere
    files = (folder / place / within for place in FOLDERS)
    return next(filter(os.path.isfile, files), None)


async def describe(
    image: str, channels: Iterable[str], studio: Studio, pictures: Pictures
) -> LoadedPicture:
    """Return a stored picture as a graph loads it, with masks of its channels."""
    header = read_image_header(await asyncio.to_thread(pictures.fetch, image))
    masks = {}
    for channel in channels:
        with suppress(ImageError):  # nothing is marked there: said where it is used
            masks[channel] = await studio.keep_channel(image, channel)
    return LoadedPicture(image=image, width=header.width, height=header.height, masks=masks)
