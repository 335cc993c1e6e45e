"""Permutation prompts: one text asks for several jobs, all of which are committed or none."""

import re
from dataclasses import replace

import pytest

from bots.admission.gate import Gate
from bots.admission.roles import Roles
from bots.admission.rulebook import UNLIMITED
from bots.requests.permutations import MOST, permutations
from bots.requests.studio import Asker
from bots.requests.typed_options import read_request, split_message
from bots.texts import tell, words_of
from engine.errors import UserError
from engine.queue.estimates import pixel_steps
from storage.states import Status
from tests.bots.conftest import House

ADA = Asker(person="x:ada", place="x:1", reply={"to": 1}, event="x:7")


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("{red, blue} cat", ["red cat", "blue cat"]),
        ("a {b,c} {d, e} f", ["a b d f", "a b e f", "a c d f", "a c e f"]),
        ("a {red {cat, dog}, bird}", ["a red cat", "a red dog", "a bird"]),
        ("a cat --ar {3:2, 1:1}", ["a cat --ar 3:2", "a cat --ar 1:1"]),
        ("{红、蓝，绿}猫", ["红猫", "蓝猫", "绿猫"]),
        (r"{red\, pink, blue} cat", ["red, pink cat", "blue cat"]),
        ("{, big} cat", [" cat", "big cat"]),
        ("{{a, b}, c}", ["a", "b", "c"]),
        ("{a|{b, c}}", ["{a|b}", "{a|c}"]),
    ],
)
def test_commas_in_braces_ask_for_each_choice(text: str, texts: list[str]) -> None:
    assert permutations(text) == texts


@pytest.mark.parametrize(
    "text",
    [
        "a cat, a dog",
        "{a|b, c} cat",  # one of these, by the seed
        "{red} cat",
        "{prompt}",
        r"\{red, blue} cat",
        r"{red, blue\} cat",
        "{red, blue cat",
        "red, blue} cat",
        "{{masterpiece, best quality}}, 1girl",  # NovelAI's emphasis
        '{"scene": "a cat", "colours": ["red", "blue"]}',
        "{" * 9_999,
        "{a, b}" * 2_000,  # longer than any prompt, which is refused by its length
    ],
)
def test_other_braces_are_as_they_were(text: str) -> None:
    assert permutations(text) == [text]


@pytest.mark.parametrize("text", ["{a, b}" * 4, "{" + ", ".join("abcdefghijk") + "}"])
def test_there_are_only_so_many(text: str) -> None:
    with pytest.raises(UserError) as error:
        permutations(text)
    said = "The choices in braces make more than 10 jobs; leave some out, or write \\{ for a brace"
    assert str(error.value).startswith(said)
    assert "超过 10 个任务" in tell(error.value, words_of("zh"))
    assert len(permutations("{a, b}{1, 2, 3, 4, 5}")) == MOST


def test_where_one_picture_is_meant_choices_are_refused() -> None:
    for read in (split_message, read_request):
        with pytest.raises(UserError, match="can only stand in a new prompt") as error:
            read("make it {red, blue}")
        assert "新的提示词" in tell(error.value, words_of("zh"))
    with pytest.raises(UserError, match="can only stand in a new prompt"):
        read_request("a cat", [("negative", "{fog, rain}")])
    assert split_message(r"make it \{red, blue\}") == (r"make it \{red, blue\}", [])


async def test_each_choice_is_a_job_and_their_count_is_said_first(house: House) -> None:
    asker = Asker(
        person="x:ada", place="x:1", reply={"to": 1}, further_reply={"to": 2}, event="x:7"
    )
    choices = [
        {"prompt": f"a {colour} cat", "width": 100, "height": 64} for colour in ("red", "blue")
    ]
    jobs = await house.studio.imagine_each(choices, asker)
    assert [job.recipe.prompt for job in jobs] == ["a red cat", "a blue cat"]
    assert [job.reply for job in jobs] == [{"to": 1}, {"to": 2}]
    assert jobs[0].recipe.seed != jobs[1].recipe.seed
    first, *notes = asker.notes
    assert first == "That makes 2 jobs, one for each choice in braces."
    assert len(notes) == 1, "what is said of both is said once"
    again = await house.studio.imagine_each(choices, asker)
    assert [job.id for job in again] == [job.id for job in jobs], "the event was seen"


async def test_braces_that_are_text_are_drawn_without_their_backslashes(house: House) -> None:
    for text in permutations(r"a sign \{red, blue\} and {x|x} \(old\)"):
        job = await house.studio.imagine({"prompt": text}, ADA)
    assert job.recipe.prompt == r"a sign {red, blue} and x \(old\)"
    again = await house.studio.rerun(str(job.id), {}, Asker(person="x:ada", place="x:1"))
    assert again.recipe.prompt == job.recipe.prompt


async def fail_alike(house: House, gate: Gate, colours: str, said: str) -> None:
    house.studio._gate = gate
    choices = [{"prompt": f"a {colour} cat"} for colour in colours.split()]
    before = [job.id for job in await house.storage.history.page()]
    with pytest.raises(UserError, match=re.escape(said)):
        await house.studio.imagine_each(choices, replace(ADA, event="x:8"))
    assert [job.id for job in await house.storage.history.page()] == before


async def test_where_one_is_refused_none_is_drawn_and_nothing_is_counted(house: House) -> None:
    rules = {**UNLIMITED, "per_minute": 3, "blocked": ["blue"]}
    gate = Gate(house.storage, Roles(), rules, clock=lambda: 0.0)
    await fail_alike(house, gate, "red blue", "blue")
    await fail_alike(house, gate, "a b c d", "make 4 jobs, but here at most 3 a minute are taken")
    house.studio._gate = gate
    jobs = await house.studio.imagine_each([{"prompt": "a cat"}] * 3, ADA)
    assert len(jobs) == 3, "the refused ones took none of the three"
    await fail_alike(house, gate, "red green", "try again in 40 s")


async def test_waiting_limits_and_budgets_count_every_job(house: House) -> None:
    house.executor.gate.clear()
    large = {"prompt": "a cat", "width": 512, "height": 512, "steps": 20}  # 5.24 million
    first = await house.studio.imagine(large, Asker(person="x:c", place="x:1"))
    assert (pixel_steps(first.recipe), first.status) == (5_242_880, Status.QUEUED)
    gate = Gate(house.storage, Roles(), {**UNLIMITED, "waiting": 2})
    await fail_alike(house, gate, "a b c", "You already have 2 jobs waiting")
    house.studio._gate = Gate(house.storage, Roles(), {**UNLIMITED, "daily": 11})
    with pytest.raises(UserError, match="11 million"):
        await house.studio.imagine_each([large] * 3, ADA)
    assert [job.person for job in await house.storage.history.page()] == ["x:c"]
    assert len(await house.studio.imagine_each([large] * 2, ADA)) == 2
