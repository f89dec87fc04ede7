"""Print values: aligned tables that fit the terminal, and JSON."""

import json
import os
import re
import shutil
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Final

from django.core.management.base import OutputWrapper

GAP: Final = "  "
NARROWEST: Final = 8  # of a column that is wrapped
_WORDS: Final = re.compile(r"\S*\s*")
# A dotted name or a path that is longer than a line is broken behind one of these.
_PIECES: Final = re.compile(r"[^./,:_]*[./,:_]*")


class Console:
    """What a subcommand prints to: tables or JSON on standard output, progress on standard error."""

    def __init__(self, stdout: OutputWrapper, stderr: OutputWrapper, *, as_json: bool, verbosity: int = 1) -> None:
        """Print to these."""
        self.as_json = as_json
        self.verbosity = verbosity
        self._stdout = stdout
        self._stderr = stderr

    def say(self, text: str) -> None:
        """Print a line, or several, also to a pipe at once; if its reader has gone, as `head -1` does, nothing."""
        with _readers_may_go(self._stdout):
            self._stdout.write(encodable(text, self._stdout))
            self._stdout.flush()

    def whisper(self, text: str, ending: str = "\n") -> None:
        """Print a line on standard error, past what is piped on."""
        with _readers_may_go(self._stderr):
            self._stderr.write(encodable(text, self._stderr), lambda plain: plain, ending)
            self._stderr.flush()

    def is_watched(self) -> bool:
        """Tell whether standard error is a terminal, on which a line can be written again."""
        return bool(self._stderr.isatty())

    def json(self, value: Any) -> None:
        """Print a value as JSON: in ASCII, which each output can encode."""
        self.say(json.dumps(plain(value), indent=2))

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[object]], *, flexible: Sequence[int] = ()) -> None:
        """
        Print an aligned table, numbers to the right.

        Args:
            heads: The heads of the columns; empty texts for none.

            rows: The cells.

            flexible: Columns that are wrapped, in this order, where the table is wider than the terminal. Where that is
                not enough, each row is a list of its cells.
        """
        for line in table(heads, rows, width_of(self._stdout), flexible):
            self.say(line)

    def block(self, text: str, first: str, others: str) -> None:
        """Print a text, wrapped to the terminal: its first line behind one text, the others behind another."""
        for n, line in enumerate(wrap(text, _room(width_of(self._stdout), len(first)))):
            self.say(f"{others if n else first}{line}")


@contextmanager
def _readers_may_go(output: OutputWrapper) -> Generator[None]:
    """
    Discard what is printed to a pipe whose reader has gone.

    The work goes on, and the exit code tells how it has ended.
    """
    try:
        yield
    except BrokenPipeError:
        # What is left in the buffer goes there, too, when the interpreter ends.
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), output.fileno())


def encodable(text: str, output: OutputWrapper) -> str:
    """Return a text with escapes for what the output can't encode: in the locale C, and halves of surrogate pairs."""
    encoding = getattr(output, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def width_of(stdout: OutputWrapper) -> int | None:
    """Return the width of the terminal, or that of the variable COLUMNS; None for a file or a pipe, which has none."""
    if not os.environ.get("COLUMNS") and not stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def table(
    heads: Sequence[str], rows: Iterable[Sequence[object]], width: int | None, flexible: Sequence[int] = ()
) -> list[str]:
    """Return the lines of a table; see `Console.table()`."""
    rows = list(rows)
    shown = [list(heads), *([_text(cell) for cell in row] for row in rows)]
    numeric = {n for n in range(len(heads)) if all(isinstance(row[n], int | float) for row in rows)} if rows else set()
    widths = [max(len(row[n]) for row in shown) for n in range(len(heads))]
    if width is not None:
        room = width - len(GAP) * (len(widths) - 1)
        _narrow(widths, room, flexible)
        if sum(widths) > room and any(heads[1:]):
            return _stack(heads, shown[1:], width)
    lines = []
    for row in shown if any(heads) else shown[1:]:
        cells = [wrap(cell, widths[n]) for n, cell in enumerate(row)]
        for k in range(max(map(len, cells))):
            parts = [cell[k] if k < len(cell) else "" for cell in cells]
            padded = [part.rjust(widths[n]) if n in numeric else part.ljust(widths[n]) for n, part in enumerate(parts)]
            lines.append(GAP.join(padded).rstrip())
    return lines


def _stack(heads: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> list[str]:
    """Return the lines of a table for which the terminal is too narrow: below its first cell, a line for each other."""
    lines = []
    for first, *others in rows:
        named = zip(heads[1:], others, strict=True)
        lines += wrap(first, _room(width, 0))
        lines += table(("", ""), [(f"{GAP}{head}", cell) for head, cell in named if cell], width, flexible=(1,))
    return lines


def _narrow(widths: list[int], room: int, flexible: Sequence[int]) -> None:
    """Take from the widest of the columns that may be wrapped, until all fit, or none can give more."""
    while sum(widths) > room:
        widest = max(flexible, key=lambda n: widths[n], default=None)
        if widest is None or widths[widest] <= NARROWEST:
            return
        widths[widest] -= 1


def _room(width: int | None, taken: int) -> int | None:
    return None if width is None else max(NARROWEST, width - taken)


def wrap(text: str, width: int | None) -> list[str]:
    """Return a text as lines of at most a width: broken at spaces; a longer word behind a dot, or where it must be."""
    if width is None or len(text) <= width:
        return text.split("\n")
    lines = [""]
    for word in _WORDS.findall(text):
        pieces = [word] if len(word.rstrip()) <= width else _PIECES.findall(word)
        for piece in pieces:
            if len(lines[-1]) + len(piece.rstrip()) > width and lines[-1]:
                lines.append("")
            while len(piece.rstrip()) > width:
                lines[-1], piece = piece[:width], piece[width:]  # noqa: PLW2901 -- what is left of it
                lines.append("")
            lines[-1] += piece
    return [line.rstrip() for line in lines if line.strip()]


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: dataclasses and named tuples as objects, all else that is none as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    names = getattr(value, "_fields", None)
    if isinstance(value, tuple) and names is not None:  # a named tuple
        return plain(dict(zip(names, value, strict=True)))
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _text(cell: object) -> str:
    if cell is None:
        return ""
    return f"{cell:,}".replace(",", " ") if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)
