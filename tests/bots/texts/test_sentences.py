"""Sentences of every room, in every language."""

import ast
import json
import pickle
import re
from collections.abc import Iterator
from itertools import pairwise
from string import Formatter

import pytest

from bots.admission.rulebook import UNLIMITED
from bots.admission.rules import Refusal, check_rate
from bots.admission.rules import check as check_rules
from bots.presentation.lines import ignored_text
from bots.requests.options import parse_values
from bots.texts import EN, LANGUAGES, Words, say, tell, words_of
from engine.device.out_of_memory import NO_MEMORY
from engine.english import ENGLISH
from engine.errors import BrokenModel, GraphError, OptionError, UnknownModel, UserError
from engine.events import Ended, Key, Report
from engine.executors.wire import pack, unpack
from engine.formats.comfy.writer import to_graph
from engine.recipe.limits import at_most, characters, check
from engine.recipe.recipe import DEFAULTS, check_field
from engine.sentences import Sentence, fill
from tests.bots.texts.test_texts import messages
from tests.conftest import ROOT
from tests.engine.recipes import read_graph, read_line
from tests.factories import make_recipe

ZH = words_of("zh")
MANY = "a" * 64
TABLES = {tag: words.sentences for tag, words in LANGUAGES.items() if tag != "en"}
UNREADABLE = ("MetadataError", "GraphError")


def calls() -> Iterator[tuple[str, set[str] | None]]:
    """Yield every sentence of the code: its code, and its facts where all are written out."""
    for room in ("bots", "engine", "storage"):
        for file in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Sentence":
                    [code] = node.args
                    assert isinstance(code, ast.Constant), f"{file}:{node.lineno}"
                    names = {each.arg for each in node.keywords}
                    yield str(code.value), None if None in names else {str(n) for n in names}


