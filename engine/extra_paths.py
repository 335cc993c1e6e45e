"""Follow ComfyUI's `extra_model_paths.yaml`: where else a ComfyUI folder's models lie.

    a1111:
        base_path: ../stable-diffusion-webui/
        checkpoints: models/Stable-diffusion
        loras: |
            models/Lora
            models/LyCORIS

Each section names a base (relative to the file itself) and, for a kind of files, one or more
folders below it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

log = logging.getLogger(__name__)

FILE: Final = "extra_model_paths.yaml"


def extra_folders(root: Path, keys: tuple[str, ...]) -> list[Path]:
    """Return the folders that the file in `root` (or above its `models`) names for some keys."""
    places = (root / FILE, root.parent / FILE) if root.name == "models" else (root / FILE,)
    for place in places:
        try:
            stat = place.stat()
        except OSError:
            continue
        sections = _read(place, stat.st_mtime_ns)
        return [folder for key, folder in sections if key in keys]
    return []


@lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> tuple[tuple[str, Path], ...]:
    """Return key and folder of every line; an unreadable file is told once and names none."""
    import yaml  # seldom needed, and the command line starts without it

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return tuple(_folders(path.parent, data or {}))
    except (OSError, ValueError, AttributeError, TypeError, yaml.YAMLError) as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        log.warning("%s is not followed: %s", path, reason)
        return ()


def _folders(home: Path, data: Any) -> Iterator[tuple[str, Path]]:
    for section in data.values():
        if not section:  # its lines are comments
            continue
        lines = dict(section)
        base = home / _expanded(lines.pop("base_path", None) or "")
        for key, folders in lines.items():
            if isinstance(folders, str):  # `is_default` is none
                for folder in folders.split("\n"):
                    if folder.strip():
                        yield str(key), base / _expanded(folder.strip())


def _expanded(path: str) -> str:
    return os.path.expandvars(os.path.expanduser(path))
