"""Text laid out for a screen: lines of a width, a label and its text beside it, whatever else Rich can draw."""

import io
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

from talweg.report.figures import shortened

INDENT = 2
LABEL = 13  # width of the column of labels, its gap included


@dataclass(frozen=True)
class Page:
    """Lays text out in lines of at most `width` cells."""

    width: int

    def wrapped(self, text: Text, *, indent: int = 0, limit: int = 0) -> list[Text]:
        """The text in lines indented by `indent` cells; beyond `limit` lines (0: none) it is cut with an ellipsis."""
        room = max(self.width - indent, 16)
        lines = list(text.wrap(self._console(), room))
        for line in lines:
            line.rstrip()
        if limit and len(lines) > limit:
            lines = [*lines[: limit - 1], _cut(lines[limit - 1], lines[limit].plain, room)]
        return [Text(" " * indent).append_text(line) for line in lines]

    def row(self, label: str, text: str | Text, *, limit: int = 0) -> list[Text]:
        """A label and its text beside it."""
        body = text if isinstance(text, Text) else Text(text)
        lines = self.wrapped(body, indent=INDENT + LABEL, limit=limit)
        head = Text(" " * INDENT).append(f"{label:<{LABEL}}", style="dim")
        return [head.append_text(lines[0][INDENT + LABEL :]), *lines[1:]]

    def printed(self, lines: list[Text], color: bool) -> str:
        console = self._console(color)
        for line in lines:
            line.rstrip()
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        return "\n".join(line.rstrip() for line in text.split("\n")).rstrip("\n")

    def drawn(self, what: RenderableType, color: bool) -> str:
        """Whatever Rich can draw, as text."""
        console = self._console(color)
        console.print(what, highlight=False, markup=False)
        return "\n".join(line.rstrip() for line in console.file.getvalue().split("\n")).rstrip("\n")  # type: ignore[attr-defined]

    def _console(self, color: bool = False) -> Console:
        return Console(
            file=io.StringIO(),
            width=self.width,
            color_system="standard" if color else None,
            force_terminal=color,
            legacy_windows=False,
            _environ={},
        )


def _cut(last: Text, after: str, room: int) -> Text:
    """The last line that is shown, ended by an ellipsis at a word, wherever it fits `room` cells."""
    words = f"{last.plain} {after}"
    length = room
    while cell_len(ended := shortened(words, length)) > room:  # wide characters take two cells
        length -= 1
    kept = last[: len(ended) - 1]
    return kept.append(ended[len(kept) :])
