"""What OPTIONS takes: all that pymemcache's clients do; and the ways to a server."""

import asyncio
import inspect
import json
import socket
import ssl
from pathlib import Path
from socket import SO_KEEPALIVE, SOL_SOCKET
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pymemcache.client.base import Client, KeepaliveOpts
from pymemcache.client.hash import HashClient
from pymemcache.serde import CompressedSerde

from cachedeco.backends.memcached import MemcachedCache, MemcachedConnectionError
from cachedeco.backends.memcached_options import CONNECTION, OPTIONAL, OURS, TIMEOUT_SECONDS, WITHOUT_EFFECT
from cachedeco.backends.serializers import SignedSerde
from cachedeco.backends.server import forget_servers
from tests.backends.caches import WAITS, cache_apart, cache_at, cache_on, opened_by
from tests.backends.on_loops import connections_of, raw_of
from tests.support.cases import in_one_test
from tests.support.servers import HOST, Memcached, free_port

# For 127.0.0.1, until 2120, with its key: it protects nothing.
CERTIFICATE = Path(__file__).parent / "loopback.pem"
# What a site may have told PyMemcacheCache, and what of it has no meaning here.
OF_A_SITE = {
    "dead_timeout": 1,
    "default_noreply": True,
    "ignore_exc": False,
    "lock_generator": None,
    "max_pool_size": 4,
    "no_delay": True,
    "pool_idle_timeout": 60,
    "retry_attempts": 1,
    "retry_timeout": 1,
    "use_pooling": True,
}


class Words:
    """A serde that stores JSON, and notes its keys."""

    def __init__(self) -> None:
        """Note nothing yet."""
        self.keys: list[object] = []

    def serialize(self, key: bytes, value: object) -> tuple[bytes, int]:
        """Return JSON."""
        self.keys.append(key)
        return json.dumps(value).encode(), 7

    def deserialize(self, key: str, value: bytes, flags: int) -> Any:
        """Read JSON."""
        self.keys.append(key)
        assert 7 == flags
        return json.loads(value)


class UnixMemcached(Memcached):
    """A memcached that listens on a Unix socket."""

    def __init__(self, path: Path) -> None:
        """Make a server that is not started yet."""
        super().__init__("-s", str(path))
        self.path = path

    def _answering_pid(self, port: int) -> int:  # noqa: ARG002 -- it has none
        client = Client(str(self.path), **WAITS)
        try:
            return int(client.stats()[b"pid"])
        finally:
            client.close()


class TLSMemcached(Memcached):
    """A memcached that wants TLS, but for the port at which the tests look after it."""

    def __init__(self) -> None:
        """Make a server that is not started yet."""
        super().__init__("-Z", "-o", f"ssl_chain_cert={CERTIFICATE},ssl_key={CERTIFICATE}")
        self.secure_port = free_port()

    def _arguments(self, port: int) -> list[str]:
        arguments = super()._arguments(port)
        arguments[arguments.index(HOST)] = f"notls:{HOST}:{port},{HOST}:{self.secure_port}"
        return arguments


def test_every_option_of_pymemcache_is_known() -> None:
    """Those of its two clients, and no other."""
    theirs = {name for client in (Client, HashClient) for name in inspect.signature(client).parameters}

    assert theirs - {"server", "servers"} == {*CONNECTION, *OPTIONAL, *OURS, *WITHOUT_EFFECT}


def test_options_of_a_site_that_used_djangos_do_no_harm(memcached_server: Memcached) -> None:
    """The entry in CACHES stays as it is, but for its BACKEND; a write is acknowledged all the same."""
    cache = cache_apart(memcached_server, **OF_A_SITE)

    assert [True, False] == [cache.add("key", 1), cache.add("key", 1)]
    assert ["large"] == cache.set_many({"large": "x" * 2**21})


@pytest.mark.parametrize(
    ("name", "expected"),
    [("conect_timeout", "did you mean 'connect_timeout'"), ("MAX_ENTRIES", "it takes allow_unicode_keys, connect_t")],
)
def test_unknown_option_is_an_error(name: str, expected: str) -> None:
    """With what was meant, or with what there is, before anything is sent."""
    with pytest.raises(ImproperlyConfigured, match=f"no option '{name}'; {expected}"):
        cache_at("nowhere", **{name: 1})


