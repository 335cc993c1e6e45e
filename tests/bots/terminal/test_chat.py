import re
from collections.abc import Callable

import pytest

from tests.bots.terminal.conftest import Answer, Marble

Chat = Callable[[str], Answer]
TINY = "--model tiny --steps 2"


def seeds(text: str) -> list[str]:
    return re.findall(r"seed (\d+)", text)


def test_a_piped_conversation_draws_reruns_and_ends(chat: Chat) -> None:
    lines = [
        f"/imagine a marble scholar --seed 7 {TINY}",
        f"a bronze cat {TINY} --seed 8",
        ":seed",
        ":dice 1",
        "🎲 1.1",
        ":seed 1 --steps 3 a gold king",
        "/show 6",
        "/quit",
        "never read",
    ]
    answer = chat("\n".join(lines))
    assert (answer.code, answer.err) == (0, "")
    assert seeds(answer.out)[:3] == ["7", "8", "8"]
    assert "7" not in seeds(answer.out)[3:5]
    assert seeds(answer.out)[5] == "7"
    assert re.search(r"prompt +a gold king", answer.out)
    assert re.search(r"made from +1 *$", answer.out, re.M)
    assert "never read" not in answer.out


def test_a_mistake_costs_a_sentence_not_the_conversation(chat: Chat) -> None:
    answer = chat(f"/imagin a cat\n:seed\na cat --steps 0\n\na dog {TINY} --seed 7")
    assert answer.code == 2
    assert "did you mean '/imagine'" in answer.out
    assert "no picture yet" in answer.out
    assert "steps must be a whole number" in answer.out
    assert "a dog" in answer.out
    assert "Traceback" not in answer.out + answer.err


def test_help_and_history_answer_and_an_empty_input_ends(chat: Chat) -> None:
    answer = chat("/help\n/history\n")
    assert answer.code == 0
    assert ":dice" in answer.out
    assert "Nothing yet" in answer.out
    assert chat("") == Answer(0, "", "")


@pytest.mark.parametrize("line", ["x" * 70_000, "\x00\x1b[2J", "a cat --seed " + "9" * 5000])
def test_odd_lines_are_answered_in_one_sentence(chat: Chat, line: str) -> None:
    answer = chat(f"{line}\n/history\n")
    assert "Nothing yet" in answer.out or "a cat" in answer.out
    assert "Traceback" not in answer.out + answer.err


def test_a_conversation_without_a_picture_leaves_none(chat: Chat, marble: Marble) -> None:
    chat("/help")
    assert "Nothing yet" in marble("history").out
