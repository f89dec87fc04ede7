"""The system checks of caches and databases: a warning where there is a reason, and none on the other side of it."""

import sys
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.checks import run_checks
from django.db import connections
from pymemcache.exceptions import MemcacheUnexpectedCloseError
from redis.backoff import NoBackoff
from redis.retry import Retry

from cachedeco import AUTO, cached_query
from cachedeco.backends.redis import RedisCache
from cachedeco.checks.caches import check_caches, check_databases, check_deployment
from cachedeco.invalidation.tables import tables
from tests.conftest import UseCaches
from tests.models import Club
from tests.support.backends import cache_entry
from tests.support.servers import Memcached

OURS = "cachedeco.backends.memcached.MemcachedCache"
OUR_REDIS = "cachedeco.backends.redis.RedisCache"
PYMEMCACHE = "django.core.cache.backends.memcached.PyMemcacheCache"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
REDIS = "django.core.cache.backends.redis.RedisCache"
WAITS = {"connect_timeout": 0.5, "timeout": 0.5}
SOCKET_WAITS = {"socket_connect_timeout": 0.5, "socket_timeout": 0.5}
ONE = "127.0.0.1:11211"
URL = "redis://127.0.0.1:6379/0"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory of the test's own: a file-based cache that is opened makes its directory."""
    monkeypatch.chdir(tmp_path)


@cached_query(name="tests.checks_caches.used")
def used() -> int:
    """Be decorated, for the database that it uses."""
    return 1


class DjangoRedis:
    """What django-redis's backend is to the checks, which may not import it."""


DjangoRedis.__module__, DjangoRedis.__qualname__ = "django_redis.cache", "RedisCache"
DJANGO_REDIS = f"{__name__}.DjangoRedis"


class DjangoValkey:
    """The same for django-valkey."""


DjangoValkey.__module__, DjangoValkey.__qualname__ = "django_valkey.cache", "ValkeyCache"
DJANGO_VALKEY = f"{__name__}.DjangoValkey"
SERVICE = "redis://mymaster/0"
SENTINEL = {"CLIENT_CLASS": "django_redis.client.SentinelClient", "SENTINELS": [("10.0.0.1", 26379)]}
BALANCED = {"load_balancing_strategy": "round_robin"}


class Derived(RedisCache):
    """A backend that may read in any way."""


class IsolationLevel(Enum):
    """As psycopg has it."""

    READ_COMMITTED = 2
    SERIALIZABLE = 4


def found(settings: Any, *, deploy: bool = False, **entry: Any) -> list[str]:
    """Return the ids of what the checks of a cache say of its options: not that its package is missing here."""
    settings.CACHES = {"default": entry}
    checks = [check_caches, check_deployment] if deploy else [check_caches]
    messages = [message for check in checks for message in check()]
    assert all(message.hint and "'default'" in message.msg for message in messages)
    return [(each.id or "").removeprefix("cachedeco.") for each in messages if each.id != "cachedeco.E012"]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"BACKEND": PYMEMCACHE, "LOCATION": ONE}, ["W003"]),
        ({"BACKEND": PYMEMCACHE, "LOCATION": ONE, "OPTIONS": {"timeout": 0.5}}, ["W003"]),
        ({"BACKEND": PYMEMCACHE, "LOCATION": ONE, "OPTIONS": {"connect_timeout": 0.5}}, ["W003"]),
        ({"BACKEND": PYMEMCACHE, "LOCATION": ONE, "OPTIONS": WAITS}, []),
        ({"BACKEND": OURS, "LOCATION": ONE}, []),
        ({"BACKEND": OURS, "LOCATION": ONE, "OPTIONS": {"timeout": None}}, ["W003"]),
        ({"BACKEND": OUR_REDIS, "LOCATION": URL}, []),
        ({"BACKEND": OUR_REDIS, "LOCATION": URL, "OPTIONS": {"socket_timeout": 3}}, []),
        ({"BACKEND": OUR_REDIS, "LOCATION": URL, "OPTIONS": {"socket_connect_timeout": None}}, ["W003"]),
        ({"BACKEND": REDIS, "LOCATION": URL}, ["W003"]),
        ({"BACKEND": REDIS, "LOCATION": URL, "OPTIONS": SOCKET_WAITS}, []),
        ({"BACKEND": REDIS, "LOCATION": f"{URL}?socket_connect_timeout=1&socket_timeout=1"}, []),
        ({"BACKEND": REDIS, "LOCATION": f"{URL}?socket_timeout=1"}, ["W003"]),
        ({"BACKEND": DJANGO_REDIS, "LOCATION": URL}, ["W003"]),
        (
            {
                "BACKEND": DJANGO_REDIS,
                "LOCATION": URL,
                "OPTIONS": {"SOCKET_TIMEOUT": 1, "SOCKET_CONNECT_TIMEOUT": 1},
            },
            [],
        ),
        ({"BACKEND": DJANGO_REDIS, "LOCATION": URL, "OPTIONS": {"CONNECTION_POOL_KWARGS": SOCKET_WAITS}}, []),
        ({"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}, []),
        ({"BACKEND": "no.such.Backend"}, []),
        ({}, []),
    ],
)
def test_client_that_may_wait_for_ever_is_w003(entry: dict[str, Any], expected: list[str], settings: Any) -> None:
    """Both waits are asked for, by the names that each client has for them."""
    assert expected == found(settings, **entry)


