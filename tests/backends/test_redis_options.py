"""What OPTIONS and LOCATION of our Redis backend take: all that Django's do; and the ways to a server."""

import asyncio
import socket
import uuid
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from cachedeco.backends.options import IDLE_SECONDS, MOST_IDLE, TIMEOUT_SECONDS
from cachedeco.backends.redis import RedisCache, RedisCacheConnectionError
from cachedeco.backends.redis_options import CONNECTION, OF_DJANGO, OURS, WITHOUT_EFFECT
from cachedeco.backends.serializers import SignedSerializer
from cachedeco.backends.server import forget_servers
from cachedeco.testing import isolated
from tests.backends.on_loops import connections_of, raw_of
from tests.backends.redis_caches import WAITS, client_of, opened_at, redis_apart, redis_at, redis_on
from tests.backends.test_options import CERTIFICATE
from tests.support.cases import in_one_test
from tests.support.servers import HOST, Redis, free_port

# What a site may have told Django's RedisCache, and what of it has no meaning here.
OF_A_SITE: dict[str, Any] = {
    "db": 1,
    "health_check_interval": 30,
    "max_connections": 1,
    "parser_class": "redis.connection.DefaultParser",
    "pool_class": "redis.BlockingConnectionPool",
    "protocol": 2,
    "retry_on_timeout": True,
    "socket_keepalive": True,
    "timeout": 1,
}


class OwnConnection(redis.Connection):
    """A connection that takes an argument of its own."""

    def __init__(self, *, colour: str, **kwargs: Any) -> None:
        """Take it."""
        self.colour = colour
        super().__init__(**kwargs)


def connection_of(cache: RedisCache) -> Any:
    """Return a connection of a cache's, which is not open."""
    pool = cache._cache._get_connection_pool(write=True)
    return pool.connection_class(**pool.connection_kwargs)


def test_options_of_a_site_that_used_djangos_do_no_harm(redis_server: Redis) -> None:
    """The entry in CACHES stays as it is, but for its BACKEND; what the address says of the database counts."""
    cache = redis_apart(redis_server, **OF_A_SITE)

    assert [True, False] == [cache.add("key", 1), cache.add("key", 1)]
    with client_of(redis_server) as client:
        assert b"1" == client.get(cache.make_key("key"))
    assert set() == set(OF_A_SITE) & set(OURS)


@in_one_test(
    [
        ({"socket_time": 1}, "no option 'socket_time'; did you mean 'socket_timeout'"),
        ({"sentinel": []}, "no option 'sentinel'; did you mean 'sentinels'"),
        ({"SOCKET_TIMEOUT": 1}, "no option 'SOCKET_TIMEOUT'; did you mean 'socket_timeout'"),
        ({"SENTINELS": []}, "no option 'SENTINELS'; did you mean 'sentinels'"),
        (
            {"CLIENT_CLASS": "django_redis.client.DefaultClient"},
            "no option 'CLIENT_CLASS'; for one of django-redis, docs",
        ),
        ({"ssl_cert_reqs": None}, "no option 'ssl_cert_reqs'; "),
        ({"serializer": object()}, "RedisCache has serializer=<object object .*; it takes an object with dumps"),
        ({"sentinels": "redis://there"}, "option sentinels of RedisCache takes a list of URLs"),
        ({"sentinels": [("there", 26379)]}, "option sentinels of RedisCache takes a list of URLs"),
        ({"sentinels": ["there:26379"]}, "or one of its sentinels, is no URL of Redis"),
        ({"socket_timeout": "1"}, "RedisCache has socket_timeout='1'; it takes a number of seconds, more than 0"),
        ({"socket_connect_timeout": 0}, "socket_connect_timeout=0; it takes a number of seconds, more than 0, or None"),
        ({"max_pool_size": "64"}, "max_pool_size='64'; it takes a whole number, or 0 for the default"),
        ({"pool_idle_timeout": -1}, "pool_idle_timeout=-1; it takes a number of seconds, or 0 for no limit"),
    ]
)
def test_option_that_is_none_is_an_error(options: dict[str, Any], expected: str) -> None:
    """With what was meant, before anything is sent."""
    with pytest.raises(ImproperlyConfigured, match=expected):
        redis_at("redis://there", **options)


@in_one_test(
    [
        *("", [], [""], " ", "redis://there;", "there:6379", "redis://:pass/word@there", "http://there", "unix://"),
        *(None, [None], ["redis://there", None], 6379, b"redis://there", Path("/run/redis.sock")),
    ]
)
def test_location_that_is_no_url_is_an_error(location: Any) -> None:
    """It says what one is, and nothing of a password."""
    with pytest.raises(ImproperlyConfigured, match="rediss:// for TLS") as caught:
        RedisCache(location, {})

    assert "word" not in str(caught.value).partition("special")[0]
    assert caught.value.__cause__ is None


def test_unknown_option_in_a_url_is_an_error() -> None:
    """An address may have options, too."""
    with pytest.raises(ImproperlyConfigured, match="no option 'sockettimeout'; did you mean 'socket_timeout'"):
        redis_at("redis://there?sockettimeout=1")


