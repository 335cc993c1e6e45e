"""Writes the table of actions and platforms in docs/actions.md from the code.

`python -m tests.bots.actions_table` writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bots.chat.actions import ACTIONS, KEYCAPS, Action
from bots.texts import EN
from tests.conftest import ROOT

PAGE: Final = ROOT / "docs" / "actions.md"
PLATFORMS: Final = ("discord", "telegram", "terminal", "web")


def cell(action: Action, platform: str) -> str:
    """Return how an action is asked for on a platform, or what does it there instead."""
    if platform in ("terminal", "web"):
        typed = getattr(action, platform)
        ways = [f"`{typed}`"] if typed else []
    else:
        ways = [f"`/{action.command}`"] if action.command else []
    if platform == "discord":
        digits = (f"{KEYCAPS[0]}–{KEYCAPS[-1]}",)
        emoji = digits if action.reactions == KEYCAPS else action.reactions
        ways[:0] = ["button"] if action.discord else []
        ways += [f"reaction {' '.join(emoji)}"] if emoji else []
        ways += [f"menu *{action.menu}*"] if action.menu else []
    elif platform == "telegram":
        ways[:0] = ["button"] if action.telegram else []
        ways += [f"reaction {action.reaction}"] if action.reaction else []
    return ", ".join(ways) or f"no: {action.why_not[platform]}"


def markdown() -> Iterator[str]:
    """Yield the lines of the table in Markdown."""
    yield "| action | | for | needs | Discord | Telegram | `marble chat` | web page |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, action in ACTIONS.items():
        label = " ".join(filter(None, (action.emoji, action.label_in(EN))))
        needs = "one picture" if action.one else "a picture or a job"
        cells = (cell(action, platform) for platform in PLATFORMS)
        purpose = action.purpose.name.lower()
        yield f"| `{name}` | {label} | {purpose} | {needs} | {' | '.join(cells)} |"


def page() -> str:
    """Return the page with its table as the code has it now."""
    text, table = PAGE.read_text(encoding="utf-8"), "\n".join(markdown())
    return f"{text[: text.index('| action |')]}{table}\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
