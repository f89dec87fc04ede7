"""
What does it cost that statements are watched, and that a function depends on what it reads?

    python benchmarks/bench_watcher.py [--rounds 40] [--writes 10000]

CPU time of this process, user and system; SQLite in memory. Each pair, with the watcher and without, is measured in
turns, and the figure is the median of the paired differences or quotients, with their quartiles: a read statement; a
page of 50 queries; an UPDATE in autocommit for each backend, each with one command; a transaction of UPDATEs under
savepoints; a text that is new; a hit under AUTO over three tables beside one that declares three models.

Prints what was measured, on what, and with which spread; it judges nothing, and is no part of the tests.
"""

import argparse
import os
import platform
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from time import process_time
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import django
from django.conf import settings
from servers import our_memcached

PAGE = 50  # queries
NEW_TEXT = (
    'SELECT "auth_user"."id", "auth_user"."username" FROM "auth_user" INNER JOIN "auth_user_groups" ON ("auth_user"'
)


def start(stack: ExitStack) -> list[str]:
    """Set Django up on servers of our own; return the aliases of the caches, by what to call them."""
    from tests.support.servers import Memcached, Redis

    memcached, redis = stack.enter_context(Memcached()), stack.enter_context(Redis())
    caches: dict[str, dict[str, Any]] = {
        "LocMemCache": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "our backend": our_memcached(memcached.location),
        "RedisCache": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{redis.port}/0",
        },
    }
    settings.configure(
        CACHES={"default": caches["LocMemCache"], **caches},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "cachedeco"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        CACHEDECO={"ALIASES": ["LocMemCache"]},
    )
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    return list(caches)


def paired(
    one: Callable[[], object], other: Callable[[], object], rounds: int, repeats: int
) -> tuple[list[float], list[float]]:
    """Return microseconds of a call of each, round by round, in turns; the first round warms up."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for kept, call in zip(times, (one, other), strict=True):
            began = process_time()
            for _ in range(repeats):
                call()
            if number:
                kept.append((process_time() - began) / repeats * 1e6)
    return times


def with_spread(values: list[float], text: str = "{:.2f}") -> str:
    """Return the median and the quartiles of some figures."""
    low, _, high = quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return f"{text.format(median(values))} ({text.format(low)} to {text.format(high)})"


def main() -> None:
    """Measure each, and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--writes", type=int, default=10_000)
    options = parser.parse_args()
    with ExitStack() as stack:
        aliases = start(stack)
        measure(aliases, options.rounds, options.writes)


def measure(aliases: list[str], rounds: int, writes: int) -> None:
    """Measure each, and print a line for it."""
    print(
        f"Python {platform.python_version()}, Django {django.__version__}, SQLite, {os.cpu_count()} CPUs, "
        f"load {os.getloadavg()[0]:.1f}; {rounds} rounds; medians with quartiles"
    )
    measure_reads(rounds)
    measure_writes(aliases, rounds, writes)
    measure_texts(rounds)
    measure_hits(aliases, rounds)


def switched(call: Callable[[], object]) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return a call with the watcher, and without."""
    from django.db import connection

    from cachedeco.tracking import watcher

    def on() -> None:
        watcher.install(connection)
        call()

    def off() -> None:
        wrappers = connection.execute_wrappers
        wrappers[:] = [each for each in wrappers if each is not watcher.watch]
        call()

    return on, off


def measure_reads(rounds: int) -> None:
    """Measure a statement, and a page of queries."""
    from django.contrib.auth.models import User
    from django.db import connection

    user = User.objects.create(username="reader")

    def read() -> None:
        with connection.cursor() as cursor:
            for _ in range(PAGE):
                cursor.execute("SELECT 1 FROM auth_group WHERE id = 5")

    def page() -> None:
        for _ in range(PAGE):
            User.objects.filter(pk=user.pk).first()

    on, off = paired(*switched(read), rounds, 4)
    each = [(a - b) / PAGE for a, b in zip(on, off, strict=True)]
    print(f"a read statement, µs more (asked 1.5): {with_spread(each)}")
    on, off = paired(*switched(page), rounds, 1)
    print(f"a page of {PAGE} queries, times that without: {with_spread(quotients(on, off), '{:.3f}')}")


def measure_writes(aliases: list[str], rounds: int, writes: int) -> None:
    """Measure an UPDATE in autocommit for each cache, and many in one transaction."""
    from django.contrib.auth.models import User
    from django.db import transaction
    from django.test import override_settings

    user = User.objects.create(username="writer")

    def write() -> None:
        User.objects.filter(pk=user.pk).update(first_name="x")

    def long_transaction() -> None:
        with transaction.atomic():
            for _ in range(writes):
                with transaction.atomic():
                    write()

    for alias in aliases:
        with override_settings(CACHEDECO={"ALIASES": [alias]}):
            on, off = paired(*switched(write), rounds, 20)
        ratio = with_spread(quotients(on, off))
        print(f"an UPDATE in autocommit, one command to {alias}: {median(off):.0f} µs without, {ratio} times that with")
    on, off = paired(*switched(long_transaction), max(1, rounds // 5), 1)
    print(f"a transaction of {writes} savepoints and UPDATEs, times that without (asked 1.15): ", end="")
    print(with_spread(quotients(on, off), "{:.3f}"))


def measure_texts(rounds: int) -> None:
    """Measure the parse of a text that is new, and the look-up of one that is known."""
    from cachedeco.invalidation.tables import tables

    numbers = count()
    new, known = paired(
        lambda: tables().effect_of(f'{NEW_TEXT}."id" = {next(numbers)})'),
        lambda: tables().effect_of(f'{NEW_TEXT}."id" = 1)'),
        rounds,
        50,
    )
    print(f"a text that is new, µs (asked 20): {with_spread(new)}; one that is known: {with_spread(known)}")


def measure_hits(aliases: list[str], rounds: int) -> None:
    """Measure a hit under AUTO beside one of a function that declares the same tables."""
    from django.contrib.auth.models import Group, Permission, User
    from django.db import connection
    from django.test import override_settings

    from cachedeco import AUTO, cached_query
    from cachedeco.tracking import watcher

    watcher.install(connection)  # the last pair has left it out
    models: list[Any] = [Group, User, Permission]
    for alias in aliases:
        with override_settings(CACHEDECO={"ALIASES": [alias]}):
            auto = cached_query(600, depends_on=[AUTO], cache=alias, name=f"bench.auto.{alias}")(rows_of)
            declared = cached_query(600, depends_on=models, cache=alias, name=f"bench.declared.{alias}")(rows_of)
            for function in (auto, declared):
                function(1)
                function(1)
            one, other = paired(partial(auto, 1), partial(declared, 1), rounds, 100)
        print(f"a hit under AUTO, times one with three models, {alias} (asked 1.15): ", end="")
        print(with_spread(quotients(one, other), "{:.3f}"))


def rows_of(number: int) -> int:
    """Read three tables."""
    from django.contrib.auth.models import Group, Permission, User

    return number + Group.objects.count() + User.objects.count() + Permission.objects.count()


def quotients(one: list[float], other: list[float]) -> list[float]:
    """Return the quotients, round by round."""
    return [a / b for a, b in zip(one, other, strict=True)]


if __name__ == "__main__":
    main()
