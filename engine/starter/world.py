"""The starter model's world: what its pictures can show, and what is held out of training."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

PEOPLE = ("scholar", "warrior", "king", "dancer", "angel")
ANIMALS = ("horse", "lion", "owl", "cat")
THINGS = ("vase", "column", "tree")
SUBJECTS = PEOPLE + ANIMALS + THINGS
MATERIALS = ("marble", "bronze", "gold", "jade", "obsidian", "wood", "ice", "terracotta")
OBJECTS = ("none", "book", "sword", "lantern", "flower")
GROUNDS = ("sunset", "night", "meadow", "sea", "library", "grey", "white", "blue")

HELD_OUT_MATERIALS = frozenset(
    {
        ("king", "ice"),
        ("warrior", "jade"),
        ("lion", "marble"),
        ("cat", "gold"),
        ("owl", "terracotta"),
        ("tree", "obsidian"),
    }
)
"""(subject, material) pairs that training never shows: 6 of 96."""

HELD_OUT_OBJECTS = frozenset({("dancer", "lantern"), ("king", "flower")})
"""(subject, object) pairs that training never shows: 2 of 25."""

_PEOPLE_SHARE = 0.68  # people have objects to hold and faces: they need the most pictures
_EMPTY_HANDS = 0.2


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What one picture shows. Animals and things hold nothing (`object` is "none")."""

    subject: str
    material: str
    object: str
    ground: str

    @property
    def is_person(self) -> bool:
        """Tell whether the subject has hands to hold something."""
        return self.subject in PEOPLE

    @property
    def is_held_out(self) -> bool:
        """Tell whether training must not show this combination."""
        return (self.subject, self.material) in HELD_OUT_MATERIALS or (
            self.subject,
            self.object,
        ) in HELD_OUT_OBJECTS


def every_spec() -> Iterator[Spec]:
    """Yield everything that the world can show, also what is held out of training."""
    for subject, material, ground in product(SUBJECTS, MATERIALS, GROUNDS):
        for held in OBJECTS if subject in PEOPLE else ("none",):
            yield Spec(subject=subject, material=material, object=held, ground=ground)


def draw_spec(rng: np.random.Generator, *, held_out: bool = False) -> Spec:
    """Draw one spec, every attribute uniform: seen in training, or held out of it."""
    while True:
        spec = _draw(rng)
        if spec.is_held_out == held_out:
            return spec


def _draw(rng: np.random.Generator) -> Spec:
    people = rng.random() < _PEOPLE_SHARE
    empty = not people or rng.random() < _EMPTY_HANDS
    return Spec(
        subject=str(rng.choice(PEOPLE if people else ANIMALS + THINGS)),
        material=str(rng.choice(MATERIALS)),
        object="none" if empty else str(rng.choice(OBJECTS[1:])),
        ground=str(rng.choice(GROUNDS)),
    )
