"""A making-of as people see it: a page, an animation, a strip of guesses. Blocks: it writes pixels.

The page is one HTML file without scripts, its pictures inside it, that any browser opens offline.
"""

from __future__ import annotations

import io
import math
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import Final, Literal

from PIL import Image

from bots.presentation.lines import SEPARATOR
from bots.presentation.text import cut
from bots.texts import MAKING_OF, Words
from bots.texts.making_of import MakingOfWords
from engine.errors import UserError
from engine.events import Stage
from engine.making_of.record import Frame, Pass, Record, Text, Word, read_from
from engine.recipe.prompt_tags import plain
from engine.recipe.recipe import Recipe
from engine.sentences import Sentence
from storage import Job, Picture
from storage.jobs.picture_files import Pictures

SIDE: Final = 320  # pixels of the animation's longer side, at most
STEP: Final = 220  # milliseconds for which a guess is shown
LAST: Final = 2000  # and the picture
STRIP: Final = 8  # guesses on a strip, with the noise and the picture
STRIP_SIDE: Final = 160
NAMED: Final = 200  # characters of words in a line of the brief
DARK: Final = 0.15  # of a place's light where a word has no heat
PLOT: Final = (640, 200)  # of the noise's plot
MARGIN: Final = 16
FLOOR: Final = 1e-3  # σ, below which the plot does not tell levels apart
STYLE: Final = """
body{max-width:60rem;margin:2rem auto;padding:0 1rem;font:16px/1.5 system-ui,sans-serif}
figure{display:inline-block;margin:0 .5rem .8rem 0;vertical-align:top;text-align:center}
figcaption{font-size:.8rem;color:#666}img{max-width:100%;border-radius:4px}
table{border-collapse:collapse}td,th{padding:.15rem .7rem .15rem 0;text-align:left}
.note{color:#666}.grey img{image-rendering:pixelated;width:96px}svg{width:100%;height:auto}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MakingOf:
    """A picture and how it came about.

    same: whether its file equals the first one's, in bytes; None where that one cannot be read.
    """

    name: str
    recipe: Recipe
    style: str | None
    png: bytes
    record: Record
    same: bool | None


def read_making_of(job: Job, first: Picture, made: Job, store: Pictures) -> MakingOf:
    """Return the making-of of a job's picture that another job made; reads its file.

    Raises `UserError` where it carries none, is damaged, or cannot be read.
    """
    [again] = made.pictures
    png = store.read(again)
    if sha256(png).hexdigest() != again.sha256:
        raise UserError(Sentence("damaged_making_of"))
    record = read_from(png)
    return MakingOf(
        name=first.name,
        recipe=made.recipe,
        style=made.style,
        png=png,
        record=record,
        same=_is_same(record, job, first, store),
    )


def _is_same(record: Record, job: Job, first: Picture, store: Pictures) -> bool | None:
    if not job.making_of:
        return record.sha256 == first.sha256
    try:
        return record.sha256 == read_from(store.read(first)).sha256
    except UserError:
        return None


def animation(making: MakingOf, kind: Literal["WEBP", "GIF"] = "WEBP") -> bytes:
    """Return the way from noise to picture as an animation that begins anew at its end."""
    picture = _fitted(_open(making.png), SIDE)
    frames = [_open(frame.picture).resize(picture.size) for frame in making.record.frames]
    times = [STEP] * len(frames) + [LAST]
    out = io.BytesIO()
    first, *others = (*frames, picture)
    how = {"quality": 80} if kind == "WEBP" else {}
    first.save(out, kind, save_all=True, append_images=others, duration=times, loop=0, **how)
    return out.getvalue()


def strip(making: MakingOf) -> bytes:
    """Return the noise, guesses and the picture beside each other, a PNG."""
    picture = _fitted(_open(making.png), STRIP_SIDE)
    frames = making.record.frames
    chosen = {round(n * (len(frames) - 1) / max(1, STRIP - 2)) for n in range(STRIP - 1)}
    shown = [_open(frames[n].picture).resize(picture.size) for n in sorted(chosen) if frames]
    width, height = picture.size
    canvas = Image.new("RGB", (width * (len(shown) + 1), height))
    for number, image in enumerate((*shown, picture)):
        canvas.paste(image, (number * width, 0))
    return _encoded(canvas, "PNG")


def brief(making: MakingOf, words: Words, address: str | None = None) -> list[str]:
    """Return the lines that go with a making-of in a chat; address: that of its page, if any."""
    said = MAKING_OF[words.language]
    texts = making.record.texts
    lines = [said.title.format(name=making.name), _compared(making, said)]
    for message, found in (
        (said.cut, [word.text for text in texts for word in text.words if word.is_cut]),
        (said.spelled, [word.text for text in texts for word in text.words if len(word.ids) > 1]),
    ):
        if found:
            named = cut(", ".join(dict.fromkeys(found)), NAMED)
            lines.append(message.format(words=named))
    if not all(text.windows for text in texts):
        lines.append(said.no_tokens)
    lines.append(SEPARATOR.join(f"{stage} {spent}" for stage, spent in _spent(making, words)))
    if address:
        lines.append(said.whole_page.format(address=address))
    return lines


def page(making: MakingOf, words: Words) -> str:
    """Return the page in a person's language."""
    said = MAKING_OF[words.language]
    title = said.title.format(name=making.name)
    parts = [
        f"<h1>{escape(title)}</h1>",
        _figure(making.png, making.recipe.prompt, "image/png"),
        f"<p>{escape(_compared(making, said))}</p>",
        *_brief(making, said),
        *_noise(making.record, said),
        *_steps(making, said),
        *_heats(making, said),
        *_latents(making.record, said),
        *_times(making, words, said),
    ]
    return (
        f'<!doctype html><html lang="{words.language}"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>"
    )


