"""Text that people wrote, made safe to show where it would mean something else."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

ELLIPSIS: Final = "…"
# What Discord's markdown, mentions, links, timestamps, custom emoji and emoji codes begin with.
_MARKDOWN: Final = re.compile(r"([\\*_~`|<>\[\]#@]|:(?=//|[\w+-]+:))")
# At the start of a line these make lists, small text and headings.
_LINE_START: Final = re.compile(r"^(\s*\d*)([-+.])(?=\s)", re.MULTILINE)
# What our own sentences name so: commands and options. In it nothing means anything else.
_CODE: Final = re.compile(r"(`[\w /.:-]+`)")
SHORT_LINE: Final = 60  # characters; a shorter line is not cut for others' sake
LONG_WORD: Final = 30  # characters; a longer one may be cut in two
_WORD: Final = re.compile(r"[^\W_]{2}", re.ASCII)
_JOINER: Final = "\u200d"


def escape_markdown(text: str) -> str:
    """Escape what Markdown, mentions and links are made of: the text is shown as it was typed."""
    text = _MARKDOWN.sub(r"\\\1", text)
    return _LINE_START.sub(r"\1\\\2", text)


def escape_sentence(text: str) -> str:
    """Escape a sentence of ours, which may quote what people wrote, but for `names` in it."""
    parts = _CODE.split(text)  # every second one is such a name
    return "".join(part if at % 2 else escape_markdown(part) for at, part in enumerate(parts))


def quote_names(text: str) -> str:
    """Put quotes about the `names` in a sentence of ours, where nothing is shown as code."""
    return _CODE.sub(lambda name: f"“{name[1][1:-1]}”", text)


def one_line(text: str) -> str:
    """Return a text with a blank for each run of blanks and line breaks."""
    return " ".join(text.split())


def cut(text: str, limit: int, length: Callable[[str], int] = len) -> str:
    """Cut a text to a limit, with an ellipsis; `length` is how the platform counts.

    No word is cut in two, but one that is very long; no escape is cut from what it escapes, nor a
    mark or joined emoji from what it belongs to.
    """
    if length(text) <= limit:
        return text
    end = min(len(text), max(0, limit - length(ELLIPSIS)))
    while end > 0 and (length(text[:end]) + length(ELLIPSIS) > limit or _splits(text, end)):
        end -= 1
    if _WORD.match(text[end - 1 : end + 1]):
        blank = max(text.rfind(" ", 0, end), text.rfind("\n", 0, end))
        end = blank if blank > 0 and end - blank <= LONG_WORD else end
    return (text[:end].rstrip() + ELLIPSIS)[:limit]


def fit_list(
    parts: Iterable[str],
    limit: int,
    more: str,
    *,
    joint: str = "\n",
    length: Callable[[str], int] = len,
) -> str:
    """Join the parts of a list, as many as fit a limit; the rest is counted in a last one.

    more: the template of that last part, with {count}. A part that would take more than a third of
    the limit is cut itself, so that one at least follows a title.
    """
    parts = list(parts)
    if length(joint.join(parts)) <= limit:
        return joint.join(parts)
    parts = [cut(part, limit // 3, length) for part in parts]
    used, shown = 0, 0
    for number, part in enumerate(parts, 1):
        used += length(part) + length(joint)
        if used + length(_rest(parts, number, more)) <= limit:
            shown = number
        elif used > limit:
            break
    return joint.join([*parts[:shown], *filter(None, [_rest(parts, shown, more)])])


def fit_lines(lines: Iterable[str], limit: int, length: Callable[[str], int] = len) -> str:
    """Join lines, all of them: where a limit asks for it, the longest are cut."""
    lines = list(lines)
    while length("\n".join(lines)) > limit:
        at = max(range(len(lines)), key=lambda i: length(lines[i]))
        size = length(lines[at])
        if size <= SHORT_LINE:
            return cut("\n".join(lines), limit, length)
        lines[at] = cut(lines[at], max(SHORT_LINE, size * 9 // 10), length)
    return "\n".join(lines)


def _rest(parts: Sequence[str], shown: int, more: str) -> str:
    left = len(parts) - shown
    return more.format(count=f"{left:,}") if left else ""


def utf16_length(text: str) -> int:
    """Count UTF-16 code units, as Telegram does: an emoji is two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _splits(text: str, at: int) -> bool:
    """Return whether a cut here would split one visible character or an escape."""
    escapes = len(text[:at]) - len(text[:at].rstrip("\\"))
    joined = text[at] in ("\ufe0f", "\u20e3", _JOINER) or text[at - 1] == _JOINER
    return bool(escapes % 2) or joined
