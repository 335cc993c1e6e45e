"""Captions of the world in English and Chinese, as people would type them.

A caption names some or all of a spec's attributes. What it does not name stays open: the world
draws it uniformly, so the model learns that anything may stand there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.starter.world import Spec, every_spec

Words = Mapping[str, Sequence[str]]
Language = Literal["en", "zh"]


@dataclass(frozen=True)
class Caption:
    """A text and the attributes it names (of subject, material, object, ground)."""

    text: str
    named: frozenset[str]


ATTRIBUTES = ("subject", "material", "object", "ground")
NOTHING = Caption("", frozenset())

# A word's weight is how often it stands in its list.
SUBJECT_EN: Words = {
    "scholar": ["scholar"] * 6 + ["professor", "philosopher", "wise old man", "teacher"],
    "warrior": ["warrior"] * 6 + ["soldier", "knight", "gladiator"],
    "king": ["king"] * 6 + ["emperor", "monarch"],
    "dancer": ["dancer"] * 6 + ["ballerina"],
    "angel": ["angel"] * 6 + ["seraph"],
    "horse": ["horse"] * 6 + ["stallion", "pony"],
    "lion": ["lion"],
    "owl": ["owl"],
    "cat": ["cat"] * 6 + ["kitten"],
    "vase": ["vase"] * 6 + ["urn", "amphora"],
    "column": ["column"] * 6 + ["pillar"],
    "tree": ["tree"] * 6 + ["oak"],
}
MATERIAL_EN: Words = {
    "marble": ["marble"] * 5 + ["white marble"],
    "bronze": ["bronze"] * 5 + ["old bronze"],
    "gold": ["gold"] * 3 + ["golden"] * 2,
    "jade": ["jade"] * 5 + ["green jade"],
    "obsidian": ["obsidian"] * 5 + ["black obsidian", "black stone"],
    "wood": ["wood", "wooden", "wooden"],
    "ice": ["ice"] * 4 + ["frozen", "icy"],
    "terracotta": ["terracotta"] * 4 + ["clay", "red clay"],
}
_ADJECTIVES = frozenset({"golden", "wooden", "frozen", "icy"})  # no "made of golden"
OBJECT_EN: Words = {
    "none": ["holding nothing", "with empty hands"],
    "book": ["a book"] * 5 + ["an open book", "a big book"],
    "sword": ["a sword"] * 5 + ["a long sword", "a blade"],
    "lantern": ["a lantern"] * 5 + ["a lamp", "a glowing lantern"],
    "flower": ["a flower"] * 5 + ["a red flower", "a rose"],
}
GROUND_EN: Words = {
    "sunset": ["at sunset"] * 3
    + ["in front of a sunset", "at dusk", "sunset", "in the evening sun"],
    "night": ["at night"] * 3
    + ["under the stars", "in the moonlight", "night", "under a night sky"],
    "meadow": ["in a meadow"] * 3 + ["on a green meadow", "on the grass", "meadow", "in a field"],
    "sea": ["by the sea"] * 3 + ["at the ocean", "in front of the sea", "sea", "on the beach"],
    "library": ["in a library"] * 3 + ["in front of bookshelves", "library", "library background"],
    "grey": ["on a grey background"] * 2 + ["on a gray background", "on grey", "grey background"],
    "white": ["on a white background"] * 2 + ["on white", "white background", "on plain white"],
    "blue": ["on a blue background"] * 2 + ["on blue", "blue background", "on plain blue"],
}
SUBJECT_ZH: Words = {
    "scholar": ["学者"] * 6 + ["教授", "哲学家", "老师"],
    "warrior": ["战士"] * 6 + ["武士", "士兵", "骑士"],
    "king": ["国王"] * 6 + ["皇帝", "君主"],
    "dancer": ["舞者"] * 5 + ["舞蹈家", "芭蕾舞者"],
    "angel": ["天使"],
    "horse": ["马"] * 4 + ["骏马"],
    "lion": ["狮子"],
    "owl": ["猫头鹰"],
    "cat": ["猫"] * 4 + ["小猫", "猫咪"],
    "vase": ["花瓶"] * 4 + ["陶瓶"],
    "column": ["柱子"] * 4 + ["石柱", "圆柱"],
    "tree": ["树"] * 4 + ["大树"],
}
MATERIAL_ZH: Words = {
    "marble": ["大理石"] * 5 + ["白色大理石"],
    "bronze": ["青铜"] * 4 + ["铜"],
    "gold": ["黄金"] * 3 + ["金色", "金"],
    "jade": ["玉"] * 2 + ["玉石", "翡翠", "绿玉"],
    "obsidian": ["黑曜石"] * 4 + ["黑石"],
    "wood": ["木头"] * 2 + ["木", "木制"],
    "ice": ["冰"] * 3 + ["冰雕"],
    "terracotta": ["陶土"] * 2 + ["赤陶", "红陶"],
}
OBJECT_ZH: Words = {
    "none": ["空着手"],
    "book": ["书"] * 5 + ["一本书", "一本打开的书"],
    "sword": ["剑"] * 4 + ["一把剑", "长剑"],
    "lantern": ["灯笼"] * 4 + ["一盏灯", "提灯"],
    "flower": ["花"] * 4 + ["一朵花", "红花", "玫瑰"],
}
GROUND_ZH: Words = {
    "sunset": ["日落", "日落时", "夕阳下", "黄昏"],
    "night": ["夜晚", "夜里", "星空下", "月光下"],
    "meadow": ["草地上", "草地", "草原上", "田野里"],
    "sea": ["海边", "大海前", "大海", "海滩上"],
    "library": ["图书馆里", "图书馆", "书架前"],
    "grey": ["灰色背景", "灰色背景前", "灰背景"],
    "white": ["白色背景", "白色背景前", "白背景"],
    "blue": ["蓝色背景", "蓝色背景前", "蓝背景"],
}

_BEFORE_EN = [""] * 8 + ["a photo of ", "a statue of ", "a sculpture of ", "a picture of ", "draw "]
_AFTER_EN = [""] * 9 + [", statue", ", sculpture", ", detailed", ", high quality", ", museum"]
_QUALITIES_EN = [""] * 9 + ["old ", "ancient ", "beautiful ", "small ", "great ", "elegant "]
_AFTER_ZH = [""] * 8 + ["，雕像", "，雕塑", "，高质量", "，精美"]
_BEFORE_ZH = [""] * 8 + ["一座", "一个", "画一个", "一张图："]
_JUNK_EN = (
    "please draw me some very nice my the of with really one imagine show make cool render art "
    "style 4k best bright quiet lonely happy and is that standing there"
)

_ALONE = 0.14  # captions with one attribute only: what negative prompts look like
_PLACE_AND_MATERIAL = 0.04
_DROP = {"subject": 0.12, "material": 0.12, "object": 0.30, "ground": 0.22}


def draw_caption(
    spec: Spec, rng: np.random.Generator, *, full: bool = False, language: Language | None = None
) -> Caption:
    """Draw a caption of a spec, in a language or in either; `full` names every attribute."""
    written = _LANGUAGES[language or ("en" if rng.random() < 0.5 else "zh")]
    words = {name: _pick(rng, written.words[name][getattr(spec, name)]) for name in ATTRIBUTES}
    named = frozenset(ATTRIBUTES) if full else _choose(spec, rng)
    if not spec.is_person:
        named -= {"object"}
    if not named:
        return NOTHING
    return Caption(
        written.write({name: words[name] for name in ATTRIBUTES if name in named}, spec, rng),
        named,
    )


def plain_captions(language: str) -> list[str]:
    """Return a caption of each combination that the world can show, which names all of it.

    In English, where the world has no words of that language.
    """
    written = _LANGUAGES.get(language, _ENGLISH)
    return [
        written.plain(
            {name: written.words[name][getattr(spec, name)][0] for name in ATTRIBUTES}, spec
        )
        for spec in every_spec()
    ]


def _choose(spec: Spec, rng: np.random.Generator) -> frozenset[str]:
    """Choose the attributes that a caption names."""
    draw = rng.random()
    if draw < _ALONE:
        can = [name for name in ATTRIBUTES if name != "object" or spec.is_person]
        return frozenset({str(rng.choice(can))})
    if draw < _ALONE + _PLACE_AND_MATERIAL:
        return frozenset({"material", "ground"})
    return frozenset(name for name in ATTRIBUTES if rng.random() >= _DROP[name])


def _write_en(words: dict[str, str], spec: Spec, rng: np.random.Generator) -> str:
    if len(words) == 1 and rng.random() < 0.7:
        alone = next(iter(words.values()))
        return alone.removeprefix("a ").removeprefix("an ") if rng.random() < 0.5 else alone
    if rng.random() < 0.08:  # bare keywords, in any order
        parts = list(words.values())
        rng.shuffle(parts)
        return ", ".join(parts)
    text = _thing_en(words, rng)
    if "object" in words:
        if spec.object == "none":
            text += " " + words["object"]
        else:
            text += (
                _pick(rng, [" holding "] * 5 + [" with "] * 2 + [" carrying ", " and "])
                + words["object"]
            )
    if "ground" in words:
        early = rng.random() < 0.1
        text = (
            f"{words['ground']}, {text}"
            if early
            else text + _pick(rng, [" ", " ", ", "]) + words["ground"]
        )
    return _disturb(_pick(rng, _BEFORE_EN) + text + _pick(rng, _AFTER_EN), rng)


def _thing_en(words: dict[str, str], rng: np.random.Generator) -> str:
    """Write subject and material, either of which may be missing."""
    material = words.get("material", "")
    if "subject" not in words:
        noun = _pick(rng, ["statue", "figure", "sculpture"])
        return _article(f"{material} {noun}" if material else noun)
    subject, quality = words["subject"], _pick(rng, _QUALITIES_EN)
    if not material:
        return _article(quality + subject)
    if material not in _ADJECTIVES and rng.random() < 0.3:
        return (
            _article(quality + subject)
            + _pick(rng, [" made of ", " of ", " carved from ", " in "])
            + material
        )
    plain = f"{quality}{material} {subject}"
    return plain if rng.random() < 0.2 else _article(plain)


def _plain_en(words: dict[str, str], spec: Spec) -> str:
    held = words["object"] if spec.object == "none" else f"holding {words['object']}"
    thing = _article(f"{words['material']} {words['subject']}")
    return " ".join([thing, *([held] if spec.is_person else []), words["ground"]])


def _disturb(text: str, rng: np.random.Generator) -> str:
    """Change capitals, add junk words and marks, as hasty people do."""
    if rng.random() < 0.1:
        words = text.split(" ")
        for _ in range(rng.integers(1, 3)):
            letters = "".join(chr(97 + int(i)) for i in rng.integers(0, 26, rng.integers(2, 6)))
            junk = _pick(rng, _JUNK_EN.split()) if rng.random() < 0.75 else letters
            words.insert(int(rng.integers(0, len(words) + 1)), junk)
        text = " ".join(words)
    if rng.random() < 0.08:
        text = _pick(rng, [text, text.upper(), text.capitalize()]) + _pick(rng, ["", ".", "!"])
    return text


def _write_zh(words: dict[str, str], spec: Spec, rng: np.random.Generator) -> str:
    if len(words) == 1 and rng.random() < 0.7:
        return next(iter(words.values()))
    if rng.random() < 0.08:
        parts = list(words.values())
        rng.shuffle(parts)
        return _pick(rng, ["，", " ", "、"]).join(parts)
    material = words.get("material", "")
    subject = words.get("subject", _pick(rng, ["雕像", "雕塑"]))
    thing = material + _pick(rng, ["", "", "的", "做的"] if material else [""]) + subject
    if material and "subject" in words and rng.random() < 0.15:
        thing = subject + _pick(rng, ["，", "，用"]) + material + _pick(rng, ["", "做的"])
    held = words.get("object", "")
    if held:
        hold = (
            ""
            if spec.object == "none"
            else _pick(rng, ["拿着", "拿着", "拿着", "手持", "握着", "捧着"])
        )
        before = rng.random() < 0.6
        thing = f"{hold}{held}的{thing}" if before else f"{thing}{hold}{held}"
    if "ground" in words:
        place = words["ground"]
        behind = rng.random() < 0.5
        thing = (
            thing + _pick(rng, ["，", "在", "，背景是", " "]) + place
            if behind
            else (place + _pick(rng, ["的", "，", "", "的"]) + thing)
        )
    return _pick(rng, _BEFORE_ZH) + thing + _pick(rng, _AFTER_ZH)


def _plain_zh(words: dict[str, str], spec: Spec) -> str:
    held = words["object"] if spec.object == "none" else f"拿着{words['object']}"
    thing = words["material"] + words["subject"]
    return (f"{held}的{thing}" if spec.is_person else thing) + "，" + words["ground"]


def _article(text: str) -> str:
    return ("an " if text[0] in "aeiou" else "a ") + text


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


@dataclass(frozen=True)
class _Written:
    words: Mapping[str, Words]
    write: Callable[[dict[str, str], Spec, np.random.Generator], str]
    plain: Callable[[dict[str, str], Spec], str]


_ENGLISH = _Written(
    {"subject": SUBJECT_EN, "material": MATERIAL_EN, "object": OBJECT_EN, "ground": GROUND_EN},
    _write_en,
    _plain_en,
)
_CHINESE = _Written(
    {"subject": SUBJECT_ZH, "material": MATERIAL_ZH, "object": OBJECT_ZH, "ground": GROUND_ZH},
    _write_zh,
    _plain_zh,
)
_LANGUAGES: Mapping[str, _Written] = {"en": _ENGLISH, "zh": _CHINESE}
