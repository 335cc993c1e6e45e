"""Frozen settings, read once from the environment and `.env`.

Each variable has one entry here and one in `.env.example`; a test compares the two.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, unquote_plus

from dotenv import dotenv_values

from bots.admission.blocked_words import read_list
from engine.errors import SettingError, UserError

# What the tests and benchmarks of Marble itself are told.
FOR_TESTS: Final = (
    "MARBLE_TEST_",
    "MARBLE_REQUIRE_",
    "MARBLE_SHARED_",
    "MARBLE_FUZZ",
    "MARBLE_BENCH",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Hold what the owner has decided; see `.env.example` for each field's meaning."""

    data_dir: Path
    database_url: str | None = field(repr=False)  # it may hold a password
    models_dir: Path | None
    device: str
    executor: str
    batching: str
    compile: bool
    queue_length: int
    waiting_per_person: int
    running_per_person: int
    owners: frozenset[str]
    moderators: frozenset[str]
    per_minute: int
    place_per_minute: int
    daily_budget: int
    blocked_words: tuple[str, ...]
    prompt_hook: str | None
    safety: str
    safety_model: str | None
    safety_labels: Mapping[str, float]
    backups: int
    keep_days: int
    grace_seconds: int
    metrics_host: str
    metrics_port: int
    terminal_pictures: str
    debug: bool
    proxy: str | None = field(repr=False)  # a URL, `off`, or None: the environment decides
    telegram_token: str | None = field(repr=False)
    telegram_api_base: str
    telegram_file_base: str
    telegram_webhook_url: str | None
    telegram_webhook_listen: str
    telegram_reactions: Mapping[str, str]
    discord_token: str | None = field(repr=False)
    discord_api_base: str
    discord_gateway: str
    discord_test_guild: int | None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return what must never be shown, in a log least of all."""
        url = self.database_url
        tokens = filter(None, (self.telegram_token, self.discord_token))
        return (*tokens, *(_passwords(url) if url else ()))


def _passwords(url: str) -> Iterator[str]:
    """Yield the passwords of a database's URL, as they are written there and as they are meant."""
    before, _, query = url.partition("?")
    user = before.partition("://")[2].rpartition("@")[0]
    fields = (field.partition("=") for field in query.split("&"))
    for written in (user.partition(":")[2], *(v for name, _, v in fields if name == "password")):
        if written:
            yield from dict.fromkeys((written, unquote(written), unquote_plus(written)))


