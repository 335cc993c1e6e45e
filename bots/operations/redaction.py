"""Keep secrets out of the log, whoever writes them there."""

import logging
from collections.abc import Iterable
from typing import Final

HIDDEN: Final = "[hidden]"
SHORTEST: Final = 8  # characters; what is shorter would hide ordinary words


class Redacting(logging.Formatter):
    """Format as another formatter does, tracebacks included, and take the secrets out."""

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self._inner = inner
        # A token like 123:abc stands in some addresses as 123%3Aabc: its secret half is enough.
        parts = {part for secret in secrets for part in (secret, secret.rpartition(":")[2])}
        self._secrets = sorted((p for p in parts if len(p) >= SHORTEST), key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without secrets."""
        return self.redact(self._inner.format(record))

    def redact(self, text: str) -> str:
        """Return the text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text
