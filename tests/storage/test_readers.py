"""Readers: what each of them does, for each cache, and which caches have one of their own."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache, RedisSerializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymemcache.exceptions import MemcacheUnexpectedCloseError

from cachedeco.backends.memcached import MemcachedCache
from cachedeco.backends.serializers import SignedSerde
from cachedeco.storage.access import access_to
from cachedeco.storage.direct_access import bytes_in_pickle, bytes_in_pickles, pickle_bytes
from cachedeco.storage.readers import general_reader, one_by_one
from cachedeco.storage.replies import UNDECODABLE
from tests.storage.places import (
    ALL,
    DIRECT,
    ON_SERVERS,
    SOCKETS,
    Interrupt,
    SoftTimeLimit,
    Wire,
    cache_of,
    release,
)
from tests.support.selection import of_length
from tests.support.servers import Memcached, Redis

Key = Callable[[object], str]

every = pytest.mark.parametrize("kind", ALL)
direct = pytest.mark.parametrize("kind", DIRECT)
on_servers = pytest.mark.parametrize("kind", ON_SERVERS)

# What could be taken for a part of an answer, or for another form of value.
AWKWARD = [
    b"",
    b"\r\n",
    b"END\r\n",
    b"\r\nEND\r\n",
    b"VALUE k 0 3\r\nabc\r\nEND\r\n",
    b"12",
    b"$-1\r\n",
    bytes(range(256)),
]


def is_general(cache: BaseCache) -> bool:
    """Tell whether a cache has no reader of its own."""
    return access_to(cache).read.__qualname__ == general_reader(cache).__qualname__


# --- every reader ---


@every
def test_values_come_in_the_order_of_the_keys(cache: BaseCache, key: Key) -> None:
    """With any key missing, at any place, and if a key is named twice."""
    for name in "abc":
        cache.set(key(name), name.encode())

    found = access_to(cache).read([key(name) for name in "xcaaybz"])

    assert [None, b"c", b"a", b"a", None, b"b", None] == found


@every
def test_keys_that_are_missing_are_none(cache: BaseCache, key: Key) -> None:
    """All of them, too."""
    assert [None, None] == access_to(cache).read([key(1), key(2)])


@every
@pytest.mark.parametrize("value", AWKWARD, ids=repr)
def test_value_is_what_was_stored(cache: BaseCache, key: Key, value: bytes) -> None:
    """Also where it looks like a part of an answer, or like a number."""
    cache.set(key(1), value)
    cache.set(key(2), b"other")

    assert [value, b"other", value] == access_to(cache).read([key(1), key(2), key(1)])


@every
@pytest.mark.parametrize("size", [255, 256, 65_527, 65_535, 65_536, 700_000])
def test_large_value_is_read_whole(cache: BaseCache, key: Key, size: int) -> None:
    """Though it comes in many pieces; and the connection serves the next reader."""
    value = b"END\r\n" * (size // 5) + b"x" * (size % 5)
    cache.set(key(1), value)
    cache.set(key(2), b"small")
    read = access_to(cache).read

    assert [b"small", value, b"small"] == read([key(2), key(1), key(2)])
    assert [b"small"] == read([key(2)])


@every
def test_expired_value_is_missing(cache: BaseCache, key: Key) -> None:
    """As it is for the cache's own `get()`."""
    cache.set(key(1), b"1", 100)
    cache.set(key(1), b"2", 0)

    assert [None] == access_to(cache).read([key(1)])


@every
def test_many_keys_are_read_at_once(cache: BaseCache, key: Key) -> None:
    """Three hundred, every third of which is missing."""
    cache.set_many({key(n): b"%d" % n for n in range(300) if n % 3})

    found = access_to(cache).read([key(n) for n in range(300)])

    assert [b"%d" % n if n % 3 else None for n in range(300)] == found


@every
@pytest.mark.parametrize("value", [7, "text", None, ["list"], 1.5], ids=repr)
def test_value_of_another_kind_is_no_bytes(cache: BaseCache, key: Key, value: object) -> None:
    """Another program's value under our key does no harm to those beside it."""
    cache.set(key(1), value)
    cache.set(key(2), b"ours")

    other, ours = access_to(cache).read([key(1), key(2)])

    assert other in (UNDECODABLE, value)
    assert b"ours" == ours