def test_number_in_a_url_that_is_none_is_an_error() -> None:
    """As one of OPTIONS."""
    with pytest.raises(ImproperlyConfigured, match="RedisCache has socket_timeout=-1"):
        redis_at("redis://there?socket_timeout=-1")


@pytest.mark.parametrize("protocol", [2, 3, None])
def test_password_that_no_server_asks_for_is_the_same_to_event_loops(redis_server: Redis, protocol: int | None) -> None:
    """As on a developer's machine: with one protocol it is taken, with the other it is refused."""
    options = {"password": "secret", **({} if protocol is None else {"protocol": protocol})}
    outcomes: list[Any] = []
    for set_key in (lambda cache: cache.set("key", 1), lambda cache: asyncio.run(cache.aset("key", 1))):
        try:
            outcomes.append(set_key(redis_apart(redis_server, **options)))
        except RedisCacheConnectionError as error:
            outcomes.append(str(error).partition("(")[2])
        forget_servers()

    assert outcomes[0] == outcomes[1]
    assert (outcomes[0] is None) == (connection_of(redis_at("redis://there", **options)).protocol == 3)


def test_connection_class_of_a_project_may_take_more() -> None:
    """Its arguments are its own."""
    cache = redis_at("redis://there", connection_class=OwnConnection, colour="red")

    assert "red" == connection_of(cache).colour


def test_waits_are_short_by_default() -> None:
    """Half a second to connect and for an answer; all of it can be said otherwise, in the address, too."""
    caches = [redis_at("redis://there"), redis_at("redis://there?socket_timeout=3", socket_connect_timeout=None)]

    found = [connection_of(cache) for cache in caches]

    assert [(TIMEOUT_SECONDS, TIMEOUT_SECONDS), (3, 3)] == [
        (each.socket_connect_timeout, each.socket_timeout) for each in found
    ]
    assert {"socket_connect_timeout": TIMEOUT_SECONDS, "socket_timeout": TIMEOUT_SECONDS} == CONNECTION


def test_pool_sizes_have_defaults() -> None:
    """Those of our memcached backend; 0 seconds are for ever."""
    pools: list[Any] = [
        redis_at("redis://there", **options)._cache.server_of(None, write=True).pool
        for options in ({}, {"max_pool_size": 3, "pool_idle_timeout": 0})
    ]

    assert [(MOST_IDLE, IDLE_SECONDS), (3, float("inf"))] == [
        tuple(pool._begin_idle.keywords.values()) for pool in pools
    ]
    assert not WITHOUT_EFFECT & {*OURS, *OF_DJANGO, *CONNECTION}


@pytest.mark.parametrize("spelling", ["{one},{two}", "{one};{two}", ["{one}", "{two}"], ("{one} ", " {two}")])
def test_replicas_are_read_as_on_djangos(redis_server: Redis, private_redis: Redis, spelling: Any) -> None:
    """The first is written to, and the others are read by `get()`; what has to be known is asked of the first."""
    places = {"one": private_redis.location, "two": redis_server.location}
    is_text = isinstance(spelling, str)
    location = spelling.format(**places) if is_text else type(spelling)(each.format(**places) for each in spelling)
    cache = RedisCache(location, {"KEY_PREFIX": uuid.uuid4().hex, "OPTIONS": WAITS})
    cache.set("key", "primary")

    assert (None, False, {}) == (cache.get("key"), cache.has_key("key"), cache.get_many(["key"]))
    assert (False, True, 2) == (cache.add("key", 1), cache.touch("key"), cache.incr_version("key"))
    with client_of(private_redis) as client:
        assert [cache.make_key("key", version=2).encode()] == client.keys()


# --- ways to a server ---


def test_user_password_and_database_may_stand_in_the_address() -> None:
    """Percent-encoded where a character has a meaning in addresses; neither stands in an error."""
    with Redis("--user", "judo", "on", ">wo@rd", "~*", "+@all") as server:
        cache = redis_at(f"redis://judo:wo%40rd@{HOST}:{server.port}/3", **WAITS)
        credentials = {"username": "judo", "password": "wo@rd"}
        other = redis_at(f"redis://{HOST}:{server.port}/3", **WAITS, **credentials)
        wrong = redis_at(f"redis://judo:other@{HOST}:{server.port}/3", **WAITS)
        cache.set("key", 1)

        assert 1 == other.get("key") == asyncio.run(cache.aget("key")) == asyncio.run(other.aget("key"))
        with pytest.raises(RedisCacheConnectionError, match="AuthenticationError"):
            asyncio.run(wrong.aset("key", 2))
        assert wrong.get("key", "default") == "default"
        with pytest.raises(RedisCacheConnectionError, match="AuthenticationError") as caught:
            wrong.set("key", 2)
        assert "judo" not in str(caught.value)
        assert "other" not in str(caught.value)


