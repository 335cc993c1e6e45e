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
