import logging
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

import bots
import storage
from bots.discord.address import Address
from bots.operations import logs
from bots.operations.logs import HIDDEN, Redacting
from bots.operations.settings import load_settings
from bots.requests.studio import Asker
from storage import Storage
from storage.database import engines, urls
from storage.database.database import Database
from storage.database.tables import bans
from storage.database.writer import Writer
from storage.errors import Unreachable
from tests.storage.conftest import a_job

TOKEN = "123456:AAcanary-canary-canary-canary_canary"


def test_no_secret_reaches_the_log_in_a_message_an_argument_or_a_traceback() -> None:
    try:
        raise ValueError(f"https://api.telegram.org/bot{TOKEN}/getMe") from KeyError(TOKEN)
    except ValueError as error:
        failure = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "at %s", (TOKEN,), failure)
    line = Redacting(logging.Formatter(), [TOKEN]).format(record)
    assert "canary" not in line
    assert line.count(HIDDEN) == 3


def test_the_half_that_matters_is_hidden_however_the_rest_is_written() -> None:
    redacting = Redacting(logging.Formatter(), [TOKEN])
    assert "canary" not in redacting.redact(TOKEN.replace(":", "%3A"))


def test_words_are_not_secrets() -> None:
    assert Redacting(logging.Formatter(), ["", "cat"]).redact("a cat") == "a cat"


def test_settings_do_not_show_their_secrets() -> None:
    settings = load_settings({"MARBLE_TELEGRAM_TOKEN": TOKEN}, env_file="")
    assert settings.secrets == (TOKEN,)
    assert "canary" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://marble:canary%20secret@host/marble",
        "postgresql://marble@host/marble?password=canary+secret",
        "postgresql+asyncpg://marble:canary%20secret@/marble?host=/run&password=canary+secret",
    ],
)
def test_a_databases_password_is_shown_nowhere(url: str, tmp_path: Path) -> None:
    settings = load_settings({"MARBLE_DATABASE_URL": url}, env_file="")
    assert "canary" not in repr(settings)
    redacting = Redacting(logging.Formatter(), settings.secrets)
    assert "canary" not in redacting.redact(f"{url} canary secret")


async def test_an_error_of_the_database_shows_neither_password_nor_rows(tmp_path: Path) -> None:
    address = "postgresql://marble:canary-secret@127.0.0.1:9/marble?password=canary-secret"
    with pytest.raises(Unreachable) as unreachable:
        async with Storage.open(tmp_path, address):
            pass
    assert "canary" not in f"{unreachable.value!r} {unreachable.value}"
    async with Storage.open(tmp_path) as storage:
        row = {"person": "canary", "place": "*", "reason": None}
        with pytest.raises(IntegrityError) as refused:
            await storage.database.write(lambda c: c.execute(insert(bans), row))
        assert "canary" not in f"{refused.value!r} {refused.value}"
        job = await storage.jobs.add(a_job(reply={"token": "canary"}))
        assert "canary" not in repr(job)
    url = urls.resolve(tmp_path, address)
    assert "canary" not in repr(Database(url, urls.show(url), *engines.create(url), Writer("")))


def test_an_interactions_token_is_shown_nowhere() -> None:
    address = Address(channel=1, person=2, token="canary")
    asker = Asker(person="discord:2", place="discord:1", reply=address.to_dict())
    assert "canary" not in f"{address!r} {asker!r}"


def dataclasses_of(room: ModuleType) -> Iterator[type]:
    for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
        if not module.name.endswith("__main__"):
            for each in vars(import_module(module.name)).values():
                # One that has a way of its own to show itself has no wrapped one.
                if (
                    isinstance(each, type)
                    and is_dataclass(each)
                    and hasattr(each.__repr__, "__wrapped__")
                ):
                    yield each


@pytest.mark.parametrize("room", [bots, storage], ids=["bots", "storage"])
def test_no_record_shows_a_token_a_password_or_what_holds_one(room: ModuleType) -> None:
    secret = re.compile(r"token|password|secret|database_url")
    holders = re.compile(r"\b(ExtBot|URL)\b")
    shown = {
        f"{each.__name__}.{field.name}"
        for each in dataclasses_of(room)
        for field in fields(each)
        if field.repr
        and field.type not in (bool, "bool")
        and (secret.search(field.name) or holders.search(str(field.type)))
    }
    assert shown == set()


def test_libraries_that_write_tokens_and_rows_are_quiet_even_when_everything_is_logged() -> None:
    logs.set_up(debug=True)
    for name in ("discord.gateway", "discord.http", "httpx", "httpcore.http11"):
        assert not logging.getLogger(name).isEnabledFor(logging.DEBUG)
    assert logging.getLogger("bots").isEnabledFor(logging.DEBUG)