def fields(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


# What people count. A text chooses between one and several (`engine.sentences.fill`) …
COUNTED = re.compile(
    r"^ (\w+ )?(steps|pictures|jobs|models|channels|layers|cores|connections|files|bytes|rows"
    r"|tokens|vectors|values|windows|styles|seconds|minutes|hours|days|problems|updates|people|LoRAs)\b"
)
# … but where there are always several, or the words are no number's.
SEVERAL = {
    "pictures_in_job", "which_picture", "many_tokens", "many_windows", "too_many_styles",
    "too_many_permutations", "permuted", "blend_so_many", "too_many_at_once", "few_further",
    "png_text_long", "alt_text_grid", "long_texts",
    "preview must hold weights, ", "it is cut short: ", "it goes on after its last tensor: ",
    "its form is not known to Marble: a U-Net with text embeddings of ", "its header is damaged: ",
}  # fmt: skip
NO_NUMBER = {"self._kind", "name", "edits", "family.title", "taken"} | {
    "quoted(name)",
    "quoted(tensor)",
}


def counts() -> Iterator[tuple[str, str, str]]:
    """Yield each place where a text has a number before words: where, the number, the words."""
    for words in LANGUAGES.values():
        table = {**ENGLISH, **words.sentences, **messages(words)}
        for code, template in table.items():
            pieces = list(Formatter().parse(template))
            for (_, name, how, _), (literal, *_) in pairwise(pieces):
                if name and "|" not in (how or ""):
                    yield code, name, literal
    for room in ("bots", "engine", "storage"):
        for file in sorted((ROOT / room).rglob("*.py")):
            if "starter" in file.parts:  # which is trained by who made it
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    start = node.values[0].value if isinstance(node.values[0], ast.Constant) else ""
                    for value, then in pairwise(node.values):
                        if isinstance(value, ast.FormattedValue) and isinstance(then, ast.Constant):
                            yield str(start), ast.unparse(value.value), str(then.value)


def test_one_of_a_thing_is_told_as_one() -> None:
    """No text says "1 steps"."""
    found = [each for each in counts() if COUNTED.match(each[2]) and each[0] not in SEVERAL]
    assert [each for each in found if each[1] not in NO_NUMBER] == []


@pytest.mark.parametrize("language", TABLES)
def test_every_code_that_is_used_is_in_every_table_and_no_other(language: str) -> None:
    assert list(TABLES[language]) == list(ENGLISH), "in the same order, to be compared"
    assert ENGLISH.keys() == dict(calls()).keys()


def test_templates_are_filled_by_the_facts_that_sentences_have_and_every_fact_is_used() -> None:
    for code, facts in calls():
        used = set().union(*(fields(table[code]) for table in (ENGLISH, *TABLES.values())))
        assert facts is None or used == facts, code


def test_refusals_of_the_gate_are_sentences() -> None:
    for file in sorted((ROOT / "bots" / "admission").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal":
                [what] = node.args
                assert not isinstance(what, ast.Constant | ast.JoinedStr), f"{file}:{node.lineno}"


def test_why_no_recipe_can_be_read_is_a_sentence() -> None:
    for file in sorted((ROOT / "engine").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in UNREADABLE:
                [what] = node.args
                assert not isinstance(what, ast.Constant | ast.JoinedStr), f"{file}:{node.lineno}"


def test_what_a_recipes_values_may_be_is_a_sentence() -> None:
    for file in sorted((ROOT / "engine" / "recipe").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "OptionError":
                what = node.args[2]
                assert not isinstance(what, ast.Constant | ast.JoinedStr), f"{file}:{node.lineno}"


@pytest.mark.parametrize("name", [*DEFAULTS, "control", "lora", "upscaler", "tile", "share"])
def test_what_a_field_may_be_is_said_in_ones_own_language(name: str) -> None:
    said: list[str] = []
    for value in (object(), (), (5,), (MANY,) * 99, -9e9, "", "x" * 9_999):
        try:
            check_field(name, value) if name in DEFAULTS else check(name, value)
        except OptionError as error:
            said.append(error.allowed)
    assert said
    for allowed in said:
        assert isinstance(allowed, Sentence)
        assert say(allowed, ZH) != allowed
    assert said


def test_what_a_file_asks_for_in_vain_is_told_in_ones_own_language() -> None:
    graph = to_graph(make_recipe())
    [sampler] = [name for name, node in graph.items() if node["class_type"] == "KSampler"]
    [decoder] = [name for name, node in graph.items() if node["class_type"] == "VAEDecode"]
    graph[decoder]["class_type"] = "VAEDecodeTiled"
    ignored = read_graph(graph).ignored
    assert ignored_text(ignored, words_of("en")) == "; ".join(ignored)
    said = f"VAEDecodeTiled (node {decoder})：其分块：Marble 处理整张图，或看不出接缝的分块"
    assert ignored_text(ignored, ZH) == said
    graph[sampler]["inputs"]["model"] = ["lost", 0]
    with pytest.raises(GraphError, match="comes from node lost, which does not exist") as caught:
        read_graph(graph)
    said = f"ComfyUI 图中，KSampler (node {sampler}) 的 'model' 来自节点 lost，而它不存在。"
    assert tell(caught.value, ZH) == said
    line = "a cat\nSteps: 9, Sampler: Euler, CFG scale: 5, Seed: 1, Size: 64x64, Model: x, RNG: MT"
    assert ignored_text(read_line(line)[1], ZH) == "RNG: MT（噪声在 CPU 上生成）"


def test_an_error_is_said_in_ones_own_language_and_unknown_ones_as_they_are() -> None:
    error = UnknownModel("startr", ["starter"])
    assert tell(error, words_of("en")) == str(error)
    assert tell(error, ZH) == "没有模型 'startr'（是不是 'starter'？）；可用模型：starter。"
    assert tell(UserError("The marble cracked."), ZH) == "The marble cracked."
    assert tell(BrokenModel("x", "its tail is missing."), ZH).endswith("its tail is missing.")


def test_hundreds_of_models_flood_no_chat() -> None:
    error = UnknownModel("model99", [f"model{number:03}" for number in range(300)])
    assert "did you mean" in str(error)
    assert str(error).endswith("model008, model009, ….")
    assert str(UnknownModel("x", ["a", "b"])).endswith("available models: a, b.")


def test_options_are_named_as_people_know_them_with_what_they_may_be() -> None:
    with pytest.raises(OptionError) as caught:
        parse_values([("steps", "900")])
    assert str(caught.value) == "steps must be a whole number between 1 and 150, not 900."
    assert tell(caught.value, ZH) == "步数 应为 1 到 150 之间的整数，而不是 900。"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("guidance", "99", "引导强度 应为 0 到 30 之间的数，而不是 99.0。"),
        ("clip-skip", "0", "CLIP 跳过层 应为 1 到 12 之间的整数，或 own，而不是 0。"),
        (
            "lora",
            "a:b",
            "lora 应为 name 或 name:0.8 这样的写法（多个用逗号分隔），或 none，而不是 'a:b'。",
        ),
    ],
)
def test_an_option_called_otherwise_than_its_field_is_said_in_ones_own_language(
    name: str, text: str, said: str
) -> None:
    with pytest.raises(OptionError) as caught:
        parse_values([(name, text)])
    assert tell(caught.value, ZH) == said


def test_rules_speak_every_language() -> None:
    with pytest.raises(Refusal) as caught:
        check_rules({**UNLIMITED, "blocked": ["猫"]}, make_recipe(prompt="一只猫"))
    assert tell(caught.value, ZH) == "此处不允许使用“猫”一词；请换个说法。"
    with pytest.raises(Refusal) as caught:
        check_rate("per_minute", 1, 59.1)
    assert tell(caught.value, ZH) == "你在此处每分钟最多可提交 1 个任务；请在 60 秒后再试。"


def test_a_sentence_of_another_version_stays_as_it_was_written() -> None:
    for data in (
        {"code": "dropped", "facts": {"count": 1}},
        {"code": "queue_full", "facts": {"most": 3}},
        {"code": "queue_full", "facts": {"length": "many"}},
    ):
        old = Sentence.read("It is full.", data)
        assert [say(old, words_of("en")), say(old, ZH)] == ["It is full.", "It is full."]
        assert Sentence.read(str(old), old.to_dict()) == old
    kept = Sentence.read("Full.", {"code": "queue_full", "facts": {"length": 1_000}})
    assert (str(kept), say(kept, ZH)[:14]) == ("Full.", "队列已满（1,000 个任务")


@pytest.mark.parametrize(
    ("count", "words"), [(1, "1 job is"), (2, "2 jobs are"), (0, "0 jobs are")]
)
def test_one_is_told_from_several(count: int, words: str) -> None:
    assert fill("{count:,} {count:job is|jobs are} waiting", count=count) == f"{words} waiting"
    assert words in Sentence("queue_full", length=count)


@pytest.mark.parametrize("words", [EN, ZH])
def test_a_text_that_is_too_long_is_told_with_single_blanks(words: Words) -> None:
    error = OptionError("prompt", characters(3_000), at_most(2_000))
    assert "3,000" in (said := say(error.said, words))
    assert "  " not in said


def test_a_sentence_survives_json_pickling_and_the_wire() -> None:
    inner = Sentence("between", low="1", high="2")
    sentence = Sentence("bad_option", option="x", called="x", allowed=inner, given=3)
    assert sentence == "x must be between 1 and 2, not 3."
    for copy in (
        Sentence.read(str(sentence), json.loads(json.dumps(sentence.to_dict()))),
        pickle.loads(pickle.dumps(sentence)),
    ):
        assert (copy, copy.code, copy.facts) == (sentence, sentence.code, sentence.facts)
        assert isinstance(copy.facts["allowed"], Sentence)
    report = Report(Key(1, 1), Ended(BrokenModel("x", "torn.")))
    ended = unpack(pack(report)).news
    assert isinstance(ended, Ended)
    assert isinstance(ended.error, UserError)
    assert say(ended.error.said, ZH) == "无法载入模型 'x'：torn."
    assert say(NO_MEMORY, ZH) != str(NO_MEMORY)
