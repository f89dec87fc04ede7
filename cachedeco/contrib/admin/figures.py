"""Figures of the first page: statistics as rows with bars, the most expensive functions first."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from cachedeco.loading.reasons import MEANINGS
from cachedeco.runtime.statistics import Statistics, Stats
from cachedeco.runtime.units import counted, duration, share

MOST_SUBJECTS: Final = 15  # namespaces and tables that are shown
# Where an explanation names what was invalidated.
_IN_GENERAL: Final = {"invalidated": "something that its entry depends on was written or invalidated since"}
# A share that is not 0 has a bar that can be seen, and one that is not whole has none that looks so.
_THINNEST: Final = 2
_WIDEST: Final = 98


class Bar(NamedTuple):
    """A part of a whole, as a bar and as text."""

    percent: int  #: of the width
    text: str


def figures_of(statistics: Statistics, names: Iterable[str]) -> dict[str, Any]:
    """Return what the page shows of some statistics; *names* are those of the functions that this process knows."""
    total = statistics.total
    by_name = {name: each for name, each in statistics.functions.items() if name and each != Stats()}
    computing = max([each.seconds_computing for each in by_name.values()], default=0.0)
    saved = max([each.seconds_saved for each in by_name.values()], default=0.0)
    ranked = sorted(by_name.items(), key=lambda item: (-item[1].seconds_computing, -item[1].seconds_saved, item[0]))
    return {
        "functions": [_row(name, each, computing, saved) for name, each in ranked],
        "silent": sorted(set(names) - by_name.keys()),
        "legend": [(reason, text) for reason, text in {**MEANINGS, **_IN_GENERAL}.items() if reason in total.reasons],
        "invalidations": _most(statistics.invalidations),
        "total": _row("", total, total.seconds_computing, total.seconds_saved),
        "statistics": statistics,
    }


def _row(name: str, stats: Stats, most_computing: float, most_saved: float) -> dict[str, Any]:
    """Return the figures of one function; the seconds are beside those of the function that has most of them."""
    ratio = stats.hit_ratio
    return {
        "name": name,
        "calls": stats.hits + stats.stale + stats.misses,
        "ratio": None if ratio is None else Bar(_percent(ratio, 1), share(ratio)),
        "computing": Bar(_percent(stats.seconds_computing, most_computing), duration(stats.seconds_computing)),
        "saved": Bar(_percent(stats.seconds_saved, most_saved), duration(stats.seconds_saved)),
        "computations": stats.computations,
        "reasons": _reasons(stats),
        "notes": list(_notes(stats)),
    }


def _reasons(stats: Stats) -> list[Bar]:
    """Return the reasons of misses and bypassed calls, each as a part of all."""
    whole = sum(stats.reasons.values())
    ranked = sorted(stats.reasons.items(), key=lambda item: (-item[1], item[0]))
    return [Bar(_percent(count, whole), f"{count} {reason}") for reason, count in ranked]


def _notes(stats: Stats) -> Iterable[str]:
    """Yield what is worth a look."""
    most = max(stats.unstored_reasons.items(), key=lambda item: item[1], default=("", 0))[0]
    why = most and f": {most}"
    for count, one, several in (
        (stats.invalidated, "invalidation", "invalidations"),
        (stats.unchanged, "value computed anew was the same", "values computed anew were the same"),
        (stats.unstored, f"value was not stored{why}", f"values were not stored{why}"),
        (stats.errors, "error: see the log", "errors: see the log"),
        (stats.inconsistent, "hit was wrong, says the auditor", "hits were wrong, says the auditor"),
    ):
        if count:
            yield counted(count, one, several)


def _most(invalidations: Mapping[str, int]) -> list[tuple[str, Bar]]:
    ranked = sorted(invalidations.items(), key=lambda item: (-item[1], item[0]))[:MOST_SUBJECTS]
    most = ranked[0][1] if ranked else 0
    return [(subject, Bar(_percent(count, most), str(count))) for subject, count in ranked]


def _percent(part: float, whole: float) -> int:
    """Return the width of a bar: full and empty only where the part is the whole, or nothing."""
    if part <= 0 or whole <= 0:
        return 0
    if part >= whole:
        return 100
    return min(_WIDEST, max(_THINNEST, round(100 * part / whole)))
