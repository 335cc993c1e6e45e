"""Read `--control canny:house.png,find=canny,strength=0.8`: a ControlNet, a picture, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.errors import OptionError, UnknownOption
from engine.recipe.parts import Control

NO_CONTROL: Final = "none"  # takes what a job that is drawn again had
FORM: Final = "a control model and a picture, like canny:house.png"


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"--control's {name}", text, "a number") from None


# What may be typed behind the picture → a field of `Control`, and how it is read.
KEYS: Final[Mapping[str, tuple[str, Callable[[str, str], Any]]]] = {
    "strength": ("strength", _number),
    "start": ("start", _number),
    "end": ("end", _number),
    "find": ("preprocessor", lambda name, text: text),
}


@dataclass(frozen=True, slots=True)
class TypedControl:
    """Hold a control as it was typed; its picture is still a file, or one of ours by name."""

    model: str
    file: str
    how: Mapping[str, Any]

    @classmethod
    def read(cls, text: str) -> TypedControl:
        """Read MODEL:FILE[,KEY=VALUE…], or raise `OptionError` or `UnknownOption`."""
        model, _, rest = text.partition(":")
        file, *typed = rest.split(",")
        if not model or not file:
            raise OptionError("--control", text, FORM)
        how = {}
        for each in typed:
            name, _, value = each.partition("=")
            if name not in KEYS:
                raise UnknownOption(name, KEYS)
            field, read = KEYS[name]
            how[field] = read(name, value)
        # All that is wrong with them is said before any picture is read.
        Control(model=model, image="0" * 64, **how)
        return cls(model, file, how)

    def control(self, image: str) -> Control:
        """Return the part of a recipe that it means; image: its picture's sha256."""
        return Control(model=self.model, image=image, **self.how)
