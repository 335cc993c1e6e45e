"""The file that is scanned: the best rows, by either arithmetic, and what is taken out of it."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from storage.vectors import scan
from storage.vectors.scan import ScanFile, numkong_dots, numpy_dots, record_of

BOTH = [
    numpy_dots,
    pytest.param(
        numkong_dots,
        marks=pytest.mark.skipif(scan.DOTS is numpy_dots, reason="NumKong has no wheel here"),
    ),
]


def units(count: int, width: int, seed: int = 0) -> scan.Floats:
    """Return vectors of length 1 by a seed."""
    found = np.random.default_rng(seed).standard_normal((count, width))
    return np.array(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def numbers(count: int, first: int = 1) -> scan.Ids:
    return np.arange(first, first + count, dtype=np.int64)


def full(*_: object) -> None:
    """Fail as a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def open_file(folder: Path, width: int, dots: scan.Dots = numpy_dots) -> ScanFile:
    file = ScanFile(folder / "some.rows", width, dots)
    file.look()
    return file


@pytest.mark.parametrize("dots", BOTH)
@pytest.mark.parametrize("width", [16, 64, 512])
def test_the_nearest_rows_are_found(
    tmp_path: Path, dots: scan.Dots, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "BLOCK", 700)
    vectors = units(3_000, width)
    file = open_file(tmp_path, width, dots)
    file.append(numbers(2_000), vectors[:2_000])
    file.append(numbers(1_000, 2_001), vectors[2_000:])
    for question in units(20, width, seed=1):
        exact = numbers(3_000)[np.argsort(vectors @ question)[-10:]]
        assert set(exact) <= set(file.best(question, 100))


def test_an_empty_file_and_a_short_one_give_what_they_have(tmp_path: Path) -> None:
    file = open_file(tmp_path, 4)
    assert file.best(units(1, 4)[0], 5).tolist() == []
    file.append(numbers(3), units(3, 4))
    assert sorted(file.best(units(1, 4)[0], 5)) == [1, 2, 3]


def test_what_is_taken_out_is_zero_on_the_disk_and_found_no_more(tmp_path: Path) -> None:
    vectors = units(8, 512)
    file = open_file(tmp_path, 512)
    file.append(numbers(8), vectors)
    row = np.fromfile(file.path, record_of(512))[2]["row"].tobytes()
    file.keep(np.delete(numbers(8), 2))
    stored = file.path.read_bytes()
    assert row not in stored
    assert np.frombuffer(stored, record_of(512))["id"].tolist() == [1, 2, 0, 4, 5, 6, 7, 8]
    assert 3 not in file.best(vectors[2], 8)


def test_a_file_of_many_gaps_is_written_anew(tmp_path: Path) -> None:
    vectors = units(8, 512)
    file, other = open_file(tmp_path, 512), open_file(tmp_path, 512)
    file.append(numbers(8), vectors)
    other.look()
    file.keep(np.array([2, 7]))
    assert np.fromfile(file.path, record_of(512))["id"].tolist() == [2, 7]
    other.look()
    for each in (file, other):
        assert sorted(each.best(vectors[1], 8)) == [2, 7]
    file.append(numbers(1, 9), vectors[:1])
    assert file.last == 9


def test_a_full_disk_leaves_zeros_in_place_of_what_is_taken_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = units(8, 512)
    file = open_file(tmp_path, 512)
    file.append(numbers(8), vectors)
    monkeypatch.setattr(os, "fsync", full)
    file.keep(np.array([2, 7]))
    assert np.fromfile(file.path, record_of(512))["id"].tolist() == [0, 2, 0, 0, 0, 0, 7, 0]
    assert not np.fromfile(file.path, record_of(512))[0]["row"].any()
    assert [path.name for path in tmp_path.iterdir()] == [file.path.name]
    assert sorted(file.best(vectors[1], 8)) == [2, 7]


def test_what_another_process_added_is_seen_and_half_a_row_is_dropped(tmp_path: Path) -> None:
    vectors = units(5, 512)
    mine, other = open_file(tmp_path, 512), open_file(tmp_path, 512)
    other.append(numbers(3), vectors[:3])
    with other.path.open("ab") as file:
        file.write(b"\x01" * 100)
    mine.look()
    mine.append(numbers(2, 4), vectors[3:])
    assert mine.ids.tolist() == [1, 2, 3, 4, 5]
    assert mine.path.stat().st_size == 5 * record_of(512).itemsize
    assert mine.best(vectors[4], 1).tolist() == [5]
