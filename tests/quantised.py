"""GGUF files for tests: weights quantised in each way, written by the package `gguf`.

The package quantises into the plain quantisations; those by superblocks of 256 values are packed
here, with scales found by the largest value of a group and not searched for, as llama.cpp does: the
errors are a little larger than those of files that people have.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from numpy.typing import NDArray

from engine.device.stored_weights import HALVES
from engine.files.gguf import BLOCKS

Values = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def write_quantised(
    path: Path,
    tensors: Mapping[str, Values],
    kind: str,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a file with all matrices quantised that have whole blocks, all else in fp32.

    As llama.cpp's quantisation does, sides of 1 before the others are left out.
    """
    writer = gguf.GGUFWriter(path, "test")
    for key, value in (metadata or {}).items():
        writer.add_string(key, value)
    for name, values in tensors.items():
        while values.ndim > 1 and values.shape[0] == 1:
            values = values[0]
        size, _ = BLOCKS.get(kind, (1, 0))
        if values.ndim == 2 and values.shape[-1] % size == 0:
            writer.add_tensor(name, quantise(values, kind), raw_dtype=Kind[kind])
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def random_blocks(kind: str, rows: int, blocks: int, seed: int = 0) -> Bytes:
    """Return random bytes of blocks, [rows, bytes], of which the factors are small numbers."""
    random = np.random.default_rng(seed)
    _, size = BLOCKS[kind]
    first, count = HALVES[kind]
    found = random.integers(0, 256, (rows * blocks, size), dtype=np.uint8)
    halves = random.uniform(-0.1, 0.1, (len(found), count)).astype(np.float16)
    found[:, first : first + 2 * count] = halves.view(np.uint8)
    return found.reshape(rows, -1)


def quantise(values: Values, kind: str) -> Bytes:
    """Return the blocks of values, [rows, bytes]."""
    if kind not in PACK:
        return gguf.quants.quantize(values, Kind[kind])
    return PACK[kind](values.reshape(-1, 256)).reshape(len(values), -1)


def dequantise(blocks: Bytes, kind: str) -> Values:
    """Return the values of blocks by the package's own definition."""
    return gguf.quants.dequantize(blocks, Kind[kind])


def _q6(values: Values) -> Bytes:
    d, scales, q = _symmetric(values, 32, 127)
    q = q.reshape(-1, 2, 4, 32)
    low, high = q & 15, q >> 4
    ql = np.stack([low[:, :, 0] | low[:, :, 2] << 4, low[:, :, 1] | low[:, :, 3] << 4], 2)
    qh = sum(high[:, :, part] << 2 * part for part in range(4))
    return _bytes(ql, qh, scales.astype(np.int8), d)


def _q3(values: Values) -> Bytes:
    d, scales, q = _symmetric(values, 4, 31)
    scales = (scales + 32).astype(np.uint8)
    low = scales[:, :8] & 15 | (scales[:, 8:] & 15) << 4
    high = sum((scales.reshape(-1, 4, 4)[:, part] >> 4) << 2 * part for part in range(4))
    top = sum((q.reshape(-1, 8, 32)[:, part] >> 2) << part for part in range(8))
    return _bytes(top, _twos(q & 3), low, high, d)


def _q2(values: Values) -> Bytes:
    d, least, scales, mins, q = _affine(values, 16, 3, 15)
    return _bytes(scales | mins << 4, _twos(q), d, least)


def _q4(values: Values) -> Bytes:
    d, least, scales, mins, q = _affine(values, 32, 15, 63)
    return _bytes(d, least, _sixes(scales, mins), _nibbles(q))


def _q5(values: Values) -> Bytes:
    d, least, scales, mins, q = _affine(values, 32, 31, 63)
    top = sum((q.reshape(-1, 8, 32)[:, part] >> 4) << part for part in range(8))
    return _bytes(d, least, _sixes(scales, mins), top, _nibbles(q & 15))


PACK: Final[Mapping[str, Callable[[Values], Bytes]]] = {
    "Q2_K": _q2, "Q3_K": _q3, "Q4_K": _q4, "Q5_K": _q5, "Q6_K": _q6,
}  # fmt: skip


def _symmetric(values: Values, levels: int, most: int) -> tuple[Any, Any, Any]:
    """Return d [n, 1], scales [n, 16], and values by groups of 16 from 0 to 2·levels − 1."""
    groups = values.reshape(-1, 16, 16)
    wanted = np.abs(groups).max(-1) / (levels - 1)
    d = (wanted.max(-1, keepdims=True) / most).astype(np.float16)
    scales = np.clip(np.rint(wanted / np.maximum(d.astype(np.float32), 1e-8)), 1, most)
    steps = d.astype(np.float32) * scales
    q = np.rint(groups / np.maximum(steps, 1e-8)[..., None])
    return d, scales, (np.clip(q, -levels, levels - 1) + levels).astype(np.uint8)


def _affine(values: Values, group: int, levels: int, most: int) -> tuple[Any, Any, Any, Any, Any]:
    """Return d, its like for least values [n, 1], scales, minima [n, groups], values to levels."""
    groups = values.reshape(len(values), -1, group)
    least = np.maximum(-groups.min(-1), 0)
    wanted = (groups.max(-1) + least) / levels
    d, dm = ((each.max(-1, keepdims=True) / most).astype(np.float16) for each in (wanted, least))
    scales, mins = (
        np.clip(np.rint(each / np.maximum(by.astype(np.float32), 1e-8)), 0, most)
        for each, by in ((wanted, d), (least, dm))
    )
    steps = np.maximum(d.astype(np.float32) * scales, 1e-8)[..., None]
    q = np.clip(np.rint((groups + (dm.astype(np.float32) * mins)[..., None]) / steps), 0, levels)
    return d, dm, scales.astype(np.uint8), mins.astype(np.uint8), q.astype(np.uint8)


def _sixes(scales: Any, mins: Any) -> Any:
    """Pack eight scales and eight minima of 6 bits into 12 bytes."""
    first = scales[:, :4] | (scales[:, 4:] >> 4) << 6
    second = mins[:, :4] | (mins[:, 4:] >> 4) << 6
    return np.concatenate([first, second, scales[:, 4:] & 15 | (mins[:, 4:] & 15) << 4], 1)


def _nibbles(q: Any) -> Any:
    pairs = q.reshape(-1, 4, 2, 32)
    return pairs[:, :, 0] | pairs[:, :, 1] << 4


def _twos(q: Any) -> Any:
    fours = q.reshape(-1, 2, 4, 32)
    return sum(fours[:, :, part] << 2 * part for part in range(4))


def _bytes(*parts: Any) -> Bytes:
    flat = [np.ascontiguousarray(part).reshape(len(part), -1).view(np.uint8) for part in parts]
    return np.concatenate(flat, 1)
