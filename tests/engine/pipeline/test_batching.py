"""Who shares a call: the policy alone, without a model."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.device.call_costs import UNMEASURED, Buckets
from engine.pipeline.batching import Account, Batcher, Batching, Member

ROOMY = Buckets({1: 1.0, 2: 1.0, 4: 1.1, 8: 1.2, 16: 3.0})


def make_turn(name: str, left: int = 10, **changes: Any) -> Member[str]:
    member = Member(
        picture=name,
        account=Account(float(left)),
        kind="starter",
        buckets=UNMEASURED,
        rows=2,
        tokens=(77,),
        left=left,
    )
    return replace(member, **changes)


def names(batcher: Batcher[str], members: list[Member[str]]) -> list[str]:
    return [member.picture for member in batcher.choose(members).members]


def test_costs_between_and_beyond_what_was_measured() -> None:
    buckets = Buckets({1: 1.0, 2: 1.5, 4: 2.0})
    assert [buckets.cost(rows) for rows in (1, 2, 3, 4, 8)] == [1.0, 1.5, 1.75, 2.0, 4.0]


@pytest.mark.parametrize(
    ("seconds", "canonical", "widest"),
    [
        ({1: 1.0}, (1, 2), 1),
        ({1: 1.0, 2: 2.0}, (1, 2), 1),
        ({1: 1.0, 2: 1.43, 4: 2.13, 8: 4.2}, (1, 2), 4),
        ({1: 1.0, 2: 1.0, 4: 1.1, 8: 1.2, 16: 3.0}, (8, 8), 8),
        ({1: 1.0, 2: 1.3, 4: 1.5, 8: 2.0, 16: 3.0}, (1, 4), 16),
    ],
)
def test_buckets_follow_from_what_calls_cost(
    seconds: dict[int, float], canonical: tuple[int, int], widest: int
) -> None:
    buckets = Buckets(seconds)
    assert (buckets.canonical(1), buckets.canonical(2)) == canonical
    assert buckets.widest() == widest


def test_calls_that_are_made_twice_cost_twice() -> None:
    once, twice = make_turn("a"), make_turn("b", times=2)
    assert twice.cost == 2 * once.cost
    costs = [Batcher[str](Batching.EXACT).choose([member]).cost for member in (once, twice)]
    assert costs[1] == 2 * costs[0]


def test_where_rows_are_nearly_free_all_of_a_kind_share_a_call() -> None:
    members = [make_turn(name, buckets=ROOMY) for name in "abcde"]
    batch = Batcher[str](Batching.EXACT).choose(members)
    assert (len(batch.members), batch.rows) == (4, 8)


@pytest.mark.parametrize(
    "changes", [{"kind": "other"}, {"tokens": (154,)}, {"alone": True}], ids=lambda c: next(iter(c))
)
def test_what_differs_shares_no_call_in_exact_mode(changes: dict[str, Any]) -> None:
    members = [make_turn("a", buckets=ROOMY), make_turn("b", buckets=ROOMY, **changes)]
    assert len(Batcher[str](Batching.EXACT).choose(members).members) == 1


def test_different_lengths_share_a_call_in_throughput_mode_up_to_a_limit() -> None:
    members = [make_turn(str(n), buckets=ROOMY, tokens=(77 * n,)) for n in (1, 2, 3, 4)]
    batch = Batcher[str](Batching.THROUGHPUT).choose(members)
    assert sorted(member.tokens[0] // 77 for member in batch.members) == [1, 2, 4]
    assert batch.rows == 6


@pytest.mark.parametrize("mode", Batching)
def test_a_picture_that_is_to_have_calls_of_its_own_joins_nobodys(mode: Batching) -> None:
    members = [make_turn(name, buckets=ROOMY) for name in "abc"]
    members[1].buckets = ROOMY.single(2)
    assert names(Batcher[str](mode), members) == ["a", "c"]


def test_pictures_of_two_calls_share_both_where_both_lengths_fit() -> None:
    members = [
        make_turn(name, kind="split", buckets=ROOMY, rows=1, tokens=(77, 77 * n))
        for name, n in (("a", 5), ("b", 10), ("c", 7))
    ]
    batch = Batcher[str](Batching.THROUGHPUT).choose(members)
    assert {member.picture for member in batch.members} == {"a", "b"}
    assert batch.cost > ROOMY.cost(2) * 2  # two calls, one of them with a longer context


def test_a_long_prompt_is_charged_for_its_length() -> None:
    short, long = make_turn("a"), make_turn("b", tokens=(77 * 70,))
    batcher = Batcher[str](Batching.EXACT)
    for member in (short, long):
        batcher.choose([member])
    assert long.account.used > 2 * short.account.used


def test_a_compiled_model_is_called_with_powers_of_two() -> None:
    members = [make_turn(name, buckets=ROOMY) for name in "abc"]
    assert Batcher[str](Batching.THROUGHPUT, static=True).choose(members).rows == 8


def test_pictures_of_a_job_that_is_alone_share_calls_with_each_other() -> None:
    account = Account(20)
    members = [make_turn(name, buckets=ROOMY, alone=True, account=account) for name in "ab"]
    assert len(Batcher[str](Batching.EXACT).choose(members).members) == 2


def test_long_jobs_join_a_short_one_only_where_that_costs_next_to_nothing() -> None:
    steep = Buckets({1: 1.0, 2: 1.4, 4: 2.1, 8: 3.5})
    members = [make_turn("long", 50, buckets=steep), make_turn("short", 4, buckets=steep)]
    assert names(Batcher(Batching.THROUGHPUT), members) == ["short"]
    members = [make_turn("long", 50, buckets=ROOMY), make_turn("short", 4, buckets=ROOMY)]
    assert names(Batcher(Batching.THROUGHPUT), members) == ["short", "long"]


def run(batcher: Batcher[str], members: list[Member[str]], calls: int) -> Counter[str]:
    return Counter(name for _ in range(calls) for name in names(batcher, members))


def test_the_job_that_ends_soonest_gets_two_thirds_and_the_rest_share_the_rest() -> None:
    members = [make_turn("short", 300), *(make_turn(name, 1000) for name in "abc")]
    used = run(Batcher(Batching.EXACT), members, 300)
    assert used["short"] == pytest.approx(200, abs=5)
    assert [used[name] for name in "abc"] == [pytest.approx(100 / 3, abs=5)] * 3


def test_time_counts_and_not_calls() -> None:
    """A picture whose calls cost ten times as much gets a tenth of them."""
    big = make_turn("big", 1000, kind="large", buckets=Buckets({1: 10.0}))
    members = [make_turn("soonest", 10), big, make_turn("small", 1000)]
    members[0].account.remaining = -1e9
    used = run(Batcher(Batching.EXACT), members, 6000)
    assert used["small"] / used["big"] == pytest.approx(10, rel=0.1)


def test_who_joins_late_has_no_claim_on_the_time_before() -> None:
    batcher = Batcher[str](Batching.EXACT)
    old = [make_turn(name, 1000) for name in "ab"]
    run(batcher, old, 100)
    late = make_turn("late", 2000)
    late.account = batcher.open(2000, [member.account for member in old])
    used = run(batcher, [*old, late], 30)
    assert used["late"] <= 10


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.sampled_from([UNMEASURED, ROOMY]))
def test_everybody_ends_and_no_call_is_for_nobody(lengths: list[int], buckets: Buckets) -> None:
    batcher = Batcher[str](Batching.EXACT)
    members = [make_turn(str(n), left, buckets=buckets) for n, left in enumerate(lengths)]
    calls = 0
    while left := [member for member in members if member.left > 0]:
        assert batcher.choose(left).members
        calls += 1
    assert calls <= sum(lengths)
