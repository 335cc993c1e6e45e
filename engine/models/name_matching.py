"""Which file a name means, by one rule for every kind of file: ComfyUI's.

A file's full name is its path below a folder of its kind, with forward slashes:
`sd15/detail.safetensors`. Its ending may be left out, its folder where no other file bears the
name, its case where that is clear. Standard library only.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from engine.errors import UserError, shorten, some
from engine.models.folders import PICKLES, WEIGHTS
from engine.sentences import Sentence


class Names:
    """Full names, and the lookup of those that a name may mean."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = list(paths)
        self._exact = frozenset(self.paths)
        # For each way to loosen a name: the loosened name → full names.
        self._loose: list[dict[str, list[str]]] = []
        for loosen in LOOSER:
            for fold in (str, str.casefold):
                index: dict[str, list[str]] = defaultdict(list)
                for path in self.paths:
                    index[fold(loosen(path))].append(path)
                self._loose.append(index)

    def meant(self, name: str) -> list[str]:
        """Return the full names that a name may mean; several where it is unclear.

        The file of exactly that path, or else of the first of these that there are: that path in
        another case; without its ending; a file of that name in any folder, with its ending or
        without. A pickle beside a safetensors file of its name is not meant.
        """
        if name in self._exact:
            return [name]
        plain = name.replace("\\", "/").strip("/")
        # With another ending it may be the same model, converted.
        for wanted in dict.fromkeys((plain, without_ending(plain))):
            for index, fold in zip(self._loose, (str, str.casefold) * len(LOOSER), strict=True):
                if found := index.get(fold(wanted)):
                    return without_twins(found)
        return []

    def choose(self, kind: str, name: str) -> str | None:
        """Return the full name that a name means, None for none.

        kind: what the files are, for a sentence. Raises `UserError` where it means several.
        """
        found = self.meant(name)
        if len(found) > 1:
            short, fitting = shorten(name), some(sorted(found))
            raise UserError(Sentence("which_one", kind=kind, name=short, fitting=fitting))
        return found[0] if found else None

    def shortest(self, taken: Iterable[str] = ()) -> dict[str, str]:
        """Return full name → the shortest name that means it alone: bare, or with its folder.

        taken: names that stand for something else.
        """
        names, taken = {}, {name.casefold() for name in taken}
        for path in self.paths:
            shorter = (short for short in (stem(path), without_ending(path)) if short)
            mine = (each for each in shorter if self.meant(each) == [path])
            names[path] = next((each for each in mine if each.casefold() not in taken), path)
        return names


def without_ending(name: str) -> str:
    """Return a path without the ending of a file of weights, if it has one."""
    start, dot, ending = name.rpartition(".")
    return start if dot and f".{ending.lower()}" in WEIGHTS else name


def stem(name: str) -> str:
    """Return the name of a path's file, without its folder and its ending."""
    return without_ending(_last_part(name))


def means(name: str, file: str) -> bool:
    """Return whether a name may mean a file; file: its full name or a shorter one."""
    return bool(Names([file]).meant(name))


def without_twins(paths: Iterable[str]) -> list[str]:
    """Leave out pickles that lie beside a safetensors file of the same name."""
    paths = list(paths)
    safe = {without_ending(path) for path in paths if not path.lower().endswith(PICKLES)}
    return [p for p in paths if not p.lower().endswith(PICKLES) or without_ending(p) not in safe]


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]


LOOSER: Final = (str, without_ending, _last_part, stem)
