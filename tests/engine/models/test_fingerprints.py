"""What a models folder holds, compared between machines."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.models.fingerprints import Fingerprints, differing
from engine.models.needs import needs_of
from engine.recipe.parts import Lora
from tests.factories import make_recipe


def save(path: Path, size: int, words: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"x": torch.zeros(size)}, path, metadata={"words": words})


def test_the_same_files_have_the_same_fingerprints_wherever_they_lie(tmp_path: Path) -> None:
    save(tmp_path / "a" / "loras" / "detail.safetensors", 1)
    save(tmp_path / "b" / "Lora" / "detail.safetensors", 1)
    ours, theirs = (Fingerprints(tmp_path / name).all() for name in "ab")
    assert ours == theirs
    assert ours.keys() == {"checkpoint starter", "LoRA detail"}
    assert needs_of(make_recipe(loras=(Lora(name="detail"),))) <= ours.keys()


@pytest.mark.parametrize(("size", "words"), [(2, ""), (1, "retrained")])
def test_another_file_by_the_same_name_is_told(tmp_path: Path, size: int, words: str) -> None:
    save(tmp_path / "a" / "loras" / "detail.safetensors", 1)
    save(tmp_path / "b" / "loras" / "detail.safetensors", size, words)
    save(tmp_path / "b" / "loras" / "more.safetensors", 1)
    ours, theirs = (Fingerprints(tmp_path / name).all() for name in "ab")
    assert differing(ours, theirs) == ["LoRA detail"]


def test_other_weights_of_the_same_layout_are_told(tmp_path: Path) -> None:
    for name, start in (("a", 0), ("b", 1)):
        path = tmp_path / name / "loras" / "detail.safetensors"
        path.parent.mkdir(parents=True)
        weights = torch.zeros(100_000)
        weights[50_000:].fill_(start)
        weights[-10_000:].fill_(7)  # layers that training left as they were
        save_file({"x": weights}, path)
    ours, theirs = (Fingerprints(tmp_path / name).all() for name in "ab")
    assert differing(ours, theirs) == ["LoRA detail"]


def test_a_file_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "loras" / "detail.safetensors"
    save(path, 1)
    fingerprints = Fingerprints(tmp_path)
    before = fingerprints.all()
    save(path, 2)
    assert differing(before, fingerprints.all()) == ["LoRA detail"]


def test_what_is_broken_or_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no")
    (tmp_path / "loras").mkdir()
    (tmp_path / "loras" / "old.ckpt").write_bytes(b"PK")
    assert Fingerprints(tmp_path).all().keys() == {"checkpoint starter"}
