"""`manage.py cachedeco stats` and `top`: what all processes have counted."""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cachedeco.management.arguments import is_meant
from cachedeco.management.printing import Console
from cachedeco.management.subcommands import Subcommand, misunderstanding, whole_number
from cachedeco.runtime.reprs import repr_of
from cachedeco.runtime.units import counted, duration, share, size

if TYPE_CHECKING:
    from cachedeco.runtime.statistics import Statistics, Stats

FIRST_PLACES: Final = 10


def add_arguments_of_stats(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="Only functions whose dotted names are this, or begin so up to a dot, each with all its counts.",
    )


def run_stats(console: Console, options: dict[str, Any]) -> None:
    """Print a table of all functions, or all counts of some."""
    from cachedeco import Stats, statistics

    found = statistics(shared=True)
    names = options["names"]
    chosen = {name: stats for name, stats in sorted(found.functions.items()) if name and is_meant(name, names)}
    if names and not chosen:
        msg = f"Nothing was counted of a name that begins with {repr_of(names[0])}; stats without it shows all."
        raise misunderstanding(msg)
    if console.as_json:
        shown = (replace(found, functions=chosen) if names else found).as_dict()
        shown["functions"].pop("", None)  # what belongs to no function
        console.json(shown)
        return
    if names:
        for name, stats in chosen.items():
            _print_whole(console, name, stats)
    elif not chosen:
        console.say("No cached function was called yet.")
    else:
        heads = ("function", "hits", "misses", "ratio", "computing", "saved", "invalidated", "errors")
        rows = [(name, *_cells(stats)) for name, stats in chosen.items()]
        total = [("all", *_cells(sum(chosen.values(), Stats())))] if len(rows) > 1 else []
        console.table(heads, [*rows, *total], flexible=(0,))
    _say_whose(console, found)


def _cells(stats: "Stats") -> tuple[object, ...]:
    return (
        stats.hits + stats.stale,
        stats.misses,
        ratio_of(stats),
        duration(stats.seconds_computing),
        duration(stats.seconds_saved),
        stats.invalidated,
        stats.errors,
    )


def ratio_of(stats: "Stats") -> str:
    """Return the hit ratio as text; empty without calls."""
    return "" if stats.hit_ratio is None else share(stats.hit_ratio)


def _print_whole(console: Console, name: str, stats: "Stats") -> None:
    console.say(f"{name}()")
    unstored = [f"{count}: {reason}" for reason, count in Counter(stats.unstored_reasons).most_common()]
    lines = {
        "hits": f"{stats.hits}, {ratio_of(stats)}" if stats.hits else "0",
        "stale": stats.stale,
        "misses": stats.misses,
        **{f"  {reason}": count for reason, count in Counter(stats.reasons).most_common()},
        "shared": stats.shared,
        "bypassed": stats.bypassed,
        "computations": f"{stats.computations}, {duration(stats.seconds_computing)} in all",
        "needless": stats.unchanged,
        "saved": duration(stats.seconds_saved),
        "stored": f"{stats.stored}, {size(stats.bytes_stored)} in all",
        "unstored": "; ".join([str(stats.unstored), *unstored]) if stats.unstored else "",
        "invalidated": stats.invalidated,
        "errors": stats.errors,
        "audited": stats.audited,
        "inconsistent": stats.inconsistent,
    }
    rows = [(f"    {head}", str(text)) for head, text in lines.items() if text]
    console.table(("", ""), rows, flexible=(1,))


def _say_whose(console: Console, found: "Statistics") -> None:
    """Say which processes have counted, or why it is this one alone, which has done nothing yet."""
    if found.is_shared:
        console.say(
            f"Counted by {counted(len(found.processes), 'process', 'processes')}: {', '.join(found.processes)}."
        )
        return
    why = f": {found.problem}." if found.problem else ". Set SHARED_STATISTICS in CACHEDECO to see those of all."
    console.block(f"These are the counts of this process alone{why}", "", "")


@dataclass(frozen=True, slots=True)
class Ranked:
    """One place of a ranking."""

    name: str  #: of the function; of the invalidations, what was invalidated
    amount: float  #: what the ranking is by: seconds of computing, or a count
    share: float  #: of the sum over all, 0 to 1
    stats: "Stats | None"  #: those of the function; None for a namespace or a table


