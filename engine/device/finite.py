"""Find values that are no numbers (NaN, infinity), in weights and in outputs of networks.

A sum holds one wherever its terms do, and costs a twentieth of a look at each value: 0.1 s a GB on
one core. It may overflow where all terms are numbers (fp16 ends at 65,504): only then each value is
looked at. fp8 has no sums: what is no number there are its largest bytes, but for the sign. Of
weights in a stored form what they are made of is looked at, which takes no memory beside it.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import Tensor

from engine.device.stored_weights import StoredWeight
from engine.errors import BrokenModel

AT_ONCE: Final = 2**24  # values looked at at a time
# The least byte that is no number, without its sign: infinity where there is one, else NaN.
NO_NUMBER: Final = {torch.float8_e4m3fn: 0x7F, torch.float8_e5m2: 0x7C}


def are_finite(tensors: Sequence[Tensor]) -> list[bool]:
    """Say of each tensor of one device whether all its values are numbers; waits once for all."""
    if not tensors:
        return []
    sums = torch.stack([_sum(tensor.detach()) for tensor in tensors])
    finite: list[bool] = sums.isfinite().tolist()
    return [sound or _each_is_finite(tensor) for sound, tensor in zip(finite, tensors, strict=True)]


def check_values(name: str, tensors: Iterable[tuple[str, Tensor]], part: str = "") -> None:
    """Raise `BrokenModel` for the first of a model's tensors that holds a value that is no number.

    tensors: name and tensor, all on one device; part: which part of the model they are.
    """
    held = [(key, each) for key, each in tensors if each.is_floating_point() and not each.is_meta]
    finite = are_finite([each for _, each in held])
    for (key, tensor), sound in zip(held, finite, strict=True):
        if not sound:
            # An fp32 file may hold what the model's own precision cannot.
            large = tensor.dtype is torch.float16 and not bool(tensor.isnan().any())
            what = "holds values that are no numbers" + (" in fp16" if large else "")
            raise BrokenModel(name, f"{_of(part)}{key!r} {what}.")


def check_weights(name: str, module: torch.nn.Module) -> None:
    """Raise `BrokenModel` where a weight has no values, or one of them is no number."""
    check_present(name, module)
    check_values(name, module.state_dict().items())


def check_present(name: str, module: torch.nn.Module, part: str = "") -> None:
    """Raise `BrokenModel` where a weight has no values."""
    for key, weight in module.named_parameters():
        if weight.is_meta:  # the libraries would go on without it, or with random numbers
            raise BrokenModel(name, f"{_of(part)}its weights lack {key!r}.")


def _sum(tensor: Tensor) -> Tensor:
    """Return a value in fp32 that is no number where one of the tensor's is none."""
    if isinstance(tensor, StoredWeight):
        return torch.stack([_sum(factor) for factor in tensor.factors()]).sum()
    if tensor.dtype in NO_NUMBER:
        pieces = torch.split(tensor.view(torch.uint8).flatten(), AT_ONCE)
        largest = torch.stack([(piece & 0x7F).amax() for piece in pieces]).amax()
        return torch.where(largest < NO_NUMBER[tensor.dtype], 0.0, torch.nan)
    return tensor.sum().float()


def _each_is_finite(tensor: Tensor) -> bool:
    if isinstance(tensor, StoredWeight):
        return all(are_finite(tensor.factors()))
    if tensor.dtype in NO_NUMBER:
        return bool(_sum(tensor).isfinite())
    pieces = torch.split(tensor.detach().flatten(), AT_ONCE)
    return all(bool(piece.isfinite().all()) for piece in pieces)


def _of(part: str) -> str:
    return f"{part}: " if part else ""