@pytest.mark.parametrize(
    ("entry", "missing", "expected"),
    [
        ({"BACKEND": PYMEMCACHE, "LOCATION": ONE, "OPTIONS": WAITS}, "pymemcache", "pymemcache"),
        ({"BACKEND": REDIS, "LOCATION": URL, "OPTIONS": SOCKET_WAITS}, "redis", "redis"),
        ({"BACKEND": "no.such.Backend"}, "", "no.such.Backend"),
        ({}, "", "BACKEND"),
        ({"BACKEND": OURS, "LOCATION": ""}, "", "LOCATION=''"),
        ({"BACKEND": OURS, "LOCATION": ONE, "OPTIONS": {"timeoutt": 1}}, "", "did you mean 'timeout'"),
        ({"BACKEND": OURS, "LOCATION": ONE, "OPTIONS": {"serde": "x"}}, "", "serde='x'"),
        ({"BACKEND": PYMEMCACHE, "LOCATION": ONE, "OPTIONS": {**WAITS, "timeoutt": 1}}, "", "timeoutt"),
    ],
)
def test_cache_that_can_not_be_opened_is_e012(
    entry: dict[str, Any], missing: str, expected: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that is not installed, and what the backend itself refuses: every call would fail."""
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    settings.CACHES = {"default": entry}

    [message] = [each for each in run_checks(tags=["cachedeco"]) if each.id in {"cachedeco.E003", "cachedeco.E012"}]

    assert "Cache 'default' can't be opened" in message.msg
    assert expected in message.msg
    assert message.hint


class Refusing(BaseCache):
    """A backend that tells more than a check may show."""

    def __init__(self, *_: object) -> None:
        """Fail."""
        msg = "no server at\n  redis://ann:hunter2@host"
        raise ValueError(msg)


def test_cache_that_can_not_be_opened_is_shown_without_its_password(settings: Any) -> None:
    """The text of a backend's error may have the whole location; a check shows it in one line."""
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.Refusing"}}

    [message] = [each for each in run_checks(tags=["cachedeco"]) if each.id == "cachedeco.E012"]

    assert "Cache 'default' can't be opened: ValueError: no server at redis://***@host" == message.msg


def test_client_of_pylibmc_says_its_waits_among_the_behaviors(settings: Any) -> None:
    """The place for them is another one there."""
    backend = "django.core.cache.backends.memcached.PyLibMCCache"
    waits = {"connect_timeout": 500, "receive_timeout": 500_000}

    assert [["W003"], []] == [
        found(settings, BACKEND=backend, LOCATION=ONE, OPTIONS={"behaviors": behaviors}) for behaviors in ({}, waits)
    ]


@pytest.mark.parametrize(
    ("backend", "options", "expected"),
    [
        (PYMEMCACHE, {"ignore_exc": True}, ["W004"]),
        (PYMEMCACHE, {"ignore_exc": False}, []),
        (OURS, {"ignore_exc": True}, ["W004"]),
        (OURS, {"ignore_exc": False}, []),
        (OUR_REDIS, {"ignore_exc": True}, ["W004"]),
        (OUR_REDIS, {"ignore_exc": False}, []),
        (DJANGO_REDIS, {"IGNORE_EXCEPTIONS": True}, ["W004"]),
        (DJANGO_REDIS, {"IGNORE_EXCEPTIONS": False}, []),
    ],
)
def test_client_that_swallows_errors_is_w004(
    backend: str,
    options: dict[str, Any],
    expected: list[str],
    settings: Any,
) -> None:
    """What says of every write that it arrived keeps invalidations from being tried again."""
    waits = {**WAITS, "CONNECTION_POOL_KWARGS": SOCKET_WAITS}

    assert expected == found(settings, BACKEND=backend, LOCATION=ONE, OPTIONS={**waits, **options})


@pytest.mark.parametrize("ignores", [True, False])
def test_client_that_swallows_errors_lies(
    ignores: bool,
    private_memcached: Memcached,
    use_caches: UseCaches,
) -> None:
    """The reason for W004: with ignore_exc a write to a dead server is reported as done; without, it raises."""
    use_caches(default=cache_entry("memcached", private_memcached.location, OPTIONS={"ignore_exc": ignores}))
    caches["default"].set_many({"a": 1})
    private_memcached.kill()

    if ignores:
        assert [] == caches["default"].set_many({"a": 1})
    else:
        with pytest.raises(MemcacheUnexpectedCloseError):
            caches["default"].set_many({"a": 1})


@pytest.mark.parametrize(
    ("location", "expected"),
    [([ONE], []), ([ONE, "127.0.0.1:11212"], ["W005"]), (f"{ONE};127.0.0.1:11212", ["W005"]), (ONE, [])],
)
def test_several_memcached_servers_are_w005(location: object, expected: list[str], settings: Any) -> None:
    """However they are written; one server is none to fail over from."""
    assert expected == found(settings, BACKEND=PYMEMCACHE, LOCATION=location, OPTIONS=WAITS)


def test_path_of_a_folder_is_a_location(settings: Any, tmp_path: Path) -> None:
    """A file-based cache may have a `Path`, such as `BASE_DIR / "cache"`, which is no list of servers."""
    assert [] == found(settings, BACKEND="django.core.cache.backends.filebased.FileBasedCache", LOCATION=tmp_path)


def test_several_servers_of_ours_are_none(settings: Any) -> None:
    """It moves no key, and is what W005 tells to use."""
    location = [ONE, "127.0.0.1:11212"]

    assert [] == found(settings, BACKEND=OURS, LOCATION=location)
    settings.CACHES = {"default": {"BACKEND": PYMEMCACHE, "LOCATION": location, "OPTIONS": WAITS}}
    assert [OURS in (message.hint or "") for message in check_caches()] == [True]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"retry_on_timeout": True}, ["W006"]),
        ({"retry_on_timeout": False}, []),
        ({"retry_on_error": [TimeoutError]}, ["W006"]),
        ({"retry_on_error": []}, []),
        ({"retry": Retry(NoBackoff(), 1)}, ["W006"]),
        ({"retry": Retry(NoBackoff(), 0)}, []),
        ({"retry": None}, []),
    ],
    ids=["none", "timeouts", "no timeouts", "errors", "no errors", "one retry", "a Retry of none", "no Retry"],
)
def test_client_that_repeats_writes_is_w006(options: dict[str, Any], expected: list[str], settings: Any) -> None:
    """What redis-py repeats by itself are the same bytes; a policy without a second attempt repeats nothing."""
    assert expected == found(settings, BACKEND=REDIS, LOCATION=URL, OPTIONS={**SOCKET_WAITS, **options})


