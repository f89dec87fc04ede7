"""
Many greenlets of one thread, as a worker of gevent has them: is any answer another one's, old, or not committed?

Each reads rows of PostgreSQL by a cached function, on memcached and on Redis, and writes some, in transactions of which
a few are rolled back. Now and then one is ended by a Timeout, at any point where it waits.

    $ python -m gevent.monkey --module tests.scenarios.greenlets
"""

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any

import django
import gevent
from django.apps import apps
from django.conf import settings
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection, transaction

from cachedeco import CachedQuery, cached_query, gather
from tests.support.databases import postgresql_on
from tests.support.postgres import PostgreSQL
from tests.support.servers import Memcached, Redis

GREENLETS, TURNS = 60, 40 if "CACHEDECO_SOAK" in os.environ else 16
ROWS = range(100, 112)  # Django has rows of its own in the table
LONGEST_SECONDS = 0.004
NEVER_COMMITTED = -1

counts: Counter[str] = Counter()


class RolledBackError(Exception):
    """What ends a transaction."""


class Row:
    """What a row holds by now, as far as this process knows."""

    def __init__(self, pk: int) -> None:
        """Begin with what the table is filled with."""
        self.pk = pk
        self.version = 0  #: of the last transaction that was committed, and has returned
        self.lock = Lock()

    @property
    def text(self) -> str:
        """The text of the present version."""
        return text_of(self.pk, self.version)


def text_of(pk: int, version: int) -> str:
    """Return what a row holds that has a version."""
    return f"{pk}:{version}"


def text(pk: int) -> str:
    """Read a row, slowly."""
    found = table().get(pk=pk).app_label
    wait_a_little()
    return str(found)


def text_by_hand(pk: int) -> str:
    """Do the same with a cache, as one does without a library."""
    found = cache.get(pk)
    if found is None:
        found = text(pk)
        cache.set(pk, found)
    return str(found)


def table() -> Any:
    """Return the manager of a model of Django's that has a text."""
    return apps.get_model("contenttypes", "ContentType")._default_manager


def wait_a_little() -> None:
    """Let other greenlets run."""
    gevent.sleep(random.random() * LONGEST_SECONDS)


class Visitors:
    """What a greenlet does."""

    def __init__(self, *functions: CachedQuery[[int], str]) -> None:
        """Fill the table."""
        self.functions = functions
        self.rows = [Row(pk) for pk in ROWS]
        table().bulk_create(table().model(pk=row.pk, app_label=row.text, model="m") for row in self.rows)

    def visit(self) -> None:
        """Read and write, in any order."""
        seldom = [self.write, self.write, self.write_and_roll_back]
        often = [*[self.read] * 20, *[self.read_until_a_timeout] * 10, *[self.read_by_hand] * 10, *[self.gather] * 5]
        for _ in range(TURNS):
            random.choice(often + seldom)()
        connection.close()

    def read(self) -> None:
        """Read a row."""
        row, function = random.choice(self.rows), random.choice(self.functions)
        self.judge("cached", lambda: [function(row.pk)], [row])

    def gather(self) -> None:
        """Read rows together."""
        rows, function = random.sample(self.rows, 3), random.choice(self.functions)
        self.judge("cached", lambda: list(gather(*[function.call(row.pk) for row in rows])), rows)

    def read_by_hand(self) -> None:
        """Read a row by what is no model."""
        row = random.choice(self.rows)
        self.judge("control", lambda: [text_by_hand(row.pk)], [row])

    def read_until_a_timeout(self) -> None:
        """Read a row, and be ended on the way, perhaps."""
        limit = gevent.Timeout.start_new(random.random() * LONGEST_SECONDS)
        try:
            self.read()
        except gevent.Timeout:
            counts["timeouts"] += 1
            connection.close()  # the database may still be about to answer
        finally:
            limit.cancel()

    def write(self) -> None:
        """Write a row, and commit."""
        row, function = random.choice(self.rows), random.choice(self.functions)
        with row.lock:
            version = row.version + 1
            with transaction.atomic():
                table().filter(pk=row.pk).update(app_label=text_of(row.pk, version))
                cache.delete(row.pk)  # where a handler of post_save does it: too early
                wait_a_little()
                counts["own write unseen"] += function(row.pk) != text_of(row.pk, version)
            row.version = version

    def write_and_roll_back(self) -> None:
        """Write a row, read it, and roll back."""
        row, function = random.choice(self.rows), random.choice(self.functions)
        with row.lock, suppress(RolledBackError), transaction.atomic():
            table().filter(pk=row.pk).update(app_label=text_of(row.pk, NEVER_COMMITTED))
            function(row.pk)
            wait_a_little()
            raise RolledBackError

    def judge(self, name: str, read: Callable[[], list[str]], rows: list[Row]) -> None:
        """Read some rows, and count what is another row's, rolled back, or older than what was committed before."""
        oldest = [row.version for row in rows]
        for found, row, version in zip(read(), rows, oldest, strict=True):
            pk, found_version = map(int, found.split(":"))
            counts[f"{name} foreign"] += pk != row.pk
            counts[f"{name} uncommitted"] += found_version == NEVER_COMMITTED
            counts[f"{name} old"] += NEVER_COMMITTED < found_version < version

    def judge_at_rest(self) -> None:
        """Count the rows that read otherwise than they are."""
        for row in self.rows:
            counts["old at rest"] += any(row.text != function(row.pk) for function in self.functions)
        connection.close()


def main() -> dict[str, int]:
    """Run it, and return what was counted."""
    with Memcached() as memcached, Redis() as redis, PostgreSQL() as database:
        settings.configure(
            CACHES={
                "default": {"BACKEND": "cachedeco.backends.memcached.MemcachedCache", "LOCATION": memcached.location},
                "redis": {"BACKEND": "cachedeco.backends.redis.RedisCache", "LOCATION": redis.location},
            },
            CACHEDECO={"ALIASES": ["default", "redis"]},
            DATABASES={"default": postgresql_on(database.port)},
            INSTALLED_APPS=["django.contrib.contenttypes", "cachedeco"],
        )
        django.setup()
        call_command("migrate", verbosity=0)
        on_memcached = cached_query(60, name="on_memcached")(text)
        on_redis = cached_query(60, name="on_redis", cache="redis")(text)
        visitors = Visitors(on_memcached, on_redis)
        gevent.joinall([gevent.spawn(visitors.visit) for _ in range(GREENLETS)], raise_error=True)
        visitors.judge_at_rest()
        counts["hits"] = on_memcached.stats().hits + on_redis.stats().hits
    return dict(counts)


if __name__ == "__main__":
    print(json.dumps(main()))  # noqa: T201 -- that is what it is for
