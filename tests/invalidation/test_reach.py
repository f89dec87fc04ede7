"""How far an invalidation reaches: other processes, entries of any age, and no further than it should."""

from collections.abc import Callable

import pytest
from django.core.cache import caches
from django.test import override_settings

from cachedeco import MISSING, Namespace, bypass, cached_query
from tests.conftest import UseCaches
from tests.support.clocks import replace_time
from tests.support.programs import output_of
from tests.support.servers import Memcached

SCRIPT = """
import sys
import django
from django.conf import settings
location, prefix = sys.argv[1:]
backend = "django.core.cache.backends.memcached.PyMemcacheCache"
settings.configure(CACHES={"default": {"BACKEND": backend, "LOCATION": location, "KEY_PREFIX": prefix}})
django.setup()
from cachedeco import Namespace
Namespace("reach", 1).invalidate()
"""


@cached_query(namespace="reach:{number}", timeout=10)
def short(number: int) -> int:
    """Return the number."""
    return number


@cached_query(namespace="reach:{number}", timeout=1000)
def long(number: int) -> int:
    """Return the number."""
    return number


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Give the function that makes seconds pass, for this library and for the cache in memory."""
    now = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    replace_time(monkeypatch, lambda: now[0])

    def seconds_pass(seconds: float) -> None:
        now[0] += seconds

    return seconds_pass


def test_invalidation_reaches_from_another_process(memcached_server: Memcached, use_caches: UseCaches) -> None:
    """
    A process that has never seen the function invalidates its entry by the namespace alone.

    The defect: an invalidation was known only to the process that made it.
    """
    use_caches(default="memcached")
    long(1)

    output_of("-W", "error", "-c", SCRIPT, memcached_server.location, caches["default"].key_prefix)

    assert MISSING is long.peek(1)


def test_invalidation_reaches_what_outlives_its_neighbours(wait: Callable[[float], None]) -> None:
    """
    An entry that lives long is invalidated by its namespace after a short one beside it has ended.

    The defect: the short entry's lifetime became that of the list of what the tag covers.
    """
    long(1)
    short(1)
    wait(11)
    before = (short.peek(1), long.peek(1))

    Namespace("reach", 1).invalidate()

    assert ((MISSING, 1), MISSING) == (before, long.peek(1))


def test_hit_does_not_prolong_the_entry(wait: Callable[[float], None]) -> None:
    """
    An entry ends at its timeout, however often it is asked for.

    The defect: what was found was stored again beside what was missing, and so never expired.
    """
    short(1)
    wait(6)
    during = short.peek(1), short(1)
    wait(6)

    assert ((1, 1), MISSING) == (during, short.peek(1))


def test_writes_of_a_bypassed_process_reach_those_that_cache() -> None:
    """
    A command or worker that bypasses the cache by its settings still invalidates what others have cached.

    The defect: a process with caching disabled wrote without invalidating.
    """
    long(1)

    with override_settings(CACHEDECO={"MODE": "bypass"}), bypass():
        Namespace("reach", 1).invalidate()

    assert MISSING is long.peek(1)
