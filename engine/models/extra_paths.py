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

import logging
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from engine.errors import first_line, shorten

log = logging.getLogger(__name__)

FILE: Final = "extra_model_paths.yaml"
LARGEST: Final = 64 * 2**10  # bytes; ComfyUI's example has two thousand
LONGEST: Final = 4096  # characters of a path
DEEPEST: Final = 20  # levels: PyYAML looks at all of them at each word
ALIASES: Final = 10  # of them a file may use few: each may double what it stands for


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
    """Return key and folder of every line; lines that cannot be used are logged once."""
    import yaml  # seldom needed, and the command line starts without it

    try:
        return tuple(_folders(path, _parse(path)))
    except (OSError, ValueError, yaml.YAMLError) as error:
        _warn(path, first_line(error))
        return ()


def _parse(path: Path) -> Mapping[Any, Any]:
    """Return the sections of a file, or raise `ValueError`, `OSError` or `YAMLError`."""
    import yaml

    with path.open("rb") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError(f"it has more than {LARGEST >> 10} KiB")
    depth = aliases = 0
    for event in yaml.parse(text, yaml.SafeLoader):  # read as far as this goes on
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > DEEPEST:
            raise ValueError("it nests too deeply")
        if aliases > ALIASES:
            raise ValueError(f"it uses more than {ALIASES} aliases")
    data = yaml.safe_load(text)
    if not isinstance(data or {}, Mapping):
        raise ValueError("it holds no sections with a name")
    return data or {}


def _warn(path: Path, why: str, what: object = "") -> None:
    part = f"{shorten(what)} in " if what else ""
    log.warning("%s%s is ignored: %s.", part, path, why.rstrip("."))


def _folders(path: Path, sections: Mapping[Any, Any]) -> Iterator[tuple[str, Path]]:
    for name, section in sections.items():
        if not section:  # its lines are comments
            continue
        if not isinstance(section, Mapping):
            _warn(path, "it holds no lines like `loras: folder`", name)
            continue
        base = section.get("base_path") or ""
        if not isinstance(base, str):
            _warn(path, "its base_path is no path", name)
            continue
        yield from _lines(path, path.parent / _expanded(base), section)


def _lines(path: Path, base: Path, section: Mapping[Any, Any]) -> Iterator[tuple[str, Path]]:
    for key, folders in section.items():
        if key == "base_path" or not isinstance(folders, str):  # `is_default` is none
            continue
        for line in filter(None, map(str.strip, folders.split("\n"))):
            folder = base / _expanded(line)
            if why := _problem(folder):
                _warn(path, why, line)
            else:
                yield str(key), folder


def _problem(folder: Path) -> str | None:
    """Say why a folder can never be there; one that is not there yet is none."""
    try:
        folder.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except OSError as error:
        return error.strerror
    except ValueError:
        return "no name of a file may hold such characters"
    return None


def _expanded(path: str) -> str:
    if len(path) > LONGEST:  # variables are looked for again at each of them
        return path
    return os.path.expandvars(os.path.expanduser(path))
