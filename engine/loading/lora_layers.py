"""What LoRAs add to a layer, as functions of its input: never a change to its weights.

A layer's answer is linear in its weights, so what a change Δ of them adds is the layer's own
function of the input with Δ in their place. Pairs of small matrices are joined and cost little:
y + up(down(x)). Other changes are kept in their small form, and Δ is made anew at each call.

Pairs: Hu et al. (2021), arXiv:2106.09685. LoHa, LoKr and convolutions in CP form: Yeh et al.
(2023), arXiv:2309.14859. DoRA: Liu et al. (2024), arXiv:2402.09353, its strength as in ComfyUI.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Final, Protocol

import torch
from torch import Tensor
from torch.nn.functional import conv2d, embedding, group_norm, layer_norm, linear

from engine.loading.lora_file import Entry

SIZES: Final = "has other sizes"
LAYERS: Final = (torch.nn.Linear, torch.nn.Conv2d)  # those that pairs are made for


class Change(Protocol):
    """Return what is added to a layer's weights [out, in, …], given what they are by then, fp32."""

    def __call__(self, weight: Callable[[], Tensor]) -> Tensor:
        """Return the difference in the weights' shape, fp32."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Add up·down: down [rank, in, …], up [out, rank], the scale included in `up`."""

    down: Tensor
    up: Tensor

    def __call__(self, weight: Callable[[], Tensor]) -> Tensor:
        """Return the product in the shape of the weights."""
        return (self.up @ self.down.flatten(1)).reshape(len(self.up), *self.down.shape[1:])


