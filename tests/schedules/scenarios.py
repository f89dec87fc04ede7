"""The scenarios: each is explored to its end, or thrown at random where that has no end."""

from collections.abc import Callable

from tests.schedules.acts import (
    Act,
    at_once,
    can_not_be_read,
    forgets,
    only_once,
    passes,
    reads,
    sets,
    writes,
)
from tests.schedules.auto import AUTOS, MANY_AUTOS
from tests.schedules.bulk import BULK, MANY_BULK
from tests.schedules.explorer import Scenario
from tests.schedules.functions import (
    TIMEOUT,
    aging,
    distant,
    inner,
    invalidate_namespace,
    late,
    outer,
    outermost,
    plain,
    rescued,
    spaced,
    stale,
    twice,
)
from tests.schedules.gathering import ASYNC, GATHERED, REMEMBERED
from tests.schedules.interrupts import CANCELLATIONS, INTERRUPTS
from tests.schedules.several import LIFETIMES, TENANTS
from tests.schedules.transactions import TRANSACTIONS

PAST_ITS_TIMEOUT = passes(TIMEOUT + 1)
# Longer than it is remembered how a lease ended.
PAST_A_MARK = passes(6)
# Longer than a lease lives whose holder is no more.
PAST_A_LEASE = passes(11)

invalidates: dict[str, tuple[Callable[[], dict[str, int]], Callable[[], None]]] = {
    "own token": (plain, plain.invalidate),
    "function's token": (plain, plain.invalidate_all),
    "namespace": (spaced, invalidate_namespace),
}


CALLS_INSIDE = {"first": outer, "last": late, "elsewhere": distant}


def _missing(function: Callable[[], dict[str, int]]) -> list[Callable[[], object]]:
    """Return what leaves the tokens there, and neither entries nor leases."""
    return [function, forgets]


def reads_by(function: Callable[[], dict[str, int]], *names: str) -> dict[str, Act]:
    """Return actors who read by the same function."""
    return dict.fromkeys(names, reads(function))


def _of_one_process() -> list[Scenario]:
    found = [
        Scenario(
            name=f"two readers, one writer, {way}",
            before=_missing(function),
            cast=reads_by(function, "A", "B") | {"W": writes("row", invalidate)},
            looks=[reads(function)],
        )
        for way, (function, invalidate) in invalidates.items()
    ]
    a_writer = {"W": writes("row", plain.invalidate)}
    return [
        *found,
        Scenario(
            name="a cold reader, two writers",
            cast=reads_by(plain, "A") | a_writer | {"V": writes("row", plain.invalidate_all)},
            looks=[reads(plain)],
        ),
        Scenario(
            name="a reader twice, two writers",
            before=[plain],
            cast={"A": reads(plain, times=2), **a_writer, "V": writes("row", plain.invalidate_all)},
            looks=[reads(plain)],
        ),
        Scenario(
            name="three readers compute once", before=_missing(plain), cast=reads_by(plain, *"ABC"), looks=[only_once]
        ),
        Scenario(name="two cold readers compute once", cast=reads_by(plain, *"AB"), looks=[only_once]),
        Scenario(
            name="followers who give up",
            before=_missing(plain),
            cast=reads_by(plain, *"AB") | a_writer,
            looks=[reads(plain)],
            budget={"timeout": 1},
        ),
        Scenario(
            name="a reader is abandoned",
            before=_missing(plain),
            cast=reads_by(plain, *"AB") | a_writer,
            looks=[PAST_A_LEASE, reads(plain)],
            budget={"crash": 1},
        ),
        Scenario(
            name="refresh",
            before=[plain],
            cast={"A": reads(plain.refresh), "B": reads(plain), **a_writer},
            looks=[reads(plain)],
        ),
        Scenario(
            name="set", before=[plain], cast=reads_by(plain, *"AB") | {"W": sets("row", plain)}, looks=[reads(plain)]
        ),
    ]