def _compared(making: MakingOf, said: MakingOfWords) -> str:
    if making.same is None:
        return said.unknown
    return said.same if making.same else said.other


def _brief(making: MakingOf, said: MakingOfWords) -> Iterator[str]:
    """Yield what was read: each text's tokens, and what else changed how it is drawn."""
    yield f"<h2>{escape(said.brief)}</h2>"
    for text in making.record.texts:
        yield f"<p><q>{escape(text.text)}</q></p>"
        if not text.windows:
            yield _note(said.no_tokens)
            continue
        heads = "".join(
            f"<th>{escape(each)}</th>" for each in (said.word, said.tokens, said.weight)
        )
        yield f"<table><tr>{heads}</tr>{''.join(map(_row, text.words))}</table>"
        if text.left_out:
            yield _note(said.left_out.format(count=text.left_out))
        if text.windows > 1:
            yield _note(said.windows.format(count=text.windows))
        if any(len(word.ids) > 1 for word in text.words):
            yield _note(said.pieces)
        if cut := [word.text for word in text.words if word.is_cut]:
            yield _note(said.cut.format(words=", ".join(cut)))
    if making.style:
        yield _note(said.style.format(style=making.style))
    for lora in making.recipe.loras:
        yield _note(said.lora.format(name=lora.name, weight=plain(lora.weight)))
    changed = {each: n for one in making.record.passes for each, n in one.lora_layers.items()}
    for part, count in changed.items():
        yield _note(said.lora_layers.format(part=part, count=count))


def _row(word: Word) -> str:
    tokens = " ".join(
        f"{escape(piece)}<sub>{number}</sub>"
        for piece, number in zip(word.pieces, word.ids, strict=True)
    )
    return f"<tr><td>{escape(word.text)}</td><td>{tokens}</td><td>{plain(word.weight)}</td></tr>"


def _noise(record: Record, said: MakingOfWords) -> Iterator[str]:
    yield f"<h2>{escape(said.noise)}</h2>"
    for each in record.passes:
        steps = len(each.sigmas) - 1
        facts = {"model": each.model, "steps": steps, "width": each.width, "height": each.height}
        yield _note(said.denoising.format(**facts))
        yield plot(each)
    yield _note(said.axes)


