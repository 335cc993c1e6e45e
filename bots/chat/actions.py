"""The one table of what can be done with a picture: who may, and how each platform offers it.

Buttons, reactions, menus and the commands of `marble chat` are made from it; docs/actions.md shows
it. What an action does where nothing is drawn stands with each platform.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from bots.chat.access import Purpose, Requester, Target, find_picture
from bots.requests.derive import DIRECTIONS, the_picture
from bots.requests.options import parse_values
from bots.requests.studio import Asker, Studio
from bots.service.app import App
from bots.texts import Words
from engine.errors import UserError
from engine.sentences import Sentence
from storage import DatabaseFault, Job, TooLate
from storage.people.moderation import Moderation
from storage.records import Grant
from storage.states import OVER

Draw = Callable[[Studio, str, Asker], Awaitable[Job]]  # given the picture's name

VARIATION: Final = "\ufe0f"  # behind an emoji, as some apps write it and others do not
KEYCAPS: Final = tuple(f"{n}\N{COMBINING ENCLOSING KEYCAP}" for n in range(1, 10))
NEW_SEED: Final = parse_values([("seed", "new")])

Load = Callable[[], Awaitable[bytes]]  # a picture of a platform's


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that can be done with a picture. What is empty is not offered in that way.

    `discord` and `telegram` are words in the ids of buttons: messages sent long ago carry them, so
    they never change.
    """

    purpose: Purpose  # what it needs the picture for; this decides who may
    label: str = ""  # the name of a message of `Words`
    emoji: str = ""
    one: bool = False  # it needs one picture; others take all of a job's, too
    number: str = ""  # goes before a picture's number on buttons below a grid
    draw: Draw | None = None  # what it asks of the studio
    asks: bool = False  # for words or a choice, which a reaction does not tell
    page: bool = False  # it is done on the web page: no button where there is none
    repeatable: bool = False  # a reaction that is put anew does it anew; else it does it once
    discord: str = ""
    reactions: tuple[str, ...] = ()  # on Discord, without variation selectors
    menu: str = ""  # on a message, on Discord
    telegram: str = ""  # also in MARBLE_TELEGRAM_REACTIONS
    reaction: str = ""  # on Telegram, where that says nothing else
    command: str = ""  # of both chats
    terminal: str = ""  # how it is typed in `marble chat`
    web: str = ""  # its part of a picture's page; if it is posted, the last word of the address
    names: tuple[str, ...] = ()  # how else an answer to a picture may call it, as Midjourney does
    why_not: Mapping[str, str] = field(default_factory=dict)  # by platforms that lack it

    def label_in(self, words: Words) -> str | None:
        """Return its label in a language, or None where its emoji is enough."""
        return getattr(words, self.label) if self.label else None