@in_one_test(
    [
        ("timeout", "0.5", "a number of seconds, more than 0, or None for no limit"),
        ("timeout", True, "a number of seconds"),
        ("timeout", float("nan"), "a number of seconds"),
        ("connect_timeout", 0, "a number of seconds, more than 0"),
        ("connect_timeout", float("inf"), "a number of seconds, more than 0"),
        ("max_pool_size", "64", "a whole number, or 0 for the default"),
        ("max_pool_size", -1, "a whole number"),
        ("max_pool_size", 1.5, "a whole number"),
        ("pool_idle_timeout", "60", "a number of seconds, or 0 for no limit"),
        ("pool_idle_timeout", -1, "a number of seconds, or 0"),
        ("socket_keepalive", True, r"pymemcache's KeepaliveOpts\(\)"),
        ("serializer", "json.dumps", "a function, not its name"),
        ("hasher", "RendezvousHash", r"an object with add_node\(\) and get_node\(\), not its name"),
    ]
)
def test_value_that_an_option_does_not_take_is_an_error(name: str, value: object, expected: str) -> None:
    """As the text of an environment variable: each command would fail, as if the server were out of reach."""
    with pytest.raises(ImproperlyConfigured, match=f"MemcachedCache has {name}=.*; it takes {expected}"):
        cache_at("nowhere", **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("timeout", 1e-3), ("connect_timeout", None), ("max_pool_size", 0), ("max_pool_size", None)]
    + [("pool_idle_timeout", value) for value in (0, None, float("inf"), 0.5)],
)
def test_value_that_an_option_takes(name: str, value: object) -> None:
    """The ends of its range."""
    assert cache_at("nowhere", **{name: value})._cache


def test_waits_are_short_by_default(memcached_server: Memcached) -> None:
    """Half a second to connect and for an answer, and small packets go at once; all of it can be said otherwise."""
    usual = cache_at(memcached_server.location)
    other = cache_at(memcached_server.location, timeout=None, connect_timeout=None, no_delay=False)

    clients = [opened_by(cache, connects=False) for cache in (usual, other)]

    assert [(TIMEOUT_SECONDS, TIMEOUT_SECONDS, True), (None, None, False)] == [
        (client.connect_timeout, client.timeout, client.no_delay) for client in clients
    ]
    assert 0.2 < TIMEOUT_SECONDS < 1


def test_connection_has_the_options_of_its_client(memcached_server: Memcached) -> None:
    """They reach the socket."""
    keepalive = KeepaliveOpts(idle=35, intvl=8, cnt=5)

    client = opened_by(cache_apart(memcached_server, socket_keepalive=keepalive))

    assert client.sock
    assert 1 == client.sock.getsockopt(SOL_SOCKET, SO_KEEPALIVE)
    assert keepalive == client.socket_keepalive


@pytest.mark.parametrize("prefix", ["site.", b"site."])
def test_key_prefix_is_before_djangos(memcached_server: Memcached, prefix: str | bytes) -> None:
    """That of pymemcache, as text or bytes; a serde sees it where pymemcache shows it."""
    words = Words()
    cache = cache_on(memcached_server, key_prefix=prefix, serde=words)
    cache.set("key", [1])
    client = Client((HOST, memcached_server.port), **WAITS)

    stored = client.get("site.:1:key")

    client.close()
    assert (b"[1]", [1]) == (stored, cache.get("key"))
    assert [b"site.:1:key", ":1:key"] == words.keys


def test_values_are_stored_by_the_serde_of_the_options(memcached_server: Memcached) -> None:
    """A serde, or the two functions that pymemcache took before."""
    compressing = cache_apart(memcached_server, serde=CompressedSerde())
    with_functions = cache_on(
        memcached_server,
        serde=None,
        serializer=lambda _key, value: (repr(value).encode(), 0),
        deserializer=lambda _key, value, _flags: value.decode(),
    )
    compressing.set("long", "x" * 10_000)
    with_functions.set("pair", (1, 2))

    assert ("x" * 10_000, "(1, 2)") == (compressing.get("long"), with_functions.get("pair"))


def test_values_may_be_signed(memcached_server: Memcached) -> None:
    """By our own serde: what it has signed is found, and what a cache without it has stored is not read."""
    signing = cache_apart(memcached_server, serde=SignedSerde(["only for the tests"]))
    plain = MemcachedCache(memcached_server.location, {"KEY_PREFIX": signing.key_prefix, "OPTIONS": WAITS})
    signing.set_many({"signed": {"a": 1}, "number": 1})
    plain.set("planted", {"a": 1})

    found = signing.get_many(["signed", "number", "planted"])

    assert {"signed": {"a": 1}, "number": 1, "planted": None} == found
    assert 2 == signing.incr("number")


