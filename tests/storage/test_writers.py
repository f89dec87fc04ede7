"""Writers: what each of them does, for each cache, and which caches have one of their own."""

from collections.abc import Callable
from time import time
from typing import Any

import pytest
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheServerError
from redis import Redis as RedisClient
from redis.exceptions import DataError

from cachedeco.backends.memcached import MemcachedError
from cachedeco.storage.access import access_to
from cachedeco.storage.writers import Acknowledged, GeneralWriter, WholeItem, Writer, delete
from tests.storage.places import ALL, DIRECT, ON_SERVERS, Interrupt, SoftTimeLimit, Wire, cache_of, release
from tests.support.forgetting import is_forgotten
from tests.support.selection import of_length
from tests.support.servers import HOST, Memcached, Redis
from tests.support.threads import PATIENCE_SECONDS

Key = Callable[[object], str]

every = pytest.mark.parametrize("kind", ALL)
direct = pytest.mark.parametrize("kind", DIRECT)
on_servers = pytest.mark.parametrize("kind", ON_SERVERS)

TOO_LARGE = bytes(2**20 + 1)


def seconds_left(cache: Any, key: str) -> float | None:
    """Return for how long a value is kept, as the cache's own server or dictionary says; None is for ever."""
    if type(cache).__name__ == "LocMemCache":
        deadline: float | None = cache._expire_info[key]
        return None if deadline is None else deadline - time()
    [server] = cache._servers
    if server.startswith("redis"):
        client = RedisClient.from_url(server)
        left = client.ttl(key)
        client.close()
    else:
        memcached = Client(server, timeout=PATIENCE_SECONDS)
        left = int(memcached.raw_command(f"mg {key} t").removeprefix(b"HD t"))
        memcached.close()
    return None if left == -1 else left


# --- every writer ---


@every
def test_values_are_stored(cache: BaseCache, key: Key) -> None:
    """Any bytes, as the cache's own `get()` and the reader return them; each is acknowledged."""
    values = [b"", b"1", b"END\r\n", b"\r\nSTORED\r\n", bytes(range(256)), b"x" * 700_000]

    results = access_to(cache).writer.set_each([(key(n), value, 100) for n, value in enumerate(values)])

    assert ([True] * 6, None) == (results, results.error)
    assert values == access_to(cache).read([key(n) for n in range(6)]) == [cache.get(key(n)) for n in range(6)]


@every
def test_value_is_replaced(cache: BaseCache, key: Key) -> None:
    """The last one counts, also within one call."""
    writer = access_to(cache).writer

    first = writer.set_each([(key(1), b"1", 100)])
    then = writer.set_each([(key(1), b"2", 100), (key(2), b"2", 100), (key(1), b"3", 100)])

    assert ([True], [True] * 3) == (first, then)
    assert b"3" == cache.get(key(1))


@every
def test_values_are_added_where_there_are_none(cache: BaseCache, key: Key) -> None:
    """Whether each was stored is told in their order."""
    cache.set_many({key(n): b"there" for n in range(0, 12, 3)})

    results = access_to(cache).writer.add_each([(key(n), b"new", 100 if n % 2 else None) for n in range(12)])

    there = [n % 3 == 0 for n in range(12)]
    assert [not each for each in there] == results
    assert [b"there" if each else b"new" for each in there] == [cache.get(key(n)) for n in range(12)]


@every
def test_expired_value_is_replaced_by_what_is_added(cache: BaseCache, key: Key) -> None:
    """It is not there any more."""
    cache.set(key(1), b"old", 100)
    cache.set(key(1), b"old", 0)

    assert [True] == access_to(cache).writer.add_each([(key(1), b"new", 100)])
    assert b"new" == cache.get(key(1))


