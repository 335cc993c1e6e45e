"""The inbox: nothing is lost, nothing is taken in twice."""

from pathlib import Path

from storage import InboxEntry, Storage
from tests.storage.conftest import Home, a_job


def letter(number: int, person: str = "telegram:1") -> InboxEntry:
    return InboxEntry(
        id=f"telegram:{number}", adapter="telegram", person=person, body={"text": f"猫 {number}"}
    )


async def test_a_letter_stays_until_it_is_done_and_is_taken_in_once(storage: Storage) -> None:
    one, two, three = letter(1), letter(2), letter(3)
    assert await storage.inbox.add([one, two]) == (one, two)
    assert await storage.inbox.add([two, three]) == (three,)
    await storage.inbox.done(two.id)
    assert await storage.inbox.add([one, two]) == ()
    assert await storage.inbox.waiting("telegram") == (one, three)
    assert await storage.inbox.waiting("elsewhere") == ()


async def test_a_letter_outlives_its_process(home: Home) -> None:
    async with home.open() as storage:
        await storage.inbox.add([letter(1)])
    async with home.open() as storage:
        assert await storage.inbox.waiting("telegram") == (letter(1),)


async def test_a_letter_makes_one_job_however_often_it_is_read(storage: Storage) -> None:
    [new] = await storage.inbox.add([letter(1)])
    jobs = {(await storage.jobs.add(a_job(event=new.id))).id for _ in range(3)}
    assert len(jobs) == 1


async def test_whoever_is_forgotten_leaves_no_letter(storage: Storage, tmp_path: Path) -> None:
    await storage.inbox.add([letter(1), letter(2, person="telegram:2")])
    await storage.exports.to_file("telegram:1", tmp_path / "mine.zip")
    await storage.privacy.forget("telegram:1")
    assert await storage.inbox.waiting("telegram") == (letter(2, person="telegram:2"),)
