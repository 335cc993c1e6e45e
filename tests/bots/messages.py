"""Read a message of a chat as the chats do."""

from typing import Any

from bots.requests.options import parse_values
from bots.requests.typed_options import split_message


def read_typed(text: str) -> dict[str, Any]:
    """Return a message's values of recipe fields."""
    prompt, options = split_message(text)
    return {"prompt": prompt} | parse_values(options)
