"""JSON that strangers wrote."""

import json
from typing import Any

from engine.recipe.prompt_tags import mend_surrogates


def parse_json(text: str) -> Any:
    """Parse JSON; halves of surrogate pairs, which no encoding takes, become U+FFFD.

    Raises `ValueError` where it is none, or nests too deeply.
    """
    try:
        data = json.loads(text)
        if "\\ud" in text.lower():
            data = json.loads(mend_surrogates(json.dumps(data, ensure_ascii=False)))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return data
