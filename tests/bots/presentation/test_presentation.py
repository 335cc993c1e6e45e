"""Pictures and lines as every platform gets them."""

import io
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bots.presentation.fit import Limit, fit, fit_composed, thumbnail
from bots.presentation.grid import GAP, LARGEST, arrange, compose, preview_of
from bots.presentation.lines import (
    alt_text,
    caption,
    duration,
    progress_line,
    recipe_lines,
    value_lines,
    without_facts,
)
from bots.presentation.text import cut, escape_markdown, escape_sentence, quote_names, utf16_length
from bots.requests.permutations import permutations
from bots.requests.typed_options import split_message
from bots.texts import LANGUAGES
from bots.worker.maintenance import FULL
from engine.errors import MarbleError
from engine.events import News, Picture, Progress, Stage, Verdict, Waiting
from engine.pictures.images import BACKGROUND
from engine.recipe.parts import Lora, Upscale
from engine.recipe.prompt_tags import choose
from storage import Job, Status
from tests.factories import make_recipe, pixels

EN, ZH = LANGUAGES["en"], LANGUAGES["zh"]


def png(width: int = 64, height: int = 64, seed: int | None = None, colour: str = "red") -> bytes:
    """Return a PNG of one colour, or of noise, which no encoder makes small."""
    out = io.BytesIO()
    if seed is None:
        image = Image.new("RGB", (width, height), colour)
    else:
        image = Image.fromarray(pixels(seed, width, height))
    image.save(out, "PNG")
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def a_job(parent: str | None = None, **recipe: Any) -> Job:
    job, _, picture = (parent or "").partition(".")
    return Job(
        id=12,
        recipe=make_recipe(**recipe),
        status=Status.RENDERED,
        person="discord:1",
        place="discord:2",
        reply={},
        message=None,
        parent=int(job) if job else None,
        parent_picture=int(picture) - 1 if picture else None,
        epoch=1,
        attempts=1,
        error=None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        started_at=None,
        finished_at=None,
    )


