"""
How does the cost of a hit grow: with namespaces, ids, nested calls, entries in the cache, threads and tasks?

    make bench                      # or: python benchmarks/bench_growth.py [--rounds 15] [--hits 400] [--results FILE]

Microseconds of CPU, user and system, of all threads, on our memcached backend, on our Redis backend and on Django's
LocMemCache; the median of the rounds, and their quartiles. In each round everything has its turn, in random order.
"ids" is one call over so many ids, divided by their number; "nested calls" is a hit of a function whose computation
called so many other cached functions, each in a namespace of its own; all else is one hit in one namespace. For each
number of entries there is a cache that holds so many. A value has 684 bytes. Servers run on the processor of the
process that asks them (see `stay_on_one_processor()`), and their own CPU time is not counted.

Prints what was measured, on what, and with which spread; it judges nothing, and is no part of the tests.
"""

import asyncio
import random
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Thread
from time import process_time
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

import django
import results
from bench_hit import OUR_REDIS, OURS, VALUE
from django.conf import settings
from rounds import stay_on_one_processor
from servers import our_memcached, our_redis

SIZES: Final[dict[str, Sequence[int]]] = {
    "namespaces": (0, 1, 2, 4, 8, 16),
    "ids": (1, 3, 10, 30, 100, 300, 1000),
    "nested calls": (0, 1, 2, 4, 8, 16),
    "entries": (10, 1000, 100_000),
    "threads": (1, 2, 4, 8, 16),
    "tasks": (1, 4, 16, 64, 256),
}
# What begins threads or an event loop each time makes so many times as many hits.
LONGER: Final = {"threads": 5, "tasks": 5}
CACHES: Final = (OURS, OUR_REDIS, "LocMemCache")


class Point(NamedTuple):
    """What is measured: how many of what, on which cache."""

    what: str
    cache: str
    number: int


# Makes so many hits, and returns how many they were, since each thread and each task makes the same number.
Run = Callable[[int], int]


