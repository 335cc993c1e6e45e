"""What people type who do not press: the names of buttons, and commands of other programs.

An answer to a picture that is a button's name, and nothing else, does what the button does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from bots.chat.actions import ACTIONS, BELOW_PICTURE, FOR_EACH, VARIATION
from bots.presentation.lines import name_of
from bots.texts import LANGUAGES
from engine.errors import UnknownCommand
from storage import Job

# Below a grid: U1, V1, 1.
_LETTERS: Final = {ACTIONS[name].number.lower(): name for name in FOR_EACH}
_NUMBERED: Final = re.compile(r"(.*?) ?([1-9]\d?)\N{COMBINING ENCLOSING KEYCAP}?")
# What commands of other programs, Midjourney's among them, are called here.
COMMANDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("create", "draw", "dream", "gen", "generate", "paint", "prompt"), "/imagine"),
    **dict.fromkeys(("img2img", "txt2img"), "/imagine"),
    **dict.fromkeys(("archive", "gallery", "list"), "/history"),
    **dict.fromkeys(("favorites", "favourites"), "/history favourites"),
    **dict.fromkeys(("fast", "info", "jobs", "relax", "turbo"), "/queue"),
    **dict.fromkeys(("config", "options", "prefer", "preferences"), "/settings"),
    **dict.fromkeys(("docs", "faq", "menu"), "/help"),
    **dict.fromkeys(("private", "public", "stealth"), "/privacy"),
    "shorten": "/making_of",
    "stop": "/cancel",
    "suffix": "/style",
    # There is nothing like them, whatever they sound like.
    **dict.fromkeys(("ask", "feedback", "invite", "subscribe", "tune", "userid", "video"), ""),
}
# What is said to people below a picture: thanks, praise, assent and laughter, word by word.
_TALK: Final = re.compile(
    r"thanks?|thx|ty|you|u|so|very|much|many|all|please|pls|sorry|hi|hello|hey|bye|yes|yeah|yep|yup|"
    r"no|nope|ok|okay|sure|right|true|exactly|agreed|nice|cool|great|good|awesome|amazing|beautiful|"
    r"gorgeous|lovely|perfect|excellent|fantastic|brilliant|wonderful|stunning|incredible|epic|neat|"
    r"funny|cute|pretty|best|better|well|done|job|work|one|love|like|i|it|s|this|that|is|are|looks?|"
    r"really|too|an?|the|omg|wtf|yay|bravo|congrats|gg|rofl|w[ho]*o+[wa]h?|(?:ha|he|hi|ja|ah){2,}h?|"
    r"lo+l|lma+o+|x+d+|o+h+|a+h+|hm+|w{3,}|merci|gracias|danke|obrigad[ao]|grazie|спасибо|ха(?:ха)+|"
    r"ありがとう|감사합니다|고마워|شكرا|"
    # Chinese has no blanks between its words.
    r"(?:谢谢|多谢|感谢|辛苦|太棒|好看|漂亮|厉害|不错|可以|喜欢|真的|"
    r"[哈呵嘿哇嗯棒赞牛太很好真美爱我你您这那张个是的了啦啊呀吧])+"
)
_SPOKEN: Final = re.compile(r"[^\W\d_]+")
BUTTONS: Final = ("cancel", *(each for row in BELOW_PICTURE for each in row))


def _names() -> Iterator[tuple[str, str]]:
    """Yield what each button may be called, in small letters, and its action."""
    for name in BUTTONS:
        action = ACTIONS[name]
        labels = (action.label_in(words) for words in LANGUAGES.values())
        for called in (name.replace("_", " "), action.emoji, *action.reactions, *action.names):
            yield called.replace(VARIATION, ""), name
        for label in filter(None, labels):
            yield label.lower(), name


NAMES: Final[Mapping[str, str]] = dict(_names())
# Of the names those that stand on no button: in a group they say how somebody likes a picture.
_EMOJI: Final = frozenset(
    each.replace(VARIATION, "")
    for action in map(ACTIONS.__getitem__, BUTTONS)
    if action.label
    for each in (action.emoji, *action.reactions)
)


def plain_name(text: str) -> str:
    """Return a name as `NAMES` has it, however it is typed."""
    return " ".join(text.lower().replace(VARIATION, "").replace("_", " ").split())


def read_answer(text: str) -> tuple[str, int | None] | None:
    """Return the action that an answer to a picture names, and the number of the one it means.

    None for all that says more: it is words for a picture.
    """
    called = plain_name(text)
    if action := NAMES.get(called):
        return action, None
    if not (found := _NUMBERED.fullmatch(called)):
        return None
    action = _LETTERS.get(found[1]) or NAMES.get(found[1])
    return (action, int(found[2])) if action and ACTIONS[action].one else None


def is_talk(text: str) -> bool:
    """Return whether an answer to a picture, in a group, names nothing to do and nothing to draw.

    Emoji and signs do not, but for those on buttons; nor do thanks, praise and laughter alone.
    """
    if read_answer(text):
        return plain_name(text) in _EMOJI
    return all(_TALK.fullmatch(word) for word in _SPOKEN.findall(text.casefold()))


def read_button(text: str) -> tuple[str, int] | None:
    """Return the action and the number of `U1` or `V1`, which mean the latest grid by themselves.

    None for all other texts: behind no picture they are words.
    """
    found = _NUMBERED.fullmatch(text.strip().lower())
    action = _LETTERS.get(found[1]) if found and found[1] else None
    return (action, int(found[2])) if found and action else None


def numbered_in(job: Job, number: int) -> str:
    """Return the name of a job's picture of a number; of one that was made alone it is 1."""
    made = job.recipe.pictures
    return name_of(job, made[number - 1] if number <= len(made) else number - 1)


def instead_of(name: str, known: Collection[str]) -> str:
    """Return what another program's command is called here, if it is among those that are known."""
    found = COMMANDS.get(name, "")
    return found if found.partition(" ")[0] in known else ""


def unknown_command(
    written: str, known: Collection[str], instead: str | None = None
) -> UnknownCommand:
    """Return what to say of a command that there is not: what does its work, or the nearest one.

    instead: what does its work, where that is no command.
    """
    name = written.lstrip("/:").lower()
    near = () if COMMANDS.get(name) == "" else known
    return UnknownCommand(written, near, instead or instead_of(name, known))
