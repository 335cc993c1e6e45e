"""Who may do what with which picture: the table that all platforms are tested against.

docs/access-table.md shows it. A row says where the picture was asked for, where it is
asked for now, and by whom; its cells say what happens on Discord and on Telegram, in the order of
`PATHS`:

    all      answered where everybody can see it
    alone    shown to the person who asks alone (Discord: an answer that nobody else sees, or a
             direct message)
    yes      done
    refused  the answer says why not
    no       the same answer as for a picture that does not exist
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PATHS: Final = ("show", "file", "recipe", "like", "draw", "making_of", "end")
TITLES: Final = {
    "show": "the picture again",
    "file": "its files",
    "recipe": "its recipe",
    "like": "one's pictures like it",
    "draw": "another picture made from it",
    "making_of": "how it was made",
    "end": "cancel, delete",
}
HERE, THERE, DM = "in the same channel", "in another channel", "in private"
ASKER, MEMBER = "the person who asked for it", "somebody who may see that place"
STRANGER = "somebody who may not"
UNKNOWN, MODERATOR = "somebody Marble cannot check", "a moderator of that place"
MARBLES, OWNER, BANNED = "Marble's moderator", "Marble's owner", "somebody banned there"
CHANNEL, CLOSED, GONE = "a channel or group", "a private chat", "no such picture"
THREAD = "a private thread"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    posted: str
    asked: str
    who: str
    discord: str
    telegram: str

    def cells(self, platform: str) -> dict[str, str]:
        """Return what happens on each path on a platform; nothing where the case cannot occur."""
        cells = getattr(self, platform).split()
        return dict(zip(PATHS, cells, strict=True)) if cells else {}


NO: Final = "no no no no no no no"
# On Telegram lists of one's own pictures are shown in private chats alone.
NO_GROUP: Final = "no no no refused no no no"
ROWS: Final = (
    Row(
        CHANNEL, HERE, ASKER, "all alone alone alone all all yes", "all all all refused all all yes"
    ),
    Row(
        CHANNEL,
        HERE,
        MEMBER,
        "all alone alone alone all all refused",
        "all all all refused all all refused",
    ),
    Row(
        CHANNEL,
        HERE,
        MODERATOR,
        "all alone alone alone all all yes",
        "all all all refused all all yes",
    ),
    Row(
        CHANNEL,
        HERE,
        MARBLES,
        "all alone alone alone all all yes",
        "all all all refused all all yes",
    ),
    Row(
        CHANNEL, HERE, OWNER, "all alone alone alone all all yes", "all all all refused all all yes"
    ),
    Row(
        CHANNEL,
        HERE,
        BANNED,
        "refused refused alone alone refused refused refused",
        "refused refused all refused refused refused refused",
    ),
    Row(
        CHANNEL,
        THERE,
        ASKER,
        "all alone alone alone all all yes",
        "all all all refused all all yes",
    ),
    Row(CHANNEL, THERE, MEMBER, "alone alone alone alone refused refused refused", NO_GROUP),
    Row(CHANNEL, THERE, STRANGER, NO, NO_GROUP),
    Row(CHANNEL, THERE, UNKNOWN, "", NO_GROUP),
    Row(
        CHANNEL,
        THERE,
        MODERATOR,
        "alone alone alone alone refused refused yes",
        "no no no refused no no yes",
    ),
    Row(
        CHANNEL,
        THERE,
        MARBLES,
        "alone alone alone alone refused refused yes",
        "no no no refused no no yes",
    ),
    Row(
        CHANNEL,
        THERE,
        OWNER,
        "alone alone alone alone refused refused yes",
        "no no no refused no no yes",
    ),
    Row(CHANNEL, DM, ASKER, "all alone alone alone all all yes", "all all all all all all yes"),
    Row(
        CHANNEL,
        DM,
        MEMBER,
        "all alone alone alone all all refused",
        "all all all all all all refused",
    ),
    Row(CHANNEL, DM, STRANGER, NO, NO),
    Row(CHANNEL, DM, UNKNOWN, NO, NO),
    Row(CHANNEL, DM, MODERATOR, "all alone alone alone all all yes", "all all all all all all yes"),
    Row(CHANNEL, DM, MARBLES, "all alone alone alone all all yes", "all all all all all all yes"),
    Row(CHANNEL, DM, OWNER, "all alone alone alone all all yes", "all all all all all all yes"),
    Row(THREAD, HERE, MEMBER, "all alone alone alone all all refused", ""),
    Row(THREAD, THERE, UNKNOWN, NO, ""),
    Row(THREAD, DM, UNKNOWN, NO, ""),
    Row(
        CLOSED, THERE, ASKER, "all alone alone alone all all yes", "all all all refused all all yes"
    ),
    Row(CLOSED, THERE, STRANGER, NO, NO_GROUP),
    Row(CLOSED, DM, STRANGER, NO, NO),
    Row(CLOSED, DM, MARBLES, "no no no no no no yes", "no no no no no no yes"),
    Row(CLOSED, DM, OWNER, "all alone alone alone all all yes", "all all all all all all yes"),
    Row(GONE, THERE, STRANGER, NO, NO_GROUP),
    Row(GONE, DM, STRANGER, NO, NO),
    Row(GONE, DM, OWNER, NO, NO),
)
# On the web page everything is asked for in private, and nothing is known of who reads in a chat.
WEB: Final = {
    ASKER: "alone alone alone alone alone alone yes",
    f"{ASKER}, banned everywhere": "alone refused alone alone refused refused yes",
    MEMBER: NO,
    MODERATOR: NO,
    STRANGER: NO,
    MARBLES: "no no no no no no yes",
    OWNER: "alone alone alone alone alone alone yes",
}


def markdown() -> Iterator[str]:
    """Yield the lines of the table in Markdown."""
    for platform in ("Discord", "Telegram"):
        yield f"### {platform}"
        yield ""
        titles = (
            "the picture was asked for in",
            "it is now now asked asked for",
            "by",
            *TITLES.values(),
        )
        yield f"| {' | '.join(titles)} |"
        yield f"|{'---|' * len(titles)}"
        for row in ROWS:
            if cells := row.cells(platform.lower()):
                yield f"| {' | '.join((row.posted, row.asked, row.who, *cells.values()))} |"
        yield ""
    yield "### The web page"
    yield ""
    titles = ("by", *TITLES.values())
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for who, said in WEB.items():
        yield f"| {' | '.join((who, *said.split()))} |"
    yield ""