class TestGrid:
    @pytest.mark.parametrize(
        ("count", "cells"),
        [
            (1, (1, 1)),
            (2, (2, 1)),
            (3, (2, 2)),
            (4, (2, 2)),
            (5, (3, 2)),
            (9, (3, 3)),
            (16, (4, 4)),
        ],
    )
    def test_is_as_square_as_can_be(self, count: int, cells: tuple[int, int]) -> None:
        assert arrange(count) == cells

    @pytest.mark.parametrize("count", range(1, 17))
    def test_holds_every_picture_in_its_place(self, count: int) -> None:
        colours = [(16 * n + 8, 255 - 16 * n, 100) for n in range(count)]
        pngs = [png(colour=f"rgb{colour}") for colour in colours]
        grid = compose(pngs)
        columns, rows = arrange(count)
        assert grid.size == (columns * 64 + (columns - 1) * GAP, rows * 64 + (rows - 1) * GAP)
        for n, colour in enumerate(colours):
            left, top = (n % columns) * (64 + GAP), (n // columns) * (64 + GAP)
            assert grid.getpixel((left + 60, top + 60)) == colour  # the picture itself
            assert grid.getpixel((left + 1, top + 1)) == BACKGROUND  # its label's patch

    def test_numbers_are_those_of_the_pictures_in_whatever_order(self) -> None:
        red, blue = png(128, 128), png(128, 128, colour="blue")
        usual, turned = (
            np.asarray(compose(pngs, numbers=numbers))
            for pngs, numbers in (((red, blue), (1, 2)), ((blue, red), (2, 1)))
        )
        left, right = (slice(None), slice(128)), (slice(None), slice(128 + GAP, None))
        assert np.array_equal(usual[left], turned[right])
        assert np.array_equal(usual[right], turned[left])

    def test_numbers_differ(self) -> None:
        grid = np.asarray(compose([png(128, 128)] * 2))
        first, second = grid[:24, :24], grid[:24, 128 + GAP :][:, :24]
        assert (first == 255).all(axis=2).any()  # white ink
        assert not np.array_equal(first, second)

    def test_of_large_pictures_is_scaled_down(self) -> None:
        grid = compose([png(2048, 1024)] * 4)
        assert max(grid.size) <= LARGEST + GAP
        assert grid.width == pytest.approx(2 * grid.height, rel=0.01)

    def test_centres_pictures_of_several_sizes(self) -> None:
        grid = compose([png(64, 64, colour="red"), png(32, 64, colour="blue")])
        assert grid.getpixel((64 + GAP + 32, 60)) == (0, 0, 255)
        assert grid.getpixel((64 + GAP + 60, 60)) == BACKGROUND

    def test_shows_what_is_finished_and_of_that_only_what_may_be_seen(self) -> None:
        done = [
            Picture(index=index, width=64, height=64, png=png(colour=colour), verdict=verdict)
            for index, (colour, verdict) in enumerate(
                (("red", Verdict.SAFE), ("blue", Verdict.UNSAFE), ("lime", Verdict.UNCHECKED))
            )
        ]

        def colours(count: int, *, checked: bool) -> list[tuple[int, ...]] | None:
            news = Progress(stage=Stage.DECODE, step=count, total=4, finished=tuple(done[:count]))
            if (data := preview_of(news, checked=checked)) is None:
                return None
            grid, columns = opened(data), arrange(count)[0]
            places = ((n % columns, n // columns) for n in range(count))
            step = 64 + GAP
            return [grid.getpixel((x * step + 50, y * step + 50)) for x, y in places]  # type: ignore[misc]

        def near(found: list[tuple[int, ...]] | None, *wanted: tuple[int, ...]) -> bool:
            return bool(np.abs(np.array(found) - np.array(wanted)).max() < 8)  # JPEG

        red, blue, lime = (255, 0, 0), (0, 0, 255), (0, 255, 0)
        assert near(colours(1, checked=False), red)
        assert near(colours(3, checked=False), red, blue, lime)
        assert near(colours(3, checked=True), red, BACKGROUND, BACKGROUND)
        done.pop(0)
        assert colours(2, checked=True) is None
        preview = Progress(stage=Stage.DENOISE, step=1, total=4, preview=b"small")
        assert preview_of(preview, checked=False) == b"small"
        assert preview_of(preview, checked=True) is None


def test_parts_of_a_recipe_are_told_without_what_they_leave_open() -> None:
    values = make_recipe(
        loras=(Lora(name="ink"), Lora(name="pen", weight=0.5, text_weight=0.2)),
        upscale=Upscale(factor=2),
    ).to_dict()
    lines = dict(value_lines(values, EN))
    assert lines[EN.fields["loras"]] == "ink 1, pen 0.5 0.2"
    assert lines[EN.fields["upscale"]] == "2 lanczos"


class TestFit:
    def test_what_fits_goes_out_as_it_is(self) -> None:
        data = png()
        fitted = fit(data, Limit(size=10_000))
        assert fitted.data is data
        assert (fitted.suffix, opened(fitted.data).size, fitted.whole) == ("png", (64, 64), True)

    def test_a_lossless_version_is_preferred(self) -> None:
        out = io.BytesIO()
        Image.radial_gradient("L").convert("RGB").save(out, "PNG")
        fitted = fit(out.getvalue(), Limit(size=len(out.getvalue()) * 3 // 4))
        assert (fitted.suffix, fitted.whole) == ("webp", True)
        assert opened(fitted.data).tobytes() == opened(out.getvalue()).tobytes()

    def test_no_lossless_version_is_tried_where_it_cannot_fit(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried = []

        def encode(image: Image.Image, kind: str, options: Mapping[str, Any]) -> bytes:
            tried.append("lossless" in options)
            return bytes(10)

        monkeypatch.setattr("bots.presentation.fit._encode", encode)
        data = png(256, 256, seed=1)
        fit(data, Limit(size=len(data) // 2 - 1))
        fit(data, Limit(size=len(data) // 2 + 1))
        assert tried == [False, True]

    def test_what_is_composed_is_a_jpeg_in_the_limits(self) -> None:
        grid = compose([png(256, 256, seed=n) for n in range(4)])
        whole = fit_composed(grid, Limit(size=10_000_000))
        assert (whole.suffix, opened(whole.data).size) == ("jpg", grid.size)
        lost = np.abs(np.asarray(opened(whole.data), int) - np.asarray(grid, int)).mean()
        assert lost < 4  # of 255, in noise, which a JPEG keeps worst
        small = fit_composed(grid, Limit(size=20_000, side=256))
        assert len(small.data) <= 20_000
        assert max(opened(small.data).size) <= 256

    def test_quality_is_given_up_before_pixels(self) -> None:
        data = png(256, 256, seed=1)
        fitted = fit(data, Limit(size=len(data) * 2 // 3))
        assert (opened(fitted.data).size, fitted.whole) == ((256, 256), False)
        assert len(fitted.data) <= len(data) * 2 // 3

    def test_pixels_are_given_up_where_quality_is_not_enough(self) -> None:
        fitted = fit(png(256, 128, seed=1), Limit(size=5_000))
        assert len(fitted.data) <= 5_000
        width, height = opened(fitted.data).size
        assert width < 256
        assert width == pytest.approx(2 * height, abs=2)

    def test_only_formats_that_the_platform_shows_are_used(self) -> None:
        data = png(128, 128, seed=1)
        fitted = fit(data, Limit(size=len(data) - 1, formats=frozenset({"png", "jpeg"})))
        assert (Image.open(io.BytesIO(fitted.data)).format, fitted.suffix) == ("JPEG", "jpg")

    @pytest.mark.parametrize(
        ("size", "limit", "expected"),
        [
            ((200, 100), Limit(size=10**6, side=100), (100, 50)),
            ((200, 100), Limit(size=10**6, sides=150), (100, 50)),
            ((400, 10), Limit(size=10**6, ratio=20), (200, 10)),
        ],
    )
    def test_sides_are_held_to_limits(
        self, size: tuple[int, int], limit: Limit, expected: tuple[int, int]
    ) -> None:
        fitted = fit(png(*size), limit)
        assert expected == opened(fitted.data).size

    @pytest.mark.parametrize(("size", "expected"), [((640, 320), (320, 160)), ((64, 32), (64, 32))])
    def test_a_small_copy_is_webp_of_the_same_shape_and_never_larger(
        self, size: tuple[int, int], expected: tuple[int, int]
    ) -> None:
        small = thumbnail(png(*size, seed=1))
        assert (small[8:12], opened(small).size) == (b"WEBP", expected)

    def test_what_fits_by_no_means_is_said(self) -> None:
        with pytest.raises(MarbleError, match="size=10"):
            fit(png(64, 64, seed=1), Limit(size=10))


class TestLines:
    @pytest.mark.parametrize(
        ("news", "english", "chinese"),
        [
            (Waiting(position=1), "Next in line", "下一个就是你"),
            (Waiting(position=3, eta=40), "Number 3 in line, about 40 s", "排在第 3 位，约 40 秒"),
            (
                Waiting(position=2, eta=40, reason="no room on the disk"),
                "Number 2 in line, paused: no room on the disk",
                "排在第 2 位，已暂停：no room on the disk",
            ),
            (
                Waiting(position=1, reason=FULL),
                f"Next in line, paused: {FULL}",
                "下一个就是你，已暂停：Marble 的磁盘将满，暂不开始新任务；已通知 Marble 所有者。",
            ),
            (
                Progress(stage=Stage.DENOISE, step=6, total=12),
                "Drawing ▰▰▰▰▰▰▱▱▱▱▱▱ 6/12",
                "正在绘制 ▰▰▰▰▰▰▱▱▱▱▱▱ 6/12",
            ),
            (
                Progress(stage=Stage.DECODE, step=4, total=4),
                "Creating the picture ▰▰▰▰▰▰▰▰▰▰▰▰ 4/4",
                "正在生成图片 ▰▰▰▰▰▰▰▰▰▰▰▰ 4/4",
            ),
        ],
    )
    def test_progress(self, news: News, english: str, chinese: str) -> None:
        assert progress_line(news, EN) == english
        assert progress_line(news, ZH) == chinese

    @pytest.mark.parametrize(
        ("seconds", "text"), [(0.2, "1 s"), (99, "99 s"), (150, "2 min"), (7200, "2 h")]
    )
    def test_durations(self, seconds: float, text: str) -> None:
        assert duration(seconds, EN) == text

    def test_a_caption_tells_prompt_name_size_seed_and_parent(self) -> None:
        text = caption(a_job(parent="3.2"), EN)
        assert text == "a marble scholar\n12 · 64×64 · seed 7 · starter · from 3.2"

    def test_a_caption_keeps_to_its_limit_and_loses_words_only(self) -> None:
        text = caption(a_job(prompt="word " * 300), EN, limit=200)
        assert len(text) <= 200
        assert text.endswith("…\n12 · 64×64 · seed 7 · starter")

    @pytest.mark.parametrize(
        "prompt",
        ["a {red, blue} cat", "a {red|blue} cat", "{a, b}", '{"a": 1, "b": 2}', "a cat\nin a hat"],
    )
    def test_what_is_shown_of_a_prompt_means_the_same_when_it_is_sent(self, prompt: str) -> None:
        job = a_job(prompt=prompt, negative_prompt=prompt)
        copied = without_facts(caption(job, EN) + "\na note")
        for shown in (copied, *dict(recipe_lines(job, EN)).values()):
            assert len(permutations(shown)) == 1
        words, typed = split_message(copied)
        assert choose(words, seed=5) == words
        assert (words.replace("\\", ""), typed) == (" ".join(prompt.split()), [])

    def test_a_caption_without_its_facts_is_the_prompt(self) -> None:
        assert without_facts(caption(a_job(parent="3.2"), EN)) == "a marble scholar\n"
        assert without_facts("a cat\n12 dogs · 3×4") == "a cat\n12 dogs · 3×4"
        assert without_facts("12 · 64×64 · seed 7") == ""

    def test_a_recipe_shows_what_is_set_and_counts_pictures_from_1(self) -> None:
        lines = dict(recipe_lines(a_job(count=4, parent="3"), EN, picture=2))
        assert lines["picture"] == "3"
        assert lines["seed"] == "7"
        assert lines["guidance"] == "4"
        assert lines["made from"] == "3"
        assert "not in the picture" not in lines
        assert "version" not in lines

    def test_alt_text_describes_and_is_short(self) -> None:
        job = a_job(prompt="a marble\n  scholar")
        assert alt_text(job, EN) == "Generated picture: a marble scholar"
        assert "4" in alt_text(job, EN, pictures=4)
        long = replace(job, recipe=make_recipe(prompt="word " * 390))
        assert len(alt_text(long, EN)) <= 1024


class TestText:
    @pytest.mark.parametrize(
        ("typed", "escaped"),
        [
            ("**bold** `code`", r"\*\*bold\*\* \`code\`"),
            ("<@123> @everyone <#4>", r"\<\@123\> \@everyone \<\#4\>"),
            ("[here](https://x.example)", r"\[here\](https\://x.example)"),
            ("# title\n- item\n1. item", "\\# title\n\\- item\n1\\. item"),
            ("a marble scholar", "a marble scholar"),
            ("1.3 of 2-4", "1.3 of 2-4"),
            ("a [cat:dog:0.5] :+1: 1:2", r"a \[cat\:dog:0.5\] \:+1: 1:2"),
        ],
    )
    def test_markdown_and_mentions_are_escaped(self, typed: str, escaped: str) -> None:
        assert escape_markdown(typed) == escaped

    @pytest.mark.parametrize(
        ("said", "shown"),
        [
            (EN.slow_picture, EN.slow_picture),
            ("no `a*b` or **c**: `marble db`.", r"no \`a\*b\` or \*\*c\*\*: `marble db`."),
        ],
    )
    def test_a_sentence_keeps_the_names_in_it_and_nothing_else(self, said: str, shown: str) -> None:
        assert escape_sentence(said) == shown

    def test_names_have_quotes_where_nothing_is_shown_as_code(self) -> None:
        said = "It is not there; `marble models get owner/name` fetches it, or `a **b**`."
        shown = "It is not there; “marble models get owner/name” fetches it, or `a **b**`."
        assert quote_names(said) == shown

    @given(st.text(max_size=60), st.integers(1, 40), st.sampled_from([len, utf16_length]))
    def test_a_cut_text_keeps_to_its_limit(self, text: str, limit: int, length: Any) -> None:
        short = cut(text, limit, length)
        assert length(short) <= limit
        assert short == text or short.endswith("…")

    def test_a_cut_never_tears_an_escape_or_a_joined_emoji(self) -> None:
        assert cut(r"ab\*cd", 4) == "ab…"
        assert cut("ab👩\u200d🎨cd", 5) == "ab…"

    def test_emoji_are_two_units_of_utf16(self) -> None:
        assert utf16_length("a🎲") == 3
        assert cut("🎲🎲🎲", 4, utf16_length) == "🎲…"
