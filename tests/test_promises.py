"""Hold docs/reliability.md: every promise has its tests, and every test that it names is there."""

import ast
import re
from functools import cache

import pytest

from tests.conftest import ROOT

ROW = re.compile(r"^\| (P\d+) \| .* \| (.*) \|$", re.M)
TEXT = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
PROMISES = {number: re.findall(r"`([^`]+)`", tests) for number, tests in ROW.findall(TEXT)}


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = (n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return frozenset(function.name for function in functions)


def test_all_promises_are_there() -> None:
    assert list(PROMISES) == [f"P{number}" for number in range(1, 22)]


@pytest.mark.parametrize("promise", PROMISES)
def test_each_has_its_tests(promise: str) -> None:
    assert PROMISES[promise]
    for place in PROMISES[promise]:
        file, _, name = place.partition("::")
        assert name in names_in(file), f"{promise}: there is no {place}"
