"""
The Redis servers of the process, kept by address and options: more than one cache object uses each.

Django makes a cache object for each thread, and under ASGI for each request; with a pool in the object, each request
opens a connection.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from cachedeco.backends.loops import Loops
from cachedeco.backends.redis_exchanges import endpoint_of
from cachedeco.backends.redis_options import OF_DJANGO, Options, check_arguments, no_url
from cachedeco.backends.redis_pool import AskRole, LoopsOfPrimary, RedisPool, SentinelPool, refuse_replica
from cachedeco.backends.server import Server, kept_server
from cachedeco.backends.sockets import send_nothing_after_close
from cachedeco.storage.redis_connections import UNPARSED, raise_unparsed

# By these redis-py asks each server, on each new connection, for notices of maintenance, which change pools of its own.
# All but Redis Enterprise refuse, and for that it takes a lock of `logging`, which a signal may leave locked for ever.
_NOTICES: Final = ("maint_notifications_config", "maint_notifications_pool_handler")


class Client(redis.Redis):
    """A client of redis-py's, for `cache._cache.get_client()`, and the server that runs the cache's own commands."""

    server: "RedisServer"


class RedisServer(Server):
    """One Redis, or the primary of one service. Thread-safe, and usable after a fork."""

    client: Client


def client_at(location: str, pool_class: type, options: Options, arguments: Mapping[str, Any]) -> Client:
    """
    Return the client of a server, the same object for the same options.

    In a URL with Sentinels, the name of the service is in the place of its host. *arguments* are what redis-py takes,
    with what Django adds to the options, which is another object each time.

    Raises:
        ImproperlyConfigured: It is no such URL, or an option has an unknown name.
    """
    place = ("redis", location, pool_class, options.most_idle, options.idle_seconds, options.sentinels)
    given = sorted((name, value) for name, value in options.client.items() if name not in OF_DJANGO)
    parser = ("parser_class", arguments["parser_class"])
    make = partial(_server, location, pool_class, options, arguments)
    return kept_server(place, (parser, *given), make).client


def _server(location: str, pool_class: type, options: Options, arguments: Mapping[str, Any]) -> RedisServer:
    pool = _pool(pool_class, location, arguments)
    most, seconds = options.most_idle, options.idle_seconds
    connections: RedisPool
    if options.sentinels:
        name = _service_in(location)
        sentinels = [_pool(redis.ConnectionPool, each, _of_sentinels(arguments)) for each in options.sentinels]
        kept = [
            _kept(each, url, _of_sentinels(arguments), most, seconds)
            for each, url in zip(sentinels, options.sentinels, strict=True)
        ]
        ways_to = partial(_ways_to, location, arguments, seconds)
        connections = of_primary = SentinelPool(name, kept, ways_to, most=most, seconds=seconds)
        if endpoint_of(location, pool, arguments, seconds) and all(each.loops for each in kept):
            connections.loops = LoopsOfPrimary(of_primary)
        pool = _sentinel_pool(name, pool, sentinels)
    else:
        name = _name_of(pool.connection_kwargs)
        connections = _kept(pool, location, arguments, most, seconds)
    server = RedisServer(name, connections)
    server.client = Client(connection_pool=pool)
    server.client.server = server
    return server


def _kept(pool: Any, location: str, arguments: Mapping[str, Any], most: int, seconds: float) -> RedisPool:
    """Return the connections to one address."""
    connections = RedisPool(partial(_only, pool), most=most, seconds=seconds)
    endpoint = endpoint_of(location, pool, arguments, seconds)
    connections.loops = endpoint and Loops(endpoint)
    return connections


def _only(pool: Any, *, write: bool) -> Any:  # noqa: ARG001 -- the signature of what chooses one
    return pool


def _pool(pool_class: Any, location: str, arguments: Mapping[str, Any], *, is_primary: bool = False) -> Any:
    """Return a pool of redis-py's: the class and arguments of its connections are those of ours."""
    try:
        pool = pool_class.from_url(location, **arguments)
    except ValueError:
        raise no_url() from None  # not the error: as there
    if issubclass(pool.connection_class, redis.UnixDomainSocketConnection) and not pool.connection_kwargs.get("path"):
        raise no_url()
    kwargs = pool.connection_kwargs
    check_arguments(pool.connection_class, kwargs)
    _ask_for_no_notices(kwargs)
    # No command may be sent twice: the same bytes again would undo what others have written between.
    kwargs["retry"] = Retry(NoBackoff(), 0)
    kwargs["redis_connect_func"] = partial(_begin, kwargs.get("redis_connect_func"), is_primary)
    return pool


def _ask_for_no_notices(kwargs: dict[str, Any]) -> None:
    for name in _NOTICES:
        kwargs.pop(name, None)


def _begin(connect: Any, is_primary: bool, connection: Any) -> None:  # noqa: FBT001 -- called with the connection
    """Begin a connection: what redis-py calls when the socket is connected."""
    send_nothing_after_close(connection._sock)  # noqa: SLF001 -- redis-py has no other way
    if connect is None:
        try:
            connection.on_connect()
        except UNPARSED as error:
            raise_unparsed(error)
    else:
        connect(connection)
    if is_primary:
        refuse_replica(connection)


def _name_of(arguments: Mapping[str, Any]) -> str:
    """Return what errors call a server: never with its password."""
    return str(arguments.get("path") or f"{arguments.get('host', 'localhost')}:{arguments.get('port', 6379)}")


# --- Sentinel ---


def _service_in(location: str) -> str:
    """Return the name of the service in a URL. Not its `hostname`, which is in lower case."""
    return unquote(urlsplit(location).netloc.rpartition("@")[2].partition(":")[0])


def _ways_to(
    location: str, arguments: Mapping[str, Any], seconds: float, host: str, port: int
) -> tuple[Any, Loops | None]:
    """Return the pool for the primary at an address, and the connections of event loops."""
    parts = urlsplit(location)
    user, at, _ = parts.netloc.rpartition("@")
    netloc = f"{user}{at}[{host}]:{port}" if ":" in host else f"{user}{at}{host}:{port}"
    place = parts._replace(netloc=netloc).geturl()
    pool = _pool(redis.ConnectionPool, place, arguments, is_primary=True)
    endpoint = endpoint_of(place, pool, arguments, seconds)
    return pool, endpoint and Loops(endpoint._replace(greetings=[*endpoint.greetings, AskRole()]))


def _of_sentinels(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that hold for connections to Sentinels, too: their timeouts, and the protocol."""
    return {name: value for name, value in arguments.items() if name.startswith("socket_") or name == "protocol"}


def _sentinel_pool(service: str, template: Any, sentinels: list[Any]) -> Any:
    """Return redis-py's own pool for a service, for the client."""
    manager = Sentinel([])  # type: ignore[no-untyped-call] # redis-py's
    manager.sentinels = [redis.Redis(connection_pool=each) for each in sentinels]
    unused = ("host", "port", "retry", "redis_connect_func")
    kwargs = {name: value for name, value in template.connection_kwargs.items() if name not in unused}
    is_encrypted = issubclass(template.connection_class, redis.SSLConnection)
    made: Any = SentinelConnectionPool
    pool = made(service, manager, ssl=is_encrypted, retry=Retry(NoBackoff(), 0), **kwargs)
    _ask_for_no_notices(pool.connection_kwargs)
    return pool