def repeated(call: Callable[[], object], weight: int = 1) -> Run:
    """Return what makes hits one after another, where a call counts as several."""

    def run(hits: int) -> int:
        number = max(1, hits // weight)
        for _ in range(number):
            call()
        return number * weight

    return run


def in_threads(call: Callable[[], object], number: int) -> Run:
    """Return what makes hits in so many threads."""

    def run(hits: int) -> int:
        each = max(1, hits // number)
        threads = [Thread(target=repeated(call), args=(each,)) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return each * number

    return run


def in_tasks(page: Callable[[int], Any], number: int) -> Run:
    """Return what makes hits in so many tasks of one event loop."""

    async def several(hits: int) -> None:
        for _ in range(hits):
            await page(7)

    async def together(each: int) -> None:
        await asyncio.gather(*[several(each) for _ in range(number)])

    def run(hits: int) -> int:
        each = max(1, hits // number)
        asyncio.run(together(each))
        return each * number

    return run


def calling(functions: list[Any]) -> Callable[[int], Any]:
    """Return a function that calls others."""

    def outer(club: int) -> Any:
        for each in functions:
            each(club)
        return VALUE

    return outer


def runs_on(cache: str) -> dict[Point, Run]:
    """Return what is measured on a cache, and how."""
    from cachedeco import cached_query, cached_query_many

    runs: dict[Point, Run] = {}
    # As functions are called: a space is no part of a key of memcached, and each key would be a digest.
    prefix = f"shop.views.{cache.replace(' ', '_')}."

    def cached(name: str, function: Any = lambda club: VALUE, **options: Any) -> Any:  # noqa: ARG005 -- the key has it
        return cached_query(
            **{"timeout": 600, "name": prefix + name, "namespace": "club:{club}", "cache": cache, **options}
        )(function)

    for number in SIZES["namespaces"]:
        page = cached(f"spaces{number}", namespace=[f"space{n}:{{club}}" for n in range(number)])
        runs[Point("namespaces", cache, number)] = repeated(partial(page, 7))

    @cached_query_many(over="ids", timeout=600, name=f"{prefix}many", namespace="club:{each}", cache=cache)
    def many(ids: list[int]) -> dict[int, Any]:
        return dict.fromkeys(ids, VALUE)

    for number in SIZES["ids"]:
        runs[Point("ids", cache, number)] = repeated(partial(many, list(range(number))), number)
    inner = [cached(f"inner{n}", namespace=f"inner{n}:{{club}}") for n in range(max(SIZES["nested calls"]))]
    for number in SIZES["nested calls"]:
        page = cached(f"outer{number}", calling(inner[:number]), ignore=("functions",))
        runs[Point("nested calls", cache, number)] = repeated(partial(page, 7))
    for number in SIZES["entries"]:
        page = cached(f"among{number}", cache=f"{cache}, {number}")
        runs[Point("entries", cache, number)] = repeated(partial(page, 7))
    plain = cached("plain")
    for number in SIZES["threads"]:
        runs[Point("threads", cache, number)] = in_threads(partial(plain, 7), number)

    async def awaited(club: int) -> Any:  # noqa: ARG001 -- as above
        return VALUE

    page = cached("awaited", awaited)
    for number in SIZES["tasks"]:
        runs[Point("tasks", cache, number)] = in_tasks(page, number)
    return runs


def fill() -> None:
    """Give each cache the number of entries that its name has."""
    from django.core.cache import caches

    for cache in CACHES:
        for number in SIZES["entries"]:
            for start in range(0, number, 1000):
                names = [f"filling{n}" for n in range(start, min(start + 1000, number))]
                caches[f"{cache}, {number}"].set_many(dict.fromkeys(names, "." * 100), 3600)


def measured(runs: dict[Point, Run], rounds: int, hits: int) -> dict[Point, list[float]]:
    """Return microseconds of CPU a hit, for each round; the first round warms up and is thrown away."""
    found: dict[Point, list[float]] = {point: [] for point in runs}
    for _ in range(rounds + 1):
        for point in random.sample(list(runs), len(runs)):
            runs[point](1)
            began = process_time()
            number = runs[point](hits * LONGER.get(point.what, 1))
            found[point].append((process_time() - began) / number * 1e6)
    return {point: each[1:] for point, each in found.items()}


def show(found: dict[Point, list[float]]) -> dict[str, Any]:
    """Print a table for each thing that grows, and return them."""
    tables: dict[str, Any] = {}
    for what, numbers in SIZES.items():
        print(f"\n{what:32}{''.join(f'{number:>10}' for number in numbers)}")
        for cache in CACHES:
            spreads = {number: results.spread(found[Point(what, cache, number)]) for number in numbers}
            print(f"{cache:32}{''.join(f'{middle:10.1f}' for _, middle, _ in spreads.values())}")
            tables.setdefault(what, {})[cache] = [[number, *spread] for number, spread in spreads.items()]
    return tables


def main() -> None:
    """Measure on servers of our own, and in this process."""
    from tests.support.servers import Memcached, Redis

    parser = results.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--hits", type=int, default=400)
    parser.add_argument("--most", type=int, default=max(map(max, SIZES.values())), help="leave out what is more")
    options = parser.parse_args()
    for what, numbers in SIZES.items():
        SIZES[what] = [number for number in numbers if number <= options.most]
    conditions = results.conditions()
    stay_on_one_processor()
    print(f"{options.rounds} rounds of {options.hits} hits each")
    with ExitStack() as servers:

        def backends(name: str) -> dict[str, dict[str, Any]]:
            memcached, redis = servers.enter_context(Memcached()), servers.enter_context(Redis())
            locmem = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": name}
            return {
                OURS + name: our_memcached(memcached.location),
                OUR_REDIS + name: our_redis(redis.location),
                "LocMemCache" + name: {**locmem, "OPTIONS": {"MAX_ENTRIES": 1_000_000}},
            }

        caches = backends("")
        for number in SIZES["entries"]:
            caches |= backends(f", {number}")
        settings.configure(
            CACHES={"default": caches["LocMemCache"], **caches},
            CACHEDECO={"ALIASES": [*caches], "DEPENDS_ON": []},
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            INSTALLED_APPS=["cachedeco"],
        )
        django.setup()
        fill()
        growth = show(
            measured(
                {point: run for cache in CACHES for point, run in runs_on(cache).items()}, options.rounds, options.hits
            )
        )
        record = {**conditions, "rounds": options.rounds, "hits": options.hits, "growth": growth}
        results.record(options.results, "growth", record)


if __name__ == "__main__":
    main()
