"""A module that does not fit on the device: its blocks go there one after another.

    grouped = Grouped(network, device)
    grouped.come()
    network(x)           # each block is on the device for its own call alone
    grouped.leave()

The weights stay in main memory, and each block's call takes copies of them. While a block computes
the next one is copied, so at most two of them are on the device.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from engine.device.backends import copy_beside, wait
from engine.device.stored_weights import each_part
from engine.files.held_bytes import blocks, grouped_bytes

Slot = tuple[MutableMapping[str, Any], str, Tensor]  # a module's weights or buffers, a name in them


class Grouped:
    """Move a module's blocks to the device for their calls, and its other weights in between.

    size: the bytes that it takes there. It must lie in main memory, and must not be moved by other
    means.
    """

    def __init__(self, module: Module, device: torch.device) -> None:
        tensors = dict([*module.named_parameters(), *module.named_buffers()])
        sizes = blocks({name: each.nbytes for name, each in tensors.items()})
        self.size = grouped_bytes(sum(each.nbytes for each in tensors.values()), sizes.values())
        self._device = device
        members = [module.get_submodule(name) for name in sizes]
        inside = {each for member in members for each in member.modules()}
        self._rest = _slots([each for each in module.modules() if each not in inside])
        self._blocks = [_slots([*member.modules()]) for member in members]
        self._present: int | None = None  # the block whose copies are in their places
        self._coming: tuple[int, list[Tensor]] | None = None  # the one that is being copied
        self._follows: dict[int, int] = {}  # the order of the call before
        for number, member in enumerate(members):
            hook = _Hook(ref(self), number)
            member.register_forward_pre_hook(hook.before)
            member.register_forward_hook(hook.after)

    def come(self) -> None:
        """Copy what is in no block to the device."""
        copies = self._copied(self._rest)
        wait(self._device)
        _put(self._rest, copies)

    def leave(self) -> None:
        """Free all that it has on the device."""
        self._let_go()
        self._coming = None
        _put(self._rest)

    def begin(self, number: int) -> None:
        """Put a block's copies in their places, and free those of the block before."""
        before = self._present
        if before == number:
            return
        self._let_go()
        if before is not None:
            self._follows[before] = number
        if self._coming is None or self._coming[0] != number:
            self._coming = None
            self._coming = number, self._copied(self._blocks[number])
            wait(self._device)
        _put(self._blocks[number], self._coming[1])
        self._present, self._coming = number, None

    def end(self, number: int) -> None:
        """Begin to copy the block that is called next, while the device computes this one."""
        following = self._follows.get(number, (number + 1) % len(self._blocks))
        if following != number:
            self._coming = following, self._copied(self._blocks[following])

    def _let_go(self) -> None:
        """Free the copies of the block that is there, once the device has done with them."""
        wait(self._device)
        if self._present is not None:
            _put(self._blocks[self._present])
            self._present = None

    def _copied(self, slots: Sequence[Slot]) -> list[Tensor]:
        """Return copies of weights on the device, of those that two layers share one."""
        made: dict[int, Tensor] = {}
        for _, _, home in slots:
            if id(home) not in made:
                beside = partial(copy_beside, device=self._device)
                copy = each_part(home.detach(), beside)
                is_weight = isinstance(home, Parameter)  # else a buffer
                made[id(home)] = Parameter(copy, requires_grad=False) if is_weight else copy
        return [made[id(home)] for _, _, home in slots]


def _slots(modules: Sequence[Module]) -> list[Slot]:
    """Return the places of modules' own weights and buffers, with what lies there."""
    return [
        (held, name, tensor)
        for module in modules
        for held in (module._parameters, module._buffers)
        for name, tensor in held.items()
        if tensor is not None
    ]


def _put(slots: Sequence[Slot], copies: Sequence[Tensor] | None = None) -> None:
    """Put copies in the places of weights, or the weights themselves."""
    for number, (held, name, home) in enumerate(slots):
        held[name] = copies[number] if copies else home


@dataclass(frozen=True, slots=True)
class _Hook:
    """Tell of a block's call; weakly, as a circle would keep a dropped module in memory."""

    grouped: ref[Grouped]
    number: int

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def before(self, block: Module, inputs: Any) -> None:
        if grouped := self.grouped():
            grouped.begin(self.number)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def after(self, block: Module, inputs: Any, output: Any) -> None:
        if grouped := self.grouped():
            grouped.end(self.number)