@direct
@settings(max_examples=of_length(15, soak=200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stored=st.dictionaries(st.text("ab(,)|'#\\{", max_size=4), st.binary(max_size=400), max_size=6),
    asked=st.lists(st.text("ab(,)|'#\\{", max_size=2), min_size=1, max_size=8),
)
def test_reader_equals_the_general_one(cache: BaseCache, key: Key, stored: dict[str, bytes], asked: list[str]) -> None:
    """For any keys and values."""
    cache.set_many({key(name): value for name, value in stored.items()}, 100)
    keys = [key(name) for name in (*asked, *stored)]

    assert general_reader(cache)(keys) == access_to(cache).read(keys)


@on_servers
@pytest.mark.parametrize("interrupt", [Interrupt(), KeyboardInterrupt(), SoftTimeLimit()], ids=repr)
def test_interrupted_reader_leaves_no_answer_behind(
    cache: BaseCache, key: Key, wire: Wire, interrupt: BaseException
) -> None:
    """The next reader gets its own values, though others were on the way when a signal came."""
    cache.set_many({key("mine"): b"mine", key("yours"): b"yours"})
    read = access_to(cache).read
    read([key("mine")])

    wire.interrupt(interrupt)
    with pytest.raises(type(interrupt)):
        read([key("mine"), key("mine")])

    assert [b"yours", None] == read([key("yours"), key("absent")])
    assert [b"mine"] == read([key("mine")])


@pytest.mark.parametrize("kind", ["ours", "redis", "our redis"])
def test_restarted_server_is_read_without_an_error(
    kind: str, key: Key, private_memcached: Memcached, private_redis: Redis
) -> None:
    """All kept connections are dead then, which costs nothing but a new one."""
    server: Memcached | Redis = private_redis if "redis" in kind else private_memcached
    cache = cache_of(kind, server.location)
    read = access_to(cache).read
    read([key(1)])
    server.restart()

    before = read([key(1)])
    cache.set(key(1), b"1")

    assert ([None], [b"1"]) == (before, read([key(1)]))
    release(cache)


@pytest.mark.parametrize("kind", ["memcached", "subclass"])
def test_restarted_server_of_djangos_backend_is_read_again(kind: str, key: Key, private_memcached: Memcached) -> None:
    """One read raises, as Django's own does, and no other."""
    cache = cache_of(kind, private_memcached.location)
    read = access_to(cache).read
    read([key(1)])
    private_memcached.restart()

    with pytest.raises((MemcacheUnexpectedCloseError, ConnectionError)):
        read([key(1)])
    cache.set(key(1), b"1")

    assert [b"1"] == read([key(1)])
    release(cache)


@on_servers
def test_values_are_read_by_one_send(cache: BaseCache, key: Key, wire: Wire, kind: str) -> None:
    """To each server, for any number of keys."""
    servers = 2 if kind == "ours on two servers" else 1
    read = access_to(cache).read
    keys = [key(n) for n in range(20)]
    read(keys)
    wire.sent = 0

    read(keys)

    assert servers == wire.sent


# --- which caches have one ---


@every
def test_cache_has_a_reader_of_its_own(cache: BaseCache, kind: str) -> None:
    """Those that are read often; a subclass may store values in another form, so it is read by its own methods."""
    assert (kind not in DIRECT) == is_general(cache)


class OurSubclass(MemcachedCache):
    """A backend that may do anything."""


class OtherSerializer(RedisSerializer):
    """A serializer that may do anything."""


@pytest.mark.parametrize(
    "cache",
    [
        OurSubclass("there:1", {}),
        MemcachedCache("there:1", {"OPTIONS": {"serde": SignedSerde([b"k" * 16])}}),
        MemcachedCache("there:1", {"OPTIONS": {"key_prefix": b"p"}}),
        PyMemcacheCache(["there:1", "there:2"], {}),
        PyMemcacheCache("there:1", {"OPTIONS": {"use_pooling": True}}),
        PyMemcacheCache("there:1", {"OPTIONS": {"serde": SignedSerde([b"k" * 16])}}),
        PyMemcacheCache("there:1", {"OPTIONS": {"key_prefix": b"p"}}),
        PyMemcacheCache("there:1", {"OPTIONS": {"no_such_option": True}}),
        RedisCache("redis://there:1", {"OPTIONS": {"serializer": OtherSerializer()}}),
        RedisCache("redis://there:1", {"OPTIONS": {"serializer": RedisSerializer(2)}}),
        RedisCache("redis://there:1", {"OPTIONS": {"serializer": "no.such.module"}}),
    ],
    ids=lambda cache: f"{type(cache).__name__} {cache._servers} {sorted(cache._options)}",
)
def test_cache_that_may_store_another_form_is_read_by_its_methods(cache: BaseCache) -> None:
    """A subclass, several servers of Django's backend, or an option that changes what is stored or sent."""
    assert is_general(cache)


class OtherProtocol(LocMemCache):
    """Becomes a LocMemCache that pickles in another form."""


@pytest.mark.parametrize(("cls", "name"), [(LocMemCache, "_expire_info"), (RedisCache, "_serializer")])
def test_cache_without_a_private_attribute_is_read_by_its_methods(cls: Any, name: str) -> None:
    """Another version of Django may have renamed it."""
    cache = cls("redis://there:1", {})
    delattr(cache if cls is LocMemCache else cache._cache, name)

    assert is_general(cache)


def test_local_memory_with_another_protocol_is_read_by_its_methods() -> None:
    """What it stores has another form."""
    cache: Any = LocMemCache("other", {})
    cache.pickle_protocol = 2

    assert is_general(cache)


def test_backend_offers_a_client_of_its_own() -> None:
    """A method of the class returns it, or None."""

    class Offering(LocMemCache):
        """A backend with a quick way."""

        natively_async = False

        def raw_client(self) -> Any:
            """Return what reads."""
            return self

        def read(self, keys: Any) -> list[bytes | None]:
            """Return the keys."""
            return [key.encode() for key in keys]

        read_chunks = one_by_one(read)

    class Inheriting(Offering):
        """A backend that inherits it, and may change what it stores."""

    assert [b"k"] == access_to(Offering("offering", {})).read(["k"])
    assert is_general(Inheriting("inheriting", {}))


# --- one kind ---


def test_local_memory_keeps_the_order_of_use(key: Key) -> None:
    """A value that was read is culled later than one that was not, as by Django's own `get()`."""
    cache = cache_of("locmem", key("culled"), MAX_ENTRIES=2, CULL_FREQUENCY=2)
    cache.set("a", b"a")
    cache.set("b", b"b")

    access_to(cache).read(["a"])
    cache.set("c", b"c")

    assert [b"a", None, b"c"] == access_to(cache).read(["a", "b", "c"])


def test_local_memory_forgets_an_expired_value(key: Key) -> None:
    """As Django's own `get()` does."""
    cache: Any = cache_of("locmem", key("expiring"))
    cache.set("a", b"a", 0)

    access_to(cache).read(["a"])

    assert ({}, {}) == (cache._cache, cache._expire_info)


def test_interrupted_reader_leaves_local_memory_unlocked(key: Key) -> None:
    """A signal's exception between two keys."""

    def keys() -> Any:
        yield "a"
        raise Interrupt

    cache = cache_of("locmem", key("interrupted"))
    read = access_to(cache).read

    with pytest.raises(Interrupt):
        read(keys())

    assert [None] == read(["a"])


def test_server_that_pymemcache_left_out_is_read_again(key: Key, private_memcached: Memcached) -> None:
    """After failures HashClient removes a server, and adds it again later, as a new client."""
    cache: Any = cache_of("memcached", private_memcached.location, retry_attempts=0, dead_timeout=-1, **SOCKETS)
    read = access_to(cache).read
    private_memcached.stop()
    with pytest.raises(ConnectionRefusedError):
        read([key(1)])
    left_out = bool(cache._cache._dead_clients)
    private_memcached.start()
    general_reader(cache)([key(1)])

    cache.set(key(1), b"1")

    assert (True, [b"1"]) == (left_out, read([key(1)]))
    release(cache)


def test_server_that_pymemcache_leaves_out_is_not_asked(key: Key, private_memcached: Memcached) -> None:
    """Its own methods decide when it is tried again."""
    cache: Any = cache_of("memcached", private_memcached.location, retry_attempts=0, ignore_exc=True, **SOCKETS)
    read = access_to(cache).read
    private_memcached.stop()
    read([key(1)])
    private_memcached.start()

    assert [None] == read([key(1)])
    assert cache._cache._dead_clients


def test_unreachable_server_of_several_costs_its_own_keys(key: Key, private_memcached: Memcached) -> None:
    """The others are read as ever; a cache of one such server has no values."""
    with Memcached() as second:
        cache = cache_of("ours", [private_memcached.location, second.location])
        names = [key(n) for n in range(40)]
        cache.set_many(dict.fromkeys(names, b"1"))
        second.kill()

        found = access_to(cache).read(names)

    assert 0 < found.count(b"1") < 40
    assert [None] == access_to(cache_of("ours", second.location)).read([key(1)])
    release(cache)


def test_redis_is_read_where_django_reads(redis_server: Redis, key: Key, private_redis: Redis) -> None:
    """The first server is written to, and the others are read."""
    cache = cache_of("redis", [private_redis.location, redis_server.location])
    replica = cache_of("redis", redis_server.location)
    cache.set(key(1), b"primary")
    replica.set(key(1), b"replica")

    assert [b"replica"] == access_to(cache).read([key(1)])
    for each in (cache, replica):
        release(each)


def test_our_redis_is_read_where_it_is_written(redis_server: Redis, key: Key, private_redis: Redis) -> None:
    """A replica may not have a token yet: `get()` asks one, and the reader does not."""
    cache = cache_of("our redis", [private_redis.location, redis_server.location])
    replica = cache_of("our redis", redis_server.location)
    replica.set(key(1), b"replica")

    written = access_to(cache).writer.set_each([(key(1), b"primary", None)])

    assert ([True], [b"primary"], b"replica") == (written, access_to(cache).read([key(1)]), cache.get(key(1)))
    for each in (cache, replica):
        release(each)


# --- the form of a value in LocMemCache and RedisCache ---


@given(st.binary(max_size=300) | st.integers(65_500, 65_560).map(bytes))
def test_bytes_are_read_from_their_pickle(value: bytes) -> None:
    """Of any length: the form has others for short and long ones."""
    assert value == bytes_in_pickle(pickle_bytes(value)) == pickle.loads(pickle_bytes(value))  # noqa: S301


_found = st.none() | st.one_of(st.binary(min_size=16, max_size=16), st.binary(), st.just(bytes(300))).map(pickle_bytes)


@given(st.lists(_found | st.binary(max_size=60), min_size=1, max_size=9))
def test_pickles_are_taken_apart_together_as_one_by_one(several: list[bytes | None]) -> None:
    """With any bytes before, among or behind the tokens of a hit, of several calls too."""
    assert [*map(bytes_in_pickle, several)] == bytes_in_pickles(several)


@given(st.binary(max_size=60) | st.builds(pickle.dumps, st.none() | st.integers() | st.text() | st.lists(st.binary())))
def test_other_data_are_no_bytes(data: bytes) -> None:
    """Text, numbers, lists and bytes that are no pickle."""
    assert bytes_in_pickle(data) == UNDECODABLE or pickle.loads(data) == bytes_in_pickle(data)  # noqa: S301


def test_end_of_a_pickle_is_looked_at() -> None:
    """Of a usual entry that lacks it, too: it is no pickle."""
    assert UNDECODABLE == bytes_in_pickle(pickle_bytes(bytes(300))[:-1] + b"!")


def test_planted_pickle_runs_no_code() -> None:
    """A reader does not unpickle."""

    class Planted:
        """Calls a function when it is unpickled."""

        def __reduce__(self) -> Any:
            return pytest.fail, ("unpickled",)

    assert UNDECODABLE == bytes_in_pickle(pickle.dumps(Planted()))
