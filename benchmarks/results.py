"""Results: what a benchmark was measured on, how it keeps to its marks, and a file that has it all for the plots."""

import argparse
import json
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

FILE: Final = Path(__file__).parent / "results.json"
PACKAGES: Final = (
    "Django",
    "pymemcache",
    "redis",
    "hiredis",
    "django-cache-memoize",
    "cache-results",
    "dogpile.cache",
    "django-cacheops",
    "cashews",
    "aiocache",
    "cachetools",
    "gunicorn",
    "uvicorn",
)


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a command line that can name the file for the results."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--results", type=Path, help="a JSON file, where this benchmark's section is written anew")
    return made


def conditions() -> dict[str, Any]:
    """Return on what is measured, and print it."""
    found = {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "versions": {each: _version(each) for each in PACKAGES},
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }
    versions = ", ".join(f"{name} {number or 'is not installed'}" for name, number in found["versions"].items())
    print(f"Python {found['python']}, {versions}")
    print(f"{found['machine']}, {found['cores']} cores, load {found['load']}")
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def spread(values: Iterable[float]) -> list[float]:
    """Return the lower quartile, the median, and the upper quartile."""
    several = list(values)
    low, _, high = quantiles(several, n=4)
    return [round(each, 3) for each in (low, median(several), high)]


def show_heading() -> None:
    """Print what stands above lines of marks."""
    print(f"\n{'mark':72}{'asked':>7}{'measured':>10}{'quartiles':>18}")


def judge(what: str, asked: float, quotients: Iterable[float] | None, *, least: bool = False) -> dict[str, Any]:
    """
    Print the line of a mark, and return it.

    Args:
        what: The two that are compared, with a slash between them.

        asked: What is asked of the median.

        quotients: One for each round; None if one of the two is not installed.

        least: Whether the median has to be as much at least, and not at most.
    """
    asks = f"{what:72}{asked:7.2f}"
    if quotients is None:
        print(f"{asks}   not installed")
        return {"mark": what, "asked": asked, "least": least, "measured": None}
    low, middle, high = spread(quotients)
    keeps = middle >= asked if least else middle <= asked
    print(f"{asks}{middle:10.2f}{f'{low:.2f} to {high:.2f}':>18}{'' if keeps else '   not kept'}")
    return {"mark": what, "asked": asked, "least": least, "measured": [low, middle, high]}


def record(path: Path | None, section: str, found: Mapping[str, Any]) -> None:
    """Write a section of the file, if there is one; the other sections stay."""
    if path is None:
        return
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, section: found}, indent=1) + "\n")
