"""Reads the values of settings from the texts of environment variables.

A reader is called with the variable's name and its text, stripped; it raises `SettingError`.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bots.admission.blocked_words import read_list
from engine.errors import SettingError
from engine.files.bucket import BadBucketURL, BucketURL
from engine.recipe.limits import read_whole

Reader = Callable[[str, str], Any]

AUTO: Final = "auto"
NO_PROXY: Final = "off"  # the proxy setting for none, whatever the environment says
PROXY_FORM: Final = "a proxy like http://host:3128 or http://user:password@host:3128, or off"
A_LABEL: Final = "labels like nsfw=0.5, with a number above 0 up to 1"

FOLDER: Final = "file:"  # pictures in the data folder
A_RESOURCE: Final = 'names with a part of 1 or a whole number each, like {"GPU": 1}'


def text(key: str, text: str) -> str | None:
    """Return a text as it is, None for an empty one."""
    return text or None


def text_or_off(key: str, text: str) -> str | None:
    """Return a text as it is, None for `off`."""
    return None if text == "off" else text


def matching(pattern: str, allowed: str, *, secret: bool = False) -> Reader:
    """Return a reader of texts that match as a whole, which returns None for an empty one.

    allowed: what is, in words. secret: no error shows the text, since it may be one even if wrong.
    """

    def read(key: str, text: str) -> str | None:
        if text and not re.fullmatch(pattern, text):
            raise SettingError(key, "…" if secret else text, allowed)
        return text or None

    return read


def devices(key: str, text: str) -> str:
    """Read one device, or several with commas between them, each once."""
    names = [re.sub(r":0+(?=\d)", ":", part.strip()) for part in text.lower().split(",")]
    if "" in names:
        raise SettingError(key, text, "devices with one comma between each two, like cuda:0,cuda:2")
    for name in names:
        if not re.fullmatch(r"auto|(cpu|cuda|mps)(:\d+)?", name):
            allowed = "auto, cpu, cuda, cuda:N or mps, or several like cuda:0,cuda:2"
            raise SettingError(key, text, allowed)
    if AUTO in names and len(names) > 1:
        raise SettingError(
            key, text, f"{AUTO} alone, which means all devices, or a list of devices"
        )
    counted = Counter(name if ":" in name else f"{name}:0" for name in names)
    for name, times in counted.items():
        if times > 1:
            allowed = f"a list that names each device once ({name} is there {times} times)"
            raise SettingError(key, text, allowed)
    return ",".join(names)


def one_of(*allowed: str) -> Reader:
    """Return a reader of one of some words, in lower or upper case."""

    def read(key: str, text: str) -> str:
        if text.lower() not in allowed:
            raise SettingError(key, text, f"one of {', '.join(allowed)}")
        return text.lower()

    return read


def number(least: int, most: int) -> Reader:
    """Return a reader of whole numbers within bounds."""

    def read(key: str, text: str) -> int:
        if (found := read_whole(text, least, most)) is None:
            raise SettingError(key, text, f"a whole number between {least} and {most}")
        return found

    return read


def address(*schemes: str) -> Reader:
    """Return a reader of URLs of some schemes, without a slash at their end."""
    allowed = f"an address that begins with {' or '.join(schemes)}://"
    read = matching(rf"({'|'.join(schemes)})://[^\s/?#@]+[^\s?#@]*", allowed)
    return lambda key, text: (read(key, text) or "").rstrip("/") or None


def origin(key: str, text: str) -> str | None:
    """Read the address of a web page of its own: scheme, host and port, without a path."""
    allowed = "an address without a path, like https://marble.example"
    host = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]"
    read = matching(rf"https?://({host})(:\d{{1,5}})?/?", allowed)
    return (read(key, text.lower()) or "").rstrip("/") or None


def switch(key: str, text: str) -> bool:
    """Read 0 or 1."""
    return bool(one_of("0", "1")(key, text) == "1")


def data_dir(key: str, text: str) -> Path:
    """Read the path of a folder that is there or can be made."""
    path = _path(key, text)
    with suppress(OSError):  # what cannot be looked at fails where it is opened
        if next(over for over in (path, *path.absolute().parents) if over.exists()).is_file():
            raise SettingError(key, text, "a folder, or where one can be made")
    return path


def readable_dir(key: str, text: str) -> Path | None:
    """Read the path of a folder that can be read."""
    if not text:
        return None
    path = _path(key, text)
    if not (path.is_dir() and os.access(path, os.R_OK | os.X_OK)):
        raise SettingError(key, text, "a folder that exists and can be read")
    return path


def people(key: str, text: str) -> frozenset[str]:
    """Read people's names with commas between."""
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if not all(name.partition(":")):
            raise SettingError(key, name, "people as platform:name, separated by commas")
    return names


