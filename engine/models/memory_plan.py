"""What a model will take in memory, from the headers of its files, and whether that fits.

    plan(checkpoint, Room(budget=12_000_000_000, value_bytes=2)).fit    # Fit.WHOLE

Standard library only.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path
from typing import Final

from engine.files.gguf import read_weights
from engine.files.held_bytes import blocks, each_held, grouped_bytes, held_bytes
from engine.files.safetensors import Tensor, as_broken_model
from engine.models import signatures
from engine.models.catalogue import Checkpoint
from engine.models.families import LAYERS, language_form
from engine.models.llama_names import by_transformers
from engine.models.part_kinds import VAE
from engine.models.parts import ENCODER, NETWORK
from engine.models.tensor_names import respelled
from engine.models.weights import NETWORK_FOLDER, component_files

VAE_BYTES: Final = 4  # of a value: VAEs compute in fp32 everywhere
# What files of text encoders and of VAEs hold that is not loaded, by their tensors' names.
UNUSED: Final = re.compile(
    r"(?:^|\.)(?:lm_head|vision_tower|multi_modal_projector)\.|"
    r"(?:^|\.)(?:tekken_model|spiece_model)$|^(?:loss|model_ema)\."
)
SEEING: Final = re.compile(r"(?:^|\.)visual\.")  # which models that edit by words need
TABLES: Final = ("shared.weight", "encoder.embed_tokens.weight")  # T5's, which files may have twice
LAYER: Final = re.compile(r"(?:^|\.)layers\.(\d+)\.")
ADAPTER: Final = re.compile(r"(?:^|\.)llm_adapter\.")  # Anima's, which is one of its text encoders
BETWEEN_FRAMES: Final = re.compile(
    r"(?:^|\.)time_conv\."
)  # of the VAE of frames, for pictures unused


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Say what a device has for models.

    budget: its bytes for them; value_bytes: of a value that networks and text encoders compute in;
    main: bytes for them in main memory, None where that is the device's own memory; holds_fp8:
    whether weights may stay fp8.
    """

    budget: int
    value_bytes: int
    main: int | None = None
    holds_fp8: bool = True