@pytest.mark.parametrize(
    ("name", "value"),
    [("serde", "x"), ("serde", json), ("serializer", "x"), ("deserializer", 7), ("hasher", "x"), ("hasher", object)],
)
def test_object_of_another_kind_is_refused(name: str, value: Any) -> None:
    """When the cache is made, and not by each of its commands."""
    with pytest.raises(ImproperlyConfigured, match=f"MemcachedCache has {name}=.*; it takes a"):
        MemcachedCache(f"{HOST}:11211", {"OPTIONS": {name: value}})


@in_one_test(
    [
        *("", [], [""], " ", "there:1;", ":11211", "memcached://there:1", ["there:1", "tcp://there"], "unix:"),
        *("there:", "there:x", "there:0", "there:-1", "there:65536", "there:11211/0", [("", 1)]),
        *(None, [None], 11211, b"there:1", (("there", 11211),), Path("/run/memcached.sock")),
    ]
)
def test_location_that_is_no_server_is_refused(location: Any) -> None:
    """What is missing, empty or a URL would be found out of reach by each command, or be another server."""
    with pytest.raises(ImproperlyConfigured, match=r"MemcachedCache has LOCATION=.*it takes servers as"):
        MemcachedCache(location, {})


@pytest.mark.parametrize("location", ["there", "there:65535", "[::1]:1", "/run/it.sock", [("there", 1), "unix:/it"]])
def test_location_that_is_a_server(location: Any) -> None:
    """Each form that pymemcache knows."""
    assert MemcachedCache(location, {})._cache


# --- ways to a server ---


@pytest.mark.parametrize("form", ["unix:{}", "{}"])
def test_server_on_a_unix_socket(form: str, tmp_path: Path) -> None:
    """By its path, with or without `unix:`."""
    path = tmp_path / "socket"
    cache = MemcachedCache(form.format(path), {"OPTIONS": WAITS})

    with UnixMemcached(path):
        failed = cache.set_many({"key": 1})
        found = cache.get("key")

    assert ([], 1) == (failed, found)
    with pytest.raises(MemcachedConnectionError, match=str(path)):
        cache.set("key", 1)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("there", ("there", 11211)),
        ("there:1", ("there", 1)),
        ("[::1]:1", ("::1", 1)),
        ("unix:/a/b", "/a/b"),
        ("/a/b", "/a/b"),
        (("there", 1), ("there", 1)),
    ],
)
def test_address_is_read_as_pymemcache_reads_it(location: Any, expected: object) -> None:
    """With any LOCATION."""
    cache = MemcachedCache([location], {})

    assert expected == opened_by(cache, connects=False).server


def test_server_with_tls() -> None:
    """The context of the options is used; where it does not trust the server, that is out of reach."""
    trusting, strict = ssl.create_default_context(cafile=CERTIFICATE), ssl.create_default_context()

    with TLSMemcached() as server:
        location = f"{HOST}:{server.secure_port}"
        cache = cache_at(location, **WAITS, tls_context=trusting)
        before = int(server.stats()["total_connections"])
        failed = cache.set_many({"key": 1})
        found = [cache.get("key") for _ in range(3)]
        opened = int(server.stats()["total_connections"]) - before - 1  # that of stats()
        found_by_loop = asyncio.run(cache.aget("key"))
        with pytest.raises(MemcachedConnectionError, match="certificate verify failed"):
            cache_at(location, **WAITS, tls_context=strict).set("key", 1)
        with pytest.raises(MemcachedConnectionError, match="certificate verify failed"):
            asyncio.run(cache_at(location, **WAITS, tls_context=strict).aset("key", 1))
        forget_servers()

    assert ([], [1, 1, 1], 1, 1) == (failed, found, opened, found_by_loop)


def test_event_loop_keeps_a_connection_alive_as_sync_code_does(private_memcached: Memcached) -> None:
    """By the options of the socket."""
    cache = cache_on(private_memcached, socket_keepalive=KeepaliveOpts(idle=7))
    names = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)]

    async def work() -> list[int]:
        await cache.aget("key")
        [connection] = connections_of(cache)
        return [connection._socket.getsockopt(*name) for name in names]

    assert [1, 7] == asyncio.run(work())


def test_socket_module_of_a_project_is_used_by_async_code_too() -> None:
    """So all of it runs in the thread."""
    cache = cache_at("there:1", socket_module=socket)

    assert (False, False) == (cache._cache.natively_async, raw_of(cache).natively_async)
    assert None is asyncio.run(cache.aget("key"))
