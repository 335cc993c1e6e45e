"""A making-of's page, animation and strip, of records made by hand."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from bots.presentation.making_of import (
    LAST,
    STRIP,
    MakingOf,
    animation,
    brief,
    heated,
    page,
    plot,
    strip,
)
from bots.texts import LANGUAGES, MAKING_OF, Words
from engine.formats.metadata import write_png
from engine.making_of.record import Frame, Pass, Record, Text, Word
from engine.recipe.parts import Lora
from tests.factories import make_recipe, pixels

RECIPE = make_recipe(prompt='a "<b>king</b>" & the sea', loras=(Lora(name="ink", weight=0.8),))


def saved(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def heat(light: int) -> bytes:
    image = Image.new("L", (8, 8))
    image.paste(light, (4, 0, 8, 8))
    return saved(image, "PNG")


def frame(step: int, red: int) -> Frame:
    picture = Image.new("RGB", (32, 32), (red, 0, 0))
    return Frame(number=0, step=step, picture=saved(picture, "WEBP"))


WORDS = (
    Word(
        text="<b>king",
        ids=(7, 9),
        pieces=("<b>", "king"),
        weight=1.4,
        windows=(0, 1),
        heat=heat(255),
        most=0.25,
    ),
    Word(text="sea", ids=(3,), pieces=("sea",), weight=1.0, windows=(1,), heat=heat(9), most=0.1),
)
RECORD = Record(
    sha256="0" * 64,
    texts=(Text(text=RECIPE.prompt, words=WORDS, left_out=2, windows=2, requests=12),),
    passes=(
        Pass(
            model="tiny",
            width=8,
            height=8,
            sigmas=(14.6, 5.0, 1.0, 0.0),
            first=1,
            lora_layers={"unet": 32},
        ),
    ),
    frames=tuple(frame(step, 60 * step) for step in range(4)),
    channels=(heat(255), heat(9)),
    layers=5,
    seconds={"encode": 0.01, "denoise": 1.5, "decode": 0.2},
)
MAKING = MakingOf(
    name="12.3",
    recipe=RECIPE,
    style="noir",
    png=write_png(pixels(1, 64, 64), RECIPE, 0),
    record=RECORD,
    same=True,
)


class Seen(HTMLParser):
    """Collects a page's tags and text, and whether each tag that is opened is closed."""

    VOID = frozenset({"meta", "img", "circle"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("words", LANGUAGES.values(), ids=LANGUAGES)
def test_a_page_is_one_file_without_scripts_that_shows_what_people_wrote_as_text(
    words: Words,
) -> None:
    said, seen = MAKING_OF[words.language], Seen(page(MAKING, words))
    assert "script" not in seen.tags
    assert "b" not in seen.tags
    assert all(source.startswith("data:image/") for source in seen.sources)
    # The picture, the animation, each guess, word and channel.
    assert len(seen.sources) == 1 + 1 + 4 + 2 + 2
    for text in (
        *(said.title.format(name="12.3"), said.same, said.pieces, RECIPE.prompt),
        *(
            said.left_out.format(count=2),
            said.windows.format(count=2),
            said.style.format(style="noir"),
        ),
        *(said.cut.format(words="<b>king"), said.lora.format(name="ink", weight="0.8")),
        *(said.lora_layers.format(part="unet", count=32), said.method.format(layers=5)),
        *(said.step.format(step=2, sigma="1"), said.start, "<b>king · 25 %", "1.50"),
    ):
        assert text in seen.text


@pytest.mark.parametrize("words", LANGUAGES.values())
@pytest.mark.parametrize("same", [True, False, None])
def test_whether_the_file_is_the_same_is_said(same: bool | None, words: Words) -> None:
    said = MAKING_OF[words.language]
    every = {True: said.same, False: said.other, None: said.unknown}
    making = replace(MAKING, same=same)
    for text in (page(making, words), "\n".join(brief(making, words))):
        assert [answer for answer, sentence in every.items() if sentence in text] == [same]


def test_what_differs_and_what_a_family_lacks_is_said() -> None:
    said = MAKING_OF["en"]
    text = replace(RECORD.texts[0], words=(), left_out=0, windows=0)
    record = replace(RECORD, texts=(text,), layers=0, frames=RECORD.frames[:1])
    other = replace(MAKING, same=False, record=record, style=None)
    seen = Seen(page(other, LANGUAGES["en"])).text
    assert all(each in seen for each in (said.other, said.no_tokens, said.no_heat))
    assert all(each not in seen for each in (said.same, "noir", said.pieces))
    unseen = replace(record, passes=RECORD.passes * 2)
    assert said.unseen in Seen(page(replace(other, record=unseen), LANGUAGES["en"])).text
    assert said.unseen not in seen


def test_each_step_is_marked_in_the_plot_from_more_noise_to_less() -> None:
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', plot(RECORD.passes[0]))]
    assert heights == sorted(heights)
    assert len(heights) == 4
    assert "2: σ 1<" in plot(RECORD.passes[0])


@pytest.mark.parametrize("kind", ["WEBP", "GIF"])
def test_an_animation_ends_with_the_picture_which_is_held(kind: str) -> None:
    moving = Image.open(io.BytesIO(animation(MAKING, kind)))  # type: ignore[arg-type]
    assert (moving.format, moving.n_frames) == (kind, len(RECORD.frames) + 1)  # type: ignore[attr-defined]
    moving.seek(len(RECORD.frames))
    moving.load()
    assert moving.info["duration"] == LAST


def test_a_strip_goes_from_the_noise_to_the_picture() -> None:
    many = replace(RECORD, frames=tuple(frame(step, 10 * step) for step in range(19)))
    made = Image.open(io.BytesIO(strip(replace(MAKING, record=many)))).convert("RGB")
    side = made.height
    assert made.width == side * STRIP
    reds = [made.getpixel((side * n + 5, 5)) for n in range(STRIP - 1)]
    found = [red[0] for red in reds if isinstance(red, tuple)]
    assert found == sorted(found)
    assert (found[0], len(found)) == (0, STRIP - 1)
    assert abs(found[-1] - 180) < 5


def test_a_picture_is_light_where_a_word_was_read_most() -> None:
    lit = heated(Image.new("L", (64, 64), 200), WORDS[0])
    assert [lit.getpixel((60, 30)), lit.getpixel((3, 30))] == [200, 30]


@pytest.mark.parametrize("words", LANGUAGES.values(), ids=LANGUAGES)
def test_a_brief_names_what_was_cut_and_spelled_and_each_stages_seconds(words: Words) -> None:
    said = MAKING_OF[words.language]
    first, same, cut, spelled, spent, address = brief(MAKING, words, "https://m.example/x")
    assert (first, same) == (said.title.format(name="12.3"), said.same)
    assert cut == said.cut.format(words="<b>king")
    assert spelled == said.spelled.format(words="<b>king")
    assert all(each in spent for each in ("0.01", "1.50", "0.20"))
    assert address == said.whole_page.format(address="https://m.example/x")
    unread = replace(RECORD, texts=(replace(RECORD.texts[0], words=(), windows=0),))
    lines = brief(replace(MAKING, record=unread, same=False), words)
    assert lines[1:3] == [said.other, said.no_tokens]
    assert len(lines) == 4
