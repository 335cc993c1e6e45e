"""A progress bar with a preview of the picture above it, where there is a terminal."""

import sys
from collections.abc import Hashable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from bots.presentation.grid import pictures_of, preview_of
from bots.presentation.lines import waiting_line
from bots.terminal.escaping import printable
from bots.terminal.pictures import half_block_preview
from bots.texts import EN
from engine.events import News, Waiting


class LiveProgress(Live):
    """Shows progress while it is entered, and removes it at the end."""

    def __init__(self, console: Console, *, previews: bool) -> None:
        self._previews = previews and console.is_terminal
        self._bar = Bar(
            TextColumn("{task.description:>18}", markup=False),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._bar.add_task("waiting", total=None)
        self._said: str | None = None  # of why nothing starts
        self._preview = Text()
        self._seen: Hashable = None  # which pictures that is
        super().__init__(console=console, transient=True)

    def get_renderable(self) -> RenderableType:
        """Return the preview above the bar."""
        return Group(self._preview, self._bar)

    def show(self, news: News) -> None:
        """Show the latest news in place of the last."""
        if isinstance(news, Waiting):
            self._say_pause(news.reason)
            self._bar.update(self._task, description=printable(waiting_line(news, EN)))
            return
        self._bar.update(
            self._task,
            description=EN.stages[news.stage],
            completed=news.step,
            total=news.total,
        )
        if not self._previews or self._seen == (seen := pictures_of(news, checked=False)):
            return
        self._seen = seen
        if preview := preview_of(news, checked=False):
            self._preview = half_block_preview(preview, self.console)

    def _say_pause(self, reason: str | None) -> None:
        """Write each reason of a pause once to standard error where there is no terminal."""
        if reason and reason != self._said and not self.console.is_terminal:
            shown = printable(reason.rstrip("."))
            sys.stderr.write(f"Marble is paused: {shown}; Ctrl-C cancels.\n")
        self._said = reason
