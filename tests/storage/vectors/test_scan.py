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


def found_in(file: ScanFile, question: scan.Floats, count: int) -> list[int]:
    ids, _ = file.best(question, count)
    return sorted(ids.tolist())


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
        ids, _ = file.best(question, 100)
        assert set(exact) <= set(ids)


@pytest.mark.parametrize("dots", BOTH)
@pytest.mark.parametrize("spread", [1.0, 0.02])
def test_no_row_that_is_left_out_reaches_over_the_bound(
    tmp_path: Path, dots: scan.Dots, spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "BLOCK", 300)
    vectors = units(1, 64, seed=2) + spread * units(1_000, 64)
    vectors[7] = np.eye(64)[3]  # has the largest scale that there is
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    file = open_file(tmp_path, 64, dots)
    file.append(numbers(1_000), vectors)
    for question in (*units(20, 64, seed=1), vectors[0], vectors[7]):
        for count in (1, 30, 999):
            ids, bound = file.best(question, count)
            products = vectors @ question
            assert np.delete(products, ids - 1).max() <= bound
            assert bound <= products[ids - 1].min() + 0.1


def test_an_empty_file_and_a_short_one_give_what_they_have(tmp_path: Path) -> None:
    file = open_file(tmp_path, 4)
    assert found_in(file, units(1, 4)[0], 5) == []
    file.append(numbers(3), units(3, 4))
    assert found_in(file, units(1, 4)[0], 5) == [1, 2, 3]


def test_what_is_taken_out_is_zero_on_the_disk_and_found_no_more(tmp_path: Path) -> None:
    vectors = units(8, 512)
    file = open_file(tmp_path, 512)
    file.append(numbers(8), vectors)
    row = np.fromfile(file.path, record_of(512))[2]["row"].tobytes()
    file.keep(np.delete(numbers(8), 2))
    stored = file.path.read_bytes()
    assert row not in stored
    assert np.frombuffer(stored, record_of(512))["id"].tolist() == [1, 2, 0, 4, 5, 6, 7, 8]
    assert 3 not in found_in(file, vectors[2], 8)


def test_a_file_of_many_gaps_is_written_anew(tmp_path: Path) -> None:
    vectors = units(8, 512)
    file, other = open_file(tmp_path, 512), open_file(tmp_path, 512)
    file.append(numbers(8), vectors)
    other.look()
    file.keep(np.array([2, 7]))
    assert np.fromfile(file.path, record_of(512))["id"].tolist() == [2, 7]
    other.look()
    for each in (file, other):
        assert found_in(each, vectors[1], 8) == [2, 7]
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
    assert found_in(file, vectors[1], 8) == [2, 7]


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
    assert found_in(mine, vectors[4], 1) == [5]