def test_server_on_a_unix_socket(tmp_path: Path) -> None:
    """By its path, with the database behind it."""
    path = tmp_path / "socket"
    cache = redis_at(f"unix://{path}?db=2", **WAITS)

    with Redis("--unixsocket", str(path)):
        failed = cache.set_many({"key": 1})
        found = cache.get("key")
        found_by_loop = asyncio.run(cache.aget("key"))

    assert ([], 1, 1) == (failed, found, found_by_loop)
    with pytest.raises(RedisCacheConnectionError, match=str(path)):
        cache.set("key", 1)


def test_server_with_tls() -> None:
    """By rediss://; a server that is not trusted is out of reach."""
    port = free_port()
    files = {"cert": CERTIFICATE, "key": CERTIFICATE, "ca-cert": CERTIFICATE}
    options = [word for name, path in files.items() for word in (f"--tls-{name}-file", str(path))]

    with Redis("--tls-port", str(port), "--tls-auth-clients", "no", *options) as server:
        location = f"rediss://{HOST}:{port}"
        cache = redis_at(location, **WAITS, ssl_ca_certs=str(CERTIFICATE))
        before = opened_at(server)
        failed = cache.set_many({"key": 1})
        found = [cache.get("key") for _ in range(3)]
        opened = opened_at(server) - before - 1
        found_by_loop = asyncio.run(cache.aget("key"))
        with pytest.raises(RedisCacheConnectionError, match="certificate verify failed"):
            asyncio.run(redis_at(location, **WAITS, ssl_cert_reqs="required").aset("key", 1))
        with pytest.raises(RedisCacheConnectionError, match="certificate verify failed"):
            redis_at(location, **WAITS, ssl_cert_reqs="required").set("key", 1)
        trusting = redis_at(location, **WAITS, ssl_cert_reqs="none", ssl_check_hostname=False)
        again = trusting.get("key")

    assert ([], [1, 1, 1], 1, 1, 1) == (failed, found, opened, found_by_loop, again)


# --- isolation by the test kit ---


def test_options_of_a_connection_hold_on_an_event_loop() -> None:
    """Its name, and what keeps it alive."""
    keep = {"socket_keepalive": True, "socket_keepalive_options": {socket.TCP_KEEPIDLE: 7}}

    with Redis() as server:
        cache = redis_on(server, client_name="judo", **keep)

        async def work() -> tuple[int, list[str]]:
            await cache.aget("key")
            [connection] = connections_of(cache)
            with client_of(server) as client:
                named = [each["name"] for each in client.client_list()]
            return connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), sorted(named)

        assert (7, ["", "judo"]) == asyncio.run(work())


@pytest.mark.parametrize(
    ("location", "options", "expected"),
    [
        ("redis://there:1/2", {}, True),
        ("redis://there", {"protocol": 3, "max_connections": 9, "serializer": SignedSerializer(["x" * 16])}, True),
        ("redis://there", {"credential_provider": redis.UsernamePasswordCredentialProvider("judo", "word")}, False),
        ("redis://there", {"encoding": "utf-16"}, False),
        ("redis://there", {"connection_class": OwnConnection, "colour": "red"}, False),
        ("redis://there?health_check_interval=5", {}, True),
        ("redis://there?encoding=latin-1", {}, False),
        ("rediss://there", {"ssl_cert_reqs": "none"}, True),
        ("rediss://there", {"ssl_validate_ocsp": True}, False),
        ("redis://mymaster", {"sentinels": ["redis://there"]}, True),
        ("redis://mymaster", {"sentinels": ["redis://there", "redis://here?encoding=latin-1"]}, False),
        ("redis://mymaster?encoding=latin-1", {"sentinels": ["redis://there"]}, False),
    ],
)
def test_what_only_redis_py_can_do_runs_in_a_thread(location: str, options: dict[str, Any], expected: bool) -> None:
    """All else runs on event loops, and the cache says so."""
    cache = redis_at(location, **options)

    assert (expected, expected) == (cache._cache.natively_async, raw_of(cache).natively_async)


def test_isolated_tests_see_nothing_of_others(redis_server: Redis) -> None:
    """The scope is before every key, of the cache and of cached functions; clear() deletes nothing of others."""
    from django.core.cache import caches

    from cachedeco import cached_query

    @cached_query(name="tests.redis.isolated", cache="default")
    def double(number: int) -> int:
        return 2 * number

    entry = {
        "BACKEND": "cachedeco.backends.redis.RedisCache",
        "LOCATION": redis_server.location,
        "OPTIONS": WAITS,
        "KEY_PREFIX": "site",
    }
    with override_settings(CACHES={"default": entry}):
        caches["default"].set("key", "production")
        with isolated():
            inside = [caches["default"].get("key"), double(1), double(1)]
            caches["default"].set("key", "test")
            caches["default"].clear()
            after = caches["default"].get("key")
            hits = double.stats().hits
        outside = caches["default"].get("key")

    assert ([None, 2, 2], None, 1, "production") == (inside, after, hits, outside)