def test_our_redis_backend_repeats_no_write(settings: Any) -> None:
    """With any options."""
    assert [] == found(settings, BACKEND=OUR_REDIS, LOCATION=URL, OPTIONS={"retry": Retry(NoBackoff(), 9)})


@pytest.mark.parametrize(("given", "expected"), [("true", ["W006"]), ("False", [])])
def test_client_whose_url_says_that_it_repeats_writes_is_w006(given: str, expected: list[str], settings: Any) -> None:
    """The options of a Redis client may stand in its address."""
    location = f"{URL}?socket_timeout=1&retry_on_timeout={given}&socket_connect_timeout=1"

    assert expected == found(settings, BACKEND=REDIS, LOCATION=location)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"BACKEND": REDIS, "LOCATION": [URL]}, []),
        ({"BACKEND": REDIS, "LOCATION": [URL, URL]}, ["E006"]),
        ({"BACKEND": REDIS, "LOCATION": f"{URL},{URL}"}, ["E006"]),
        ({"BACKEND": DJANGO_REDIS, "LOCATION": [URL, URL]}, ["E006"]),
        (
            {
                "BACKEND": DJANGO_REDIS,
                "LOCATION": [URL, URL],
                "OPTIONS": {"CLIENT_CLASS": "django_redis.client.ShardClient"},
            },
            [],
        ),
        ({"BACKEND": DJANGO_REDIS, "LOCATION": SERVICE, "OPTIONS": SENTINEL}, ["E006"]),
        ({"BACKEND": DJANGO_VALKEY, "LOCATION": SERVICE, "OPTIONS": SENTINEL}, ["E006"]),
        ({"BACKEND": DJANGO_REDIS, "LOCATION": [f"{SERVICE}?is_master=1"], "OPTIONS": SENTINEL}, []),
        ({"BACKEND": DJANGO_REDIS, "LOCATION": f"{SERVICE}?is_master=1"}, []),
        ({"BACKEND": DJANGO_REDIS, "LOCATION": f"{SERVICE}?db=1&is_master=0"}, ["E006"]),
        ({"BACKEND": DJANGO_REDIS, "LOCATION": [f"{SERVICE}?is_master={n}" for n in (1, 0)]}, ["E006"]),
        ({"BACKEND": DJANGO_REDIS, "LOCATION": "redis+sentinel://10.0.0.1:26379/mymaster"}, ["E006"]),
        ({"BACKEND": REDIS, "LOCATION": URL, "OPTIONS": {"read_from_replicas": True}}, ["E006"]),
        ({"BACKEND": REDIS, "LOCATION": URL, "OPTIONS": {"read_from_replicas": False}}, []),
        ({"BACKEND": DJANGO_REDIS, "LOCATION": URL, "OPTIONS": {"SLAVE_READ": True}}, ["E006"]),
        ({"BACKEND": DJANGO_REDIS, "LOCATION": URL, "OPTIONS": {"REDIS_CLIENT_KWARGS": BALANCED}}, ["E006"]),
        ({"BACKEND": DJANGO_VALKEY, "LOCATION": [URL, URL]}, ["E006"]),
        ({"BACKEND": PYMEMCACHE, "LOCATION": [URL, URL]}, ["W005"]),
        ({"BACKEND": OURS, "LOCATION": [ONE, ONE]}, []),
        ({"BACKEND": OUR_REDIS, "LOCATION": [URL, URL]}, []),
        ({"BACKEND": f"{__name__}.Derived", "LOCATION": [URL, URL]}, ["E006"]),
        ({"BACKEND": f"{__name__}.Derived", "LOCATION": URL}, []),
    ],
)
def test_redis_with_replicas_is_e006(entry: dict[str, Any], expected: list[str], settings: Any) -> None:
    """
    Each way to read from replicas is one; a client that shards, and the primary behind Sentinel, are none.

    Our own backend reads its tokens from the primary; a class derived from it is not known to.
    """
    waits = {**SOCKET_WAITS, **WAITS, "CONNECTION_POOL_KWARGS": SOCKET_WAITS}

    assert expected == found(settings, **{**entry, "OPTIONS": {**waits, **entry.get("OPTIONS", {})}})


