"""Which pictures are shown in a place, by the safety check's verdicts and the rule there.

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

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from bots.admission.rulebook import Safety
from engine.errors import UserError
from engine.events import Verdict
from engine.pictures.images import blank
from engine.sentences import Sentence
from storage import Picture
from storage.jobs.picture_files import Pictures

UNSAFE: Final = Sentence("picture_unsafe")
UNCHECKED: Final = Sentence("picture_unchecked")
SOME: Final = Sentence("some_left")
NO_SPOILER: Final = Sentence("no_veil")


class Withheld(UserError):
    """Says why a picture is not shown."""


@dataclass(frozen=True, slots=True)
class View:
    """Reads pictures as they may be shown in one place."""

    files: Pictures
    rule: Safety = Safety.OFF

    @property
    def previews(self) -> bool:
        """Return whether previews may be shown, which nothing checks."""
        return self.rule is Safety.OFF

    def shows(self, picture: Picture) -> bool:
        """Return whether a picture may be shown, openly or behind a spoiler."""
        return self.rule is not Safety.REFUSE or picture.verdict is Verdict.SAFE

    def reason(self, picture: Picture) -> Sentence:
        """Return why a picture is not shown, where it is not."""
        return UNSAFE if picture.verdict is Verdict.UNSAFE else UNCHECKED

    def needs_spoiler(self, pictures: Iterable[Picture]) -> bool:
        """Return whether pictures that are shown together must be behind a spoiler."""
        unsafe = any(each.verdict is not Verdict.SAFE for each in pictures)
        return self.rule is Safety.SPOILER and unsafe

    def read(self, picture: Picture) -> bytes:
        """Return the bytes of a picture; blocks.

        Raises `Withheld`, or `PicturesFault`: `LostPicture` where its file is gone for good.
        """
        self.check(picture)
        return self.files.read(picture)

    def open(self, picture: Picture) -> BinaryIO:
        """Return the file of a picture, open; blocks. Raises as `read` does."""
        self.check(picture)
        return self.files.open(picture)

    def check(self, picture: Picture) -> None:
        """Raise `Withheld` for a picture that is not shown."""
        if not self.shows(picture):
            raise Withheld(self.reason(picture))

    def read_openly(self, picture: Picture) -> bytes:
        """Return the bytes of a picture that is sent without a spoiler; raises as `read` does."""
        if self.needs_spoiler([picture]):
            raise Withheld(NO_SPOILER)
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
        """Return the sentence for pictures of which some are left out, or an empty text."""
        return "" if all(map(self.shows, pictures)) else SOME