@pytest.mark.parametrize("kind", ["ours", "our redis", "locmem", "memcached", "redis", "subclass"])
@pytest.mark.parametrize("method", ["add_each", "set_each"])
def test_each_value_has_a_timeout_of_its_own(cache: BaseCache, key: Key, method: str) -> None:
    """In seconds, None for ever; of more than a month too, which memcached takes for a moment in 1970."""
    timeouts = [100, None, 40 * 24 * 3600, 100, 5000]
    items = [(key(n), b"value", seconds) for n, seconds in enumerate(timeouts)]

    results = getattr(access_to(cache).writer, method)(items)

    assert [True] * 5 == results
    left = [seconds_left(cache, key(n)) for n in range(5)]
    assert timeouts == [pytest.approx(each, abs=60) if each else each for each in left]


@every
def test_many_values_are_stored_at_once(cache: BaseCache, key: Key) -> None:
    """Three hundred, added, and then set."""
    items: list[WholeItem] = [(key(n), b"%d" % n, 100) for n in range(300)]
    writer = access_to(cache).writer

    assert ([True] * 300, [False] * 300, [True] * 300) == (
        writer.add_each(items),
        writer.add_each(items),
        writer.set_each(items),
    )
    assert [value for _, value, _ in items] == access_to(cache).read([key for key, _, _ in items])


@direct
@settings(max_examples=of_length(15, soak=200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["set_each", "add_each"]),
            st.lists(
                st.tuples(st.text("ab(", max_size=2), st.binary(max_size=300), st.none() | st.just(100)), max_size=6
            ),
        ),
        max_size=4,
    )
)
def test_writer_equals_the_general_one(
    cache: BaseCache, key: Key, calls: list[tuple[str, list[tuple[str, bytes, int | None]]]]
) -> None:
    """For any calls in a row, where a call names no key twice: results and what is stored are the same."""
    outcomes = []
    for place, writer in enumerate((access_to(cache).writer, GeneralWriter(cache))):
        own = [(method, list({name: (key((place, name)).replace(" ", ""), value, seconds)
                for name, value, seconds in items}.values())) for method, items in calls]  # fmt: skip
        names = sorted({each for _, items in own for each, _, _ in items})
        cache.delete_many(names)
        results = [getattr(writer, method)(items) for method, items in own]
        outcomes.append((results, [cache.get(each) for each in names]))

    assert outcomes[0] == outcomes[1]


@on_servers
@pytest.mark.parametrize("method", ["add_each", "set_each"])
@pytest.mark.parametrize("interrupt", [Interrupt(), KeyboardInterrupt(), SoftTimeLimit()], ids=repr)
def test_interrupted_writer_leaves_no_answer_behind(
    cache: BaseCache, key: Key, wire: Wire, interrupt: BaseException, method: str
) -> None:
    """What the next command reads is its own answer, though others were on the way when a signal came."""
    cache.set(key("there"), b"there")
    writer = access_to(cache).writer
    write = getattr(writer, method)
    write([(key("first"), b"1", None)])

    wire.interrupt(interrupt)
    with pytest.raises(type(interrupt)):
        write([(key(n), b"1", None) for n in range(3)])

    assert [False, True] == writer.add_each([(key("there"), b"2", None), (key("new"), b"2", None)])
    assert [b"there", b"2", None] == access_to(cache).read([key("there"), key("new"), key("absent")])


@on_servers
@pytest.mark.parametrize("interrupt", [Interrupt(), KeyboardInterrupt(), SoftTimeLimit()], ids=repr)
def test_interrupted_delete_leaves_no_answer_behind(
    cache: BaseCache, key: Key, wire: Wire, interrupt: BaseException
) -> None:
    """What the next command reads is its own answer, though that of a delete was on the way when a signal came."""
    cache.set_many({key("old"): b"old", key("there"): b"there"})

    wire.interrupt(interrupt)
    with pytest.raises(type(interrupt)):
        delete(cache, key("old"))

    assert [b"there", None] == access_to(cache).read([key("there"), key("old")])
    assert (True, False) == (delete(cache, key("there")), delete(cache, key("there")))


