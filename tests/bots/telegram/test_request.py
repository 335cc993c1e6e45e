from __future__ import annotations

import pytest

from bots.telegram.request import to_html


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**Say** `/help` & <b>", "<b>Say</b> <code>/help</code> &amp; &lt;b&gt;"),
        ("**a `b** c`", "<b>a `b</b> c`"),
        ("`a **b` c**", "<code>a **b</code> c**"),
        ("**a `b` c** `d`", "<b>a `b` c</b> <code>d</code>"),
        ("one ` alone, ** two", "one ` alone, ** two"),
    ],
)
def test_marks_become_tags_that_telegram_takes(text: str, shown: str) -> None:
    assert to_html(text) == shown