def words(key: str, text: str) -> tuple[str, ...]:
    """Read words as rules list them."""
    return tuple(read_list(text))


def labels(key: str, text: str) -> Mapping[str, float]:
    """Read a classifier's labels with their thresholds, above 0 up to 1."""
    found = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        label, _, limit = pair.rpartition("=")
        if not (label.strip() and re.fullmatch(r"0?\.\d+|1(\.0+)?", limit.strip(), re.ASCII)):
            raise SettingError(key, pair, A_LABEL)
        found[label.strip().lower()] = float(limit)
    if not all(found.values()):
        raise SettingError(key, text, A_LABEL)
    return found


def proxy(key: str, text: str) -> str | None:
    """Read a proxy's URL, or `off`."""
    if text.lower() == NO_PROXY:
        return NO_PROXY
    form = r"https?://([^\s/@]+@)?[^\s/?#@:]+(:\d{1,5})?/?"
    return (matching(form, PROXY_FORM, secret=True)(key, text) or "").rstrip("/") or None


def reactions(key: str, text: str) -> Mapping[str, str]:
    """Read pairs of an emoji and an action, like 👍=same, with spaces between."""
    pairs = [word.partition("=") for word in text.split()]
    if not all(emoji and action for emoji, _, action in pairs):
        raise SettingError(key, text, "pairs like 👍=same, separated by spaces")
    return {emoji: action for emoji, _, action in pairs}


def listen(key: str, text: str) -> str | None:
    """Read a host and a port; None for an empty text."""
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not host or read_whole(port, 0, 65535) is None:
        raise SettingError(key, text, "host:port, like 127.0.0.1:8443")
    return text


def pictures_url(key: str, text: str) -> str | None:
    """Read where pictures are kept (None: in the data folder); no error shows it, nor its keys."""
    if text == FOLDER:
        return None
    try:
        BucketURL.parse(text)
    except BadBucketURL as error:
        raise SettingError(key, "…", f"{FOLDER} or {error}") from None
    return text


def ray_address(key: str, text: str) -> str:
    """Read where a Ray cluster is."""
    form = r"local|auto|(ray://)?([\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}"
    allowed = "local, auto, host:port like 10.0.0.1:6379, or ray://host:port"
    return matching(form, allowed)(key, text) or "local"


def ray_engines(key: str, text: str) -> int | None:
    """Read how many engines a cluster runs; None: one for each place that there is."""
    if text.lower() == "auto":
        return None
    if (found := read_whole(text, 1, 1000)) is None:
        raise SettingError(key, text, "auto or a whole number between 1 and 1000")
    return found


def resources(key: str, text: str) -> Mapping[str, float]:
    """Read what an engine takes of a machine's resources, by Ray's names for them."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not (isinstance(found, dict) and found and all(map(_is_share, found.values()))):
        raise SettingError(key, text, A_RESOURCE)
    return {str(name): float(each) for name, each in found.items()}


def _is_share(value: object) -> bool:
    """Whether Ray can give so much of a resource: a part of one, or a whole number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 1e-4 <= value <= 1e9 and (value < 1 or value == int(value))


def snowflake(key: str, text: str) -> int | None:
    """Read an id of Discord's."""
    found = matching(r"[0-9]{1,19}", "the id of a server, a number")(key, text)
    return int(found) if found else None


def _path(key: str, text: str) -> Path:
    if "\0" in text:
        raise SettingError(key, text, "the path of a folder")
    return Path(text).expanduser()
