"""GGUF files are known by their headers, written here by the format's own description."""

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from engine.files.gguf import OTHERS, TYPES, read_gguf, read_weights
from engine.files.safetensors import BadFile
from tests.gguf_files import text, write_gguf
from tests.quantised import write_quantised

F32, Q8_0, Q4_K = 0, 8, 12


def test_names_shapes_types_and_places_are_read(tmp_path: Path) -> None:
    tensors = {
        "a.weight": ((4, 256), Q4_K),
        "b.weight": ((2, 32), Q8_0),
        "c.bias": ((3,), F32),
        "d.weight": ((2, 256), F32),
    }
    facts = {
        "general.architecture": "sd3",
        "general.file_type": 15,
        "tokenizer.ggml.tokens": ["a", "b"],
        "comfy.gguf.orig_shape.d.weight": [16, 4, 8],
    }
    header = read_weights(
        write_gguf(tmp_path / "a.gguf", tensors, facts, {"c.bias": struct.pack("<3f", 1, -2, 0.5)})
    )
    found = {name: (t.dtype, t.shape, t.end - t.start) for name, t in header.tensors.items()}
    assert found == {
        "a.weight": ("Q4_K", (4, 256), 4 * 144),
        "b.weight": ("Q8_0", (2, 32), 2 * 34),
        "c.bias": ("F32", (3,), 12),
        "d.weight": ("F32", (16, 4, 8), 2048),  # as it was before it was reshaped
    }
    assert all(tensor.start % 32 == 0 for tensor in header.tensors.values())
    assert header.metadata == {"general.architecture": "sd3"}
    assert header.values("c.bias") == [1, -2, 0.5]


def test_the_tables_are_those_of_the_package_gguf() -> None:
    for number, (title, *sizes) in TYPES.items():
        kind = gguf.GGMLQuantizationType[title]
        assert (number, tuple(sizes)) == (kind, gguf.GGML_QUANT_SIZES[kind])
    assert all(gguf.GGMLQuantizationType[title] == number for number, title in OTHERS.items())


def test_a_file_is_read_as_the_package_gguf_reads_it(tmp_path: Path) -> None:
    tensors = {"a.weight": np.ones((3, 512), np.float32), "b": np.arange(7, dtype=np.float32)}
    file = write_quantised(tmp_path / "a.gguf", tensors, "Q4_K", {"general.name": "a name"})
    header, theirs = read_gguf(file), gguf.GGUFReader(file)
    assert {t.name: (t.tensor_type.name, t.data_offset, t.n_bytes) for t in theirs.tensors} == {
        name: (t.dtype, t.start, t.end - t.start) for name, t in header.tensors.items()
    }
    assert header.shape("a.weight") == (3, 512)
    assert header.metadata == {"general.architecture": "test", "general.name": "a name"}


def test_a_file_cut_short_anywhere_is_known(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf", {"a": ((2, 32), Q8_0)}, {"b": "c", "d": ["e"]})
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        # The last bytes are padding.
        if length >= len(whole) - (-68 % 32):
            read_gguf(file)
            continue
        with pytest.raises(BadFile, match=r"^it is (cut short|empty|no GGUF file)"):
            read_gguf(file)
    file.write_bytes(whole[:-40])
    with pytest.raises(BadFile, match=r"it is cut short: \d+ of \d+ bytes are there"):
        read_gguf(file)


HEAD = b"GGUF" + struct.pack("<IQQ", 3, 1, 0)
BROKEN = {
    "safetensors": (struct.pack("<Q", 2) + b"{}", "it is no GGUF file"),
    "version 1": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "it is of GGUF's version 1"),
    "zeros": (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60) + bytes(999), "has '' twice"),
    "a long text": (HEAD + struct.pack("<Q", 2**62) + bytes(99), "cut short in its header"),
    "many sides": (HEAD + text("a") + struct.pack("<I", 9) + bytes(99), "'a' has 9 sides"),
    "another type of value": (
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<I", 99),
        "a value of the unknown type 99",
    ),
    "nested lists": (
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<I", 9)
        + struct.pack("<IQ", 9, 1) * 9999,
        "lists nest too deeply",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_sound_file_costs_a_sentence(tmp_path: Path, what: str) -> None:
    data, said = BROKEN[what]
    file = tmp_path / "a.gguf"
    file.write_bytes(data)
    with pytest.raises(BadFile, match=said):
        read_gguf(file)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (17, r"its weights are quantised \(IQ2_XS\), which Marble cannot run yet"),
        (99, r"'a' is quantised in a way that Marble does not know \(type 99\)"),
    ],
)
def test_a_quantisation_that_is_not_read_is_named(tmp_path: Path, kind: int, said: str) -> None:
    file = write_gguf(tmp_path / "a.gguf", {"a": ((2, 256), kind)})
    with pytest.raises(BadFile, match=said):
        read_weights(file)


def test_a_row_that_is_no_whole_number_of_blocks_is_damaged(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf", {"a": ((2, 48), Q8_0)})
    with pytest.raises(BadFile, match="'a' is no whole number of blocks of Q8_0"):
        read_gguf(file)


def test_a_shape_that_the_values_do_not_fill_is_damaged(tmp_path: Path) -> None:
    facts = {"comfy.gguf.orig_shape.a": [3, 3]}
    file = write_gguf(tmp_path / "a.gguf", {"a": ((2, 32), Q8_0)}, facts)
    with pytest.raises(BadFile, match=r"'a' cannot have the shape \(3, 3\)"):
        read_gguf(file)


@pytest.mark.parametrize(
    ("shape", "kind", "facts"),
    [
        ((1,), 999, {}),
        ((2, 31), Q8_0, {}),
        ((4,), F32, {"comfy.gguf.orig_shape.{}": [7] * 9_000}),
        ((4,), F32, {"general.alignment": "x" * 50_000}),
    ],
)
def test_what_a_file_says_is_cut_in_messages(
    shape: tuple[int, ...], kind: int, facts: dict[str, object], tmp_path: Path
) -> None:
    name = "a" * 50_000
    named = {key.format(name): value for key, value in facts.items()}
    with pytest.raises(BadFile) as caught:
        read_gguf(write_gguf(tmp_path / "a.gguf", {name: (shape, kind)}, named))
    assert len(str(caught.value)) < 400