ACTIONS: Final[Mapping[str, Action]] = {
    "rerun": Action(
        purpose=Purpose.DRAW,
        label="same_seed",
        emoji="🌱",
        draw=lambda studio, name, asker: studio.rerun(name, {}, asker),
        discord="again",
        reactions=("🌱",),
        menu="Rerun",
        telegram="same",
        reaction="👍",
        terminal=":seed",
        web="rerun",
    ),
    "reroll": Action(
        purpose=Purpose.DRAW,
        label="new_seed",
        emoji="🎲",
        draw=lambda studio, name, asker: studio.rerun(name, NEW_SEED, asker),
        discord="dice",
        reactions=("🎲", "🔁"),
        telegram="new",
        reaction="🔥",
        terminal=":dice",
        web="reroll",
        names=("re-roll", "🔄"),
    ),
    "change": Action(  # a form with the recipe
        purpose=Purpose.DRAW,
        label="change",
        emoji="✏️",
        asks=True,
        discord="edit",
        terminal=":seed",
        web="change",
        names=("remix",),
        why_not={"telegram": "reply to the picture with other words or options"},
    ),
    "vary_subtle": Action(
        purpose=Purpose.DRAW,
        label="vary_subtle",
        emoji="🪄",
        one=True,
        number="V",
        draw=partial(Studio.vary, strong=False),
        discord="subtle",
        reactions=("🪄",),
        menu="Vary",
        telegram="vary",
        reaction="🤯",
        terminal=":vary",
        web="vary",
        names=("vary", "vary subtle", "vary (subtle)"),
    ),
    "vary_strong": Action(
        purpose=Purpose.DRAW,
        label="vary_strong",
        emoji="✨",
        one=True,
        draw=partial(Studio.vary, strong=True),
        discord="strong",
        telegram="vary-strong",
        terminal=":vary 12.3 strong",
        web="vary-strong",
        names=("vary strong", "vary (strong)"),
    ),
    "upscale": Action(
        purpose=Purpose.DRAW,
        label="upscale",
        emoji="🔍",
        one=True,
        number="U",
        draw=Studio.upscale,
        discord="upscale",
        menu="Upscale",
        telegram="upscale",
        terminal=":upscale",
        web="upscale",
        names=(
            "upscale subtle",
            "upscale (subtle)",
            "upscale creative",
            "upscale (creative)",
        ),
    ),
    "zoom": Action(
        purpose=Purpose.DRAW,
        label="zoom_out",
        emoji="🔭",
        one=True,
        draw=Studio.zoom,
        discord="zoom",
        telegram="zoom",
        terminal=":zoom",
        web="zoom",
        names=("zoom out 2x",),
    ),
    "edit": Action(  # by words
        purpose=Purpose.DRAW,
        label="edit",
        emoji="🖌️",
        one=True,
        asks=True,
        discord="words",
        telegram="edit",
        command="edit",
        terminal=":edit",
        web="edit",
    ),
    "region": Action(  # painted on the web page, or around the picture
        purpose=Purpose.DRAW,
        label="region",
        emoji="🖍️",
        one=True,
        asks=True,
        page=True,
        discord="region",
        telegram="region",
        web="brush",
        names=("vary region", "vary (region)"),
        why_not={"terminal": "there is nothing to paint with; `--mask` takes a picture"},
    ),
    "making_of": Action(  # drawn again, and told how it comes about
        purpose=Purpose.DRAW,
        label="making_of",
        emoji="🎞️",
        one=True,
        draw=Studio.making_of,
        discord="making",
        telegram="making",
        command="making_of",
        terminal=":making-of",
        web="making-of",
        names=("making-of",),
    ),
    "blend": Action(  # with others
        purpose=Purpose.DRAW,
        one=True,
        asks=True,
        command="blend",
        terminal=":blend",
        web="blend",
    ),
    **{
        f"pan_{direction}": Action(
            purpose=Purpose.DRAW,
            emoji=emoji,
            one=True,
            draw=partial(Studio.pan, direction=direction),
            discord=direction,
            telegram=direction,
            terminal=f":pan 12.3 {direction}",
            web=direction,
        )
        for direction, emoji in zip(DIRECTIONS, ("⬅️", "➡️", "⬆️", "⬇️"), strict=True)
    },
    "show": Action(  # with its buttons
        purpose=Purpose.POST,
        label="pick",
        one=True,
        asks=True,
        discord="pick",
        reactions=KEYCAPS,
        telegram="pick",
        command="show",
        terminal="/show",
        why_not={"web": "its page has all of them"},
    ),
    "open": Action(  # one of a page, to the person alone
        purpose=Purpose.TELL,
        label="open_one",
        asks=True,
        discord="show",
        why_not={
            "telegram": "pages are text; `/show` sends a picture",
            "terminal": "`/show` does it",
            "web": "each picture of a list leads to its page",
        },
    ),
    "recipe": Action(
        purpose=Purpose.TELL,
        label="recipe",
        emoji="📜",
        discord="recipe",
        reactions=("📜",),
        menu="Recipe",
        telegram="recipe",
        reaction="✍",
        terminal="/show",
        web="recipe",
        names=("seed",),
    ),
    "describe": Action(  # in words
        purpose=Purpose.TELL,
        one=True,
        asks=True,
        command="describe",
        terminal=":describe",
        web="describe",
    ),
    "original": Action(  # the files in full size
        purpose=Purpose.SEND,
        label="original",
        emoji="✉️",
        discord="mail",
        reactions=("✉",),
        telegram="original",
        web="original",
        why_not={"terminal": "`/show` says where the files are"},
    ),
    "favourite": Action(  # a button pressed again and a reaction taken back remove it
        purpose=Purpose.TELL,
        label="favourite",
        emoji="⭐",
        repeatable=True,
        discord="star",
        reactions=("⭐", "❤"),
        telegram="favourite",
        reaction="❤",
        terminal=":star",
        web="favourite",
        names=("favorite",),
    ),
    "cancel": Action(
        purpose=Purpose.END,
        label="cancel",
        emoji="⏹️",
        repeatable=True,
        discord="cancel",
        telegram="cancel",
        command="cancel",
        web="cancel",
        why_not={"terminal": "Ctrl-C stops a picture"},
    ),
    # The message that shows it, on the web page the job; first of all, its job is cancelled.
    "delete": Action(
        purpose=Purpose.END,
        label="delete",
        emoji="❌",
        repeatable=True,
        discord="drop",
        reactions=("❌",),
        telegram="delete",
        reaction="💔",
        web="delete",
        why_not={"terminal": "there are no messages"},
    ),
}
_ENDS: Final = ("recipe", "original", "favourite", "delete")
# The buttons below one picture, in rows; a platform may divide them.
BELOW_PICTURE: Final = (
    ("rerun", "reroll", "change", "vary_subtle", "vary_strong"),
    ("upscale", "zoom", "edit", "region", "making_of"),
    tuple(f"pan_{direction}" for direction in DIRECTIONS),
    _ENDS,
)
# Those below a grid: for each of a few pictures, and for all; of many, each is shown first.
FOR_EACH: Final = ("upscale", "vary_subtle", "show")
FEW: Final = 4
FOR_ALL: Final = (("rerun", "reroll", "change"), _ENDS)


