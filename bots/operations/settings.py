"""Frozen settings, read once from the environment and `.env`.

Each variable has one entry here and one in `.env.example`; a test compares the two.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import unquote, unquote_plus

from dotenv import dotenv_values

from bots.operations import readers
from engine.errors import UserError

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO  # rights of all but the owner
# What the tests and benchmarks of Marble itself are told.
FOR_TESTS: Final = (
    "MARBLE_TEST_",
    "MARBLE_REQUIRE_",
    "MARBLE_SHARED_",
    "MARBLE_FUZZ",
    "MARBLE_BENCH",
)


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable, named like its field: its default, and how its text is read."""

    default: str
    read: readers.Reader


PROXY: Final = "MARBLE_PROXY"
PICTURES_URL: Final = "MARBLE_PICTURES_URL"
SECRET: Final = ("MARBLE_TELEGRAM_TOKEN", "MARBLE_DISCORD_TOKEN", "MARBLE_DATABASE_URL")
EXECUTOR: Final = readers.matching(
    r"child|inprocess|ray|[\w.]+:\w+", "child, inprocess, ray or module:factory"
)
HOOK: Final = readers.matching(r"[\w.]+:\w+", "module:function")
PICTURES: Final = readers.one_of("auto", "kitty", "iterm", "sixel", "blocks", "off")
HTTP: Final = readers.address("https", "http")
TELEGRAM_TOKEN: Final = readers.matching(
    r"\d{3,20}:[\w-]{20,80}", "a number, a colon and letters, as @BotFather shows it", secret=True
)
REACTIONS: Final = "👍=same 🔥=new 🤯=vary ❤=favourite ✍=recipe 💔=delete"
DISCORD_TOKEN: Final = readers.matching(
    r"[\w-]+\.[\w-]+\.[\w-]+",
    "three parts with dots between them, as the developer portal shows it",
    secret=True,
)
LOOPBACK: Final = "127.0.0.1"
ANY_HOST: Final = ("0.0.0.0", "::")  # listens on every address of the machine
GATEWAY: Final = readers.address("wss", "ws")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of an owner; `.env.example` says what each field means."""

    data_dir: Annotated[Path, Variable("data", readers.data_dir)]
    # It may hold a password.
    database_url: Annotated[str | None, Variable("", readers.text)] = field(repr=False)
    pictures_url: Annotated[str | None, Variable("file:", readers.pictures_url)] = field(repr=False)
    models_dir: Annotated[Path | None, Variable("", readers.readable_dir)]
    workflows_dir: Annotated[Path | None, Variable("", readers.readable_dir)]
    edit_model: Annotated[str | None, Variable("", readers.text)]
    device: Annotated[str, Variable("auto", readers.devices)]
    executor: Annotated[str, Variable("child", EXECUTOR)]
    ray_address: Annotated[str, Variable("local", readers.ray_address)]
    ray_engines: Annotated[int | None, Variable("auto", readers.ray_engines)]
    ray_resources: Annotated[Mapping[str, float], Variable('{"GPU": 1}', readers.resources)]
    batching: Annotated[str, Variable("exact", readers.one_of("exact", "throughput"))]
    compile: Annotated[bool, Variable("0", readers.switch)]
    queue_length: Annotated[int, Variable("1000", readers.number(1, 100_000))]
    waiting_per_person: Annotated[int, Variable("20", readers.number(1, 100_000))]
    running_per_person: Annotated[int, Variable("4", readers.number(1, 1000))]
    owners: Annotated[frozenset[str], Variable("", readers.people)]
    moderators: Annotated[frozenset[str], Variable("", readers.people)]
    per_minute: Annotated[int, Variable("30", readers.number(0, 100_000))]
    place_per_minute: Annotated[int, Variable("300", readers.number(0, 100_000))]
    daily_budget: Annotated[int, Variable("0", readers.number(0, 1_000_000_000))]
    blocked_words: Annotated[tuple[str, ...], Variable("", readers.words)]
    prompt_hook: Annotated[str | None, Variable("", HOOK)]
    safety: Annotated[str, Variable("off", readers.one_of("off", "spoiler", "refuse"))]
    safety_model: Annotated[str | None, Variable("", readers.text)]
    safety_labels: Annotated[Mapping[str, float], Variable("nsfw=0.5", readers.labels)]
    describe_model: Annotated[str | None, Variable("", readers.text)]
    clip_model: Annotated[str | None, Variable("starter", readers.text_or_off)]
    backups: Annotated[int, Variable("7", readers.number(0, 1000))]
    keep_days: Annotated[int, Variable("0", readers.number(0, 100_000))]
    grace_seconds: Annotated[int, Variable("25", readers.number(0, 3600))]
    metrics_host: Annotated[str, Variable("127.0.0.1", readers.text)]
    metrics_port: Annotated[int, Variable("0", readers.number(0, 65_535))]
    web_host: Annotated[str, Variable("127.0.0.1", readers.text)]
    web_port: Annotated[int, Variable("0", readers.number(0, 65_535))]
    web_url: Annotated[str | None, Variable("", readers.origin)]
    terminal_pictures: Annotated[str, Variable("auto", PICTURES)]
    debug: Annotated[bool, Variable("0", readers.switch)]
    # A URL, `off`, or None: the environment decides.
    proxy: Annotated[str | None, Variable("", readers.proxy)] = field(repr=False)
    telegram_token: Annotated[str | None, Variable("", TELEGRAM_TOKEN)] = field(repr=False)
    telegram_api_base: Annotated[str, Variable("https://api.telegram.org", HTTP)]
    telegram_file_base: Annotated[str, Variable("https://api.telegram.org/file", HTTP)]
    telegram_webhook_url: Annotated[str | None, Variable("", readers.address("https"))]
    telegram_webhook_listen: Annotated[str | None, Variable("", readers.listen)]
    telegram_reactions: Annotated[Mapping[str, str], Variable(REACTIONS, readers.reactions)]
    discord_token: Annotated[str | None, Variable("", DISCORD_TOKEN)] = field(repr=False)
    discord_api_base: Annotated[str, Variable("https://discord.com/api/v10", HTTP)]
    discord_gateway: Annotated[str, Variable("wss://gateway.discord.gg", GATEWAY)]
    discord_test_guild: Annotated[int | None, Variable("", readers.snowflake)]

    @property
    def web_address(self) -> str | None:
        """Return where people reach the web page, without a slash at its end; None: nowhere."""
        if self.web_url or not self.web_port:
            return self.web_url
        host = LOOPBACK if self.web_host in ANY_HOST else self.web_host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.web_port}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return what must never be shown, in a log least of all."""
        urls = filter(None, (self.database_url, self.pictures_url))
        tokens = filter(None, (self.telegram_token, self.discord_token))
        return (*tokens, *chain.from_iterable(map(_passwords, urls)))


