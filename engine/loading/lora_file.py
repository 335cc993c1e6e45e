"""Read a LoRA file's header: which layers it changes, by which tensors, how strongly.

Trainers spell the same tensors differently; each spelling stands in a table, and a tensor that
stands in none is an error, since whatever it does would be missing from the picture. Standard
library only.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import BrokenModel, reading_a
from engine.files.safetensors import Header, as_broken_model, quoted, read_header
from engine.loading.lora_config import PeftConfig, read_config
from engine.models.folders import ModelKind

# How a tensor's name ends behind its layer's → what it is.
ROLES: Final[Mapping[str, str]] = {
    ".lora_down.weight": "down", ".lora_up.weight": "up",  # kohya
    ".lora_A.weight": "down", ".lora_B.weight": "up",  # peft
    ".lora.down.weight": "down", ".lora.up.weight": "up",  # diffusers
    ".lora_linear_layer.down.weight": "down", ".lora_linear_layer.up.weight": "up",
    ".down.weight": "down", ".up.weight": "up",  # diffusers' attention processors
    ".lora_A.default.weight": "down", ".lora_B.default.weight": "up",  # peft, by an adapter's name
    ".lora_B.bias": "up_bias", ".lora_B.default.bias": "up_bias",
    ".lora_mid.weight": "mid",  # LyCORIS' convolutions in CP form
    ".alpha": "alpha",
    ".hada_w1_a": "w1_a", ".hada_w1_b": "w1_b", ".hada_t1": "t1",
    ".hada_w2_a": "w2_a", ".hada_w2_b": "w2_b", ".hada_t2": "t2",
    ".lokr_w1": "kron_1", ".lokr_w1_a": "kron_1_a", ".lokr_w1_b": "kron_1_b",
    ".lokr_w2": "kron_2", ".lokr_w2_a": "kron_2_a", ".lokr_w2_b": "kron_2_b",
    ".lokr_t2": "kron_t2",
    ".dora_scale": "magnitude",
    ".lora_magnitude_vector": "row_magnitude",
    ".lora_magnitude_vector.weight": "row_magnitude",
    ".lora_magnitude_vector.default.weight": "row_magnitude",
    ".diff": "diff", ".diff_b": "bias_diff",
    ".w_norm": "diff", ".b_norm": "bias_diff",  # LyCORIS' norms
    ".set_weight": "set",
}  # fmt: skip
# The roles that make up each kind of change: those that must be there, and those that may.
KINDS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "pair": (("down", "up"), ("mid", "up_bias")),
    "hadamard": (("w1_a", "w1_b", "w2_a", "w2_b"), ("t1", "t2")),
    "kronecker": ((), ("kron_1", "kron_1_a", "kron_1_b", "kron_2", "kron_2_a", "kron_2_b",
                       "kron_t2")),
    "whole": ((), ("diff", "bias_diff")),
    "set": (("set",), ()),
}  # fmt: skip
PARTS: Final = {
    "kron_1": ("kron_1_a", "kron_1_b"),
    "kron_2": ("kron_2_a", "kron_2_b", "kron_t2"),
}  # of a LoKr's factors
NAMES: Final = {"hadamard": "a LoHa", "kronecker": "a LoKr"}
MAGNITUDES: Final = ("magnitude", "row_magnitude")  # with them a pair or the like is a DoRA
FULL: Final = ("pair", "hadamard", "kronecker")  # the kinds that alpha and magnitudes belong to
PREFIX: Final = "base_model.model."  # peft's
# What Marble cannot run, by a part of a tensor's name.
OTHERS: Final = (
    ("oft_", "an OFT"),
    (".a1.weight", "a GLoRA"),
    (".on_input", "an IA3"),
    ("ia3_l", "an IA3"),
    ("lora_embedding_A", "a LoRA of an embedding layer"),
    ("bundle_emb.", "a LoRA with embeddings inside (save them as files in embeddings/)"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraEntry:
    """One kind of change to a layer: role → name of a tensor in the file.

    name: the layer, as the file spells it; kind: one of `KINDS`; alpha: what the rank is compared
    with (None: the scale is 1); by_root: the scale is alpha/√rank instead of alpha/rank.
    """

    name: str
    kind: str
    tensors: Mapping[str, str]
    alpha: float | None = None
    by_root: bool = False

    def scale(self, rank: int) -> float:
        """Return the factor of what it adds, without the LoRA's own weight."""
        if self.alpha is None or not rank:  # matrices without a rank add nothing
            return 1.0
        return self.alpha / (math.sqrt(rank) if self.by_root else rank)


