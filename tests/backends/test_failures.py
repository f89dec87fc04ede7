"""What each method does where its server is out of reach, and where the server refuses."""

import copy
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheClientError, MemcacheIllegalInputError, MemcacheServerError

from cachedeco.backends.memcached import (
    MemcachedCache,
    MemcachedConnectionError,
    MemcachedError,
    MemcachedTimeoutError,
)
from cachedeco.storage.breaker import is_outage, is_refused_at_once
from tests.backends.caches import WAITS, cache_apart, cache_on
from tests.backends.scripted import Scripted
from tests.support.servers import HOST, Memcached
from tests.support.sides import Side, both

LARGE = "x" * 2**21

Call = Callable[..., Any]

# By name of the method: its arguments, and what it gives where the server is out of reach.
READS: dict[str, tuple[tuple[object, ...], object]] = {
    "get": (("key", "default"), "default"),
    "get_many": ((["key", "other"],), {}),
    "has_key": (("key",), False),
    "get_or_set": (("key", "default"), "default"),
    "set_many": (({"key": 1, "other": 2},), ["key", "other"]),
}
# ... and what it gives with ignore_exc; a ValueError is what says that there is no such key.
WRITES: dict[str, tuple[tuple[object, ...], object]] = {
    "set": (("key", 1), None),
    "add": (("key", 1), False),
    "touch": (("key",), False),
    "delete": (("key",), False),
    "delete_many": ((["key", "other"],), None),
    "incr": (("key",), ValueError),
    "decr": (("key",), ValueError),
    "incr_version": (("key",), ValueError),
    "decr_version": (("key",), ValueError),
    "clear": ((), None),
}
ERRORS = {"kill": MemcachedConnectionError, "pause": MemcachedTimeoutError}

out_of_reach = pytest.mark.parametrize("way", ERRORS)


def called(cache: MemcachedCache, side: Side, name: str, arguments: tuple[object, ...]) -> object:
    """Return what a method gives on a side, or the type of what it raises."""
    try:
        return side.call(getattr(cache, name), *arguments)
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is compared
        return type(error)


@pytest.fixture
def cache(private_memcached: Memcached, request: pytest.FixtureRequest) -> MemcachedCache:
    """Give a cache whose server was used, and is out of reach."""
    cache = cache_on(private_memcached, **getattr(request, "param", {}))
    cache.set_many({"key": 1, "other": 2})
    getattr(private_memcached, request.getfixturevalue("way"))()
    return cache


ignoring = pytest.mark.parametrize("cache", [{"ignore_exc": True}], indirect=True, ids=["ignore_exc"])


@both
@out_of_reach
def test_server_out_of_reach_has_nothing_and_writes_raise(cache: MemcachedCache, side: Side, way: str) -> None:
    """Reads are misses; what was to be written is raised, returned, or, by get_or_set, given back."""
    reads = {name: called(cache, side, name, arguments) for name, (arguments, _) in READS.items()}
    writes = {name: called(cache, side, name, arguments) for name, (arguments, _) in WRITES.items()}

    assert {name: expected for name, (_, expected) in READS.items()} == reads
    assert dict.fromkeys(WRITES, ERRORS[way]) == writes


