"""What LoRAs add to a layer's output, as functions of its input; its weights stay as they are.

A layer's output is linear in its weights, so a change Δ of them adds the layer's own function of
the input with Δ in their place. Pairs of small matrices are joined and cost little:
y + up(down(x)). Other changes are kept in their small form, and Δ is computed at each call.

Pairs: Hu et al. (2021), arXiv:2106.09685. LoHa, LoKr and convolutions in CP form: Yeh et al.
(2023), arXiv:2309.14859. DoRA: Liu et al. (2024), arXiv:2402.09353, its strength as in ComfyUI.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.functional import conv2d, embedding, group_norm, layer_norm, linear

from engine.device.stored_weights import real_values
from engine.loading.lora_file import LoraEntry
from engine.loading.makers_names import Rows

SIZES: Final = "has other sizes"

Tensors = Mapping[str, Tensor]  # role → fp32


# Returns what is added to a layer's weights [out, in, …], fp32, given what they are by then, fp32.
Change = Callable[[Callable[[], Tensor]], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """Add what `of` computes from `factors`, fp32, in the shape of the weights."""

    of: Callable[..., Tensor]
    factors: tuple[Tensor, ...]
    shape: torch.Size

    def __call__(self, weight: Callable[[], Tensor]) -> Tensor:
        return self.of(*self.factors).reshape(self.shape)


def pair(down: Tensor, up: Tensor) -> Tensor:
    """Return up·down: down [rank, in, …], up [out, rank], the scale included in `up`."""
    return up @ down.flatten(1)


def hadamard(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Return (a·b) ⊙ (c·d), LoHa's form: a, c [out, rank], b, d [rank, in·…]."""
    return (a @ b) * (c @ d)


def whole(difference: Tensor) -> Tensor:
    """Return a difference as it is."""
    return difference


@dataclass(frozen=True, slots=True, eq=False)
class Instead:
    """Take other weights, whatever the LoRA's own weight is, as ComfyUI does."""

    weight: Tensor

    def __call__(self, weight: Callable[[], Tensor]) -> Tensor:
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
        before = weight()
        changed = before + self.inner(weight)
        rows = len(self.magnitude) == len(changed)
        others = [axis for axis in range(changed.ndim) if axis != (0 if rows else 1)]
        length: Tensor = torch.linalg.vector_norm(changed, dim=others, keepdim=True)
        changed = changed * (self.magnitude / (length + torch.finfo(length.dtype).eps))
        return self.strength * (changed - before)


@dataclass(frozen=True, slots=True, eq=False)
class Addition:
    """What a set of LoRAs adds to a layer.

    down [R, in, …] and up [out, R, …]: the joined pairs, in the layer's dtype; changes: all else,
    in order; bias [out].
    """

    down: Tensor | None = None
    up: Tensor | None = None
    changes: tuple[Change, ...] = ()
    bias: Tensor | None = None

    def __call__(self, layer: Any, x: Tensor) -> Tensor:
        """Return the term added to the layer's output for x."""
        if self.down is None or self.up is None:
            return self._apply(layer, x)
        if isinstance(layer, torch.nn.Linear):
            output = linear(linear(x, self.down), self.up)
        else:
            inner = conv2d(x, self.down, None, layer.stride, layer.padding, layer.dilation)
            output = conv2d(inner, self.up)
        if self.changes or self.bias is not None:
            output = output + self._apply(layer, x)
        return output

    def _apply(self, layer: Any, x: Tensor) -> Tensor:
        """Return the layer's output for x with these changes for its weights and bias."""
        delta, bias = self._delta(layer.weight), self.bias
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
            by_then = partial(_changed, weight, total)
            total = change(by_then) if total is None else total + change(by_then)
        return torch.zeros_like(weight) if total is None else total.to(weight.dtype)


def _changed(weight: Tensor, change: Tensor | None) -> Tensor:
    own = real_values(weight.float())
    return own if change is None else own + change


Found = tuple[Change | None, Tensor | None]  # what is changed of a layer's weights, of its bias
Scaled = tuple[Change, float]  # a change, and the scale in it


def join(layer: Any, found: Sequence[Found], device: torch.device) -> Addition:
    """Join changes of a layer's weights and bias, in order, to one addition on a device."""
    weight = layer.weight
    changes = [change for change, _ in found if change is not None]
    biases = [bias for _, bias in found if bias is not None]
    bias = torch.stack(biases).sum(0).to(device, weight.dtype) if biases else None
    plain = [change for change in changes if isinstance(change, Difference)]
    if len(plain) < len(changes):  # one depends on the weights by then: it follows those before it
        return Addition(changes=tuple(_moved(change, device) for change in changes), bias=bias)
    pairs = [change.factors for change in plain if change.of is pair]
    others = [_moved(change, device) for change in plain if change.of is not pair]
    # A difference as large as the weights takes no more bytes than they do.
    rest = tuple(_moved(c, weight.dtype) if c.of is whole else c for c in others)
    if not pairs:
        return Addition(changes=rest, bias=bias)
    to = partial(torch.Tensor.to, device=device, dtype=weight.dtype)
    down = torch.cat([down for down, _ in pairs])
    up = torch.cat([up for _, up in pairs], dim=1)
    up = up.reshape(*up.shape, *[1] * (weight.ndim - 2))
    return Addition(down=to(down), up=to(up), changes=rest, bias=bias)