def _of_evictions() -> list[Scenario]:
    return [
        Scenario(
            name="a reader twice, any two keys evicted",
            before=[plain],
            cast={"A": reads(plain, times=2), "W": writes("row", plain.invalidate)},
            looks=[reads(plain)],
            budget={"evict": 2},
        ),
        Scenario(
            name="two readers, any key evicted",
            before=[plain],
            cast=reads_by(plain, *"AB") | {"W": writes("row", plain.invalidate)},
            looks=[reads(plain)],
            budget={"evict": 1},
        ),
        *[
            Scenario(
                name=f"a call inside a call, {name}, any key evicted",
                before=[function],
                cast=reads_by(function, "A") | {"W": writes("in", inner.invalidate)},
                looks=[reads(function), reads(inner)],
                budget={"evict": 1},
            )
            for name, function in CALLS_INSIDE.items()
        ],
    ]


def _of_calls_inside() -> list[Scenario]:
    a_writer = {"W": writes("in", inner.invalidate)}
    found = []
    for name, function in CALLS_INSIDE.items():
        in_processes = reads_by(function, "A@p", "B@q") | {"W@r": a_writer["W"]}
        looks = [reads(function)]
        found += [
            Scenario(
                name=f"a call inside a call, {name}",
                before=_missing(function),
                cast=reads_by(function, *"AB") | a_writer,
                looks=looks,
            ),
            Scenario(
                name=f"a call inside a call, {name}, in two processes",
                before=[function],
                cast=in_processes,
                looks=looks,
            ),
            Scenario(
                name=f"a call inside a call, {name}, in two processes that have nothing",
                before=_missing(function),
                cast=in_processes,
                looks=looks,
            ),
        ]
    return [
        *found,
        *[
            Scenario(
                name=f"a call inside a call, {name}, and beside it",
                before=_missing(function),
                cast=reads_by(function, "A") | reads_by(inner, "B") | a_writer,
                looks=[reads(function), reads(inner)],
            )
            for name, function in (("first", outer), ("last", late))
        ],
        Scenario(
            name="a call inside a call inside a call",
            before=_missing(outermost),
            cast=reads_by(outermost, "A") | {"V": writes("out", outer.invalidate)} | a_writer,
            looks=[reads(outermost), reads(outer)],
        ),
        *[
            Scenario(
                name=f"a call inside a call is due, refreshed by {who}",
                before=[aging, PAST_ITS_TIMEOUT],
                cast=reads_by(aging, *"AB") | a_writer,
                looks=[reads(aging)],
                settings={"REFRESH": who},
            )
            for who in ("caller", "thread")
        ],
        Scenario(
            name="a call inside a call twice",
            before=_missing(twice),
            cast=reads_by(twice, "A") | a_writer,
            looks=[reads(twice)],
        ),
    ]


def _of_several_processes() -> list[Scenario]:
    a_writer = {"W@r": writes("row", plain.invalidate)}
    return [
        Scenario(
            name="two processes compute once",
            cast=reads_by(plain, "A@p", "B@q"),
            looks=[only_once],
            budget={"poll": 2},
        ),
        Scenario(
            name="three readers in two processes compute once",
            before=_missing(plain),
            cast=reads_by(plain, "A@p", "B@q", "C@q"),
            looks=[only_once],
        ),
        Scenario(
            name="two processes, one writer",
            before=_missing(plain),
            cast=reads_by(plain, "A@p", "B@q") | a_writer,
            looks=[reads(plain)],
            budget={"poll": 1},
        ),
        Scenario(
            name="a process is killed",
            before=_missing(plain),
            cast=reads_by(plain, "A@p", "B@q") | a_writer,
            looks=[PAST_A_LEASE, reads(plain)],
            budget={"kill": 1},
        ),
        Scenario(
            name="a reader comes late",
            before=_missing(plain),
            cast=reads_by(plain, "A@p", "B@q") | {"C": PAST_A_MARK},
            looks=[reads(plain)],
        ),
    ]


def _of_caches_that_fail() -> list[Scenario]:
    # Nothing tells a reader of invalidations then: what was written before it came is in what it gets.
    without_breaker = {"BREAKER_FAILURES": 0}
    return [
        Scenario(
            name="three readers of a cache that can't be read, one writer",
            before=[plain, can_not_be_read],
            cast=reads_by(plain, *"ABC") | {"W": writes("row")},
            looks=[reads(plain)],
            settings=without_breaker,
        ),
        Scenario(
            name="three readers of a cache that can't be read do not wait in vain",
            before=[can_not_be_read],
            cast=reads_by(plain, *"ABC"),
            looks=[at_once],
            settings=without_breaker,
        ),
    ]