HOST_AND_PORT = ("127.0.0.1", 11211)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"BACKEND": PYMEMCACHE, "LOCATION": [HOST_AND_PORT], "OPTIONS": WAITS}, []),
        ({"BACKEND": PYMEMCACHE, "LOCATION": [HOST_AND_PORT, HOST_AND_PORT], "OPTIONS": WAITS}, ["W005"]),
        ({"BACKEND": OURS, "LOCATION": [HOST_AND_PORT]}, []),
        ({"BACKEND": OURS, "LOCATION": HOST_AND_PORT}, ["E012"]),
        ({"BACKEND": OUR_REDIS, "LOCATION": [None]}, ["E012"]),
        ({"BACKEND": OUR_REDIS, "LOCATION": URL.encode()}, ["E012"]),
        ({"BACKEND": LOCMEM, "OPTIONS": {"MAX_ENTRIES": "many"}}, []),
        ({"BACKEND": LOCMEM, "MAX_ENTRIES": None}, []),
        ({"BACKEND": LOCMEM, "OPTIONS": None}, ["E012"]),
        ({"BACKEND": LOCMEM, "OPTIONS": ["MAX_ENTRIES"]}, ["E012"]),
        ({"BACKEND": DJANGO_REDIS, "OPTIONS": {**SOCKET_WAITS, "CONNECTION_POOL_KWARGS": "none"}}, ["E012"]),
        ({"BACKEND": f"{__name__}.found"}, ["E012"]),
        ({"BACKEND": None}, ["E012"]),
        (None, ["E012"]),
    ],
    ids=repr,
)
def test_cache_that_no_check_can_read_is_no_crash(entry: object, expected: list[str], settings: Any) -> None:
    """What Django takes is no fault, as a server's host and port; of what it does not take, E012 says why."""
    settings.CACHES = {"default": entry}

    messages = run_checks(tags=["cachedeco"], include_deployment_checks=False)

    own = {str(each.id).removeprefix("cachedeco.") for each in messages}
    assert {*expected} == own & {"E012", "W003", "W005"}


