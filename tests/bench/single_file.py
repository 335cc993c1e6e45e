"""Write a full-size single file of random weights, load it, and measure: `python -m
tests.bench.single_file sd1|sdxl FOLDER [--keep]`.

Nothing of it is committed; a file takes 2 or 7 GB. Loading happens in a process of its own in
which no socket can be made, in fp16, on the processor. What is measured: the time of `load` beside
that of reading the file's bytes once, all in the page cache, and the peak of anonymous memory
beside the file's size.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors.torch import save_file
from torch import Tensor

from engine.families import FORMS
from tests.single_files import KINDS, make_module, single_file

MEBIBYTE = 2**20


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=("sd1", "sd2", "sdxl"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", action="store_true", help="do not delete the file")
    arguments = parser.parse_args()
    file = arguments.folder / f"random-{arguments.family}.safetensors"
    if not file.exists():
        write(file, arguments.family)
    try:
        read = min(plain_read(file) for _ in range(3))
        loads = [measure(file) for _ in range(3)]
    finally:
        if not arguments.keep:
            file.unlink()
    size = int(loads[0]["size"])
    best = min(float(each["seconds"]) for each in loads)
    peak = max(float(each["anonymous"]) for each in loads)
    print(f"{arguments.family}: {size / 1e9:.2f} GB")  # noqa: T201
    print(f"plain read {read:.2f} s, load {best:.2f} s: {best / read:.2f}×")  # noqa: T201
    print(f"peak anonymous memory {peak / 1e9:.2f} GB: {peak / size:.2f}×")  # noqa: T201


def write(file: Path, family: str) -> None:
    """Write a file of a family's true form with random weights, in fp16."""
    modules = {
        part: _empty(FORMS / family / part) for part in KINDS if (FORMS / family / part).is_dir()
    }
    generator = torch.Generator().manual_seed(0)
    block = (torch.randn(2**22, generator=generator) * 0.02).half()
    names = {name: tensor.shape for name, tensor in single_file(family, modules).items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: _random(block, shape) for name, shape in names.items()}, file)


def _empty(folder: Path) -> Any:
    with init_empty_weights():
        return make_module(folder)


def _random(block: Tensor, shape: torch.Size) -> Tensor:
    count = shape.numel()
    return block.repeat(-(-count // len(block)))[:count].reshape(shape).clone()


def plain_read(file: Path) -> float:
    """Return the seconds that reading all bytes into memory takes."""
    begun = time.perf_counter()
    buffer = bytearray(file.stat().st_size)
    with file.open("rb", buffering=0) as stream:
        view = memoryview(buffer)
        at = 0
        while count := stream.readinto(view[at:]):
            at += count
    return time.perf_counter() - begun


def measure(file: Path) -> dict[str, float]:
    """Load the file in a process without network; return what it measured."""
    code = f"from tests.bench.single_file import load_it; load_it({str(file)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def load_it(path: str) -> None:
    """Load a file without a socket, and print what it took."""
    import socket

    from engine.checkpoints import describe_file
    from engine.loading import load

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network here")

    socket.socket.__init__ = refuse  # type: ignore[method-assign]
    file = Path(path)
    with _Peak() as peak:
        begun = time.perf_counter()
        model = load(describe_file(file.name, file), torch.device("cpu"), torch.float16)
        seconds = time.perf_counter() - begun
    assert next(model.unet.parameters()).dtype is torch.float16
    figures = {"seconds": seconds, "anonymous": peak.most, "size": file.stat().st_size}
    print(json.dumps(figures))  # noqa: T201


class _Peak:
    """Watch this process's anonymous memory from beside it, every 10 ms."""

    def __enter__(self) -> "_Peak":
        self.most = 0
        watch = (
            "import sys,time\n"
            "most=0\n"
            "while True:\n"
            "  for line in open(f'/proc/{sys.argv[1]}/status'):\n"
            "    if line.startswith('RssAnon'): most=max(most,int(line.split()[1]))\n"
            "  print(most,flush=True); time.sleep(0.01)\n"
        )
        self._before = next(iter(_anonymous()))
        self._watcher = subprocess.Popen(
            [sys.executable, "-c", watch, str(os.getpid())], stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.05)
        self._watcher.terminate()
        assert self._watcher.stdout
        self.most = int(self._watcher.stdout.read().split()[-1]) * 1024 - self._before


def _anonymous() -> Iterator[int]:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            yield int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
