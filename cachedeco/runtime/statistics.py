"""Statistics hook: counters of events, per cached function and process, and snapshots of them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from operator import add, sub
from typing import Any, Final, Self

from cachedeco.runtime.events import UNCHANGED, UNSERVED, Event
from cachedeco.runtime.locks import RLock
from cachedeco.runtime.units import duration, share

# Subjects of invalidations that are told apart: the first parts of namespaces may contain ids.
MOST_SUBJECTS: Final = 1000
# Reasons of values that were not stored that are told apart, of one function: they may contain names and sizes.
MOST_REASONS: Final = 10
OTHERS: Final = "(others)"
_MOST_SHOWN: Final = 20  # functions, in a text


@dataclass(frozen=True, slots=True)
class Stats:
    """
    Counters of one cached function, since its process started.

    They are not persistent. Functions of one name share them, also one after the other: a function inside another one
    is a new one at each call. Those of many names that are gone are forgotten. `after - before` are the counts between
    two moments, and `a + b` those of two functions, or processes.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    bypassed: int = 0
    errors: int = 0  #: failed commands, values that can't be (un)pickled, invalidations delayed or lost
    computations: int = 0
    seconds_saved: float = 0.0  #: the time that the computations of the served entries took
    audited: int = 0  #: hits that the auditor recomputed, and that are right
    inconsistent: int = 0  #: hits that the auditor recomputed, and that had changed without an invalidation
    shared: int = 0  #: misses that got the value of another caller
    seconds_computing: float = 0.0  #: the time that its computations took
    stored: int = 0  #: entries that the cache has taken
    unstored: int = 0  #: values that were returned and not stored
    bytes_stored: int = 0  #: the sizes of these entries, added up
    unchanged: int = 0  #: entries stored whose value was that of the ones that they replaced: needless computations
    invalidated: int = 0  #: acknowledged invalidations of its calls, and of all at once
    reasons: Mapping[str, int] = field(default_factory=dict)  #: of misses and bypassed calls, without their details
    unstored_reasons: Mapping[str, int] = field(default_factory=dict)  #: of values that were returned and not stored

    @property
    def hit_ratio(self) -> float | None:
        """The share of hits and stale values in all calls that asked the cache; None without such calls."""
        served = self.hits + self.stale
        return served / (served + self.misses) if served + self.misses else None

    def __add__(self, other: Self) -> Self:
        """Add the counters up."""
        return self._combine(other, add)

    def __sub__(self, before: Self) -> Self:
        """Return what was counted since an earlier moment."""
        return self._combine(before, sub)

    def _combine(self, other: Self, operation: Callable[[Any, Any], Any]) -> Self:
        if not isinstance(other, Stats):
            return NotImplemented
        numbers = {name: operation(getattr(self, name), getattr(other, name)) for name in NUMBERS}
        reasons: dict[str, Any] = {
            name: _combine_counts(getattr(self, name), getattr(other, name), operation) for name in REASONS
        }
        return type(self)(**numbers, **reasons)


REASONS: Final = ("reasons", "unstored_reasons")
NUMBERS: Final = tuple(each.name for each in fields(Stats) if each.name not in REASONS)
_SECONDS: Final = frozenset({"seconds_saved", "seconds_computing"})


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters of all cached functions at one moment; `after - before` are the counts between two."""

    functions: Mapping[str, Stats] = field(default_factory=dict)  #: by name; "" has what belongs to no function
    invalidations: Mapping[str, int] = field(default_factory=dict)  #: of namespaces and tables, by subject
    processes: tuple[str, ...] = ()  #: whose they are: host and process id
    is_shared: bool = False  #: whether all processes that share their counts are added up
    problem: str = ""  #: why these are the counts of this process alone, if all were asked for

    @property
    def total(self) -> Stats:
        """The counters of all functions together."""
        return sum(self.functions.values(), Stats())

    def __add__(self, other: Self) -> Self:
        """Add the counters of other processes."""
        return self._combine(other, add)

    def __sub__(self, before: Self) -> Self:
        """
        Return what was counted since an earlier moment.

        A process that has ended meanwhile, or begun anew, makes counts smaller: a count below 0 says so.
        """
        return self._combine(before, sub)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dict of what JSON takes, with the hit ratios."""
        functions = {name: {**asdict(each), "hit_ratio": each.hit_ratio} for name, each in self.functions.items()}
        total = {**asdict(self.total), "hit_ratio": self.total.hit_ratio}
        return {
            "functions": functions,
            "total": total,
            "invalidations": dict(self.invalidations),
            "processes": [*self.processes],
            "is_shared": self.is_shared,
            "problem": self.problem,
        }

    def __str__(self) -> str:
        """Return some lines for people: the functions that have cost most come first."""
        whose = f"of {len(self.processes)} processes" if self.is_shared else "of this process alone"
        lines = [f"Statistics {whose}{f': {self.problem}' if self.problem else ''}."]
        ranked = sorted(self.functions.items(), key=lambda item: -item[1].seconds_computing)
        named = [item for item in ranked if item[0]]
        for name, each in [("all functions", self.total), *named[:_MOST_SHOWN]]:
            ratio = "no calls" if each.hit_ratio is None else f"{share(each.hit_ratio)} hits"
            spent = f"{duration(each.seconds_computing)} computing, {duration(each.seconds_saved)} saved"
            reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(each.reasons).most_common())
            lines.append(f"  {name}: {ratio} of {each.hits + each.stale + each.misses}, {spent}")
            lines += [f"    {reasons}"] if reasons else []
        if len(named) > _MOST_SHOWN:
            lines.append(f"  and {len(named) - _MOST_SHOWN} more functions")
        return "\n".join(lines)

    def _combine(self, other: Self, operation: Callable[[Any, Any], Any]) -> Self:
        if not isinstance(other, Statistics):
            return NotImplemented
        names, none = dict.fromkeys([*self.functions, *other.functions]), Stats()
        both = {name: operation(self.functions.get(name, none), other.functions.get(name, none)) for name in names}
        return type(self)(
            {name: each for name, each in both.items() if each != none},
            _combine_counts(self.invalidations, other.invalidations, operation),
            tuple(dict.fromkeys([*self.processes, *other.processes])),
            self.is_shared or other.is_shared,
            self.problem or other.problem,
        )


