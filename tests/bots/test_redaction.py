import logging

from bots.redaction import HIDDEN, Redacting
from bots.settings import load_settings

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
