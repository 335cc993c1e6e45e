import re
from pathlib import Path

import pytest

from bots.operations.settings import VARIABLES, load_settings
from engine.errors import SettingError, UserError
from tests.conftest import ROOT


def test_defaults_need_no_environment(tmp_path: Path) -> None:
    settings = load_settings({}, env_file=str(tmp_path / "none"))
    assert settings.data_dir == Path("data")
    assert settings.models_dir is None
    assert settings.device == "auto"


def test_the_environment_wins_over_the_file_and_empty_means_default(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("MARBLE_DEVICE=cpu\nMARBLE_TERMINAL_PICTURES=off\nMARBLE_DATA_DIR=\n")
    settings = load_settings({"MARBLE_DEVICE": "cuda:1"}, env_file=str(file))
    assert (settings.device, settings.terminal_pictures) == ("cuda:1", "off")
    assert settings.data_dir == Path("data")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MARBLE_DEVICE", "gpu"),
        ("MARBLE_DEVICE", "cuda:0,,cuda:1"),
        ("MARBLE_DEVICE", "cuda:0,cuda:0"),
        ("MARBLE_DEVICE", "cuda:0,cuda:00"),
        ("MARBLE_DEVICE", "cpu,cpu:0"),
        ("MARBLE_DEVICE", "auto,cpu"),
        ("MARBLE_EXECUTOR", "thread"),
        ("MARBLE_RAY_ADDRESS", "head"),
        ("MARBLE_RAY_ADDRESS", "http://head:6379"),
        ("MARBLE_RAY_ENGINES", "0"),
        ("MARBLE_RAY_ENGINES", "many"),
        ("MARBLE_RAY_RESOURCES", "GPU"),
        ("MARBLE_RAY_RESOURCES", "{}"),
        ("MARBLE_RAY_RESOURCES", '{"GPU": 0}'),
        ("MARBLE_RAY_RESOURCES", '{"GPU": 1.5}'),
        ("MARBLE_RAY_RESOURCES", '{"GPU": true}'),
        ("MARBLE_BATCHING", "fast"),
        ("MARBLE_DEVICE", "cuda:x"),
        ("MARBLE_QUEUE_LENGTH", "0"),
        ("MARBLE_RUNNING_PER_PERSON", "two"),
        ("MARBLE_WAITING_PER_PERSON", "-1"),
        ("MARBLE_MODERATORS", "ada"),
        ("MARBLE_TERMINAL_PICTURES", "yes"),
        ("MARBLE_MODELS_DIR", "no/such/folder"),
        ("MARBLE_DATA_DIR", __file__),
        ("MARBLE_DATA_DIR", f"{__file__}/{'deep/' * 40}data"),
        ("MARBLE_GRACE_SECONDS", "soon"),
        ("MARBLE_TELEGRAM_API_BASE", "api.telegram.org"),
        ("MARBLE_TELEGRAM_WEBHOOK_URL", "http://marble.example"),
        ("MARBLE_TELEGRAM_WEBHOOK_LISTEN", "8443"),
        ("MARBLE_WEB_URL", "marble.example"),
        ("MARBLE_WEB_URL", "https://marble.example/studio"),
        ("MARBLE_WEB_URL", "https://me@marble.example"),
        ("MARBLE_WEB_URL", "https://marble.example?a"),
        ("MARBLE_WEB_URL", "ftp://marble.example"),
    ],
)
def test_a_bad_value_names_the_key_the_value_and_what_is_allowed(key: str, value: str) -> None:
    with pytest.raises(SettingError) as error:
        load_settings({key: value}, env_file="")
    assert key in str(error.value)
    assert value in str(error.value)


def test_words_have_commas_of_any_kind_between_them() -> None:
    settings = load_settings({"MARBLE_BLOCKED_WORDS": "bad, 龙，血腥、bad"}, env_file="")
    assert settings.blocked_words == ("bad", "龙", "血腥")


def test_the_example_file_lists_every_variable_with_its_default() -> None:
    example = dict(
        re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(encoding="utf-8"), re.M)
    )
    assert example == {key: variable.default for key, variable in VARIABLES.items()}


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, None),
        ({"MARBLE_WEB_PORT": "8080"}, "http://127.0.0.1:8080"),
        ({"MARBLE_WEB_PORT": "80", "MARBLE_WEB_HOST": "::1"}, "http://[::1]:80"),
        ({"MARBLE_WEB_PORT": "80", "MARBLE_WEB_HOST": "0.0.0.0"}, "http://127.0.0.1:80"),
        ({"MARBLE_WEB_URL": "https://Marble.example/"}, "https://marble.example"),
        ({"MARBLE_WEB_URL": "http://[::1]:8080", "MARBLE_WEB_PORT": "1"}, "http://[::1]:8080"),
    ],
)
def test_where_people_reach_the_web_page(environ: dict[str, str], address: str | None) -> None:
    assert load_settings(environ, env_file="").web_address == address


def test_a_wrong_token_is_not_repeated() -> None:
    with pytest.raises(SettingError, match="@BotFather") as caught:
        load_settings({"MARBLE_TELEGRAM_TOKEN": "a secret"}, env_file="")
    assert "a secret" not in str(caught.value)


def test_secrets_that_others_can_read_are_refused_with_the_cure(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("MARBLE_DISCORD_TOKEN=a.b.c\n")
    for mode in (0o640, 0o604, 0o666):
        env.chmod(mode)
        with pytest.raises(UserError, match=rf"run `chmod 600 {env}`"):
            load_settings({}, env_file=str(env))
    env.chmod(0o600)
    assert load_settings({}, env_file=str(env)).discord_token == "a.b.c"
    env.write_text("MARBLE_DISCORD_TOKEN=\nMARBLE_DEBUG=1\n")
    env.chmod(0o644)  # nothing in it is secret
    assert load_settings({}, env_file=str(env)).debug


def test_where_a_ray_cluster_is_and_what_an_engine_takes() -> None:
    plain = load_settings({}, env_file="")
    assert (plain.ray_address, plain.ray_engines, plain.ray_resources) == (
        "local",
        None,
        {"GPU": 1},
    )
    given = {
        "MARBLE_RAY_ADDRESS": "ray://[::1]:10001",
        "MARBLE_RAY_ENGINES": "3",
        "MARBLE_RAY_RESOURCES": '{"GPU": 0.5, "big": 2}',
    }
    found = load_settings(given, env_file="")
    assert (found.ray_address, found.ray_engines) == ("ray://[::1]:10001", 3)
    assert found.ray_resources == {"GPU": 0.5, "big": 2}
