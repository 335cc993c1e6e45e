"""History: found by words in any language, followed by lineage, counted."""

import pytest

from storage import Status, Storage, UnknownJob
from tests.factories import add_claimed
from tests.storage.conftest import a_job, drawn

PROMPTS = (
    "a marble scholar holding a book",
    "Marble bust of a sculptor, café at night",
    "拿着书的大理石学者",
    "大理石雕像，黑色背景",
    "本を持つ大理石の学者",
    "대리석 학자",
    "нарисуй мраморного учёного",
    "un érudit en marbre",
    "รูปปั้นหินอ่อน",
    "मूर्ति संगमरमर",
    "🗿 moai",
)


FOUND: dict[str, set[int]] = {
    "marble": {1, 2},
    "MARBLE scholar": {1},
    "scholar marble": {1},
    '"marble scholar"': {1},
    '"scholar marble"': set(),
    "schol": set(),
    "schol*": {1},
    "cafe": {2},
    "café": {2},
    "大理石": {3, 4, 5},
    "学者": {3, 5},
    "书": {3},
    "石学": {3},
    "学石": set(),
    "大理石 黑色": {4},
    "持つ": {5},
    "학자": {6},
    "ученого": {7},
    "УЧЁНОГО мраморного": {7},
    "erudit": {8},
    "หินอ่อน": {9},
    "मूर्ति": {10},
    "🗿": {11},
    "marble OR scholar": set(),
    "'; DROP TABLE jobs; --": set(),
    '"': set(),
    "": set(),
    "by=terminal:ada": set(),
}


async def test_prompts_are_found_in_any_language(storage: Storage) -> None:
    for prompt in PROMPTS:
        await storage.jobs.add(a_job(prompt))
    found = {query: {job.id for job in await storage.history.search(query)} for query in FOUND}
    assert found == FOUND


async def test_a_search_pages_from_the_newest_and_keeps_to_a_person_and_place(
    storage: Storage,
) -> None:
    for person, place in (("x:a b", "x:1"), ("x:a b", "x:2"), ("x:'c", "x:1"), ("x:a b", "x:1")):
        await storage.jobs.add(a_job("marble", person=person, place=place))
    search = storage.history.search
    assert [job.id for job in await search("marble", limit=2)] == [4, 3]
    assert [job.id for job in await search("marble", before=3)] == [2, 1]
    assert [job.id for job in await search("marble", person="x:a b")] == [4, 2, 1]
    assert [job.id for job in await search("marble", person="x:a b", place="x:1")] == [4, 1]
    assert [job.id for job in await search("marble", person="x:'c")] == [3]


async def test_a_page_keeps_to_a_place(storage: Storage) -> None:
    for place in ("x:1", "x:2", "x:1"):
        await storage.jobs.add(a_job(place=place))
    assert [job.id for job in await storage.history.page(place="x:1")] == [3, 1]
    assert [job.id for job in await storage.history.page(place="x:1", before=3)] == [1]


async def test_lineage_is_followed_both_ways(storage: Storage) -> None:
    first = await storage.jobs.add(a_job())
    second = await storage.jobs.add(a_job(parent=first.id, parent_picture=1))
    third = await storage.jobs.add(a_job(parent=second.id))
    fourth = await storage.jobs.add(a_job(parent=second.id))
    line = await storage.history.lineage(third.id)
    assert [job.id for job in line.ancestors] == [first.id, second.id]
    assert (line.job, line.descendants) == (third, ())
    line = await storage.history.lineage(first.id)
    assert line.descendants == (second, third, fourth)
    assert line.descendants[0].parent_picture == 1
    assert (await storage.history.lineage(first.id, limit=2)).descendants == (second, third)
    assert (await storage.history.lineage(third.id, limit=1)).ancestors == (second,)


async def test_a_parent_must_exist(storage: Storage) -> None:
    with pytest.raises(UnknownJob, match="There is no job 77"):
        await storage.jobs.add(a_job(parent=77))
    with pytest.raises(UnknownJob):
        await storage.history.lineage(77)


async def test_stats_count_all_or_one_persons(storage: Storage) -> None:
    for person in ("x:a", "x:a", "x:b"):
        job = await add_claimed(storage, a_job(person=person))
        await storage.jobs.rendered(job.id, job.epoch, drawn(b"12345", b"67"))
    await storage.jobs.add(a_job(person="x:a"))
    await storage.favourites.add("x:b", job.id, 0)
    everything = await storage.history.stats()
    assert everything.jobs == {Status.RENDERED: 3, Status.QUEUED: 1}
    assert (everything.pictures, everything.bytes) == (6, 21)
    assert (everything.people, everything.favourites) == (2, 1)
    mine = await storage.history.stats(person="x:a")
    assert mine.jobs == {Status.RENDERED: 2, Status.QUEUED: 1}
    assert (mine.pictures, mine.bytes, mine.people, mine.favourites) == (4, 14, 1, 0)
    assert (await storage.history.stats(place="terminal")).favourites == 1