@both
@out_of_reach
@ignoring
def test_lost_writes_are_logged_with_ignore_exc(
    cache: MemcachedCache, side: Side, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of them, as an error, and the method returns as if there had been nothing to do."""
    caplog.set_level(logging.ERROR, "cachedeco")
    expected = {name: gives for name, (_, gives) in (READS | WRITES).items()}

    found = {name: called(cache, side, name, arguments) for name, (arguments, _) in (READS | WRITES).items()}

    assert expected == found
    lost = [record.getMessage().split("(")[1].split(")")[0] for record in caplog.records]
    # Django deletes what it could not set; get_or_set adds; a version is not moved where the value can't be read.
    assert ["add", "set_many", "set", "delete", "add", "touch", "delete", "delete_many"] == lost[:8]
    assert ["incr", "decr", "incr_version", "incr_version", "clear"] == lost[8:]
    assert all("key" not in record.getMessage() for record in caplog.records), way


@out_of_reach
def test_get_or_set_calls_once_and_returns(cache: MemcachedCache, way: str) -> None:
    """The callable runs, its own errors are its caller's, and its value is returned though it can't be stored."""
    calls = []

    def failing() -> None:
        raise OSError(way)

    assert "computed" == cache.get_or_set("key", lambda: calls.append(1) or "computed")
    assert [1] == calls
    with pytest.raises(OSError, match=f"^{way}$"):
        cache.get_or_set("key", failing)


@out_of_reach
def test_cachedeco_knows_what_happened(cache: MemcachedCache, way: str) -> None:
    """The breaker takes it for an outage, and knows whether the server could be asked again at once."""
    with pytest.raises(MemcachedError) as caught:
        cache.set("key", 1)

    assert (True, way == "kill") == (is_outage(caught.value), is_refused_at_once(caught.value))


@out_of_reach
def test_error_can_be_copied_and_pickled(cache: MemcachedCache, way: str) -> None:
    """As a test runner, and a task queue, do with it."""
    with pytest.raises(MemcachedError) as caught:
        cache.set("key", 1)

    for error in (copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):  # noqa: S301 -- it is our own
        assert (ERRORS[way], str(caught.value)) == (type(error), str(error))
        assert ("set", caught.value.server) == (error.operation, error.server)


def test_refusals_are_no_failures(memcached_server: Memcached) -> None:
    """What the server has answered is told as Django tells it, or raised as pymemcache raises it."""
    cache = cache_apart(memcached_server)
    cache.set_many({"text": "x", "number": 1})

    assert [False, False, False] == [cache.add("text", 1), cache.touch("missing"), cache.delete("missing")]
    for name in ("set", "add"):
        with pytest.raises(MemcacheServerError, match="too large"):
            getattr(cache, name)("large", LARGE)
    with pytest.raises(MemcacheClientError, match="non-numeric"):
        cache.incr("text")
    with pytest.raises(MemcacheIllegalInputError, match="too long"):
        cache.get("ä" * 200)
    with pytest.raises(MemcacheIllegalInputError, match="too long"):
        cache.set("ä" * 200, 1)
    assert 2 == cache.incr("number")


def test_refusals_are_logged_with_ignore_exc(memcached_server: Memcached, caplog: pytest.LogCaptureFixture) -> None:
    """As HashClient has it, nothing of the server's or of pymemcache's is raised; what is wrong with a value is."""
    cache = cache_apart(memcached_server, ignore_exc=True)
    cache.set("text", "x")

    assert [None, False] == [cache.set("large", LARGE), cache.add("large", LARGE)]
    with pytest.raises(ValueError, match="not found"):
        cache.incr("text")
    assert (None, ["large"]) == (cache.get("ä" * 200), cache.set_many({"large": LARGE, "small": 1}))
    with pytest.raises(TypeError):
        cache.set("key", {}.keys())
    assert ["set", "add", "incr"] == [
        record.getMessage().split("(")[1].split(")")[0] for record in caplog.records if record.levelname == "ERROR"
    ]


def test_decr_stops_at_zero(memcached_server: Memcached) -> None:
    """As memcached has it, and so Django's own backend for it."""
    cache = cache_apart(memcached_server)
    cache.set("number", 3)

    assert [0, 0, 1] == [cache.decr("number", 10), cache.incr("number", -1), cache.incr("number")]


def test_value_that_cannot_be_read_is_missing(memcached_server: Memcached, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; the other keys of the same answer are found. Django's own gives `None` for it."""
    cache = cache_apart(memcached_server)
    cache.set_many({"a": 1, "b": {"c": 2}})
    client = Client((HOST, memcached_server.port), **WAITS)
    client.set(cache.make_key("broken"), b"no pickle", flags=1, noreply=False)
    client.close()

    found = cache.get_many(["a", "broken", "b"])

    assert {"a": 1, "b": {"c": 2}} == found
    assert ("default", False) == (cache.get("broken", "default"), cache.has_key("broken"))
    assert "A value from memcached can't be read, and counts as missing: UnpicklingError" in caplog.text
    assert "Another program, or another serializer, has written it: give each a KEY_PREFIX" in caplog.text


def test_proxy_that_has_no_server_is_out_of_reach() -> None:
    """It answers a read with an error of the server's, which is a miss."""
    with Scripted([b"SERVER_ERROR no backend\r\n"]) as proxy:
        assert "default" == cache_on(proxy).get("key", "default")


@both
@pytest.mark.parametrize("name", READS | WRITES)
def test_server_that_has_too_many_connections_is_out_of_reach(name: str, side: Side) -> None:
    """It says so, and closes the connection: to read is a miss, and a write was not carried out."""
    arguments, expected = READS[name] if name in READS else (WRITES[name][0], MemcachedConnectionError)

    with Scripted([b"ERROR Too many open connections\r\n"]) as server:
        cache = cache_on(server)

        found = called(cache, side, name, arguments)

    assert expected == found


@both
@pytest.mark.parametrize("name", [name for name in READS | WRITES if name != "clear"])
def test_key_that_has_no_bytes_is_its_callers_fault(
    memcached_server: Memcached, name: str, side: Side, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a surrogate pair, as JSON of anybody's may have it: Django's own raises as well, and the server is well."""
    cache = cache_apart(memcached_server)
    _, *rest = (READS | WRITES)[name][0]
    first: object = {"\ud800": 1} if name.endswith("many") else "\ud800"

    found = called(cache, side, name, (first, *rest))

    assert (UnicodeEncodeError, []) == (found, caplog.records)
    assert cache.add("key", 1)


def test_set_many_that_is_answered_by_errors_names_the_keys() -> None:
    """Each key has an answer of its own, whatever kind of refusal it is; anything else is none. More may follow it."""
    answers = b"STORED\r\nSERVER_ERROR out of memory\r\nCLIENT_ERROR bad data chunk\r\nNOT_STORED\r\n"

    with Scripted([answers], [b"STORED\r\nERROR\r\n"]) as server:
        cache = cache_on(server)
        refused = cache.set_many(dict.fromkeys("abcd", 1))
        unknown = cache.set_many(dict.fromkeys("ab", 1))

    assert (["b", "c", "d"], ["a", "b"]) == (refused, unknown)
    assert [1, 1] == [len(commands) for commands in server.heard]


def test_values_that_are_no_bytes_are_encoded(memcached_server: Memcached) -> None:
    """As pymemcache does with what a serde gives, by set_many as by set."""
    cache = cache_apart(memcached_server, serde=None, encoding="utf-8")

    cache.set("a", "ä")
    cache.set_many({"b": "ä", "c": 1})

    assert {"a": "ä".encode(), "b": "ä".encode(), "c": b"1"} == cache.get_many("abc")
    with pytest.raises(MemcacheIllegalInputError, match="encoding='utf-8'"):
        cache_apart(memcached_server, serde=None).set("a", "ä")
