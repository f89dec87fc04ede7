"""Validate `OPTIONS` and `LOCATION` of a Redis cache, and fill in defaults: the options of Django and redis-py."""

from collections.abc import Mapping
from inspect import signature
from typing import Any, Final, NamedTuple

from django.core.exceptions import ImproperlyConfigured

from cachedeco.backends.options import (
    COUNT,
    IDLE_SECONDS,
    IDLE_TIME,
    MOST_IDLE,
    TIMEOUT,
    TIMEOUT_SECONDS,
    Range,
    check_numbers,
)
from cachedeco.runtime.validation import remedy_for

# Our own options: those of our memcached backend that redis-py has no name for, and Sentinels.
OURS: Final[Mapping[str, Any]] = {
    "ignore_exc": False,
    "max_pool_size": MOST_IDLE,
    "pool_idle_timeout": IDLE_SECONDS,
    "sentinels": (),
}
# Options of Django's backend.
OF_DJANGO: Final[Mapping[str, Any]] = {"parser_class": None, "pool_class": None, "serializer": None}
# Options of redis-py's connections, with our defaults; those of others are redis-py's.
CONNECTION: Final[Mapping[str, Any]] = {"socket_connect_timeout": TIMEOUT_SECONDS, "socket_timeout": TIMEOUT_SECONDS}
OUR_NUMBERS: Final[Mapping[str, Range]] = {"max_pool_size": COUNT, "pool_idle_timeout": IDLE_TIME}
# Of `OPTIONS`, or of a URL.
NUMBERS: Final[Mapping[str, Range]] = dict.fromkeys(CONNECTION, TIMEOUT)
FROM_DJANGO_REDIS: Final = "for one of django-redis, docs/how-to/redis.md says what takes its place here."
# Options of redis-py that are accepted, and have no effect on a cache's commands: none is sent twice, and connections
# beyond `max_pool_size` are closed after use; notices of maintenance change pools of redis-py's.
WITHOUT_EFFECT: Final = frozenset(
    {
        *("max_connections", "timeout", "maint_notifications_config"),
        *("retry", "retry_on_error", "retry_on_timeout"),
    }
)


class Options(NamedTuple):
    """`OPTIONS` of a Redis cache, resolved."""

    ignore_exc: bool
    most_idle: int
    idle_seconds: float
    sentinels: tuple[str, ...]  #: URLs
    client: Mapping[str, Any]  #: for Django's client: its own, and redis-py's


def resolve_options(given: Mapping[str, Any]) -> Options:
    """
    Return the options with defaults filled in.

    Raises:
        ImproperlyConfigured: `sentinels` is no list of URLs, or a number is none.
    """
    check_numbers("RedisCache", given, OUR_NUMBERS)
    ours = {**OURS, **{name: value for name, value in given.items() if name in OURS}}
    sentinels = ours["sentinels"]
    if isinstance(sentinels, str) or not all(isinstance(each, str) for each in sentinels):
        msg = (
            "The option sentinels of RedisCache takes a list of URLs, such as"
            ' ["redis://10.0.0.1:26379", "redis://10.0.0.2:26379"].'
        )
        raise ImproperlyConfigured(msg)
    return Options(
        ignore_exc=bool(ours["ignore_exc"]),
        most_idle=ours["max_pool_size"] or MOST_IDLE,
        idle_seconds=ours["pool_idle_timeout"] or float("inf"),
        sentinels=tuple(sentinels),
        client={**CONNECTION, **{name: value for name, value in given.items() if name not in OURS}},
    )


def check_serializer(serializer: object) -> None:
    """
    Refuse what can't serialize: each command would fail.

    Raises:
        ImproperlyConfigured: It lacks a method.
    """
    if not all(callable(getattr(serializer, method, None)) for method in ("dumps", "loads")):
        msg = f"RedisCache has serializer={serializer!r:.80}; it takes an object with dumps() and loads(), or a class."
        raise ImproperlyConfigured(msg)


def check_arguments(connection_class: type, arguments: Mapping[str, Any]) -> None:
    """
    Refuse what redis-py's connections do not take; a class of the project's own may take anything.

    Raises:
        ImproperlyConfigured: An argument, of `OPTIONS` or of a URL, has an unknown name, or is no number.
    """
    check_numbers("RedisCache", arguments, NUMBERS)
    if connection_class.__module__.partition(".")[0] != "redis":
        return
    known = {
        name
        for each in connection_class.__mro__
        for name, parameter in signature(each.__init__).parameters.items()  # type: ignore[misc] # of a class
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    for name in arguments:
        if name not in known:
            usual = sorted({*OURS, *OF_DJANGO, *(known - {"self", "args", "kwargs"})})
            # In capitals: what django-redis and django-valkey call theirs, some of which are the same in small letters.
            is_theirs = name.isupper() and name.lower() not in usual
            remedy = FROM_DJANGO_REDIS if is_theirs else remedy_for(name.lower(), usual)
            msg = f"RedisCache has no option {name!r}; {remedy}"
            raise ImproperlyConfigured(msg)


def check_location(location: object) -> None:
    """
    Refuse what is neither text nor a list of it, as where a variable of the environment is not set.

    Raises:
        ImproperlyConfigured: See `no_url()`.
    """
    several = location if isinstance(location, list | tuple) else [location]
    if not all(isinstance(each, str) for each in several):
        raise no_url()


def no_url() -> ImproperlyConfigured:
    """Return the error for what is no URL of Redis, without it: a part of the password may be in it."""
    return ImproperlyConfigured(
        "A LOCATION of RedisCache, or one of its sentinels, is no URL of Redis. It takes redis://host:port/db,"
        " rediss:// for TLS, and unix:///path; special characters of a password are percent-encoded in it."
    )