@pytest.mark.parametrize(
    ("kind", "sends"), [("ours", 1), ("ours on two servers", 2), ("redis", 1), ("our redis", 1), ("memcached", 3)]
)
@pytest.mark.parametrize("method", ["add_each", "set_each"])
def test_values_are_stored_by_one_send(cache: BaseCache, key: Key, wire: Wire, method: str, sends: int) -> None:
    """To each server; pymemcache's own commands have one timeout each, and here are three."""
    items = [(key(n), b"%d" % n, 100 + n % 3) for n in range(20)]
    write = getattr(access_to(cache).writer, method)
    write(items)
    wire.sent = 0

    write(items)

    assert sends == wire.sent


# --- which caches have one ---


@every
def test_cache_has_a_writer_of_its_own(cache: BaseCache, kind: str) -> None:
    """The caches that have a reader."""
    assert (kind not in DIRECT) == isinstance(access_to(cache).writer, GeneralWriter)


# --- refusals and failures ---


@pytest.mark.parametrize("kind", ["ours", "ours on two servers"])
@pytest.mark.parametrize("method", ["add_each", "set_each"])
def test_refused_value_is_not_acknowledged(cache: BaseCache, key: Key, method: str) -> None:
    """Those beside it are; the connection serves the next command."""
    write = getattr(access_to(cache).writer, method)

    results = write([(key(1), b"1", None), (key(2), TOO_LARGE, None), (key(3), b"3", None)])

    assert [True, False, True] == results
    assert "too large" in str(results.error)
    assert [b"1", None, b"3"] == access_to(cache).read([key(1), key(2), key(3)])


@pytest.mark.parametrize("kind", ["memcached", "subclass"])
@pytest.mark.parametrize("method", ["add_each", "set_each"])
def test_refused_value_raises_what_pymemcache_raises(cache: BaseCache, key: Key, method: str) -> None:
    """It tells no more than that."""
    with pytest.raises(MemcacheServerError):
        getattr(access_to(cache).writer, method)([(key(1), TOO_LARGE, None)])

    assert [None] == access_to(cache).read([key(1)])


@pytest.mark.parametrize("kind", ["redis", "our redis"])
@pytest.mark.parametrize("method", ["add_each", "set_each"])
def test_refusal_of_redis_is_told(key: Key, private_redis: Redis, method: str, kind: str) -> None:
    """By the results and their error; the answers to other commands are read, and the connection is used again."""
    cache = cache_of(kind, private_redis.location)
    client = RedisClient.from_url(private_redis.location)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)

    results = getattr(access_to(cache).writer, method)([(key(1), b"1", None), (key(2), b"2", 100)])
    client.config_set("maxmemory", 0)

    assert [False, False] == results
    assert "maxmemory" in str(results.error)
    assert [None, None] == access_to(cache).read([key(1), key(2)])
    client.close()
    release(cache)


@pytest.mark.parametrize("kind", ["ours", "our redis", "memcached", "redis", "subclass"])
@pytest.mark.parametrize("method", ["add_each", "set_each"])
def test_unreachable_server_raises_or_is_told(
    kind: str, key: Key, private_memcached: Memcached, private_redis: Redis, method: str
) -> None:
    """No value is acknowledged, and there is an error."""
    server: Memcached | Redis = private_redis if "redis" in kind else private_memcached
    cache = cache_of(kind, server.location)
    server.stop()

    error: Exception | None = None
    results = []
    try:
        results = getattr(access_to(cache).writer, method)([(key(1), b"1", None)])
        error = results.error
    except Exception as raised:  # noqa: BLE001 -- each client has its own
        error = raised

    assert error is not None
    assert True not in results
    release(cache)


