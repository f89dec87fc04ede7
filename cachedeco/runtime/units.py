"""Numbers with their units, as a reader takes them in."""

from typing import Final

_SIZES: Final = (("GB", 2**30), ("MB", 2**20), ("kB", 2**10))
_SPANS: Final = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 0.001), ("µs", 0.000_001))


def size(count: int) -> str:
    """Return a number of bytes: "1.5 MB"."""
    for unit, factor in _SIZES:
        if count >= factor:
            return f"{_short(count / factor)} {unit}"
    return f"{count} bytes"


def duration(seconds: float) -> str:
    """Return a time: "2.5 h", "12 s", "0.8 ms"."""
    for unit, factor in _SPANS:
        if seconds >= factor:
            return f"{_short(seconds / factor)} {unit}"
    return "0 s"


def counted(number: int, noun: str, several: str = "") -> str:
    """Return a number with its noun: "1 call", "2 calls"."""
    return f"{number} {noun if number == 1 else several or f'{noun}s'}"


def share(ratio: float) -> str:
    """Return a ratio in percent: "12 %"."""
    return f"{_short(100 * ratio)} %"


def _short(number: float) -> str:
    """Return a number with two digits, or all before the point."""
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}".removesuffix(".0")  # noqa: PLR2004 -- two digits
