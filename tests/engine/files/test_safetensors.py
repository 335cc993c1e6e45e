import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.files.gguf import read_weights
from engine.files.safetensors import BadFile, read_header


def test_weights_of_8_bits_are_read_where_they_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    weights = {"a": torch.zeros(2, 3).to(torch.float8_e4m3fn), "b": torch.ones(3)}
    save_file({**weights, "c": torch.zeros(1).to(torch.float8_e5m2)}, file)
    with pytest.raises(BadFile, match=r"^its weights are quantised \(F8_E4M3\), which Marble"):
        read_header(file)
    tensors = read_weights(file).tensors
    assert {name: (t.dtype, t.shape) for name, t in tensors.items()} == {
        "a": ("F8_E4M3", (2, 3)),
        "b": ("F32", (3,)),
        "c": ("F8_E5M2", (1,)),
    }


def test_the_bytes_of_a_small_tensor_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    text = b'{"format": "float8_e4m3fn"}'
    save_file({"a.comfy_quant": torch.tensor([*text], dtype=torch.uint8)}, file)
    assert read_header(file).contents("a.comfy_quant") == text


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x0480, 0x10580])
def test_a_file_whose_headers_length_begins_as_a_pickle_does_is_read(
    length: int, tmp_path: Path
) -> None:
    """Pickles begin with 80 and 02 to 05, and so does the length of one header in 2,000."""
    text = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    file = tmp_path / "a.safetensors"
    file.write_bytes(length.to_bytes(8, "little") + text.ljust(length) + bytes(4))
    assert read_header(file).tensors["a"].shape == (1,)
    file.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(BadFile, match="it is a pickle under another name"):
        read_header(file)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "x" * 50_000, "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
    ],
)
def test_a_name_of_any_length_is_cut_in_what_is_said_of_it(entry: object, tmp_path: Path) -> None:
    text = json.dumps({"\ud800" + "a" * 50_000: entry}).encode()
    file = tmp_path / "a.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(BadFile, match="aaa") as caught:
        read_header(file)
    assert len(str(caught.value).encode()) < 300
