"""How answers look, whatever the platform: lines and captions, grids, and fitting its limits.

Pure functions of jobs, news and bytes. What works on pixels blocks: call it in a thread.
"""

from bots.presentation.fit import Fitted, Limit, TooLarge, fit
from bots.presentation.grid import arrange, compose
from bots.presentation.lines import (
    alt_text,
    caption,
    duration,
    facts,
    ignored_text,
    name_of,
    progress_line,
    recipe_lines,
    value_lines,
    waiting_line,
)
from bots.presentation.text import (
    cut,
    escape_markdown,
    escape_sentence,
    fit_lines,
    fit_list,
    quote_names,
    utf16_length,
)

__all__ = [
    "Fitted",
    "Limit",
    "TooLarge",
    "alt_text",
    "arrange",
    "caption",
    "compose",
    "cut",
    "duration",
    "escape_markdown",
    "escape_sentence",
    "facts",
    "fit",
    "fit_lines",
    "fit_list",
    "ignored_text",
    "name_of",
    "progress_line",
    "quote_names",
    "recipe_lines",
    "utf16_length",
    "value_lines",
    "waiting_line",
]