class Ranking(NamedTuple):
    """What a ranking is by, and how it is shown."""

    title: str
    amount_of: Callable[["Stats"], float]
    heads: tuple[str, ...]
    #: Takes a place, and the counts of its function; returns what stands behind the name.
    cells_of: Callable[[Ranked, Any], tuple[object, ...]]


def _cells_of_cost(each: Ranked, stats: "Stats") -> tuple[object, ...]:
    mean = each.amount / stats.computations if stats.computations else 0.0
    return duration(each.amount), share(each.share), stats.computations, duration(mean), ratio_of(stats)


def _cells_of_misses(each: Ranked, stats: "Stats") -> tuple[object, ...]:
    reason = max(stats.reasons, key=lambda reason: stats.reasons[reason], default="")
    return stats.misses, share(each.share), ratio_of(stats), reason


RANKINGS: Final = {
    "cost": Ranking(
        "Functions that compute longest",
        lambda stats: stats.seconds_computing,
        ("function", "computing", "share", "computations", "each", "hit ratio"),
        _cells_of_cost,
    ),
    "misses": Ranking(
        "Functions that miss most",
        lambda stats: stats.misses,
        ("function", "misses", "share", "hit ratio", "most frequent reason"),
        _cells_of_misses,
    ),
    "invalidations": Ranking(
        "What is invalidated most",
        lambda stats: stats.invalidated,
        ("what", "invalidations", "share"),
        lambda each, _: (int(each.amount), share(each.share)),
    ),
    "needless": Ranking(
        "Functions that compute in vain most, the value that their entry had already",
        lambda stats: stats.unchanged,
        ("function", "needless", "of computations", "computing"),
        lambda _, stats: (stats.unchanged, stats.computations, duration(stats.seconds_computing)),
    ),
}


def rank(statistics: "Statistics", by: str, limit: int) -> list[Ranked]:
    """Return the first places of a ranking; those with nothing are left out."""
    amount_of = RANKINGS[by].amount_of
    amounts: list[tuple[str, float, Stats | None]] = [
        (name, amount_of(stats), stats) for name, stats in statistics.functions.items() if name
    ]
    if by == "invalidations":
        # Each write that ends rows of a table ends the whole of it, too, and is counted there.
        several = statistics.invalidations.items()
        amounts += [(subject, count, None) for subject, count in several if not subject.startswith("rows of ")]
    total = sum(amount for _, amount, _ in amounts)
    ranked = sorted((each for each in amounts if each[1]), key=lambda each: (-each[1], each[0]))
    return [Ranked(name, amount, amount / total, stats) for name, amount, stats in ranked[:limit]]


def add_arguments_of_top(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("by", nargs="?", choices=tuple(RANKINGS), help="Only this ranking. Default: all four.")
    parser.add_argument(
        "--limit",
        type=whole_number,
        default=FIRST_PLACES,
        metavar="N",
        help=f"Places of each (default: {FIRST_PLACES}).",
    )


def run_top(console: Console, options: dict[str, Any]) -> None:
    """Print one ranking, or all."""
    from cachedeco import statistics

    found = statistics(shared=True)
    chosen = [by for by in RANKINGS if options["by"] in {None, by}]
    rankings = {by: rank(found, by, options["limit"]) for by in chosen}
    if console.as_json:
        console.json(rankings)
        return
    for by, ranked in rankings.items():
        ranking = RANKINGS[by]
        console.say(f"{ranking.title}:")
        if ranked:
            rows = [(each.name, *ranking.cells_of(each, each.stats)) for each in ranked]
            console.table(ranking.heads, rows, flexible=(0,))
        else:
            console.say("nothing yet")
        console.say("")
    _say_whose(console, found)


STATS: Final = Subcommand(
    "stats", "Show what was counted: hits, misses, seconds, invalidations.", add_arguments_of_stats, run_stats
)
TOP: Final = Subcommand(
    "top",
    "Show what costs most, misses most, is invalidated most, and computes in vain.",
    add_arguments_of_top,
    run_top,
)