def _moved(change: Any, device: torch.device | torch.dtype) -> Any:
    if isinstance(change, Tensor):
        return change.to(device)
    if isinstance(change, tuple) and not isinstance(change, torch.Size):
        return tuple(_moved(each, device) for each in change)
    if isinstance(change, (Difference, Instead, Dora)):
        kept = (_moved(getattr(change, name), device) for name in type(change).__slots__)
        return type(change)(*kept)
    return change


def read_change(
    entry: LoraEntry, tensors: Tensors, layer: Any, weight: float, rows: Rows | None = None
) -> Found:
    """Return what an entry changes of a layer: its weights, its bias, by the LoRA's own weight.

    rows: those of the entry's outputs that are this layer's, where it is made for several in one.
    Raises `ValueError` with what does not fit the layer.
    """
    if rows:
        change, bias = read_change(entry, tensors, _whole(layer, rows), weight)
        return (
            None if change is None else _taken(change, rows),
            None if bias is None else rows.of(bias),
        )
    shape = layer.weight.shape
    bias = tensors.get("bias_diff")
    if entry.kind == "whole":
        made = None
        if "diff" in tensors:
            made = Difference(whole, (_shaped(tensors["diff"], shape) * weight,), shape)
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


def _whole(layer: Any, rows: Rows) -> Any:
    """Return a layer without values in the shape of which this one is some of the rows."""
    out, into = layer.weight.shape
    whole = out * rows.parts // len(rows.taken)
    return torch.nn.Linear(into, whole, layer.bias is not None, device="meta")


def _taken(change: Any, rows: Rows) -> Any:
    """Return what a change of the whole changes of these rows."""
    if isinstance(change, Instead):
        return Instead(rows.of(change.weight))
    if isinstance(change, Dora):
        lengths = change.magnitude
        if len(lengths) > 1:
            lengths = rows.of(lengths)
        elif len(rows.taken) < rows.parts:
            raise ValueError("is a DoRA by columns, which reach over several layers")
        return Dora(_taken(change.inner, rows), lengths, change.strength)
    whole = change.shape[0] * len(rows.taken) // rows.parts
    shape = torch.Size([whole, *change.shape[1:]])
    if change.of not in BY_ROWS:
        return Difference(partial(_rows_of, change.of, rows), change.factors, shape)
    factors = (
        rows.of(factor) if place in BY_ROWS[change.of] else factor
        for place, factor in enumerate(change.factors)
    )
    return Difference(change.of, tuple(factors), shape)


# Which factors of a difference have a row for each output, and no other has.
BY_ROWS: Final = {pair: (1,), hadamard: (0, 2), whole: (0,)}


def _rows_of(of: Callable[..., Tensor], rows: Rows, *factors: Tensor) -> Tensor:
    return rows.of(of(*factors))


def _pair(entry: LoraEntry, tensors: Tensors, layer: Any, strength: float) -> Scaled:
    down, up, shape = tensors["down"], tensors["up"], layer.weight.shape
    rank = len(down)
    if not isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)):
        raise ValueError("is of a layer that no pair of matrices can change")
    if "mid" in tensors:
        down = torch.einsum("o i ..., i n -> o n ...", tensors["mid"], down.flatten(1))
    down, up = down.flatten(1), up.flatten(1)
    if down.shape[1] != prod(shape[1:]) or up.shape != (shape[0], len(down)):
        raise ValueError(SIZES)
    scale = entry.scale(rank)
    factors = down.reshape(-1, *shape[1:]), up * (scale * strength)
    return Difference(pair, factors, shape), scale


def _hadamard(entry: LoraEntry, tensors: Tensors, layer: Any, strength: float) -> Scaled:
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
    return Difference(hadamard, tuple(factors), shape), scale


def _kronecker(entry: LoraEntry, tensors: Tensors, layer: Any, strength: float) -> Scaled:
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
    fits = left.numel() * right.numel() == prod(shape) and len(left) * len(right) == shape[0]
    if left.ndim != right.ndim or not fits:
        raise ValueError(SIZES)
    # Without a rank there is nothing that alpha is compared with.
    scale = entry.scale(ranks[-1]) if ranks else 1.0
    factors = left * (scale * strength), right.contiguous()
    return Difference(torch.kron, factors, shape), scale


MAKE: Final = {"pair": _pair, "hadamard": _hadamard, "kronecker": _kronecker}


def _magnitude(tensors: Tensors, shape: torch.Size) -> Tensor | None:
    """Return a DoRA's lengths as [out, 1, …] or [1, in, …], None where there are none."""
    ones = [1] * (len(shape) - 1)
    given = tensors.get("row_magnitude", tensors.get("magnitude"))
    if given is None:
        return None
    if "row_magnitude" in tensors or given.ndim == 1 or len(given) == shape[0]:
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
