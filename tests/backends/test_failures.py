"""What each method does where its server is out of reach, and where the server refuses."""

import logging
from pathlib import Path
from socket import create_connection

import pytest
from pymemcache.exceptions import MemcacheClientError, MemcacheIllegalInputError, MemcacheServerError

from cachedeco.backends.memcached import (
    MemcachedCache,
    MemcachedConnectionError,
    MemcachedTimeoutError,
)
from tests.backends.caches import cache_apart, cache_on
from tests.backends.calls import READS, WRITES, called
from tests.backends.products import MEMCACHED
from tests.backends.scripted import Scripted
from tests.support.servers import HOST, Memcached
from tests.support.sides import Side, both

LARGE = "x" * 2**21

ERRORS = {"kill": MemcachedConnectionError, "pause": MemcachedTimeoutError}

out_of_reach = pytest.mark.parametrize("way", ERRORS)


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
@ignoring
def test_lost_writes_are_logged_in_their_order(
    cache: MemcachedCache, side: Side, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is logged once, by the name of the method that was to write."""
    caplog.set_level(logging.ERROR, "cachedeco")

    for name, (arguments, _) in (READS | WRITES).items():
        called(cache, side, name, arguments)

    lost = [record.getMessage().split("(")[1].split(")")[0] for record in caplog.records]
    # Django deletes what it could not set; get_or_set adds; a version is not moved where the value can't be read.
    assert ["add", "set_many", "set", "delete", "add", "touch", "delete", "delete_many"] == lost[:8], way
    assert ["incr", "decr", "incr_version", "incr_version", "clear"] == lost[8:]


class Guarded(Memcached):
    """A memcached that wants a name and a password."""

    def _answering_pid(self, port: int) -> int:
        create_connection((HOST, port)).close()
        return self._running().pid


@both
def test_server_that_wants_a_password_is_out_of_reach(side: Side, tmp_path: Path) -> None:
    """Which pymemcache does not send: reads find nothing, and a write says what the server has said."""
    passwords = tmp_path / "passwords"
    passwords.write_text("ann:secret\n")
    with Guarded("-Y", str(passwords)) as server:
        cache = cache_on(server)

        found = {name: called(cache, side, name, arguments) for name, (arguments, _) in READS.items()}
        for name in ("set", "touch", "delete", "clear"):
            with pytest.raises(MemcachedConnectionError, match=r"CLIENT_ERROR .*authenticat"):
                side.call(getattr(cache, name), *WRITES[name][0])

    assert {name: expected for name, (_, expected) in READS.items()} == found


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
    """As HashClient has it, nothing of the server's is raised; what is wrong with a value, or a key, is."""
    cache = cache_apart(memcached_server, ignore_exc=True)
    cache.set("text", "x")

    assert [None, False] == [cache.set("large", LARGE), cache.add("large", LARGE)]
    with pytest.raises(ValueError, match="not found"):
        cache.incr("text")
    assert ["large"] == cache.set_many({"large": LARGE, "small": 1})
    with pytest.raises(TypeError):
        cache.set("key", {}.keys())
    for name in ("get", "delete", "touch"):
        with pytest.raises(MemcacheIllegalInputError, match="too long"):
            getattr(cache, name)("ä" * 200)
    assert ["set", "add", "incr"] == [
        record.getMessage().split("(")[1].split(")")[0] for record in caplog.records if record.levelname == "ERROR"
    ]


def test_decr_stops_at_zero(memcached_server: Memcached) -> None:
    """As memcached has it, and so Django's own backend for it."""
    cache = cache_apart(memcached_server)
    cache.set("number", 3)

    assert [0, 0, 1] == [cache.decr("number", 10), cache.incr("number", -1), cache.incr("number")]


def test_value_that_cannot_be_read_is_not_there(memcached_server: Memcached) -> None:
    """`has_key()` reads it, as Django's own does, and finds none."""
    cache = cache_apart(memcached_server)
    MEMCACHED.plant(memcached_server, cache.make_key("broken"), b"no pickle")

    assert not cache.has_key("broken")


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


def test_set_many_that_is_answered_by_errors_names_the_keys() -> None:
    """Each key has an answer of its own, for any kind of refusal; anything else is none. More may follow it."""
    answers = b"STORED\r\nSERVER_ERROR out of memory\r\nCLIENT_ERROR bad data chunk\r\nNOT_STORED\r\n"

    with Scripted([answers], [b"STORED\r\nERROR\r\n"]) as server:
        cache = cache_on(server)
        refused = cache.set_many(dict.fromkeys("abcd", 1))
        unknown = cache.set_many(dict.fromkeys("ab", 1))

    assert (["b", "c", "d"], ["a", "b"]) == (refused, unknown)
    assert [1, 1] == [len(commands) for commands in server.heard]


def test_values_that_are_no_bytes_are_encoded(memcached_server: Memcached) -> None:
    """As pymemcache does with what a serde gives, by set_many as by set."""
    cache = cache_apart(memcached_server, serde=None)

    cache.set("a", "ä")
    cache.set_many({"b": "ä", "c": 1})

    assert {"a": "ä".encode(), "b": "ä".encode(), "c": b"1"} == cache.get_many("abc")
