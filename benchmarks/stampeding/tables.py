"""How the figures are printed."""

from collections.abc import Sequence
from math import ceil


class Table:
    """Lines under a title, each column as wide as it has to be: the first to the left, numbers to the right."""

    def __init__(self, title: str, heads: Sequence[str]) -> None:
        """Begin a table."""
        self._title = title
        self._lines = [tuple(heads)]

    def add(self, *cells: str) -> None:
        """Add a line."""
        self._lines.append(cells)

    def show(self) -> None:
        """Print it."""
        widths = [max(map(len, column)) for column in zip(*self._lines, strict=True)]
        print(f"\n{self._title}")
        for first, *rest in self._lines:
            print("  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest of the values that so many percent of them do not exceed."""
    return sorted(values)[ceil(len(values) * percent / 100) - 1]


def milliseconds(seconds: float) -> str:
    """Return seconds as milliseconds, to be read."""
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"  # noqa: PLR2004 -- three digits
