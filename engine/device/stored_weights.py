"""Weights that lie in memory as their file stores them, and are cast at each use.

fp8 with its scale, GGUF's blocks, and bf16 where a network computes in fp32: to whoever uses it, a
`StoredWeight` is a tensor of the real values in the dtype of computation. A layer's call casts its
own weight alone and drops the copy, and a look-up in a table casts the rows looked up. Moving to
another device, and cutting and joining rows, leave the bytes as they are. Every other operation
sees the real values.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from engine.files.gguf import BLOCKS

FP8: Final = (torch.float8_e4m3fn, torch.float8_e5m2)
# Values of GGUF's blocks that are unpacked at a time: in a processor's cache, where that is three
# times as fast as all at once; elsewhere so many that starting the work does not count.
PIECE: Final = {"cpu": 2**20}
LARGE: Final = 2**24

# Bytes of a block of GGUF at which its fp16 factors begin, and how many there are.
HALVES: Final = {
    "Q4_0": (0, 1), "Q4_1": (0, 2), "Q5_0": (0, 1), "Q5_1": (0, 2), "Q8_0": (0, 1),
    "IQ4_NL": (0, 1), "Q2_K": (80, 2), "Q3_K": (108, 1), "Q4_K": (0, 2), "Q5_K": (0, 2),
    "Q6_K": (208, 1), "IQ4_XS": (0, 1),
}  # fmt: skip

aten = torch.ops.aten
SAME: Final = (
    aten.detach.default, aten.alias.default, aten.clone.default,
)  # fmt: skip
# Operations that cut a tensor: which of their arguments is the dimension, 0 where it is not given.
CUTS: Final = {
    aten.slice.Tensor: 1,
    aten.split.Tensor: 2,
    aten.split_with_sizes.default: 2,
}


class StoredWeight(Tensor):
    """A weight in its stored form, seen as real values of a dtype.

    stored: fp8 or wider floats in the weight's shape, or bytes of GGUF's blocks, [..., bytes of a
    row]; scale: what stored floats are multiplied by, fp32, [] or [rows, 1]; kind: GGUF's name of
    the quantisation.
    """

    stored: Tensor
    scale: Tensor | None
    kind: str | None

    @staticmethod
    def __new__(
        cls: type["StoredWeight"],
        stored: Tensor,
        scale: Tensor | None = None,
        kind: str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> "StoredWeight":
        shape = stored.shape
        if kind is not None:
            values, size = BLOCKS[kind]
            row = shape[-1] // size * values
            shape = torch.Size((*shape[:-1], row))
        made: StoredWeight = torch.Tensor._make_wrapper_subclass(
            cls, shape, dtype=dtype, device=stored.device
        )
        made.stored, made.scale, made.kind = stored, scale, kind
        return made

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"StoredWeight({[*self.shape]}, {self.form} as {self.dtype})"

    @property
    def form(self) -> str:
        """Return how it is stored: GGUF's name of the quantisation, or the dtype of its floats."""
        return self.kind or str(self.stored.dtype).removeprefix("torch.")

    @property
    def nbytes(self) -> int:  # type: ignore[override]
        """Return the bytes that it takes."""
        return sum(part.nbytes for part in self.parts())

    @property
    def is_quantised(self) -> bool:
        """Return whether it has less than 16 bits a value."""
        return self.kind is not None or self.stored.dtype in FP8

    def parts(self) -> list[Tensor]:
        """Return the tensors that it lies in."""
        return [self.stored] if self.scale is None else [self.stored, self.scale]

    def factors(self) -> list[Tensor]:
        """Return the floats that it is made of: all are numbers where all real values are.

        GGUF's blocks hold some, in fp16, beside whole numbers.
        """
        if self.kind is None:
            return self.parts()
        first, count = HALVES[self.kind]
        blocks = self.stored.reshape(-1, BLOCKS[self.kind][1])
        return [blocks[:, first : first + 2 * count].view(torch.float16)]

    def unpacked(self) -> Tensor:
        """Return the real values as a plain tensor of its dtype."""
        if self.kind is not None:
            return _unpack(self.stored, self.kind, self.dtype).reshape(self.shape)
        if self.scale is None:
            return self.stored.to(self.dtype)
        return (self.stored.float() * self.scale).to(self.dtype)

    def __tensor_flatten__(self) -> tuple[list[str], tuple[str | None, torch.dtype]]:
        """Return the names of its tensors and the rest of it: `Module.to` then swaps it whole."""
        names = ["stored"] if self.scale is None else ["stored", "scale"]
        return names, (self.kind, self.dtype)

    @staticmethod
    def __tensor_unflatten__(
        inner: Mapping[str, Tensor], form: tuple[str | None, torch.dtype], size: Any, stride: Any
    ) -> "StoredWeight":
        return StoredWeight(inner["stored"], inner.get("scale"), *form)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func._can_decompose():  # in inference mode they arrive whole
            return func.decompose(*args, **kwargs)
        # Inference mode gives views of a weight that was made outside of it to none made within.
        with torch.inference_mode(torch.is_inference_mode_enabled() and not func.is_view):
            found = _kept(func, *args, **kwargs)
            if found is None:
                args, kwargs = tree_map_only(cls, cls.unpacked, (args, kwargs))
                found = func(*args, **kwargs)
        return found