class Fit(Enum):
    """Whether a model fits on the device.

    As a whole; one part at a time; one part at a time, of which some by groups, a few blocks at a
    time (`engine.device.groups`); or not at all.
    """

    WHOLE = auto()
    IN_TURNS = auto()
    BY_GROUPS = auto()
    NOT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The bytes that each part of a model will take on a device, and what there is for them.

    grouped: those of its text encoders and of its network by groups, by the names of these parts;
    none for models with a U-Net.
    """

    text_encoders: int
    network: int
    vae: int
    grouped: Mapping[str, int]
    room: Room

    @property
    def whole(self) -> int:
        """Return the bytes of all parts."""
        return sum(self._parts.values())

    @property
    def at_a_time(self) -> int:
        """Return the bytes of the part that takes most, by groups where it does not fit else."""
        by_groups = {part: self.grouped[part] for part in self.by_groups}
        return max({**self._parts, **by_groups}.values())

    @property
    def by_groups(self) -> frozenset[str]:
        """Return which parts do not fit on the device by themselves, and can go there by groups."""
        return frozenset(part for part in self.grouped if self._parts[part] > self.room.budget)

    @property
    def on_device(self) -> int:
        """Return the bytes that it takes on the device at a time."""
        return self.at_a_time if self.fit in (Fit.IN_TURNS, Fit.BY_GROUPS) else self.whole

    @property
    def fit(self) -> Fit:
        """Return whether it fits."""
        if self.whole <= self.room.budget:
            return Fit.WHOLE
        if self.missing:
            return Fit.NOT
        return Fit.BY_GROUPS if self.by_groups else Fit.IN_TURNS

    @property
    def missing(self) -> int:
        """Return how many bytes more there would have to be for it, 0 where it fits."""
        needed, there = self.tightest
        return max(0, needed - there)

    @property
    def tightest(self) -> tuple[int, int]:
        """Return the bytes that it needs at least and that there are, where most are missing.

        What takes turns on the device waits in main memory.
        """
        if self.room.main is None:
            return self.whole, self.room.budget
        needs = (self.at_a_time, self.room.budget), (self.whole, self.room.main)
        return max(needs, key=lambda need: need[0] - need[1])

    @property
    def _parts(self) -> dict[str, int]:
        return {ENCODER: self.text_encoders, NETWORK: self.network, VAE: self.vae}


def plan(checkpoint: Checkpoint, room: Room) -> Plan:
    """Return what a model will take, or raise `BrokenModel` for a file that cannot be read.

    Its network is loaded first, and the text encoders into what room that leaves
    (`engine.families.flow_model.Parts`); models with a U-Net are cast in any case.
    """
    flow = bool(checkpoint.family.parts)
    taken, grouped = {NETWORK: 0, ENCODER: 0}, {NETWORK: 0, ENCODER: 0}
    with as_broken_model(checkpoint.name):
        for part, tensors in _parts(checkpoint):
            left = room.budget - sum(taken.values()) if flow else sys.maxsize
            held = each_held(tensors.values(), room.value_bytes, left, holds_fp8=room.holds_fp8)
            sizes = dict(zip(tensors, held, strict=True))
            kind = NETWORK if part == NETWORK else ENCODER
            taken[kind] += sum(held)
            grouped[kind] += grouped_bytes(sum(held), blocks(sizes).values())
        vae = _of_first_frame(_own(checkpoint, VAE)) if checkpoint.has_vae else []
    return Plan(
        text_encoders=taken[ENCODER],
        network=taken[NETWORK],
        vae=held_bytes(vae, VAE_BYTES, sys.maxsize, holds_fp8=False),
        grouped=grouped if flow else {},
        room=room,
    )


def _parts(checkpoint: Checkpoint) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Yield the network and each text encoder, with their tensors."""
    network = _own(checkpoint, NETWORK)
    adapter = {name: network.pop(name) for name in [*network] if ADAPTER.search(name)}
    yield NETWORK, network
    if adapter:
        yield ENCODER, adapter
    family = checkpoint.family
    encoders = [part for part, _ in family.parts if part.startswith(ENCODER)]
    for part in encoders or family.encoders:
        yield part, _own(checkpoint, part)


def _own(checkpoint: Checkpoint, part: str) -> dict[str, Tensor]:
    """Return the tensors of a part that are loaded, by their own names."""
    its, flow = checkpoint, bool(checkpoint.family.parts)
    folder = (NETWORK_FOLDER if flow else "unet") if part == NETWORK else part
    tensors = _read(its.parts.get(part) or its.file or its.folder / folder)
    prefix = its.prefixes.get(part, "") if flow or not its.file else _of_single_file(its, part)
    found = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    if part == NETWORK:
        return found
    if all(table in found for table in TABLES):
        del found[TABLES[1]]
    found = {
        name: tensor
        for name, tensor in found.items()
        if not UNUSED.search(name) and (its.references or not SEEING.search(name))
    }
    layers = {name: int(number[1]) for name in found if (number := LAYER.search(name))}
    if not (layers and (by_form := LAYERS.get(its.family.key))):
        return found
    read = by_form[language_form(found)][-1]
    return {name: tensor for name, tensor in found.items() if layers.get(name, -1) < read}


def _of_first_frame(vae: Mapping[str, Tensor]) -> list[Tensor]:
    """Return a VAE's tensors; of convolutions over frames what computes the first of them."""
    return [
        replace(its, shape=(*its.shape[:2], *its.shape[3:])) if len(its.shape) == 5 else its
        for name, its in vae.items()
        if not BETWEEN_FRAMES.search(name)
    ]


def _of_single_file(checkpoint: Checkpoint, part: str) -> str:
    """Return what the names of a part begin with in a single file of a U-Net."""
    if part == NETWORK:
        return signatures.UNET
    if part == VAE:
        return signatures.VAE
    return signatures.TEXT[checkpoint.family.key][checkpoint.family.encoders.index(part)]


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, or of a folder's files, by today's names."""
    tensors: dict[str, Tensor] = {}
    for file in component_files(path) if path.is_dir() else [path]:
        tensors |= read_weights(file).tensors
    return respelled(by_transformers(tensors))
