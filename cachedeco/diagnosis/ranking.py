"""Rankings: which functions cost most, miss most, compute in vain, and what is invalidated most."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from cachedeco.runtime.statistics import Statistics, Stats

By = Literal["cost", "misses", "invalidations", "needless"]


@dataclass(frozen=True, slots=True)
class Ranked:
    """One place of a ranking."""

    name: str  #: of the function; of the invalidations, what was invalidated
    amount: float  #: what the ranking is by: seconds of computing, or a count
    share: float  #: of the sum over all, 0 to 1
    stats: Stats | None  #: those of the function; None for a namespace or a table


ROWS: Final = "rows of "

# Of a function, by the name of the ranking.
_AMOUNTS: Final[Mapping[By, Callable[[Stats], float]]] = {
    "cost": lambda stats: stats.seconds_computing,
    "misses": lambda stats: stats.misses,
    "invalidations": lambda stats: stats.invalidated,
    "needless": lambda stats: stats.unchanged,
}


def rank(statistics: Statistics, by: By, limit: int) -> list[Ranked]:
    """Return the first places of a ranking; those with nothing are left out."""
    amount_of = _AMOUNTS[by]
    found = [(name, amount_of(stats), stats) for name, stats in statistics.functions.items() if name]
    rest: list[tuple[str, float, Stats | None]] = [*found]
    if by == "invalidations":
        # Each write that ends rows of a table ends the whole of it, too, and is counted there.
        several = statistics.invalidations.items()
        rest += [(subject, count, None) for subject, count in several if not subject.startswith(ROWS)]
    total = sum(amount for _, amount, _ in rest)
    ranked = sorted((each for each in rest if each[1]), key=lambda each: (-each[1], each[0]))
    return [Ranked(name, amount, amount / total, stats) for name, amount, stats in ranked[:limit]]
