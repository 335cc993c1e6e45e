"""Frozen settings, read once from the environment and `.env`.

Each variable has one entry here and one in `.env.example`; a test compares the two.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, unquote_plus

from dotenv import dotenv_values

from bots.operations import readers
from engine.errors import UserError

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
    """The settings of an owner; `.env.example` says what each field means."""

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
    """A file of secrets can be read by others; names the command that closes it."""

    def __init__(self, file: Path) -> None:
        super().__init__(f"{file} holds secrets and others can read it: run `chmod 600 {file}`.")


@dataclass(frozen=True, slots=True)
class Variable:
    """Describe one environment variable: the field it sets, its default, how its text is read."""

    key: str
    field: str
    default: str
    read: readers.Reader


PROXY: Final = "MARBLE_PROXY"
SECRET: Final = ("MARBLE_TELEGRAM_TOKEN", "MARBLE_DISCORD_TOKEN", "MARBLE_DATABASE_URL")
DEVICE: Final = readers.matching(r"(auto|cpu|cuda|mps)(:\d*)?", "auto, cpu, cuda, cuda:N or mps")
EXECUTOR: Final = readers.matching(
    r"child|inprocess|[\w.]+:\w+", "child, inprocess or module:factory"
)
HOOK: Final = readers.matching(r"[\w.]+:\w+", "module:function")
TELEGRAM_TOKEN: Final = readers.matching(
    r"\d{3,20}:[\w-]{20,80}", "a number, a colon and letters, as @BotFather shows it", secret=True
)
DISCORD_TOKEN: Final = readers.matching(
    r"[\w-]+\.[\w-]+\.[\w-]+",
    "three parts with dots between them, as the developer portal shows it",
    secret=True,
)
VARIABLES: Final = (
    Variable("MARBLE_DATA_DIR", "data_dir", "data", readers.data_dir),
    Variable("MARBLE_DATABASE_URL", "database_url", "", readers.text),
    Variable("MARBLE_MODELS_DIR", "models_dir", "", readers.readable_dir),
    Variable("MARBLE_DEVICE", "device", "auto", DEVICE),
    Variable("MARBLE_EXECUTOR", "executor", "child", EXECUTOR),
    Variable("MARBLE_BATCHING", "batching", "exact", readers.one_of("exact", "throughput")),
    Variable("MARBLE_COMPILE", "compile", "0", readers.switch),
    Variable("MARBLE_QUEUE_LENGTH", "queue_length", "1000", readers.number(1, 100_000)),
    Variable("MARBLE_WAITING_PER_PERSON", "waiting_per_person", "20", readers.number(1, 100_000)),
    Variable("MARBLE_RUNNING_PER_PERSON", "running_per_person", "4", readers.number(1, 1000)),
    Variable("MARBLE_OWNERS", "owners", "", readers.people),
    Variable("MARBLE_MODERATORS", "moderators", "", readers.people),
    Variable("MARBLE_PER_MINUTE", "per_minute", "30", readers.number(0, 100_000)),
    Variable("MARBLE_PLACE_PER_MINUTE", "place_per_minute", "300", readers.number(0, 100_000)),
    Variable("MARBLE_DAILY_BUDGET", "daily_budget", "0", readers.number(0, 1_000_000_000)),
    Variable("MARBLE_BLOCKED_WORDS", "blocked_words", "", readers.words),
    Variable("MARBLE_PROMPT_HOOK", "prompt_hook", "", HOOK),
    Variable("MARBLE_SAFETY", "safety", "off", readers.one_of("off", "spoiler", "refuse")),
    Variable("MARBLE_SAFETY_MODEL", "safety_model", "", readers.text),
    Variable("MARBLE_SAFETY_LABELS", "safety_labels", "nsfw=0.5", readers.labels),
    Variable("MARBLE_BACKUPS", "backups", "7", readers.number(0, 1000)),
    Variable("MARBLE_KEEP_DAYS", "keep_days", "0", readers.number(0, 100_000)),
    Variable("MARBLE_GRACE_SECONDS", "grace_seconds", "25", readers.number(0, 3600)),
    Variable("MARBLE_METRICS_HOST", "metrics_host", "127.0.0.1", readers.text),
    Variable("MARBLE_METRICS_PORT", "metrics_port", "0", readers.number(0, 65_535)),
    Variable(
        "MARBLE_TERMINAL_PICTURES",
        "terminal_pictures",
        "auto",
        readers.one_of("auto", "kitty", "iterm", "sixel", "blocks", "off"),
    ),
    Variable("MARBLE_DEBUG", "debug", "0", readers.switch),
    Variable(PROXY, "proxy", "", readers.proxy),
    Variable("MARBLE_TELEGRAM_TOKEN", "telegram_token", "", TELEGRAM_TOKEN),
    Variable(
        "MARBLE_TELEGRAM_API_BASE",
        "telegram_api_base",
        "https://api.telegram.org",
        readers.address("https", "http"),
    ),
    Variable(
        "MARBLE_TELEGRAM_FILE_BASE",
        "telegram_file_base",
        "https://api.telegram.org/file",
        readers.address("https", "http"),
    ),
    Variable("MARBLE_TELEGRAM_WEBHOOK_URL", "telegram_webhook_url", "", readers.address("https")),
    Variable(
        "MARBLE_TELEGRAM_WEBHOOK_LISTEN",
        "telegram_webhook_listen",
        "127.0.0.1:8443",
        readers.listen,
    ),
    Variable(
        "MARBLE_TELEGRAM_REACTIONS",
        "telegram_reactions",
        "👍=same 🔥=new 🤯=vary 💔=delete ✍=recipe",
        readers.reactions,
    ),
    Variable("MARBLE_DISCORD_TOKEN", "discord_token", "", DISCORD_TOKEN),
    Variable(
        "MARBLE_DISCORD_API_BASE",
        "discord_api_base",
        "https://discord.com/api/v10",
        readers.address("https", "http"),
    ),
    Variable(
        "MARBLE_DISCORD_GATEWAY",
        "discord_gateway",
        "wss://gateway.discord.gg",
        readers.address("wss", "ws"),
    ),
    Variable("MARBLE_DISCORD_TEST_GUILD", "discord_test_guild", "", readers.snowflake),
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