def plot(each: Pass) -> str:
    """Return the noise levels of a pass as SVG: log σ by step, each step marked."""
    width, height = PLOT
    levels = [math.log(max(sigma, FLOOR)) for sigma in each.sigmas]
    low, high = min(levels), max(levels)
    across = (width - 2 * MARGIN) / max(1, len(levels) - 1)
    down = (height - 2 * MARGIN) / max(high - low, 1e-9)
    points = [(MARGIN + n * across, MARGIN + (high - y) * down) for n, y in enumerate(levels)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{"#b86" if n >= each.first else "#ccc"}">'
        f"<title>{n}: σ {sigma:.4g}</title></circle>"
        for n, ((x, y), sigma) in enumerate(zip(points, each.sigmas, strict=True))
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img"><polyline points="{line}" fill="none" '
        f'stroke="#b86" stroke-width="2"/>{marks}</svg>'
    )


def _steps(making: MakingOf, said: MakingOfWords) -> Iterator[str]:
    yield f"<h2>{escape(said.steps)}</h2>"
    yield _note(said.guesses)
    yield _figure(animation(making), "", "image/webp")
    if {frame.number for frame in making.record.frames} < {*range(len(making.record.passes))}:
        yield _note(said.unseen)
    for frame in making.record.frames:
        yield _figure(frame.picture, _caption(frame, making.record, said), "image/webp")


def _caption(frame: Frame, record: Record, said: MakingOfWords) -> str:
    if not frame.step:
        return said.start
    sigma = record.passes[frame.number].sigmas[frame.step]
    return said.step.format(step=frame.step, sigma=f"{sigma:.3g}")


def _heats(making: MakingOf, said: MakingOfWords) -> Iterator[str]:
    """Yield each word's heat map over the picture."""
    yield f"<h2>{escape(said.heat)}</h2>"
    if not making.record.layers:
        yield _note(said.no_heat)
        return
    yield _note(said.method.format(layers=making.record.layers))
    picture = _fitted(_open(making.png), STRIP_SIDE)
    for text in making.record.texts:
        if len(making.record.texts) > 1:
            yield f"<p><q>{escape(text.text)}</q></p>"
        for word in _with_heat(text):
            share = f"{word.text} · {100 * word.most:.0f} %"
            yield _figure(_encoded(heated(picture, word), "WEBP"), share, "image/webp")


def _with_heat(text: Text) -> Sequence[Word]:
    return [word for word in text.words if word.heat]


def heated(picture: Image.Image, word: Word) -> Image.Image:
    """Return a picture that is light where a word was read most, and dark elsewhere."""
    heat = Image.open(io.BytesIO(word.heat)).resize(picture.size, Image.Resampling.BICUBIC)
    dark = picture.point(lambda value: int(value * DARK))
    return Image.composite(picture, dark, heat)


def _latents(record: Record, said: MakingOfWords) -> Iterator[str]:
    yield f"<h2>{escape(said.latents)}</h2>"
    yield _note(said.channels.format(count=len(record.channels)))
    yield '<div class="grey">'
    for number, channel in enumerate(record.channels, 1):
        yield _figure(channel, str(number), "image/png")
    yield "</div>"


def _times(making: MakingOf, words: Words, said: MakingOfWords) -> Iterator[str]:
    yield f"<h2>{escape(said.times)}</h2><table>"
    for stage, spent in _spent(making, words):
        yield f"<tr><td>{escape(stage)}</td><td>{spent}</td></tr>"
    yield "</table>"
    yield _note(said.other_time)


def _spent(making: MakingOf, words: Words) -> Iterator[tuple[str, str]]:
    """Yield the stages' names and the seconds that each took."""
    for stage in Stage:
        if stage in (seconds := making.record.seconds):
            yield words.stages[stage], words.seconds.format(n=f"{seconds[stage]:.2f}")


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _figure(data: bytes, caption: str, kind: str) -> str:
    source = f"data:{kind};base64,{b64encode(data).decode()}"
    said = escape(caption, quote=True)
    return f'<figure><img src="{source}" alt="{said}"><figcaption>{said}</figcaption></figure>'


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """Return a picture whose longer side is as long, as sharp as its pixels where it is smaller."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _encoded(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()
