"""Changes to how a network works, as nodes of ComfyUI make them. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.errors import OptionError
from engine.recipe.limits import Range, check_number, one_of
from engine.sentences import Sentence

FREEU: Final = "freeu"
FREEU_2: Final = "freeu_v2"
PERTURBED: Final = "perturbed_attention"
LCM: Final = "lcm"
# How the network's output is read, and the noise levels spaced, by ComfyUI's names.
READINGS: Final = ("eps", "v_prediction", LCM, "x0")
_FACTOR, _FLAG = Range(0, 10), Range(0, 1, 1)
# Each change's numbers: FreeU's factors b1, b2, s1 and s2; the scale of perturbed attention;
# whether the noise levels end in pure noise.
PATCHES: Final[Mapping[str, tuple[Range, ...]]] = {
    **dict.fromkeys((FREEU, FREEU_2), (_FACTOR,) * 4),
    PERTURBED: (Range(0, 100),),
    **dict.fromkeys(READINGS, (_FLAG,)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Change a U-Net; several changes act in their order.

    freeu, freeu_v2: weigh its features (`engine.denoise.freeu`); perturbed_attention: guide away
    from a prediction without attention (`engine.denoise.perturbed`); eps, v_prediction, lcm, x0:
    read its output otherwise (`engine.loading.noise_schedule`). numbers: as `PATCHES` has them.
    """

    kind: str
    numbers: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.kind not in PATCHES:
            raise OptionError("patch", self.kind, one_of(PATCHES))
        ranges = PATCHES[self.kind]
        if not isinstance(self.numbers, tuple) or len(self.numbers) != len(ranges):
            raise OptionError(self.kind, self.numbers, Sentence("so_many", count=len(ranges)))
        for number, allowed in zip(self.numbers, ranges, strict=True):
            check_number(self.kind, _whole(number), allowed)
        object.__setattr__(self, "numbers", tuple(map(float, self.numbers)))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Patch:
        """Read plain JSON values, or raise `OptionError`."""
        return cls(kind=str(data.get("kind")), numbers=tuple(data.get("numbers", ())))


def _whole(number: Any) -> Any:
    """Return 1.0 as 1, which a range of whole numbers takes."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def reading_of(patches: Iterable[Patch]) -> Patch | None:
    """Return the change of how the output is read: of several the last one counts."""
    return next((each for each in reversed([*patches]) if each.kind in READINGS), None)


def perturbed_scale(patches: Iterable[Patch]) -> float:
    """Return the scale of perturbed attention guidance, 0 without it."""
    return sum(each.numbers[0] for each in patches if each.kind == PERTURBED)