def _combine_counts(
    ours: Mapping[str, int], theirs: Mapping[str, int], operation: Callable[[int, int], int]
) -> dict[str, int]:
    """Combine counts by name; those that are 0 are left out."""
    both = {name: operation(ours.get(name, 0), theirs.get(name, 0)) for name in dict.fromkeys([*ours, *theirs])}
    return {name: number for name, number in both.items() if number}


_COUNTED: dict[str, str] = {
    "hit": "hits",
    "miss": "misses",
    "stale": "stale",
    "shared": "shared",
    "bypassed": "bypassed",
    "error": "errors",
    "invalidated": "invalidated",
    "invalidation_delayed": "errors",
    "invalidation_lost": "errors",
    "computed": "computations",
    "stored": "stored",
    "unstored": "unstored",
    "audited": "audited",
    "inconsistent": "inconsistent",
}

# Seconds of the hits that are not counted yet, by function: a hit appends, which needs no lock.
MOST_UNCOUNTED: Final = 1000


class _Counts:
    """The counters of one function."""

    __slots__ = ("numbers", "reasons", "unstored_reasons")

    def __init__(self) -> None:
        self.numbers: dict[str, Any] = dict.fromkeys(NUMBERS, 0) | dict.fromkeys(_SECONDS, 0.0)
        self.reasons: dict[str, int] = {}
        self.unstored_reasons: dict[str, int] = {}

    def stats(self) -> Stats:
        """Return a snapshot."""
        return Stats(**self.numbers, reasons=dict(self.reasons), unstored_reasons=dict(self.unstored_reasons))


_counts: dict[str, _Counts] = {}
_hits: defaultdict[str, list[float]] = defaultdict(list)
_invalidations: dict[str, int] = {}
_lock = RLock()


def count_hit(function: str, seconds: float) -> bool:
    """Count a hit of a function, as `count()` does its event, but faster; return whether these were many hits."""
    uncounted = _hits[function]
    uncounted.append(seconds)
    if len(uncounted) >= MOST_UNCOUNTED:
        with _lock:
            _count_up(function)
        return True
    return False


def count_hits(function: str, seconds: Sequence[float]) -> bool:
    """Count several hits of a function, as `count_hit()` does one."""
    if not seconds:
        return False
    _hits[function] += seconds[:-1]
    return count_hit(function, seconds[-1])


def _count_up(function: str) -> None:
    """Add the hits that are not counted yet. The caller holds the lock."""
    uncounted = _hits.get(function)
    if uncounted:
        seconds = uncounted[:]
        del uncounted[: len(seconds)]  # other threads append meanwhile
        numbers = _counts_of(function).numbers
        numbers["hits"] += len(seconds)
        numbers["seconds_saved"] += sum(seconds)


def _counts_of(function: str) -> _Counts:
    counts = _counts.get(function)
    if counts is None:
        counts = _counts[function] = _Counts()
    return counts


def count(event: Event) -> None:
    """Count an event for its function; an invalidation of a namespace or a table also by what it is of."""
    kind, function, reason = event.kind, event.function, event.reason
    counted = _COUNTED.get(kind)
    if counted is None:
        return
    # `+=` reads and writes: without the lock two threads would lose counts.
    with _lock:
        counts = _counts.get(function) or _counts_of(function)
        numbers = counts.numbers
        numbers[counted] += 1
        if kind in UNSERVED:
            reason = reason.partition(":")[0]
            counts.reasons[reason] = counts.reasons.get(reason, 0) + 1
        elif kind == "unstored" and reason:
            known = counts.unstored_reasons
            if reason not in known and len(known) >= MOST_REASONS:
                reason = OTHERS
            known[reason] = known.get(reason, 0) + 1
        elif kind == "computed":
            numbers["seconds_computing"] += event.seconds
        elif kind == "stored":
            numbers["bytes_stored"] += event.size
            numbers["unchanged"] += reason == UNCHANGED
        elif kind == "hit":
            numbers["seconds_saved"] += event.seconds
        elif kind == "invalidated" and not function and (subject := event.subject.label):
            if subject not in _invalidations and len(_invalidations) >= MOST_SUBJECTS:
                subject = OTHERS
            _invalidations[subject] = _invalidations.get(subject, 0) + 1


def forget(function: str) -> None:
    """Forget the counters of a function that is gone."""
    with _lock:
        _hits.pop(function, None)
        _counts.pop(function, None)


def begin_anew() -> None:
    """Count from 0 in a forked child: what its parent has counted is the parent's."""
    global _lock  # noqa: PLW0603 -- a thread that the child does not have may hold it
    _lock = RLock()
    for each in (_counts, _hits, _invalidations):
        each.clear()


def stats_of(function: str) -> Stats:
    """Return the counters of one function; those of namespaces if *function* is empty."""
    with _lock:
        _count_up(function)
        counts = _counts.get(function)
        return Stats() if counts is None else counts.stats()


def statistics_of_process(process: str) -> Statistics:
    """Return the counters of all functions of this process, which is called so."""
    with _lock:
        for function in [*_hits]:
            _count_up(function)
        functions = {name: each.stats() for name, each in sorted(_counts.items())}
        return Statistics(functions, dict(_invalidations), (process,))
