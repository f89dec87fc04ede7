"""
What does a hit of async code cost, beside one of sync code, and beside one that changes threads?

    python benchmarks/bench_async.py [--rounds 20] [--hits 400]

In each round each cache has its turn, in random order, and makes so many hits in each of four ways: of a sync function;
of an async function, one after another in one task; the same hits by a hundred tasks; and by a hundred tasks that all
change threads, as a hit does while a hook of the user's is installed, and did for every hit before. CPU time of the
process, user and system, threads and all; hits a second by the clock. A mark is the median of the quotients within the
rounds, with their quartiles. Servers run on this machine, and their own CPU time is not counted. An entry has a value
of 684 bytes, and one namespace with a parent, so a hit reads five keys.

Prints what was measured, on what, and with which spread; it judges nothing, and is no part of the tests.
"""

import argparse
import asyncio
import os
import platform
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

import django
from bench_hit import OUR_REDIS, OURS, VALUE, versions
from django.conf import settings

TASKS: Final = 100
# What is asked of each cache: CPU of one task over sync code, and hits a second of all tasks over those by a thread.
MARKS: Final = {"LocMemCache": (1.7, 2.5), OURS: (1.7, 8.0), OUR_REDIS: (1.7, 8.0)}


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


def measure_tasks(hit: Callable[[], Awaitable[object]], tasks: int, hits: int) -> tuple[float, float]:
    """Return the microseconds of CPU of a hit of async code, and hits a second, in a loop of its own."""

    async def several() -> None:
        for _ in range(hits // tasks):
            await hit()

    async def measure() -> tuple[float, float]:
        await several()  # connections are opened
        began, began_at = process_time(), perf_counter()
        await asyncio.gather(*[several() for _ in range(tasks)])
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


def measure(sync: Callable[[], object], hit: Callable[[], Awaitable[object]], hits: int) -> Measured:
    """Measure one cache once."""
    alone, _ = measure_tasks(hit, 1, hits)
    together, per_second = measure_tasks(hit, TASKS, 4 * hits)
    with by_thread():
        in_threads, in_threads_per_second = measure_tasks(hit, TASKS, hits)
    return Measured(measure_sync(sync, hits), alone, together, in_threads, per_second, in_threads_per_second)


def show(found: dict[str, list[Measured]]) -> None:
    """Print the two tables."""
    print(f"\n{'microseconds of CPU a hit, median':36}{'sync':>9}{'one task':>10}{'100 tasks':>11}{'by a thread':>13}")
    for name, several in found.items():
        sync, alone, together, threads, *_ = (median(each) for each in zip(*several, strict=True))
        print(f"{name:36}{sync:9.1f}{alone:10.1f}{together:11.1f}{threads:13.1f}")
    print(f"\n{'':36}{'asked':>7}{'measured':>10}{'quartiles':>18}")
    for name, marks in MARKS.items():
        labels = ("one task / sync code", "hits a second / by a thread")
        for at, (label, asked) in enumerate(zip(labels, marks, strict=True)):
            quotients = [each.quotients[at] for each in found[name]]
            low, _, high = quantiles(quotients, n=4)
            is_over = median(quotients) > asked if at == 0 else median(quotients) < asked
            line = f"{f'{name}: {label}':44}{asked:6.1f}{median(quotients):8.2f}{f'{low:.2f} to {high:.2f}':>18}"
            print(line + ("   missed" if is_over else ""))


def main() -> None:
    """Measure on a memcached and a Redis of our own, and in this process."""
    from tests.support.servers import Memcached, Redis

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--hits", type=int, default=400)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {versions()}")
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{options.rounds} rounds of {options.hits} hits each")
    with Memcached() as memcached, Redis() as redis:
        backends = {
            "LocMemCache": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
            OURS: {"BACKEND": "cachedeco.backends.memcached.MemcachedCache", "LOCATION": memcached.location},
            OUR_REDIS: {"BACKEND": "cachedeco.backends.redis.RedisCache", "LOCATION": redis.location},
        }
        settings.configure(
            CACHES={"default": backends["LocMemCache"], **backends},
            CACHEDECO={"ALIASES": [*backends], "DEPENDS_ON": []},
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            INSTALLED_APPS=["cachedeco"],
        )
        django.setup()
        show(measured(backends, options.rounds, options.hits))


def measured(aliases: Any, rounds: int, hits: int) -> dict[str, list[Measured]]:
    """Return what was measured of each cache, for each round; the first one warms up and is thrown away."""
    from cachedeco import cached_query

    contenders: dict[str, tuple[Callable[[], object], Callable[[], Awaitable[object]]]] = {}
    for alias in aliases:
        options: dict[str, Any] = {"timeout": 600, "namespace": "club:{club}", "cache": alias}

        @cached_query(name=f"shop.views.{alias}", **options)
        def page(club: int) -> Any:  # noqa: ARG001 -- the key has it
            return VALUE

        @cached_query(name=f"shop.views.{alias}.awaited", **options)
        async def awaited(club: int) -> Any:  # noqa: ARG001 -- as above
            return VALUE

        contenders[alias] = (lambda page=page: page(7), lambda awaited=awaited: awaited(7))  # type: ignore[misc]
    found: dict[str, list[Measured]] = {alias: [] for alias in aliases}
    for _ in range(rounds + 1):
        for alias in random.sample(list(aliases), len(aliases)):
            found[alias].append(measure(*contenders[alias], hits))
    return {alias: each[1:] for alias, each in found.items()}


if __name__ == "__main__":
    main()
