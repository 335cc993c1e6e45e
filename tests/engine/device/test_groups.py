"""A module whose blocks go to the device one after another computes the same there."""

import gc
from collections.abc import Callable, Iterator
from typing import Any
from weakref import finalize, ref

import pytest
import torch
from torch import Tensor
from torch.nn import Embedding, Linear, Module, ModuleList, SiLU

from engine.device.groups import Grouped
from engine.device.stored_weights import StoredWeight
from engine.device.tensor_bytes import module_bytes
from engine.files.held_bytes import blocks, grouped_bytes

CPU = torch.device("cpu")
WIDTH = 8


class Block(Module):
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.lists = ModuleList([Linear(WIDTH, WIDTH), SiLU()])
        self.register_buffer("shift", torch.randn(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        for each in self.lists:
            x = each(x)
        return x + self.shift


class Network(Module):
    """A network of two lists of blocks, whose order of calls is not that of their names."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Embedding(4, WIDTH)
        self.last = ModuleList([Block(), Block()])
        self.first = ModuleList([Block() for _ in range(3)])
        self.out = self.table  # shared

    def forward(self, tokens: Tensor) -> Tensor:
        x: Tensor = self.table(tokens)
        for block in (*self.first, *self.last):
            x = block(x)
        return x @ self.out.weight.T


class Device:
    """Stand for a device: count the bytes of what was copied there and is still alive."""

    def __init__(self) -> None:
        self.bytes = self.most = 0
        self.copies: list[int] = []
        self.fails = False

    def copy(self, tensor: Tensor, device: torch.device) -> Tensor:
        if self.fails:
            raise torch.OutOfMemoryError("none left")
        copy, size = tensor.detach().clone(), tensor.nbytes
        self.bytes += size
        self.most = max(self.most, self.bytes)
        self.copies.append(size)
        held = copy.stored if isinstance(copy, StoredWeight) else copy
        finalize(held.untyped_storage(), self._free, size)
        return copy

    def _free(self, size: int) -> None:
        self.bytes -= size


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    monkeypatch.setattr("engine.device.groups.copy_beside", made.copy)
    return made


@pytest.fixture(autouse=True)
def inside() -> Iterator[None]:
    with torch.inference_mode():
        yield


def weights(module: Module) -> dict[str, int]:
    tensors = (*module.named_parameters(), *module.named_buffers())
    return {name: id(tensor) for name, tensor in tensors}


def fp8(network: Network) -> None:
    for block in (*network.first, *network.last):
        made = block.lists[0].weight.to(torch.float8_e4m3fn)
        block.lists[0].weight = torch.nn.Parameter(StoredWeight(made), requires_grad=False)


@pytest.mark.parametrize("form", [lambda network: None, fp8])
def test_it_computes_the_same_with_two_blocks_at_a_time(
    form: Callable[[Network], None], device: Device
) -> None:
    network, tokens = Network(), torch.tensor([[0, 3, 1]])
    form(network)
    wanted, homes, whole = network(tokens), weights(network), module_bytes([network])
    grouped = Grouped(network, CPU)
    block = module_bytes([network.first[0]])
    assert grouped.size == whole - 3 * block
    for _ in range(2):
        grouped.come()
        assert device.bytes == module_bytes([network.table])
        assert torch.equal(network(tokens), wanted)
        assert torch.equal(network(tokens), wanted)
        assert device.most == grouped.size
        grouped.leave()
        assert device.bytes == 0
        assert weights(network) == homes


def test_the_next_block_is_copied_once_in_whatever_order_they_are_called(device: Device) -> None:
    network, tokens = Network(), torch.tensor([0])
    grouped = Grouped(network, CPU)
    grouped.come()
    network(tokens)
    device.copies.clear()
    network(tokens)
    network(tokens)
    tensors = 3  # of a block
    assert len(device.copies) == 2 * 5 * tensors


def test_a_single_block_and_none_are_taken_as_they_are(device: Device) -> None:
    x = torch.randn(2, WIDTH)
    for network in (Linear(WIDTH, WIDTH), ModuleList([Block()])):
        call: Any = network if isinstance(network, Linear) else network[0]
        wanted = call(x)
        grouped = Grouped(network, CPU)
        assert grouped.size == module_bytes([network])
        grouped.come()
        assert torch.equal(call(x), wanted)
        assert torch.equal(call(x), wanted)
        grouped.leave()
        assert device.bytes == 0


@pytest.mark.parametrize("calls", [0, 1])
def test_a_call_that_failed_leaves_it_usable(device: Device, calls: int) -> None:
    network, tokens = Network(), torch.tensor([0])
    wanted = network(tokens)
    grouped = Grouped(network, CPU)
    grouped.come()
    for _ in range(calls):
        network(tokens)
    device.fails = True
    with pytest.raises(torch.OutOfMemoryError):
        network(tokens)
    device.fails = False
    assert torch.equal(network(tokens), wanted)
    assert device.most <= grouped.size
    grouped.leave()
    assert device.bytes == 0
    device.fails = True
    with pytest.raises(torch.OutOfMemoryError):
        grouped.come()
    device.fails = False
    grouped.leave()
    grouped.come()
    assert torch.equal(network(tokens), wanted)


def test_a_dropped_module_is_freed_without_the_collector(device: Device) -> None:
    network = Network()
    grouped = Grouped(network, CPU)
    grouped.come()
    network(torch.tensor([0]))
    gc.collect()
    gc.disable()
    alive = ref(network)
    del network, grouped
    gc.enable()
    assert alive() is None
    assert device.bytes == 0


def test_blocks_are_the_members_of_outer_lists_and_small_ones_stay() -> None:
    sizes = {
        "table.weight": 500,
        "encoder.block.0.layer.0.q.weight": 100,
        "encoder.block.0.layer.1.q.weight": 60,
        "encoder.block.1.layer.0.q.weight": 90,
        "encoder.block.2.layer.0.q.weight": 80,
        "head.1.weight": 9,
        "0": 7,
    }
    found = blocks(sizes)
    assert found == {"encoder.block.0": 160, "encoder.block.1": 90, "encoder.block.2": 80}
    assert grouped_bytes(sum(sizes.values()), found.values()) == 500 + 160 + 90 + 9 + 7
    assert blocks({"weight": 3}) == {}