def _passwords(url: str) -> Iterator[str]:
    """Yield the passwords of a URL, as they are written there and as they are meant."""
    before, _, query = url.partition("?")
    user = before.partition("://")[2].rpartition("@")[0]
    fields = (field.partition("=") for field in query.split("&"))
    for written in (user.partition(":")[2], *(v for name, _, v in fields if name == "password")):
        if written:
            yield from dict.fromkeys((written, unquote(written), unquote_plus(written)))


# By the names of the variables.
VARIABLES: Final[Mapping[str, Variable]] = {
    f"MARBLE_{name.upper()}": annotated.__metadata__[0]
    for name, annotated in Settings.__annotations__.items()
}


def unknown_settings(environ: Mapping[str, str] | None = None, env_file: str = ".env") -> list[str]:
    """Return the names that look like settings of Marble's, are set, and mean nothing."""
    given = {**dotenv_values(env_file), **(os.environ if environ is None else environ)}
    return sorted(
        key
        for key in given
        if key.startswith("MARBLE_") and key not in VARIABLES and not key.startswith(FOR_TESTS)
    )


def load_settings(environ: Mapping[str, str] | None = None, env_file: str = ".env") -> Settings:
    """Read the settings; the environment wins over `.env`, and a bad value raises `SettingError`.

    An empty value means the default, as an unset one does. Raises `UserError` for a file that
    others on this machine can read and that holds secrets.
    """
    kept = dotenv_values(env_file)
    secret = any(kept.get(key) for key in SECRET) or any(
        "@" in (kept.get(key) or "") for key in (PROXY, PICTURES_URL)
    )
    if os.name == "posix" and secret and Path(env_file).stat().st_mode & OTHERS:
        raise UserError(
            f"{env_file} holds secrets and others can read it: run `chmod 600 {env_file}`."
        )
    given = {**kept, **(os.environ if environ is None else environ)}
    texts = {key: (given.get(key) or "").strip() for key in VARIABLES}
    return Settings(
        **{
            key.removeprefix("MARBLE_").lower(): variable.read(key, texts[key] or variable.default)
            for key, variable in VARIABLES.items()
        }
    )