class EnvFileOpen(UserError):
    """Say that a file of secrets can be read by others, and what mends it."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"{file} holds secrets and others can read it: run `chmod 600 {file}`.")


@dataclass(frozen=True, slots=True)
class Variable:
    """Describe one environment variable: the field it sets, its default, how its text is read."""

    key: str
    field: str
    default: str
    read: Callable[[str, str], Any]


def _path(key: str, text: str) -> Path:
    if "\0" in text:
        raise SettingError(key, text, "the path of a folder")
    return Path(text).expanduser()


def _data_dir(key: str, text: str) -> Path:
    path = _path(key, text)
    with suppress(OSError):  # what cannot even be looked at is told by what opens it
        if next(over for over in (path, *path.absolute().parents) if over.exists()).is_file():
            raise SettingError(key, text, "a folder, or where one can be made")
    return path


def _models_dir(key: str, text: str) -> Path | None:
    if not text:
        return None
    path = _path(key, text)
    if not (path.is_dir() and os.access(path, os.R_OK | os.X_OK)):
        raise SettingError(key, text, "a folder that exists and can be read")
    return path


def _text(key: str, text: str) -> str:
    return text


def _optional(key: str, text: str) -> str | None:
    return text or None


def _one_of(*allowed: str) -> Callable[[str, str], str]:
    def read(key: str, text: str) -> str:
        if text.lower() not in allowed:
            raise SettingError(key, text, f"one of {', '.join(allowed)}")
        return text.lower()

    return read


def _switch(key: str, text: str) -> bool:
    return _one_of("0", "1")(key, text) == "1"


def _number(least: int, most: int) -> Callable[[str, str], int]:
    def read(key: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise SettingError(key, text, f"a whole number between {least} and {most}")
        return int(text)

    return read


def _people(key: str, text: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if not all(name.partition(":")):
            raise SettingError(key, name, "people as platform:name, separated by commas")
    return names


def _words(key: str, text: str) -> tuple[str, ...]:
    return tuple(read_list(text))


def _labels(key: str, text: str) -> Mapping[str, float]:
    found = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        label, _, limit = pair.rpartition("=")
        if not (label.strip() and re.fullmatch(r"0?\.\d+|1(\.0+)?", limit.strip(), re.ASCII)):
            raise SettingError(key, pair, "labels like nsfw=0.5, with a number above 0 up to 1")
        found[label.strip().lower()] = float(limit)
    if not all(found.values()):
        raise SettingError(key, text, "labels like nsfw=0.5, with a number above 0 up to 1")
    return found


def _executor(key: str, text: str) -> str:
    if text not in ("child", "inprocess") and not re.fullmatch(r"[\w.]+:\w+", text):
        raise SettingError(key, text, "child, inprocess or module:factory")
    return text


def _telegram_token(key: str, text: str) -> str | None:
    if text and not re.fullmatch(r"\d{3,20}:[\w-]{20,80}", text):
        # The value itself is a secret, even where it is wrong.
        raise SettingError(key, "…", "a token as @BotFather gives it, like 123456:ABC-DEF…")
    return text or None


def _address(*schemes: str) -> Callable[[str, str], str]:
    def read(key: str, text: str) -> str:
        if not re.fullmatch(rf"({'|'.join(schemes)})://[^\s/?#@]+[^\s?#@]*", text):
            raise SettingError(key, text, f"an address that begins with {' or '.join(schemes)}://")
        return text.rstrip("/")

    return read


def _proxy(key: str, text: str) -> str | None:
    if text.lower() == NO_PROXY:
        return NO_PROXY
    if text and not re.fullmatch(r"https?://([^\s/@]+@)?[^\s/?#@:]+(:\d{1,5})?/?", text):
        raise SettingError(key, "…", PROXY_FORM)  # there may be a password in it
    return text.rstrip("/") or None


def _optional_address(*schemes: str) -> Callable[[str, str], str | None]:
    read = _address(*schemes)
    return lambda key, text: read(key, text) if text else None


def _reactions(key: str, text: str) -> Mapping[str, str]:
    pairs = [word.partition("=") for word in text.split()]
    for emoji, _, act in pairs:
        if not (emoji and act):
            raise SettingError(key, text, "pairs like 👍=same, separated by spaces")
    return {emoji: act for emoji, _, act in pairs}


def _listen(key: str, text: str) -> str:
    host, _, port = text.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise SettingError(key, text, "host:port, like 127.0.0.1:8443")
    return text


def _discord_token(key: str, text: str) -> str | None:
    if text and not re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", text):
        raise SettingError(key, "…", "a bot's token: three words with dots between them")
    return text or None


def _snowflake(key: str, text: str) -> int | None:
    if text and not (text.isascii() and text.isdigit() and len(text) < 20):
        raise SettingError(key, text, "the id of a server, a number")
    return int(text) if text else None


def _hook(key: str, text: str) -> str | None:
    if text and not re.fullmatch(r"[\w.]+:\w+", text):
        raise SettingError(key, text, "module:function")
    return text or None


def _device(key: str, text: str) -> str:
    kind, _, index = text.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or not (index or "0").isdigit():
        raise SettingError(key, text, "auto, cpu, cuda, cuda:N or mps")
    return text


PROXY: Final = "MARBLE_PROXY"
NO_PROXY: Final = "off"  # its value for none, whatever the environment says
PROXY_FORM: Final = "a proxy like http://host:3128 or http://user:password@host:3128, or off"
SECRET: Final = ("MARBLE_TELEGRAM_TOKEN", "MARBLE_DISCORD_TOKEN", "MARBLE_DATABASE_URL")
VARIABLES: Final = (
    Variable("MARBLE_DATA_DIR", "data_dir", "data", _data_dir),
    Variable("MARBLE_DATABASE_URL", "database_url", "", _optional),
    Variable("MARBLE_MODELS_DIR", "models_dir", "", _models_dir),
    Variable("MARBLE_DEVICE", "device", "auto", _device),
    Variable("MARBLE_EXECUTOR", "executor", "child", _executor),
    Variable("MARBLE_BATCHING", "batching", "exact", _one_of("exact", "throughput")),
    Variable("MARBLE_COMPILE", "compile", "0", _switch),
    Variable("MARBLE_QUEUE_LENGTH", "queue_length", "1000", _number(1, 100_000)),
    Variable("MARBLE_WAITING_PER_PERSON", "waiting_per_person", "20", _number(1, 100_000)),
    Variable("MARBLE_RUNNING_PER_PERSON", "running_per_person", "4", _number(1, 1000)),
    Variable("MARBLE_OWNERS", "owners", "", _people),
    Variable("MARBLE_MODERATORS", "moderators", "", _people),
    Variable("MARBLE_PER_MINUTE", "per_minute", "30", _number(0, 100_000)),
    Variable("MARBLE_PLACE_PER_MINUTE", "place_per_minute", "300", _number(0, 100_000)),
    Variable("MARBLE_DAILY_BUDGET", "daily_budget", "0", _number(0, 1_000_000_000)),
    Variable("MARBLE_BLOCKED_WORDS", "blocked_words", "", _words),
    Variable("MARBLE_PROMPT_HOOK", "prompt_hook", "", _hook),
    Variable("MARBLE_SAFETY", "safety", "off", _one_of("off", "spoiler", "refuse")),
    Variable("MARBLE_SAFETY_MODEL", "safety_model", "", _optional),
    Variable("MARBLE_SAFETY_LABELS", "safety_labels", "nsfw=0.5", _labels),
    Variable("MARBLE_BACKUPS", "backups", "7", _number(0, 1000)),
    Variable("MARBLE_KEEP_DAYS", "keep_days", "0", _number(0, 100_000)),
    Variable("MARBLE_GRACE_SECONDS", "grace_seconds", "25", _number(0, 3600)),
    Variable("MARBLE_METRICS_HOST", "metrics_host", "127.0.0.1", _text),
    Variable("MARBLE_METRICS_PORT", "metrics_port", "0", _number(0, 65_535)),
    Variable(
        "MARBLE_TERMINAL_PICTURES",
        "terminal_pictures",
        "auto",
        _one_of("auto", "kitty", "iterm", "sixel", "blocks", "off"),
    ),
    Variable("MARBLE_DEBUG", "debug", "0", _switch),
    Variable(PROXY, "proxy", "", _proxy),
    Variable("MARBLE_TELEGRAM_TOKEN", "telegram_token", "", _telegram_token),
    Variable(
        "MARBLE_TELEGRAM_API_BASE",
        "telegram_api_base",
        "https://api.telegram.org",
        _address("https", "http"),
    ),
    Variable(
        "MARBLE_TELEGRAM_FILE_BASE",
        "telegram_file_base",
        "https://api.telegram.org/file",
        _address("https", "http"),
    ),
    Variable("MARBLE_TELEGRAM_WEBHOOK_URL", "telegram_webhook_url", "", _optional_address("https")),
    Variable(
        "MARBLE_TELEGRAM_WEBHOOK_LISTEN", "telegram_webhook_listen", "127.0.0.1:8443", _listen
    ),
    Variable(
        "MARBLE_TELEGRAM_REACTIONS",
        "telegram_reactions",
        "👍=same 🔥=new 🤯=vary 💔=delete ✍=recipe",
        _reactions,
    ),
    Variable("MARBLE_DISCORD_TOKEN", "discord_token", "", _discord_token),
    Variable(
        "MARBLE_DISCORD_API_BASE",
        "discord_api_base",
        "https://discord.com/api/v10",
        _address("https", "http"),
    ),
    Variable(
        "MARBLE_DISCORD_GATEWAY",
        "discord_gateway",
        "wss://gateway.discord.gg",
        _address("wss", "ws"),
    ),
    Variable("MARBLE_DISCORD_TEST_GUILD", "discord_test_guild", "", _snowflake),
)


def _refuse_open(file: Path, kept: Mapping[str, str | None]) -> None:
    """Raise `EnvFileOpen` for secrets in a file that others on this machine can read."""
    secrets = os.name == "posix" and any(kept.get(key) for key in SECRET)
    secrets = secrets or (os.name == "posix" and "@" in (kept.get(PROXY) or ""))
    if secrets and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise EnvFileOpen(file)


def unknown_settings(environ: Mapping[str, str] | None = None, env_file: str = ".env") -> list[str]:
    """Return the names that look like settings of Marble's, are set, and mean nothing."""
    given = {**dotenv_values(env_file), **(os.environ if environ is None else environ)}
    known = {variable.key for variable in VARIABLES}
    return sorted(
        key
        for key in given
        if key.startswith("MARBLE_") and key not in known and not key.startswith(FOR_TESTS)
    )


def load_settings(environ: Mapping[str, str] | None = None, env_file: str = ".env") -> Settings:
    """Read the settings; the environment wins over `.env`, and a bad value raises `SettingError`.

    An empty value means the default, as an unset one does.
    """
    kept = dotenv_values(env_file)
    _refuse_open(Path(env_file), kept)
    given = {**kept, **(os.environ if environ is None else environ)}
    return Settings(
        **{
            variable.field: variable.read(
                variable.key, (given.get(variable.key) or "").strip() or variable.default
            )
            for variable in VARIABLES
        }
    )
