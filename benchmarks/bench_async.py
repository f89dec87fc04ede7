"""
What does a hit of async code cost, beside one of sync code, and beside one that changes threads?

    make bench                      # or: python benchmarks/bench_async.py [--rounds 20] [--hits 400] [--results FILE]

In each round each cache has its turn, in random order, and makes so many hits in each of four ways: of a sync function;
of an async function, one after another in one task; the same hits by a hundred tasks; and by a hundred tasks that all
change threads, as a hit does while a hook of the user's is installed, and did for every hit before. CPU time of the
process, user and system, threads and all, on the processor of the servers (see `stay_on_one_processor()`), and their
own CPU time is not counted; and then hits a second by the clock, of the hundred tasks, on another processor. A mark is
the median of the quotients within the rounds, with their quartiles. An entry has a value of 684 bytes, and one
namespace with a parent, so a hit reads five keys. Other libraries are used as their documentation
shows it, and have no namespaces: they read one key, and aiocache in memory hands out the same object to all callers.
Each task asks for an entry of its own.

Prints what was measured, on what, and with which spread; it judges nothing, and is no part of the tests.
"""

import asyncio
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

import django
import results
import rivals
from bench_hit import OUR_REDIS, OURS, VALUE
from django.conf import settings
from rivals import Opened
from rounds import beside_the_servers, stay_on_one_processor
from servers import our_memcached, our_redis

TASKS: Final = 100  # at once
# What is asked of each cache: CPU of one task over sync code, and hits a second of all tasks over those by a thread.
MARKS: Final = {"LocMemCache": (1.7, 2.5), OURS: (1.7, 8.0), OUR_REDIS: (1.7, 8.0)}
# Microseconds of a hit by one task, and by all.
Pair = tuple[float, float]


class Measured(NamedTuple):
    """What one round has measured of one cache."""

    sync: float  #: microseconds of CPU a hit
    one_task: float  #: the same
    tasks: float  #: the same
    by_thread: float  #: the same
    tasks_per_second: float  #: hits
    by_thread_per_second: float  #: hits

    @property
    def quotients(self) -> tuple[float, float]:
        """Return what the marks are about."""
        return self.one_task / self.sync, self.tasks_per_second / self.by_thread_per_second


def measure_sync(hit: Callable[[], object], hits: int) -> float:
    """Return the microseconds of CPU of a hit of sync code."""
    hit()
    began = process_time()
    for _ in range(hits):
        hit()
    return (process_time() - began) / hits * 1e6