@reading_a(ModelKind.LORA)
def read_entries(name: str, path: Path) -> list[LoraEntry]:
    """Return a file's changes of a model, or raise `BrokenModel` with the reason.

    Every tensor of the file is in one of them.
    """
    with as_broken_model(name):
        header = read_header(path)
        config = read_config(path, header)
    layers, unread = _sort(header)
    is_lora = any(roles.keys() - {"alpha"} for roles in layers.values())
    for mark, what in OTHERS if unread or not is_lora else ():
        if any(mark in tensor for tensor in header.tensors):
            raise BrokenModel(name, f"it is {what}, which Marble cannot run yet.")
    if not is_lora:
        raise BrokenModel(name, "it is no LoRA: none of its tensors changes a layer.")
    if unread:
        more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
        raise BrokenModel(name, f"it holds {quoted(unread[0])}{more}, which Marble cannot read.")
    entries: list[LoraEntry] = []
    for layer, roles in layers.items():
        entries += _entries(name, header, layer, roles, config)
    return entries


def _sort(header: Header) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return layer → role → tensor, and the tensors that have no known role."""
    layers: dict[str, dict[str, str]] = defaultdict(dict)
    unread = []
    for tensor in header.tensors:
        ending = next((each for each in _LONGEST_FIRST if tensor.endswith(each)), None)
        layer = tensor.removesuffix(ending or "")
        # A second one for the same, by another spelling, has no place either.
        if ending is None or ROLES[ending] in layers[layer]:
            unread.append(tensor)
        else:
            layers[layer][ROLES[ending]] = tensor
    return layers, unread


_LONGEST_FIRST: Final = sorted(ROLES, key=len, reverse=True)


def _entries(
    name: str, header: Header, layer: str, roles: Mapping[str, str], config: PeftConfig
) -> Iterator[LoraEntry]:
    """Yield the changes to one layer, or raise `BrokenModel` for one that is not whole."""
    spelled = layer.removeprefix(PREFIX)
    used = {"alpha"}
    for kind, (needed, more) in KINDS.items():
        mine = {role: roles[role] for role in (*needed, *more) if role in roles}
        if not mine:
            continue
        for role in _lacking(kind, needed, mine):
            start = f"it is {NAMES[kind]}, and " if kind in NAMES else ""
            missing = f"{layer}{_ending(mine, role)}"[-120:]  # a stranger's, of any length
            raise BrokenModel(name, f"{start}{missing} is missing.")
        for role in _beside(mine):
            raise BrokenModel(
                name, f"it holds {quoted(mine[role])} beside what stands in its place."
            )
        alpha, by_root = None, False
        if kind in FULL:
            mine |= {role: roles[role] for role in MAGNITUDES if role in roles}
            alpha = _alpha(name, header, roles["alpha"]) if "alpha" in roles else None
            by_root = alpha is None and config.by_root(spelled)
            alpha = config.alpha(spelled) if alpha is None else alpha
        yield LoraEntry(name=spelled, kind=kind, tensors=mine, alpha=alpha, by_root=by_root)
        used |= mine.keys()
    if left := roles.keys() - used:
        raise BrokenModel(name, f"it holds {quoted(roles[min(left)])} without what it belongs to.")
    if all(role in roles for role in MAGNITUDES):
        magnitude = roles[MAGNITUDES[1]]
        raise BrokenModel(name, f"it holds {quoted(magnitude)} beside what stands in its place.")


def _lacking(kind: str, needed: tuple[str, ...], mine: Mapping[str, str]) -> Iterator[str]:
    yield from (role for role in needed if role not in mine)
    if kind == "hadamard" and ("t1" in mine) != ("t2" in mine):
        yield "t1" if "t2" in mine else "t2"
    if kind == "kronecker":
        for factor in ("kron_1", "kron_2"):
            if factor not in mine:
                yield from (r for r in (f"{factor}_a", f"{factor}_b") if r not in mine)


def _beside(mine: Mapping[str, str]) -> Iterator[str]:
    """Yield the parts of a LoKr's factor that is there whole."""
    for factor, parts in PARTS.items():
        if factor in mine:
            yield from (role for role in parts if role in mine)


def _ending(mine: Mapping[str, str], role: str) -> str:
    """Return how a file that lacks a role's tensor would spell it, as it spells the others."""
    endings = _endings(role)
    other = {"down": "up", "up": "down"}.get(role, "")
    if other not in mine:
        return endings[0]
    its = next(each for each in _LONGEST_FIRST if mine[other].endswith(each))
    return endings[_endings(other).index(its)]


def _endings(role: str) -> list[str]:
    return [ending for ending, its in ROLES.items() if its == role]


def _alpha(name: str, header: Header, tensor: str) -> float:
    if math.prod(header.shape(tensor)) != 1:
        raise BrokenModel(name, f"{quoted(tensor)} is not one number.")
    with as_broken_model(name):
        (alpha,) = header.values(tensor)
    if not math.isfinite(alpha):
        raise BrokenModel(name, f"{quoted(tensor)} holds values that are no numbers.")
    return alpha
