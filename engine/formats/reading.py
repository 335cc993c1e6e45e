"""What a file says of how its picture was made, whoever wrote it, and the recipe that it becomes.

Reading is not drawing: values that no recipe takes are named, and those that are missing are
filled in only where a picture is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, is_dataclass
from typing import Any, Final

from engine.errors import MetadataError, OptionError, UserError, shorten
from engine.recipe.limits import CHOICES, LATENT_SIDE, is_int
from engine.recipe.recipe import DEFAULTS, Recipe, check_field
from engine.sentences import Sentence

NECESSARY: Final = tuple(name for name, default in DEFAULTS.items() if default is MISSING)
COMFYUI: Final = "ComfyUI"  # the source whose readings may have several results
SIDES: Final = ("width", "height")
INPUTS: Final = ("image", "mask", "controls", "references")  # fields that name stored pictures
LONGEST: Final = 60  # characters of a value in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The values found in a file, by fields of a recipe, and what of them cannot be honoured.

    source: who wrote them; where: what each value is called there, by field; ignored: what is not
    honoured, and why; refused: why no picture can be drawn from them at all; unfit: what is wrong
    with values that no recipe takes, by field; results: ids and titles of a graph's nodes among
    which one may be chosen, where there are several.
    """

    source: str
    values: Mapping[str, Any] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    refused: UserError | None = field(default=None, compare=False)
    results: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    unfit: Mapping[str, UserError] = field(default_factory=dict, compare=False)

    @classmethod
    def of(
        cls,
        source: str,
        values: Mapping[str, Any],
        where: Mapping[str, str],
        ignored: Iterable[str] = (),
        refused: UserError | None = None,
    ) -> Reading:
        """Return a reading of values as they were found: those that no recipe takes are named."""
        kept: dict[str, Any] = {}
        unfit: dict[str, UserError] = {}
        notes: list[str] = []
        for name, value in values.items():
            if value is None:
                continue
            try:
                check_field(name, _on_grid(name, value))
                kept[name] = value
            except OptionError as error:
                unfit[name] = error
                label, given = where.get(name) or name, _shown(value)
                why = (
                    Sentence("reading_unknown")
                    if name in CHOICES
                    else Sentence("reading_range", allowed=error.allowed)
                )
                notes.append(Sentence("reading_note", name=label, value=given, why=why))
        if len(alone := [name for name in SIDES if name in kept]) == 1:  # half a size is none
            side = kept.pop(alone[0])
            why = Sentence("reading_half")
            notes.append(Sentence("reading_note", name=alone[0], value=str(side), why=why))
        if size := _size(kept):
            now = "×".join(map(str, size))
            was = f"{kept['width']}×{kept['height']}"
            notes.append(Sentence("reading_rounded", was=was, now=now))
        found = {name: where[name] for name in kept if where.get(name)}
        return cls(
            source=source,
            values=kept,
            where=found,
            ignored=(*notes, *ignored),
            refused=refused,
            unfit=unfit,
        )

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the fields that a recipe needs and that the file does not say."""
        return tuple(name for name in NECESSARY if name not in self.values)

    @property
    def inputs(self) -> bool:
        """Return whether it needs other pictures."""
        masks = any(area.mask for area in self.values.get("areas", ()))
        return masks or any(self.values.get(name) for name in INPUTS)

    @property
    def recipe(self) -> Recipe:
        """Return the recipe that the file alone says, or raise `UserError`."""
        return self.completed({})

    def completed(self, usual: Mapping[str, Any]) -> Recipe:
        """Return the recipe, with `usual` values for what is missing.

        Raises `UserError` where something is missing still, or nothing can be drawn.
        """
        if self.refused is not None:
            raise self.refused
        for name in self.missing:
            if name in self.unfit and name not in usual:
                raise self.unfit[name]
        if lacking := [name for name in self.missing if name not in usual]:
            raise MetadataError(
                Sentence(
                    "reading_lacks",
                    source=self.source,
                    option=", ".join(lacking),
                    called=called(lacking),
                )
            )
        values = {**{name: usual[name] for name in self.missing}, **self.values}
        return Recipe(**{name: _on_grid(name, value) for name, value in values.items()})

    def check_result(self, result: str | None) -> None:
        """Raise `MetadataError` where a result was chosen of what is no graph."""
        if result is not None and self.source != COMFYUI:
            raise MetadataError(Sentence("reading_one_result", source=self.source))

    def to_dict(self) -> dict[str, Any]:
        """Return the values as plain JSON, as `Recipe.to_dict` does; defaults are left out."""
        return {
            name: str(self.values[name]) if name == "seed" else _plain(self.values[name])
            for name, default in DEFAULTS.items()
            if name in self.values and self.values[name] != default
        }


def called(names: Iterable[str]) -> str:
    """Return fields by the names that people use."""
    return ", ".join(name.replace("checkpoint", "model").replace("_", " ") for name in names)


def _on_grid(name: str, value: Any) -> Any:
    """Return a side in whole latents, as other programs draw it; other values as they are."""
    return value // LATENT_SIDE * LATENT_SIDE if name in SIDES and is_int(value) else value


def _size(values: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the size in whole latents, where it is another than was found."""
    if not all(name in values for name in SIDES):
        return None
    size = tuple(_on_grid(name, values[name]) for name in SIDES)
    return size if size != tuple(values[name] for name in SIDES) else None


def _shown(value: object) -> str:
    if isinstance(value, tuple):  # of parts, of which there are too many
        return f"{len(value):,}"
    return value[:LONGEST] if isinstance(value, str) else shorten(value, LONGEST)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        plain = asdict(value)
        return plain | {"seed": str(plain["seed"])} if "seed" in plain else plain
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