@pytest.mark.parametrize("method", ["add_each", "set_each"])
def test_unreachable_server_of_several_is_told(key: Key, private_memcached: Memcached, method: str) -> None:
    """The others store their values."""
    with Memcached() as second:
        cache = cache_of("ours", [private_memcached.location, second.location])
        second.kill()

        results = getattr(access_to(cache).writer, method)([(key(n), b"1", None) for n in range(40)])

    assert isinstance(results.error, MemcachedError)
    assert results == [each is not None for each in access_to(cache).read([key(n) for n in range(40)])]
    assert 0 < results.count(True) < 40
    release(cache)


@pytest.mark.parametrize("method", ["add_each", "set_each"])
def test_ignored_failure_is_not_acknowledged(key: Key, private_memcached: Memcached, method: str) -> None:
    """The option `ignore_exc` of pymemcache hides the error, which is no reason to believe that a value was stored."""
    cache: Any = cache_of("memcached", private_memcached.location, ignore_exc=True, retry_attempts=0)
    write = getattr(access_to(cache).writer, method)
    private_memcached.stop()

    first = write([(key(1), b"1", None)])
    left_out = write([(key(1), b"1", None)])

    assert ([False], [False]) == (first, left_out)
    assert cache._cache._failed_clients or cache._cache._dead_clients
    release(cache)


class Reporting(LocMemCache):
    """A cache whose `set_many()` returns what a test says."""

    reported: Any = None

    def set_many(self, *_: Any, **__: Any) -> Any:
        """Store nothing."""
        return self.reported


class WithError(list[str]):
    """Failed keys, and why they failed."""

    error = OSError("gone")


@pytest.mark.parametrize(
    ("reported", "results", "error"),
    [
        (None, [True, True], None),
        ([], [True, True], None),
        (["b"], [True, False], None),
        ({"a"}, [False, True], None),
        (["another"], [False, False], None),
        (False, [False, False], None),
        (WithError("b"), [True, False], WithError.error),
        (WithError(), [True, True], None),
    ],
)
def test_failed_keys_are_read_from_what_set_many_returns(
    reported: object, results: list[bool], error: Exception | None
) -> None:
    """Keys; nothing, as by django-redis; or what names none of the keys, so that all count as failed."""
    cache = Reporting("reporting", {})
    cache.reported = reported

    told = access_to(cache).writer.set_each([("a", b"1", None), ("b", b"2", None)])

    assert (results, error) == (told, told.error)


@pytest.mark.parametrize("kind", ["database"])
def test_database_that_swallows_a_write_is_read_back(
    cache: BaseCache, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django's cache in a database catches "database is locked", and reports success."""
    base_set = DatabaseCache._base_set  # type: ignore[attr-defined]
    monkeypatch.setattr(
        DatabaseCache, "_base_set", lambda self, mode, name, *rest: name == key(1) and base_set(self, mode, name, *rest)
    )

    results = access_to(cache).writer.set_each([(key(1), b"1", 100), (key(2), b"2", 100)])

    assert [True, False] == results


def test_writer_is_a_protocol(key: Key) -> None:
    """The writer of an access is used by its two methods only."""
    writer: Writer = access_to(LocMemCache(key("protocol"), {})).writer

    assert ([], []) == (writer.add_each([]), writer.set_each([]))


@every
def test_nothing_is_stored_by_no_items(cache: BaseCache) -> None:
    """An empty call needs no special case."""
    writer = access_to(cache).writer

    assert ([], []) == (writer.add_each([]), writer.set_each([]))


def test_client_of_memcached_is_given_as_it_is() -> None:
    """A PyMemcacheCache of one server is written to past its hash."""
    assert not isinstance(access_to(PyMemcacheCache(f"{HOST}:1", {})).writer, GeneralWriter)


def test_refusal_that_is_raised_is_kept_by_no_frame() -> None:
    """It leads to the frames that have what was acknowledged."""

    def write() -> None:
        acknowledged = Acknowledged([False])
        acknowledged.error = DataError("too large")
        acknowledged.or_raise()

    assert is_forgotten(write, DataError)
    assert [True] == Acknowledged([True]).or_raise()
