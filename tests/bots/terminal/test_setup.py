import io
from collections.abc import Callable
from pathlib import Path

import pytest
from dotenv import dotenv_values

from bots.terminal.setup import write
from tests.bots.terminal.conftest import Answer, Marble

DISCORD = "MTIz.Gabc-1.defghijklmnop"
TELEGRAM = "123456:ABCdefGHIjklMNOpqrSTUvwx"


@pytest.fixture
def answer(marble: Marble, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    monkeypatch.delenv("MARBLE_MODELS_DIR")

    def run(*lines: str) -> Answer:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return marble("setup")

    return run


def test_answers_are_written_for_the_owners_eyes_only(
    answer: Callable[..., Answer], tmp_path: Path
) -> None:
    done = answer(DISCORD, TELEGRAM, "discord:1, telegram:2", str(tmp_path))
    assert (done.code, done.err) == (0, "")
    env = tmp_path / ".env"
    assert env.stat().st_mode & 0o777 == 0o600
    assert dotenv_values(env) == {
        "MARBLE_DISCORD_TOKEN": DISCORD,
        "MARBLE_TELEGRAM_TOKEN": TELEGRAM,
        "MARBLE_OWNERS": "discord:1, telegram:2",
        "MARBLE_MODELS_DIR": str(tmp_path),
    }
    assert DISCORD not in done.out


def test_an_empty_answer_leaves_a_line_and_a_dash_empties_it(
    answer: Callable[..., Answer], tmp_path: Path
) -> None:
    env = tmp_path / ".env"
    env.write_text(f"# mine\nMARBLE_DISCORD_TOKEN={DISCORD}\nMARBLE_OWNERS=discord:1\n")
    env.chmod(0o600)
    assert answer("", TELEGRAM, "-", "").code == 0
    assert env.read_text().splitlines() == [
        "# mine",
        f"MARBLE_DISCORD_TOKEN={DISCORD}",
        "MARBLE_OWNERS=",
        f"MARBLE_TELEGRAM_TOKEN={TELEGRAM}",
    ]
    assert "Nothing was changed" in answer("", "", "", "").out


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("my secret password",), "MARBLE_DISCORD_TOKEN must be three parts"),
        (("", "123", ""), "MARBLE_TELEGRAM_TOKEN must be a number, a colon"),
        (("", "", "ada"), "MARBLE_OWNERS must be people"),
        (("", "", "", "/no/such/folder"), "MARBLE_MODELS_DIR must be a folder that exists"),
    ],
)
def test_a_wrong_answer_writes_nothing_and_shows_no_secret(
    answer: Callable[..., Answer], tmp_path: Path, lines: tuple[str, ...], said: str
) -> None:
    done = answer(*lines)
    assert (done.code, said in done.err) == (2, True), done.err
    assert "password" not in done.err
    assert not (tmp_path / ".env").exists()


@pytest.mark.parametrize("value", ["a b", "it's", "back\\slash", "#hash", "$HOME", "学者"])
def test_whatever_is_written_is_read_as_it_was(tmp_path: Path, value: str) -> None:
    write(tmp_path / ".env", {"MARBLE_OWNERS": value, "OTHER": "x"})
    assert dotenv_values(tmp_path / ".env", interpolate=False)["MARBLE_OWNERS"] == value
