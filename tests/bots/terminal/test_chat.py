import re
from collections.abc import Callable
from pathlib import Path

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


def test_a_picture_is_where_another_starts(chat: Chat) -> None:
    lines = [
        f"a marble scholar --seed 7 {TINY}",
        f"a dog --image 1 --mask white --strength 0.5 {TINY}",
        f"--image 1.1 a dog --strength 0.5 {TINY}",
        ":seed --image nothing.png",
        "a cat --mask red",
        ":upscale 2 x2",
        "/show",
    ]
    answer = chat("\n".join(lines))
    assert "Nothing" in answer.out  # in the picture is painted white
    assert "There is no file 'nothing.png'" in answer.out
    assert "used together with --image" in answer.out
    assert re.search(r"^upscale +factor 2, by lanczos", answer.out, re.M)
    assert re.search(r"made from +2(\.1)? *$", answer.out, re.M)


def test_a_mistake_costs_a_sentence_not_the_conversation(chat: Chat) -> None:
    answer = chat(f"/imagin a cat\n:seed\na cat --steps 0\n\na dog {TINY} --seed 7")
    assert answer.code == 2
    assert "did you mean '/imagine'" in answer.out
    assert "no pictures yet" in answer.out
    assert "steps must be a whole number" in answer.out
    assert "a dog" in answer.out
    assert "Traceback" not in answer.out + answer.err


def test_help_and_history_answer_and_an_empty_input_ends(chat: Chat) -> None:
    answer = chat("/help\n/history\n")
    assert answer.code == 0
    assert ":dice" in answer.out
    assert "No pictures yet" in answer.out
    assert chat("") == Answer(0, "", "")


def test_commands_are_read_with_a_slash_and_with_a_colon(chat: Chat) -> None:
    answer = chat(f"a cat {TINY} --seed 7\n/seed\n:history\n:show 2\n:help\n/info\n:quit\nnever")
    assert seeds(answer.out)[:2] == ["7", "7"]
    assert re.search(r"made from +1 *$", answer.out, re.M)
    assert "any words become a picture" in answer.out
    assert "There is no command '/info'." in answer.out
    assert "never" not in answer.out


def test_help_and_the_end_are_found_without_a_sign(chat: Chat) -> None:
    lines = ["help", f"help me {TINY} --seed 777", f"/imagine exit {TINY} --seed 888", "?"]
    lines += ["/history zebra", "exit", f"never {TINY} --seed 999"]
    answer = chat("\n".join(lines))
    assert answer.out.count("any words become a picture") == 2
    assert [each for each in seeds(answer.out) if len(each) == 3] == ["777", "888"]
    assert "There is no option 'zebra'" in answer.out


def test_what_buttons_of_the_chats_are_called_is_understood(chat: Chat) -> None:
    cats = f"a cat --size 64 --count 2 {TINY}"
    lines = [cats, "v2", "/show", "V1", "/show", ":seed 1", "U2", "/show", "u3"]
    lines += [f"u1 a hat --size 64 {TINY}", ":favourites", "/reroll"]
    answer = chat("\n".join(lines))
    assert re.findall(r"made from +(\S+)", answer.out) == ["1.2", "2.1", "4.2"]
    assert "5.3" in answer.out
    assert re.search(r"^6 +u1 a hat", answer.out, re.M)
    assert "did you mean '/history favourites'" in answer.out
    assert "did you mean ':dice'" in answer.out


@pytest.mark.parametrize("line", ["x" * 70_000, "\x00\x1b[2J", "a cat --seed " + "9" * 5000])
def test_odd_lines_are_answered_in_one_sentence(chat: Chat, line: str) -> None:
    answer = chat(f"{line}\n/history\n")
    assert "No pictures yet" in answer.out or "a cat" in answer.out
    assert "Traceback" not in answer.out + answer.err


def test_a_conversation_without_a_picture_leaves_none(chat: Chat, marble: Marble) -> None:
    chat("/help")
    assert "No pictures yet" in marble("history").out


def test_pictures_are_made_from_pictures_in_a_conversation(chat: Chat) -> None:
    lines = [
        f"a cat --size 64 --seed 7 {TINY}",
        ":vary",
        ":vary 1 strong",
        ":upscale 1.1 x1.5",
        ":zoom 1 x1.5",
        ":pan 1 left",
        ":pan down",
        ":edit 1.1 make it bronze --steps 3",
    ]
    answer = chat("\n".join(lines))
    assert (answer.code, answer.err) == (0, "")
    sizes = re.findall(r"(\d+×\d+) · \d+ steps", answer.out)
    assert [f"{n}.1" for n in range(1, 9)] == re.findall(r"^  (\d+\.1)  ", answer.out, re.M)
    assert sizes[-3:] == ["96×64", "96×96", "64×64"]
    assert "The model 'tiny' does not edit by words" in answer.out
    assert "make it bronze\n64×64 · 3 steps" in answer.out


def test_nonsense_about_pictures_is_answered_in_a_sentence_each(chat: Chat) -> None:
    lines = [":vary", ":zoom 1", f"a cat --size 64 {TINY}", ":pan 1", ":zoom 1 xfar", ":vary 1 2 3"]
    lines += ["/tmp/no/such/nope.png", ":pan 1 away", ":seed 1.9"]
    answer = chat("\n".join(lines))
    assert answer.code == 2
    assert "There is no job 1" in answer.out
    assert "Say one direction: left, right, up or down, like `pan 1 left`." in answer.out
    assert "There is no file '/tmp/no/such/nope.png'." in answer.out
    assert "direction must be one of left, right, up, down, not 'away'" in answer.out
    assert "There is no picture 1.9: job 1 has 1 picture, 1.1." in answer.out
    assert "factor must be a number" in answer.out
    assert "A picture is named by one word, like 12.3, not '1 2 3'" in answer.out
    assert "Traceback" not in answer.out + answer.err


def test_each_choice_in_braces_is_drawn(chat: Chat) -> None:
    lines = [
        f"a {{red, blue}} cat --seed 7 {TINY}",
        "{a, b, c, d}{1, 2, 3}",
    ]
    answer = chat("\n".join(lines))
    assert "That makes 2 jobs, one for each choice in braces." in answer.out
    assert re.findall(r"^\d  a (\w+) cat", answer.out, re.M) == ["red", "blue"]
    assert "The choices in braces make more than 10 jobs" in answer.out


def test_a_making_of_is_written_here(chat: Chat, tmp_path: Path) -> None:
    answer = chat(f"a cat {TINY} --seed 7\n:making-of\n:making-of 9")
    assert "making-of-1.1.html" in answer.out
    assert "How 1.1 was made" in (tmp_path / "making-of-1.1.html").read_text()
    assert "9" in answer.out.splitlines()[-1]