def measure_tasks(opened: Callable[[], Any], tasks: int, hits: int) -> tuple[float, float]:
    """Return the microseconds of CPU of a hit of async code, and hits a second, in a loop of its own."""

    async def measure() -> tuple[float, float]:
        async with opened() as page:

            async def several(club: int) -> None:
                for _ in range(hits // tasks):
                    await page(club)

            await asyncio.gather(*map(page, range(tasks)))  # values are stored, connections opened
            began, began_at = process_time(), perf_counter()
            await asyncio.gather(*map(several, range(tasks)))
            number = hits // tasks * tasks
            return (process_time() - began) / number * 1e6, number / (perf_counter() - began_at)

    return asyncio.run(measure())


@contextmanager
def by_thread() -> Iterator[None]:
    """Have each hit change threads."""
    from cachedeco.runtime import hooks

    hooks.needs_thread = True
    try:
        yield
    finally:
        hooks.needs_thread = False


def measure(sync: Callable[[], object], opened: Callable[[], Any], hits: int) -> Measured:
    """Measure one cache once."""
    alone, _ = measure_tasks(opened, 1, hits)
    together, _ = measure_tasks(opened, TASKS, 4 * hits)
    with by_thread():
        in_threads, _ = measure_tasks(opened, TASKS, hits)
    with beside_the_servers():
        _, per_second = measure_tasks(opened, TASKS, 4 * hits)
        with by_thread():
            _, in_threads_per_second = measure_tasks(opened, TASKS, hits)
    return Measured(measure_sync(sync, hits), alone, together, in_threads, per_second, in_threads_per_second)


def show(found: dict[str, list[Measured]], others: dict[str, list[Pair]]) -> dict[str, Any]:
    """Print the two tables, and return what they have."""
    print(f"\n{'microseconds of CPU a hit, median':36}{'sync':>9}{'one task':>10}{'100 tasks':>11}{'by a thread':>13}")
    for name, several in found.items():
        sync, alone, together, threads, *_ = (median(each) for each in zip(*several, strict=True))
        print(f"{name:36}{sync:9.1f}{alone:10.1f}{together:11.1f}{threads:13.1f}")
    for name, pairs in others.items():
        alone, together = (median(each) for each in zip(*pairs, strict=True))
        print(f"{name:36}{'':9}{alone:10.1f}{together:11.1f}")
    results.show_heading()
    marks = []
    for name, (cost, speed) in MARKS.items():
        costs, speeds = zip(*(each.quotients for each in found[name]), strict=True)
        marks.append(results.judge(f"{name}: one task / sync code", cost, costs))
        marks.append(results.judge(f"{name}: hits a second / by a thread", speed, speeds, least=True))
    ways = {
        "sync": {name: [each.sync for each in several] for name, several in found.items()},
        "one task": {name: [each.one_task for each in several] for name, several in found.items()},
        "100 tasks": {name: [each.tasks for each in several] for name, several in found.items()},
    }
    for at, way in enumerate(("one task", "100 tasks")):
        ways[way] |= {name: [each[at] for each in pairs] for name, pairs in others.items()}
    spreads = {way: {name: results.spread(each) for name, each in row.items()} for way, row in ways.items()}
    return {"marks": marks, "microseconds": spreads}


def main() -> None:
    """Measure on a memcached and a Redis of our own, and in this process."""
    from tests.support.servers import Memcached, Redis

    parser = results.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--hits", type=int, default=400)
    options = parser.parse_args()
    conditions = results.conditions()
    stay_on_one_processor()
    print(f"{options.rounds} rounds of {options.hits} hits each")
    with Memcached() as memcached, Redis() as redis:
        backends = {
            "LocMemCache": {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "OPTIONS": {"MAX_ENTRIES": 10_000},
            },
            OURS: our_memcached(memcached.location),
            OUR_REDIS: our_redis(redis.location),
        }
        settings.configure(
            CACHES={"default": backends["LocMemCache"], **backends},
            CACHEDECO={"ALIASES": [*backends], "DEPENDS_ON": []},
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            INSTALLED_APPS=["cachedeco"],
        )
        django.setup()
        others = rivals.of_async_code(VALUE, memcached.location, redis.location)
        shown = show(*measured(backends, others, options.rounds, options.hits))
        record = {**conditions, "rounds": options.rounds, "hits": options.hits, **shown}
        results.record(options.results, "async", record)


def measured(
    aliases: Any, others: Opened, rounds: int, hits: int
) -> tuple[dict[str, list[Measured]], dict[str, list[Pair]]]:
    """Return what was measured of each cache and library, for each round; the first one warms up and is thrown away."""
    from cachedeco import cached_query

    contenders: dict[str, tuple[Callable[[], object], Callable[[], Any]]] = {}
    for number, alias in enumerate(aliases):
        options: dict[str, Any] = {"timeout": 600, "namespace": "club:{club}", "cache": alias}

        # Named as functions are: with the space of an alias, each key would be a digest.
        @cached_query(name=f"shop.views.page{number}", **options)
        def page(club: int) -> Any:  # noqa: ARG001 -- the key has it
            return VALUE

        @cached_query(name=f"shop.views.page{number}.awaited", **options)
        async def awaited(club: int) -> Any:  # noqa: ARG001 -- as above
            return VALUE

        contenders[alias] = (partial(page, 7), partial(nullcontext, awaited))
    found: dict[str, list[Measured]] = {alias: [] for alias in aliases}
    found_of_others: dict[str, list[Pair]] = {name: [] for name in others}
    for _ in range(rounds + 1):
        for name in random.sample([*aliases, *others], len(aliases) + len(others)):
            if name in found:
                found[name].append(measure(*contenders[name], hits))
            else:
                alone, together = (measure_tasks(others[name], 1, hits), measure_tasks(others[name], TASKS, 4 * hits))
                found_of_others[name].append((alone[0], together[0]))
    return {name: each[1:] for name, each in found.items()}, {name: each[1:] for name, each in found_of_others.items()}


if __name__ == "__main__":
    main()
