"""What every test is given: a fresh cache; on request real servers, other backends, and the commands sent."""

import gc
import os
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
from _pytest.runner import runtestprotocol
from django.apps import apps
from django.contrib.contenttypes.management import create_contenttypes
from django.core.cache.backends.base import BaseCache
from django.core.management import call_command
from django.db import connections
from django.db.models.signals import post_migrate
from pytest_django import DjangoDbBlocker, Settings

from cachedeco.invalidation import parts
from cachedeco.loading.advice import Advice
from cachedeco.runtime import conf
from cachedeco.runtime.events import Event
from cachedeco.runtime.hooks import emit
from cachedeco.storage.connections import isolate
from tests.support.backends import CACHE_TABLE, PROGRAMS, Commands, Kind, cache_entry, recorded, release_caches
from tests.support.servers import Memcached, Redis, Server
from tests.support.steps import Steps

# A machine that runs two other things misses any deadline; what is slow shows elsewhere.
hypothesis.settings.register_profile(
    "cachedeco", deadline=None, print_blob=True, max_examples=200 if "CACHEDECO_SOAK" in os.environ else 40
)
hypothesis.settings.load_profile("cachedeco")

pytest_plugins = [
    "tests.support.engines",
    "tests.support.judging",
    "tests.support.scheduling",
    "tests.support.selection",
    "tests.support.times",
]

CacheConfig = Callable[..., dict[str, Any]]
SETTINGS = conf.Settings
UseCaches = Callable[..., None]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the garbage collector from what lives until the end: the thousands of tests and the modules."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give a test that runs on the database backend the database, if it has not asked for it itself."""
    callspec = getattr(item, "callspec", None)
    on_database = callspec is not None and callspec.params.get("backend") == "database"
    if on_database and item.get_closest_marker("django_db") is None:
        item.add_marker(pytest.mark.django_db)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """
    Run a test and its fixtures in a context of their own.

    Whenever CACHES is set, Django keeps its caches in another ContextVar, and asgiref compares all there are at each
    change of sides: by the end of the suite those of hundreds of tests, which made an async call five times as slow.
    """
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    copy_context().run(runtestprotocol, item, nextitem=nextitem)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    Put each test database into a file: in memory, threads would share one connection's locks.

    Its connections judge the parse of each text.
    """
    from tests.support.judging import JudgedConnection  # a plugin: pytest is to import it first

    directory = tmp_path_factory.mktemp("databases")
    for alias in connections:
        settings = connections[alias].settings_dict
        settings["TEST"]["NAME"] = str(directory / f"{alias}.sqlite3")
        settings["OPTIONS"]["factory"] = JudgedConnection


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:  # noqa: ARG001
    """
    Make the table of the database cache beside those of the models.

    Content types and permissions, which no test here asks for, are not made anew each time that a test has emptied the
    tables.
    """
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    post_migrate.disconnect(create_contenttypes)
    with django_db_blocker.unblock():
        call_command("createcachetable", CACHE_TABLE, verbosity=0)


@pytest.fixture(scope="session")
def memcached_server() -> Iterator[Memcached]:
    """Give the memcached that the tests share: leave it running, and leave others' keys alone."""
    with Memcached() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """Give the redis that the tests share: leave it running, and leave others' keys alone."""
    with Redis() as server:
        yield server


@pytest.fixture
def private_memcached() -> Iterator[Memcached]:
    """Give a memcached of this test's own, to kill, pause, restart and flush."""
    with Memcached() as server:
        yield server


@pytest.fixture
def private_redis() -> Iterator[Redis]:
    """Give a redis of this test's own, to kill, pause, restart and flush."""
    with Redis() as server:
        yield server


class _Fresh:
    """An isolation of caches that are new for each test, and need no text before their keys."""

    def plain_cache(self, cache: BaseCache, /) -> BaseCache:
        """See `Isolation`."""
        return cache

    def scope_of(self, _cache: BaseCache, /) -> str:
        """See `Isolation`."""
        return ""


@pytest.fixture
def isolated_caches() -> Iterator[None]:
    """
    Isolate the caches: without that nothing which depends on tables is stored in the block of a test.

    Not by the test kit: what uses this is tested where that was deleted, too.
    """
    isolate(_Fresh())
    yield
    isolate(None)


