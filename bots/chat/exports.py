"""What is said beside the parts of an export, on every platform that hands them out."""

from __future__ import annotations

from typing import Final

from bots.texts import Words
from storage.people.exports import Part
from storage.records import Exported

PARTS: Final = 50  # messages with a file each; what is more, the owner hands out


def export_text(exported: Exported, part: Part, words: Words) -> str:
    """Return what is said beside a part: with the first, also what is in all of them."""
    said = [words.export_part.format(part=part.number, count=part.count)] if part.count > 1 else []
    if part.number == 1:
        said.append(words.export_ready.format(pictures=exported.pictures))
        if exported.left_out:
            said.append(words.export_without.format(count=exported.left_out))
        if exported.too_large:
            said.append(words.export_too_large.format(count=exported.too_large))
    return " ".join(said)