def _of_time() -> list[Scenario]:
    a_writer = {"W": writes("row", stale.invalidate)}
    due = [
        Scenario(
            name=f"an entry is due, {readers}, refreshed by {who}",
            before=[stale, PAST_ITS_TIMEOUT],
            cast=reads_by(stale, *readers.split()) | {"W@r": a_writer["W"]},
            looks=[reads(stale)],
            settings={"REFRESH": who},
        )
        for readers in ("A B", "A@p B@q")
        for who in ("caller", "thread")
    ]
    return [
        *due,
        Scenario(
            name="an entry becomes due",
            before=[stale],
            cast={"A": reads(stale, times=2), "C": PAST_ITS_TIMEOUT, **a_writer},
            looks=[reads(stale)],
        ),
        Scenario(
            name="the old value stands in for one that can't be computed",
            before=[rescued, PAST_ITS_TIMEOUT],
            cast=reads_by(rescued, *"AB") | {"W": writes("row", rescued.invalidate)},
            looks=[reads(rescued)],
            budget={"fail": 1},
        ),
    ]


# Explored to their end, by what the actors meet.
KINDS: dict[str, list[Scenario]] = {
    "readers and writers of one process": _of_one_process(),
    "evictions": _of_evictions(),
    "nested calls": _of_calls_inside(),
    "nested calls that end before the outer one": LIFETIMES,
    "several processes": _of_several_processes(),
    "timeouts and stale entries": _of_time(),
    "calls of many ids": BULK,
    "`gather()`": GATHERED,
    "`agather()`, and event loops": ASYNC,
    "`remembered()`": REMEMBERED,
    "signals": INTERRUPTS,
    "cancellations of tasks": CANCELLATIONS,
    "transactions": TRANSACTIONS,
    "tenants": TENANTS,
    "`AUTO`": AUTOS,
    "caches that can't be read": _of_caches_that_fail(),
}
SMALL = [scenario for kind in KINDS.values() for scenario in kind]

TROUBLE = {"evict": 3, "crash": 1, "kill": 1, "poll": 5, "timeout": 1, "fail": 1}

# Of more schedules than could ever be run.
LARGE = [
    *MANY_AUTOS,
    *MANY_BULK,
    Scenario(
        name="many of everything",
        cast={
            "A@p": reads(spaced, times=2),
            "B@p": reads(spaced),
            "C@q": reads(spaced, times=2),
            "V@p": writes("row", spaced.invalidate, times=2),
            "W@r": writes("row", invalidate_namespace),
            "X@q": reads(spaced.refresh),
        },
        looks=[PAST_A_LEASE, reads(spaced)],
        budget=TROUBLE,
    ),
    *[
        Scenario(
            name=f"many calls inside calls, {name}",
            before=[function],
            cast={
                "A@p": reads(function, times=2),
                "B@p": reads(function),
                "C@q": reads(function, times=2),
                "D@q": reads(inner),
                "V@p": writes("in", inner.invalidate, times=2),
                "W@r": writes("out", function.invalidate),
            },
            looks=[PAST_A_LEASE, reads(function), reads(inner)],
            budget=TROUBLE,
        )
        for name, function in CALLS_INSIDE.items()
    ],
    *[
        Scenario(
            name=f"many readers of what is due, refreshed by {who}",
            before=[stale],
            cast={
                "A@p": reads(stale, times=2),
                "B@p": reads(stale, times=2),
                "C@q": reads(stale, times=2),
                "T": PAST_ITS_TIMEOUT,
                "V@p": writes("row", stale.invalidate, times=2),
                "W@r": writes("row", stale.invalidate_all),
            },
            looks=[PAST_A_LEASE, reads(stale)],
            budget=TROUBLE,
            settings={"REFRESH": who},
        )
        for who in ("caller", "thread")
    ],
]
