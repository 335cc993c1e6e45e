"""The one table of what can be done with a picture."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from bots.admission.gate import Gate
from bots.admission.roles import Roles
from bots.chat.access import Purpose, Viewer
from bots.chat.actions import (
    ACTIONS,
    BELOW_PICTURE,
    FOR_ALL,
    FOR_EACH,
    KEYCAPS,
    VARIATION,
    draw,
)
from bots.discord import actions as discord
from bots.discord.commands import ANSWERS
from bots.operations.settings import load_settings
from bots.requests.studio import Asker
from bots.telegram import actions as telegram
from bots.telegram.commands import COMMANDS as TELEGRAM_COMMANDS
from bots.terminal.chat import DOES, HELP
from bots.texts import EN, LANGUAGES
from bots.texts.commands import COMMANDS
from engine.errors import UserError
from storage import Storage
from tests.bots import actions_table
from tests.bots.chat.test_access import Anybody
from tests.conftest import ROOT
from tests.storage.conftest import a_job

MODULE: Final = ("chat", "actions.py")
DRAWN: Final = [name for name, action in ACTIONS.items() if action.draw]


@pytest.mark.parametrize("action", DRAWN)
async def test_nothing_is_drawn_from_what_may_not_be_seen(
    action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    async def note(studio: Any, name: str, asker: Asker) -> Any:
        drawn.append(name)

    monkeypatch.setitem(cast(Any, ACTIONS), action, replace(ACTIONS[action], draw=note))
    asker = Asker(person="x:eve", place="x:9")
    async with Storage.open(tmp_path) as storage:
        job = await storage.jobs.add(a_job())
        app: Any = SimpleNamespace(storage=storage, gate=Gate(storage, Roles(), {}), studio=None)
        eve = Anybody(Viewer(person=asker.person, place=asker.place))
        with pytest.raises(UserError):
            await draw(app, action, f"{job.id}.1", eve, asker)
        own = Anybody(Viewer(person=job.person, place=job.place))
        await draw(app, action, f"{job.id}.1", own, asker)
    assert drawn == ["1"]  # a job's only picture goes by the job's name


# Messages sent long ago carry these words. They never change; new ones may be added.
SENT: Final = {
    "discord": "again dice edit subtle strong upscale zoom words left right up down pick show "
    "recipe mail star cancel drop",
    "telegram": "same new vary vary-strong upscale zoom edit left right up down pick recipe "
    "original favourite cancel delete",
}
MEANT: Final = {
    "discord": "rerun reroll change vary_subtle vary_strong upscale zoom edit pan_left pan_right "
    "pan_up pan_down show open recipe original favourite cancel delete",
    "telegram": "rerun reroll vary_subtle vary_strong upscale zoom edit pan_left pan_right "
    "pan_up pan_down show recipe original favourite cancel delete",
}


@pytest.mark.parametrize("platform", SENT)
def test_the_words_in_the_ids_of_buttons_stay_what_they_were(platform: str) -> None:
    meant = dict(zip(SENT[platform].split(), MEANT[platform].split(), strict=True))
    known = (
        telegram.BUTTONS
        if platform == "telegram"
        else {action.discord: name for name, action in ACTIONS.items()}
    )
    assert {word: known[word] for word in meant} == meant


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_is_reachable_on_every_platform_or_the_table_says_why_not(name: str) -> None:
    action = ACTIONS[name]
    ways = {
        "discord": [action.discord, action.menu, action.command, *action.reactions],
        "telegram": [action.telegram, action.command, action.reaction],
        "terminal": [action.terminal],
        "web": [action.web],
    }
    for platform, asked in ways.items():
        assert any(asked) != (platform in action.why_not), platform
    assert not action.menu or f"menu {action.menu}" in COMMANDS
    assert not action.command or {action.command} <= ANSWERS.keys() & TELEGRAM_COMMANDS.keys()
    assert not action.terminal or action.terminal.split()[0] in HELP
    assert not action.label or action.label_in(EN) != action.label_in(LANGUAGES["zh"])


def test_every_button_does_something_on_its_platform() -> None:
    assert {name for name, action in ACTIONS.items() if action.discord} <= discord.ACTIONS.keys()
    others = {name for name in telegram.BUTTONS.values() if not ACTIONS[name].draw}
    assert others == telegram.OTHERS.keys() | {"cancel"}
    typed = {action.terminal.split()[0] for action in ACTIONS.values() if action.terminal}
    assert typed == DOES.keys()


def test_every_button_of_a_result_stands_below_it() -> None:
    alone = {name for row in BELOW_PICTURE for name in row}
    below = {name for row in FOR_ALL for name in row} | {*FOR_EACH}
    assert alone | below | {"cancel", "open"} == {
        name for name, action in ACTIONS.items() if action.discord or action.telegram
    }
    assert all(ACTIONS[name].one for name in FOR_EACH)
    assert not any(ACTIONS[name].one for row in FOR_ALL for name in row)


def test_an_emoji_means_one_action() -> None:
    on_discord = [emoji for action in ACTIONS.values() for emoji in action.reactions]
    assert len(on_discord) == len(set(on_discord))
    by_default = {action.reaction: name for name, action in ACTIONS.items() if action.reaction}
    settings = load_settings({}, "").telegram_reactions
    assert telegram.read_reactions(settings) == by_default
    for action in ACTIONS.values():
        emoji = action.emoji.replace(VARIATION, "")
        assert not action.reactions or action.reactions == KEYCAPS or emoji == action.reactions[0]
        assert not action.asks or action.reactions in ((), KEYCAPS)


def test_no_emoji_and_no_label_of_an_action_is_written_elsewhere() -> None:
    emoji = {each for action in ACTIONS.values() for each in (*action.reactions, action.emoji)}
    emoji = {each.replace(VARIATION, "") for each in emoji if each}
    labels = {action.label for action in ACTIONS.values() if action.label}
    for path in (ROOT / "bots").rglob("*.py"):
        if "texts" in path.parts or path.name == "settings.py" or path.parts[-2:] == MODULE:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value.replace(VARIATION, "") not in emoji, (path, node.lineno)
            if isinstance(node, ast.Attribute) and node.attr in labels:
                assert "words" not in ast.unparse(node.value), (path, node.lineno)


def test_the_docs_show_the_table() -> None:
    assert actions_table.PAGE.read_text(encoding="utf-8") == actions_table.page()


def test_what_is_drawn_is_wanted_for_drawing() -> None:
    assert all(ACTIONS[name].purpose is Purpose.DRAW for name in DRAWN)
