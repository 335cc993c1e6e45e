"""Who may see which picture: the safety check's verdicts, held to what a place asks for.

Every picture that leaves for a chat is read through a `View` of the place where it will be seen:
answers and their fallbacks, galleries, originals, direct messages, exports. A picture that nobody
checked counts as unsafe, a place of which it is not known that it is age-restricted as one that is
not, and a preview as a picture that nobody checked.

    rule        safe     unsafe or unchecked
    off         shown    shown
    spoiler     shown    behind a spoiler; nowhere that the platform has none
    refuse      shown    not shown
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bots.admission.in_force import InForce, nowhere
from bots.admission.rules import Safety
from engine.errors import UserError
from engine.events import Verdict
from engine.pictures.images import blank
from engine.sentences import Sentence
from storage import Picture, Storage
from storage.jobs.picture_files import Pictures

UNSAFE: Final = Sentence("picture_unsafe")
UNCHECKED: Final = Sentence("picture_unchecked")
SOME: Final = Sentence("some_left")
NO_VEIL: Final = Sentence("no_veil")


class Withheld(UserError):
    """Say why a picture is not shown."""


class Ruling(Protocol):
    """Know what is in force in a place."""

    async def in_force(self, place: str, adult: Callable[[str], bool] = ...) -> InForce: ...


@dataclass(frozen=True, slots=True)
class View:
    """Read pictures as somebody may see them in one place."""

    files: Pictures
    rule: Safety = Safety.OFF

    @property
    def previews(self) -> bool:
        """Say whether guesses at a picture may be shown, which nobody checks."""
        return self.rule is Safety.OFF

    def shows(self, picture: Picture) -> bool:
        """Say whether a picture may be shown, be it behind a spoiler."""
        return self.rule is not Safety.REFUSE or picture.verdict is Verdict.SAFE

    def veils(self, pictures: Iterable[Picture]) -> bool:
        """Say whether pictures that are shown together belong behind a spoiler."""
        unsafe = any(each.verdict is not Verdict.SAFE for each in pictures)
        return self.rule is Safety.SPOILER and unsafe

    def opens(self, picture: Picture) -> bool:
        """Say whether a picture may be shown with nothing before it."""
        return self.shows(picture) and not self.veils([picture])

    def read(self, picture: Picture) -> bytes:
        """Return the bytes of a picture; blocks. Raises `Withheld`, or `DatabaseFault`."""
        if not self.shows(picture):
            raise Withheld(UNSAFE if picture.verdict is Verdict.UNSAFE else UNCHECKED)
        return self.files.read(picture)

    def read_open(self, picture: Picture) -> bytes:
        """Return the bytes of a picture that nothing will stand before, as `read` does."""
        if self.veils([picture]):
            raise Withheld(NO_VEIL)
        return self.read(picture)

    def read_all(self, pictures: Sequence[Picture]) -> list[bytes]:
        """Return pictures that are shown together, a blank for each that may not be seen; blocks.

        Raises `Withheld` where that is all of them.
        """
        if not any(map(self.shows, pictures)):
            return [self.read(picture) for picture in pictures]
        return [
            self.read(each) if self.shows(each) else blank(each.width, each.height)
            for each in pictures
        ]

    def note(self, pictures: Iterable[Picture]) -> str:
        """Return what is said beside pictures of which some are left out, or nothing."""
        return "" if all(map(self.shows, pictures)) else SOME


@dataclass(frozen=True, slots=True)
class Screen:
    """Know what may be seen where."""

    storage: Storage
    ruling: Ruling

    async def of(self, place: str, adult: Callable[[str], bool] = nowhere) -> View:
        """Return what may be seen in a place; `adult`: see `Gate.in_force`."""
        held = await self.ruling.in_force(place, adult)
        return View(self.storage.pictures, held.rules.safety)