@dataclass(frozen=True, slots=True, eq=False)
class Hadamard:
    """Add (a·b) ⊙ (c·d), LoHa's form: a, c [out, rank], b, d [rank, in·…]."""

    factors: tuple[Tensor, Tensor, Tensor, Tensor]
    shape: torch.Size

    def __call__(self, weight: Callable[[], Tensor]) -> Tensor:
        """Return the product in the shape of the weights."""
        a, b, c, d = self.factors
        return ((a @ b) * (c @ d)).reshape(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Kronecker:
    """Add left ⊗ right, LoKr's form."""

    left: Tensor
    right: Tensor
    shape: torch.Size

    def __call__(self, weight: Callable[[], Tensor]) -> Tensor:
        """Return the product in the shape of the weights."""
        made: Tensor = torch.kron(self.left, self.right)
        return made.reshape(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """Add a difference as it is."""

    difference: Tensor

    def __call__(self, weight: Callable[[], Tensor]) -> Tensor:
        """Return the difference."""
        return self.difference


@dataclass(frozen=True, slots=True, eq=False)
class Instead:
    """Take other weights, whatever the LoRA's own weight is, as ComfyUI does."""

    weight: Tensor

    def __call__(self, weight: Callable[[], Tensor]) -> Tensor:
        """Return the difference from the weights by then."""
        return self.weight - weight()


@dataclass(frozen=True, slots=True, eq=False)
class Dora:
    """Change the weights by another change, then give their rows or columns these lengths.

    magnitude: [out, 1, …] for rows, [1, in, …] for columns; strength: the share of the way from
    the weights by then to the result.
    """

    inner: Change
    magnitude: Tensor
    strength: float

    def __call__(self, weight: Callable[[], Tensor]) -> Tensor:
        """Return the difference from the weights by then."""
        before = weight()
        changed = before + self.inner(weight)
        rows = len(self.magnitude) == len(changed)
        others = [axis for axis in range(changed.ndim) if axis != (0 if rows else 1)]
        length: Tensor = torch.linalg.vector_norm(changed, dim=others, keepdim=True)
        changed = changed * (self.magnitude / (length + torch.finfo(length.dtype).eps))
        return self.strength * (changed - before)


@dataclass(frozen=True, slots=True, eq=False)
class Addition:
    """Hold what a set of LoRAs adds to a layer.

    down [R, in, …] and up [out, R, …]: the joined pairs, in the layer's dtype; changes: all else,
    in order; bias [out].
    """

    down: Tensor | None = None
    up: Tensor | None = None
    changes: tuple[Change, ...] = ()
    bias: Tensor | None = None

    def __call__(self, layer: Any, x: Tensor) -> Tensor:
        """Return what is added to the layer's answer to x."""
        if self.down is None or self.up is None:
            return self._answer(layer, x)
        if isinstance(layer, torch.nn.Linear):
            answer = linear(linear(x, self.down), self.up)
        else:
            inner = conv2d(x, self.down, None, layer.stride, layer.padding, layer.dilation)
            answer = conv2d(inner, self.up)
        if self.changes or self.bias is not None:
            answer = answer + self._answer(layer, x)
        return answer

    def _answer(self, layer: Any, x: Tensor) -> Tensor:
        """Return the layer's answer to x, had it these changes for its weights and bias."""
        delta = self._delta(layer.weight)
        bias = self.bias
        if isinstance(layer, torch.nn.Linear):
            return linear(x, delta, bias)
        if isinstance(layer, torch.nn.Conv2d):
            return conv2d(x, delta, bias, layer.stride, layer.padding, layer.dilation)
        if isinstance(layer, torch.nn.GroupNorm):
            return group_norm(x, layer.num_groups, delta, bias, layer.eps)
        if isinstance(layer, torch.nn.LayerNorm):
            return layer_norm(x, layer.normalized_shape, delta, bias, layer.eps)
        return embedding(x, delta)

    def _delta(self, weight: Tensor) -> Tensor:
        """Return the sum of the changes, in the dtype of the weights."""
        total: Tensor | None = None
        for change in self.changes:

            def by_then(before: Tensor | None = total) -> Tensor:
                return weight.float() if before is None else weight.float() + before

            made = change(by_then)
            total = made if total is None else total + made
        return torch.zeros_like(weight) if total is None else total.to(weight.dtype)


Found = tuple[Change | None, Tensor | None]  # what is changed of a layer's weights, of its bias


def join(layer: Any, found: Sequence[Found], device: torch.device) -> Addition:
    """Join changes of a layer's weights and bias, in order, to one addition on a device."""
    weight = layer.weight
    changes = [change for change, _ in found if change is not None]
    biases = [bias for _, bias in found if bias is not None]
    bias = torch.stack(biases).sum(0).to(device, weight.dtype) if biases else None
    # A change that depends on the weights by then comes after the pairs before it.
    depends = any(isinstance(change, (Dora, Instead)) for change in changes)
    pairs = [] if depends else [change for change in changes if isinstance(change, Pair)]
    rest = tuple(_moved(c, device) for c in changes if depends or not isinstance(c, Pair))
    if not depends:  # a difference as large as the weights is kept as small as they are
        rest = tuple(
            Whole(c.difference.to(weight.dtype)) if isinstance(c, Whole) else c for c in rest
        )
    if not pairs:
        return Addition(changes=rest, bias=bias)
    to = partial(torch.Tensor.to, device=device, dtype=weight.dtype)
    down = torch.cat([pair.down for pair in pairs])
    up = torch.cat([pair.up for pair in pairs], dim=1)
    up = up.reshape(*up.shape, *[1] * (weight.ndim - 2))
    return Addition(down=to(down), up=to(up), changes=rest, bias=bias)


def _moved(change: Any, device: torch.device) -> Any:
    """Return a change whose tensors lie on a device."""
    if isinstance(change, Tensor):
        return change.to(device)
    if isinstance(change, tuple) and not isinstance(change, torch.Size):
        return tuple(_moved(each, device) for each in change)
    if isinstance(change, (Pair, Hadamard, Kronecker, Whole, Instead, Dora)):
        kept = (_moved(getattr(change, name), device) for name in type(change).__slots__)
        return type(change)(*kept)
    return change


def read_change(entry: Entry, tensors: Mapping[str, Tensor], layer: Any, weight: float) -> Found:
    """Return what an entry changes of a layer: its weights, its bias, by the LoRA's own weight.

    tensors: role → fp32. Raises `ValueError` with what does not fit the layer.
    """
    shape = layer.weight.shape
    bias = tensors.get("bias_diff")
    if entry.kind == "whole":
        made = Whole(_shaped(tensors["diff"], shape) * weight) if "diff" in tensors else None
        return made, None if bias is None else _bias(bias, layer) * weight
    if entry.kind == "set":
        return (Instead(_shaped(tensors["set"], shape)) if weight else None), None
    magnitude = _magnitude(tensors, shape)
    strength = weight if magnitude is None else 1.0
    change, scale = MAKE[entry.kind](entry, tensors, layer, strength)
    added = tensors.get("up_bias")
    return (
        change if magnitude is None else Dora(change, magnitude, weight),
        None if added is None else _bias(added, layer) * (scale * weight),
    )


def _pair(
    entry: Entry, tensors: Mapping[str, Tensor], layer: Any, strength: float
) -> tuple[Change, float]:
    down, up, shape = tensors["down"], tensors["up"], layer.weight.shape
    rank = len(down)
    if not isinstance(layer, LAYERS):
        raise ValueError("is of a layer that no pair of matrices can change")
    if "mid" in tensors:
        down = torch.einsum("o i ..., i n -> o n ...", tensors["mid"], down.flatten(1))
    down, up = down.flatten(1), up.flatten(1)
    if down.shape[1] != prod(shape[1:]) or up.shape != (shape[0], len(down)):
        raise ValueError(SIZES)
    scale = entry.scale(rank)
    return Pair(down.reshape(-1, *shape[1:]), up * (scale * strength)), scale


def _hadamard(
    entry: Entry, tensors: Mapping[str, Tensor], layer: Any, strength: float
) -> tuple[Change, float]:
    rank = len(tensors["w1_b"])
    factors = []
    for number in "12":
        a, b = tensors[f"w{number}_a"], tensors[f"w{number}_b"]
        if f"t{number}" in tensors:
            a, b = a.T, torch.einsum("i j ..., j r -> i r ...", tensors[f"t{number}"], b).flatten(1)
        factors += [a, b]
    scale = entry.scale(rank)
    factors[0] = factors[0] * (scale * strength)
    shape = layer.weight.shape
    wanted = shape[0], prod(shape[1:])
    for a, b in (factors[:2], factors[2:]):
        if (len(a), b.shape[1]) != wanted or a.shape[1] != len(b):
            raise ValueError(SIZES)
    one, two, three, four = factors
    return Hadamard((one, two, three, four), shape), scale


def _kronecker(
    entry: Entry, tensors: Mapping[str, Tensor], layer: Any, strength: float
) -> tuple[Change, float]:
    ranks = []

    def factor(role: str) -> Tensor:
        if role in tensors:
            return tensors[role]
        a, b = tensors[f"{role}_a"], tensors[f"{role}_b"]
        ranks.append(len(b))
        core = tensors.get("kron_t2") if role == "kron_2" else None
        return a @ b if core is None else torch.einsum("i j ..., j r, i p -> p r ...", core, b, a)

    left, right = factor("kron_1"), factor("kron_2")
    left = left.reshape(*left.shape, *[1] * (right.ndim - left.ndim))
    shape = layer.weight.shape
    if left.ndim != right.ndim or left.numel() * right.numel() != prod(shape):
        raise ValueError(SIZES)
    if len(left) * len(right) != shape[0]:
        raise ValueError(SIZES)
    # Without a rank there is nothing that alpha is compared with.
    scale = entry.scale(ranks[-1]) if ranks else 1.0
    return Kronecker(left * (scale * strength), right.contiguous(), shape), scale


Make = Callable[[Entry, Mapping[str, Tensor], Any, float], tuple[Change, float]]
MAKE: Final[Mapping[str, Make]] = {"pair": _pair, "hadamard": _hadamard, "kronecker": _kronecker}


def _magnitude(tensors: Mapping[str, Tensor], shape: torch.Size) -> Tensor | None:
    """Return a DoRA's lengths as [out, 1, …] or [1, in, …], None where there are none."""
    ones = [1] * (len(shape) - 1)
    if "row_magnitude" in tensors:
        return tensors["row_magnitude"].reshape(shape[0], *ones)
    if "magnitude" not in tensors:
        return None
    given = tensors["magnitude"]
    if given.ndim == 1 or len(given) == shape[0]:
        return given.reshape(shape[0], *ones)
    return given.reshape(1, shape[1], *ones[1:])


def _bias(change: Tensor, layer: Any) -> Tensor:
    if getattr(layer, "bias", None) is None:
        raise ValueError("changes a bias, which that layer lacks")
    return _shaped(change, layer.bias.shape)


def _shaped(tensor: Tensor, shape: torch.Size) -> Tensor:
    """Return a tensor in a shape that differs from its own by sides of 1 alone."""
    if [side for side in tensor.shape if side > 1] != [side for side in shape if side > 1]:
        raise ValueError(SIZES)
    return tensor.reshape(shape)