@pytest.mark.django_db
def test_table_of_a_database_cache_without_a_name_breaks_no_statement(settings: Any) -> None:
    """A cache that is not used may be wrong; the tables of all others are known."""
    backend = "django.core.cache.backends.db.DatabaseCache"
    settings.CACHES = {"default": {"BACKEND": LOCMEM}, "old": {"BACKEND": backend, "LOCATION": None}}

    made = cached_query(name="tests.checks_caches.names", depends_on=[AUTO])
    names = made(lambda: [club.name for club in Club.objects.all()])
    before = names()
    Club.objects.create(name="North")

    assert ([], ["North"]) == (before, names())
    assert {"none"} == tables().effect_of("SELECT * FROM none").unknown
    assert "cachedeco.E001" not in {each.id for each in run_checks(tags=["cachedeco"])}


@pytest.mark.parametrize(
    ("backend", "expected"),
    [("locmem.LocMemCache", ["W008"]), ("dummy.DummyCache", ["W008"]), ("db.DatabaseCache", [])],
)
def test_cache_of_one_process_is_w008_before_a_deployment(backend: str, expected: list[str], settings: Any) -> None:
    """It is said where several processes are about to run, and at no other time."""
    entry = {"BACKEND": f"django.core.cache.backends.{backend}", "OPTIONS": {"MAX_ENTRIES": 10_000}}

    assert (expected, []) == (found(settings, deploy=True, **entry), found(settings, **entry))


@pytest.mark.parametrize("backend", ["db.DatabaseCache", "filebased.FileBasedCache"])
@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({}, ["W009"]),
        ({"OPTIONS": {"MAX_ENTRIES": 999}}, ["W009"]),
        ({"OPTIONS": {"MAX_ENTRIES": "999"}}, ["W009"]),
        ({"OPTIONS": {"MAX_ENTRIES": 1000}}, []),
    ],
)
def test_cache_of_few_entries_is_w009_before_a_deployment(
    backend: str,
    entry: dict[str, Any],
    expected: list[str],
    settings: Any,
) -> None:
    """Django's default of 300 is few; a thousand is left alone."""
    entry = {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": "somewhere", **entry}

    assert (expected, []) == (found(settings, deploy=True, **entry), found(settings, **entry))


@pytest.mark.parametrize(
    ("vendor", "level", "expected"),
    [
        ("sqlite", None, True),
        ("oracle", None, True),
        ("microsoft", "READ COMMITTED", True),
        ("postgresql", None, False),
        ("postgresql", IsolationLevel.READ_COMMITTED, False),
        ("postgresql", IsolationLevel.SERIALIZABLE, True),
        ("mysql", None, False),
        ("mysql", "read committed", False),
        ("mysql", "repeatable read", True),
    ],
)
@pytest.mark.parametrize("atomic", [True, False])
def test_views_in_which_nothing_is_stored_are_w007(
    vendor: str,
    level: object,
    expected: bool,
    atomic: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ATOMIC_REQUESTS is well at READ COMMITTED, and snapshots are where a view is no transaction."""
    monkeypatch.setattr(type(connections["default"]), "vendor", vendor)
    entry = {"ATOMIC_REQUESTS": atomic, "OPTIONS": {"isolation_level": level} if level else {}}
    monkeypatch.setitem(connections.settings, "default", {**connections.settings["default"], **entry})

    messages = check_databases()

    assert (["cachedeco.W007"] if expected and atomic else []) == [message.id for message in messages]
    assert all(message.hint and "'default'" in message.msg for message in messages)


def test_database_without_autocommit_is_w012(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing tells when the transactions of such a database commit, also if no function names it."""
    monkeypatch.setitem(connections.settings, "other", {**connections.settings["other"], "AUTOCOMMIT": False})

    [message] = check_databases()

    assert "cachedeco.W012" == message.id
    assert message.hint
    assert "'other'" in message.msg


@pytest.mark.parametrize("cachedeco", [{"ALIASES": ["nowhere"]}, {"NONSENSE": 1}])
def test_settings_at_fault_are_left_to_their_own_checks(cachedeco: dict[str, Any], settings: Any) -> None:
    """What E001 and E002 say is not said again, and breaks no check."""
    settings.CACHEDECO = cachedeco

    messages = run_checks(tags=["cachedeco"], include_deployment_checks=True)

    assert {"cachedeco.E001", "cachedeco.E002"} & {message.id for message in messages}
    # Those of a function's models belong to no setting.
    assert set() == {message.id for message in messages if not message.is_serious()} - {
        "cachedeco.W001",
        "cachedeco.W002",
    }