def below_picture(*, page: bool) -> list[list[str]]:
    """Return the buttons below one picture, in rows; page: whether there is a web page."""
    return [[name for name in row if page or not ACTIONS[name].page] for row in BELOW_PICTURE]


async def find(
    app: App, action: str, name: str, requester: Requester, message: str | None = None
) -> Target:
    """Return the picture of a name for an action; `message`: the key of the message acted on.

    Raises `UserError` as `find_picture` does.
    """
    return await find_picture(app, name, requester, ACTIONS[action].purpose, message)


async def draw(
    app: App,
    action: str,
    name: str,
    requester: Requester,
    asker: Asker,
    message: str | None = None,
) -> Job:
    """Commit a job that makes another picture from the one named; raises `UserError`."""
    return await draw_from(app, action, await find(app, action, name, requester, message), asker)


async def draw_from(app: App, action: str, target: Target, asker: Asker) -> Job:
    """Do as `draw` with the picture that `find` returned for the action."""
    asked = ACTIONS[action].draw
    assert asked is not None, action
    return await asked(app.studio, target.name, asker)


async def blend(
    app: App,
    targets: Iterable[Target],
    given: Sequence[bytes | Load],
    values: Mapping[str, Any],
    asker: Asker,
    saved_by: str | None,
) -> Job:
    """Commit a job that makes one picture of Marble's own and of some that somebody gives.

    given: files, or what loads them from the platform; nothing is kept unless all of them can be
    loaded. Raises `UserError`.
    """
    if given:
        await app.gate.admit(asker)  # nothing is loaded for who may not ask
    loaded = [each if isinstance(each, bytes) else await each() for each in given]
    others = [await app.studio.keep_image(each) for each in loaded]
    return await app.studio.blend([each.name for each in targets], others, values, asker, saved_by)


async def grant_region(
    app: App, target: Target, asker: Asker, message: str | None, words: Words
) -> str:
    """Return the name of a grant by which the asker may paint on a picture on the web page.

    message: the key of the one that shows it. What is drawn there goes where they ask. Raises
    `UserError` where there is no page, or where one of several pictures is to be named.
    """
    if app.settings.web_address is None:
        raise UserError(words.no_web)
    picture = the_picture(target.job, target.picture)
    grant = Grant(
        person=asker.person,
        job=target.job.id,
        picture=picture.index,
        message=message or "",
        place=asker.place,
        reply=asker.reply if asker.further_reply is None else asker.further_reply,
    )
    return await app.storage.web_access.grant(grant)


async def region_link(app: App, name: str, person: str) -> str:
    """Return an address that signs somebody in once and opens the picture of their grant.

    name: the grant's. Raises `UserError` where it is another person's, or too old.
    """
    grant = await app.storage.web_access.granted(name, person)
    if grant is None:
        raise UserError(Sentence("grant_ended"))
    path = f"/brush/{grant.job}.{grant.picture + 1}?grant={name}"
    return f"{app.settings.web_address}/in/{await app.storage.web_access.make_link(person, path)}"


async def cancel_unfinished(app: App, target: Target, *, by: str) -> bool:
    """Cancel a job that waits or runs; return whether it did."""
    if target.job.status not in OVER:
        with suppress(TooLate):
            await app.worker.cancel(target.job.id, by=by)
            return True
    return False


async def mark_favourite(
    app: App, target: Target, asker: Asker, words: Words, *, toggle: bool
) -> str:
    """Add a picture to somebody's favourites, and return the answer.

    toggle: remove it where it is one, once for each event. Raises `UserError` where nothing is
    drawn yet.
    """
    favourites, indices = app.storage.favourites, [each.index for each in target.drawn(words)]
    kept = True
    if toggle:
        event = f"{asker.event}:favourite" if asker.event else None
        kept = await favourites.toggle(asker.person, target.job.id, *indices, event=event)
    else:
        await favourites.add(asker.person, target.job.id, *indices)
    text = words.favourite_added if kept else words.favourite_removed
    return text.format(name=target.name)


async def remove_favourite(app: App, job: Job, picture: int | None, person: str) -> None:
    """Remove a picture, or all of a job's, from somebody's favourites, seen or not."""
    indices = () if picture is None else (picture,)
    await app.storage.favourites.remove(person, job.id, *indices)


class Once:
    """Runs what a reaction asks for at most once; a refused one may be repeated."""

    def __init__(self, moderation: Moderation) -> None:
        self._moderation = moderation
        self._running: set[str] = set()

    async def __call__(self, event: str, person: str, do: Callable[[], Awaitable[object]]) -> None:
        """Run it unless the event was seen; `event` is the same for an emoji put anew."""
        if event in self._running:
            return
        self._running.add(event)  # before the first await: another may come meanwhile
        try:
            if await self._moderation.was_seen(event):
                return
            await do()
            with suppress(DatabaseFault):  # it is done all the same
                await self._moderation.first_sight(event, person)
        finally:
            self._running.discard(event)