def real_values(weight: Tensor) -> Tensor:
    """Return a weight's real values as a plain tensor: itself, unless it is a stored one."""
    return weight.unpacked() if isinstance(weight, StoredWeight) else weight


def each_part(weight: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Return a weight with the same change of all tensors that it lies in."""
    return _changed(weight, change) if isinstance(weight, StoredWeight) else change(weight)


def _kept(func: Any, first: Any, *rest: Any, **options: Any) -> Any:
    """Return the result of an operation that leaves weights stored, None for any other."""
    if func is aten.cat.default:
        return _join(first, *rest, **options)
    if not isinstance(first, StoredWeight):
        return None
    if func in SAME:
        return _changed(first, func)
    if func is aten._to_copy.default:
        return _move(first, **options)
    if func is aten.is_pinned.default:
        return func(first.stored, *rest, **options)
    if func is aten.embedding.default:
        return _look_up(first, rest[0])
    if func in CUTS:
        at = CUTS[func] - 1
        dimension = rest[at] if len(rest) > at else options.get("dim", 0)
        if first.ndim > 1 and dimension % first.ndim == 0:
            return _cut(first, lambda part: func(part, *rest, **options))
    return None


def _changed(
    weight: StoredWeight, change: Callable[[Tensor], Tensor], dtype: torch.dtype | None = None
) -> StoredWeight:
    """Return a weight with the same change of all its tensors."""
    scale = None if weight.scale is None else change(weight.scale)
    return StoredWeight(change(weight.stored), scale, weight.kind, dtype or weight.dtype)


def _move(
    weight: StoredWeight,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    non_blocking: bool = False,
    **_: Any,
) -> StoredWeight | None:
    """Move a weight to a device; another dtype is that of its real values."""
    if dtype is not None and not dtype.is_floating_point:
        return None
    return _changed(weight, lambda part: part.to(device, non_blocking=non_blocking), dtype)


def _cut(weight: StoredWeight, cut: Callable[[Tensor], Any]) -> Any:
    """Cut the first dimension of a weight, as `cut` does a plain tensor's, into one or more."""
    pieces = cut(weight.stored)
    many = not isinstance(pieces, Tensor)
    scales: Sequence[Tensor | None]
    if weight.scale is not None and weight.scale.ndim:
        scales = cut(weight.scale) if many else [cut(weight.scale)]
    else:  # one for all rows
        scales = [weight.scale] * (len(pieces) if many else 1)
    made = [
        StoredWeight(piece, scale, weight.kind, weight.dtype)
        for piece, scale in zip(pieces if many else [pieces], scales, strict=True)
    ]
    return made if many else made[0]


def _join(weights: Sequence[Tensor], dimension: int = 0) -> StoredWeight | None:
    """Join weights of one form along their first dimension; None for others."""
    stored = [each for each in weights if isinstance(each, StoredWeight) and each.ndim > 1]
    forms = {(each.kind, each.stored.dtype, each.dtype) for each in stored}
    if len(stored) < len(weights) or len(forms) > 1 or dimension % stored[0].ndim:
        return None
    scale = None
    if any(each.scale is not None for each in stored):
        scale = torch.cat([_row_scales(each) for each in stored])
    first = stored[0]
    joined = torch.cat([each.stored for each in stored])
    return StoredWeight(joined, scale, first.kind, first.dtype)


def _row_scales(weight: StoredWeight) -> Tensor:
    scale = torch.ones((), device=weight.device) if weight.scale is None else weight.scale
    return scale.expand(len(weight), *[1] * (weight.ndim - 1))


def _look_up(table: StoredWeight, rows: Tensor) -> Tensor:
    """Return the real values of some rows of a table, [..., width]."""
    flat = rows.flatten()
    found = _cut(table, lambda part: part[flat])
    return real_values(found).reshape(*rows.shape, -1)


def _unpack(stored: Tensor, kind: str, dtype: torch.dtype) -> Tensor:
    """Return the values of GGUF's blocks, [blocks, values], computed in fp32."""
    from diffusers.quantizers.gguf.utils import dequantize_functions  # takes seconds to import
    from gguf import GGMLQuantizationType

    values, size = BLOCKS[kind]
    compute = dequantize_functions[GGMLQuantizationType[kind]]
    blocks = stored.reshape(-1, size)
    found = torch.empty((len(blocks), values), dtype=dtype, device=stored.device)
    step = PIECE.get(stored.device.type, LARGE) // values
    for piece, into in zip(torch.split(blocks, step), torch.split(found, step), strict=True):
        into.copy_(compute(piece, values, size, dtype=torch.float32))
    return found