@pytest.fixture
def cache_config(request: pytest.FixtureRequest) -> CacheConfig:
    """
    Give the function that returns an entry of CACHES for a fresh cache.

    `cache_config("memcached", server=private_memcached, OPTIONS={"timeout": 0.1})`: the server is the shared
    one unless given; the rest is added to the entry.
    """

    def config(kind: Kind, *, server: Server | None = None, **entry: Any) -> dict[str, Any]:
        match kind:
            case "memcached" | "ours" | "redis" | "our redis":
                server = server or request.getfixturevalue(f"{PROGRAMS[kind]}_server")
                location: Any = server.location
            case "file":
                location = request.getfixturevalue("tmp_path") / "cache"
            case "database":
                location = CACHE_TABLE
            case _:
                location = request.node.nodeid
        return cache_entry(kind, location, **entry)

    return config


@pytest.fixture
def use_caches(settings: Settings, cache_config: CacheConfig) -> UseCaches:
    """
    Give the function that sets CACHES, an alias each: a kind of cache, or an entry from `cache_config`.

    `use_caches(default="memcached", other=cache_config("redis", TIMEOUT=1))`. To call it again within a test
    makes fresh caches, and forgets the commands recorded.
    """

    def use(**aliases: Kind | dict[str, Any]) -> None:
        settings.CACHES = {
            alias: {**(config if isinstance(config, dict) else cache_config(config)), "ALIAS": alias}
            for alias, config in aliases.items()
        }
        recorded.clear()

    return use


@pytest.fixture(scope="module")
def _unmeasured_processes() -> Iterator[None]:
    """Start processes without coverage.py, which doubles what they take: what they reach is reached in this one too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


@dataclass(frozen=True)
class SettingsWithoutAuto(SETTINGS):
    """The settings of a process whose functions depend on what they say, and on no more."""

    DEPENDS_ON: tuple[Any, ...] = ()


@pytest.fixture(autouse=True)
def _without_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let functions depend on what they say, and on no more: most tests count commands, and are not about AUTO."""
    monkeypatch.setattr(conf, "Settings", SettingsWithoutAuto)
    conf.forget()


@pytest.fixture
def _auto_by_default(_without_auto: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let functions depend on what they read, as they do where nothing else is said."""
    monkeypatch.setattr(conf, "Settings", SETTINGS)
    conf.forget()


@pytest.fixture
def _nothing_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the advice on namespaces be given anew: each is given once in a process, whichever test asks first."""
    advice = Advice(lambda reason: emit(Event("advice", reason=reason)))
    monkeypatch.setattr("cachedeco.functions.invalidation_advice._advice", advice)


@pytest.fixture
def _models_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in the midst of loading models, when a name may lead to one that comes later."""
    monkeypatch.setattr(apps, "models_ready", False)
    monkeypatch.setattr(apps, "ready", False)
    monkeypatch.setattr(parts, "_requests", dict(parts._requests))


@pytest.fixture(autouse=True)
def _fresh_cache(use_caches: UseCaches) -> Iterator[None]:
    """Begin every test with an empty cache in this process's memory, and close what the test has opened."""
    use_caches(default="locmem")
    yield
    release_caches()


@pytest.fixture
def _without_lost_sockets() -> Iterator[None]:
    """Let Python close the sockets that an interrupt has lost in the test that has lost them: it says so."""
    yield
    gc.collect()


@pytest.fixture(params=["locmem", "memcached", "ours", "redis", "database", "file"])
def backend(request: pytest.FixtureRequest, use_caches: UseCaches, _fresh_cache: None) -> Kind:
    """Run the test once on every kind of cache that keeps what it is given; return the kind's name."""
    use_caches(default=request.param)
    kind: Kind = request.param
    return kind


@pytest.fixture
def dummy_backend(use_caches: UseCaches, _fresh_cache: None) -> None:
    """Run the test on Django's DummyCache, which keeps nothing."""
    use_caches(default="dummy")


@pytest.fixture
def faulty_backend(use_caches: UseCaches, _fresh_cache: None) -> None:
    """Run the test on a cache in memory that misbehaves as `tests.support.faults.faulty` says."""
    use_caches(default="faulty")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Give what this process does with its sockets."""
    return Steps(monkeypatch)


@pytest.fixture
def commands(_fresh_cache: None) -> Commands:
    """Give the commands that have reached the test's caches so far; `clear()` forgets them."""
    return recorded
