"""What the servers behind a cache say of themselves: `stats` of memcached, `INFO` of Redis."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.memcached import PyLibMCCache, PyMemcacheCache
from django.core.cache.backends.redis import RedisCache

from cachedeco.runtime.interrupts import pass_interrupt

Facts = Mapping[str, str]

NOTHING: Final[Facts] = MappingProxyType({})


class ServerReport(NamedTuple):
    """What one server says of itself."""

    name: str  #: host and port, without a password
    product: Literal["memcached", "Redis"]
    facts: Facts = NOTHING  #: what it counts, and how it is
    settings: Facts = NOTHING  #: how it is configured; empty if it does not say
    error: Exception | None = None  #: why it says nothing

    def number(self, name: str) -> int:
        """Return a number that it says; 0 if it does not say it."""
        text = self.facts.get(name) or self.settings.get(name) or ""
        return int(text) if text.isdecimal() else 0


def ask_servers(cache: BaseCache) -> list[ServerReport]:
    """
    Return what the servers of a cache say; nothing for a cache of another kind.

    Known are our backends, Django's for memcached and Redis, django-redis and django-valkey. Of a Redis with replicas
    the primary is asked.
    """
    held: Any = cache
    client = getattr(held, "client", None)
    if isinstance(cache, RedisCache):
        return [_of_redis(lambda: held._cache.get_client(None, write=True))]  # noqa: SLF001
    if callable(getattr(client, "get_client", None)):  # of django-redis and django-valkey
        return [_of_redis(lambda: held.client.get_client(write=True))]
    stats = getattr(type(getattr(held, "_cache", None)), "stats", None)
    if callable(stats):  # of ours: all servers
        return _of_memcached(held._cache.stats(), held._cache.stats("settings"))  # noqa: SLF001
    if isinstance(cache, PyMemcacheCache):
        clients: Mapping[Any, Any] = held._cache.clients  # noqa: SLF001
        names = {name if isinstance(name, str) else "{}:{}".format(*name): each for name, each in clients.items()}
        return _of_memcached(
            {name: _trying(each.stats) for name, each in names.items()},
            {name: _trying(lambda each=each: each.stats("settings")) for name, each in names.items()},
        )
    if isinstance(cache, PyLibMCCache):
        stats = {str(_text(name)): facts for name, facts in held._cache.get_stats()}  # noqa: SLF001
        return _of_memcached(stats, {})
    return []


def _of_redis(client_of: Any) -> ServerReport:
    name = ""
    try:
        client = client_of()
        name = _name_of(client)
        facts = client.info()
    except Exception as error:  # noqa: BLE001 -- a client may raise anything
        pass_interrupt(error)
        return ServerReport(name, "Redis", error=error)
    settings = _trying(lambda: client.config_get("save"))  # a server of a hosting company may refuse it
    return ServerReport(name, "Redis", _texts(facts), _texts({} if isinstance(settings, Exception) else settings))


def _name_of(client: Any) -> str:
    """Return the address of a client of redis-py's; of ours the name of its server, which Sentinels may give."""
    arguments = client.connection_pool.connection_kwargs
    given = getattr(getattr(client, "server", None), "name", None) or arguments.get("path")
    return str(given or f"{arguments.get('host', 'localhost')}:{arguments.get('port', 6379)}")


def _of_memcached(stats: Mapping[str, Any], settings: Mapping[str, Any]) -> list[ServerReport]:
    reports = []
    for name, facts in stats.items():
        if isinstance(facts, Exception):
            reports.append(ServerReport(name, "memcached", error=facts))
        else:
            configured = settings.get(name, {})
            configured = {} if isinstance(configured, Exception) else configured
            reports.append(ServerReport(name, "memcached", _texts(facts), _texts(configured)))
    return reports


def _trying(ask: Any) -> Any:
    """Return an answer, or why there is none."""
    try:
        return ask()
    except Exception as error:  # noqa: BLE001 -- a client may raise anything
        pass_interrupt(error)
        return error


def _texts(facts: Mapping[Any, Any]) -> Facts:
    """Return names and values as texts: one client gives bytes, another numbers."""
    return {_text(name): _text(value) for name, value in facts.items()}


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
