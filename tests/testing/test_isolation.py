"""Isolation of everything that goes through Django's caches, without clearing anything."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import InvalidCacheBackendError, cache, caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.test import override_settings
from pytest_django import Settings

from cachedeco import cached_query
from cachedeco.runtime import modes
from cachedeco.testing import fresh_scope, isolated, isolation
from cachedeco.testing.isolation import own_scope
from tests.conftest import CacheConfig, UseCaches
from tests.support.backends import Commands, Kind
from tests.support.threads import in_thread


class RealClear(LocMemCache):
    """A cache whose `aclear` does not go through its `clear`."""

    async def aclear(self) -> None:
        """Clear."""
        LocMemCache.clear(self)


def not_a_class(_location: str, _params: dict[str, Any]) -> BaseCache:
    """Make a cache, as far as Django cares."""
    raise NotImplementedError


def traces() -> tuple[object, ...]:
    """Return all that isolation touches."""
    made = [(id(each), type(each), each.make_key("key"), each.key_func) for each in caches.all()]
    module = dict(isolation._classes), isolation._scopes["default"]
    return caches.settings, made, len(setting_changed.receivers), module, modes.current_mode()


def numbers_from_one() -> Callable[[], int]:
    """Return a function that counts its calls."""
    return iter(range(1, 1000)).__next__


def run_to(end: type[BaseException] | None) -> None:
    """Isolate, look at it, and come to this end."""
    with isolated(), override_settings(CACHES={"default": {"BACKEND": "tests.support.backends.RecordingDummy"}}):
        cache.set("key", "mine")
        assert cache.make_key("key").endswith("/:1:key")
        if end:
            raise end


@pytest.fixture
def polluted(backend: Kind) -> Kind:
    """Run the test on every kind of cache, in which there was a value before the isolation."""
    cache.set("key", "theirs")
    return backend


@pytest.mark.usefixtures("polluted")
class TestCommands:
    """Each command, on every kind of cache."""

    @pytest.fixture(autouse=True)
    def _isolated(self, polluted: Kind) -> Iterator[None]:  # noqa: ARG002  before it
        with isolated():
            yield
        assert "theirs" == cache.get("key"), "the test has harmed what others have"

    def test_reads_find_nothing(self) -> None:
        """No read finds what others have."""
        assert cache.get("key") is None
        assert {} == cache.get_many(["key"])
        assert "key" not in cache
        assert not cache.touch("key")
        assert not cache.delete("key")
        with pytest.raises(ValueError, match="not found"):
            cache.incr("key")

    def test_writes_are_read_back(self) -> None:
        """Every write reaches what the test reads, and nothing else."""
        assert cache.add("key", 1)
        assert 2 == cache.incr("key")
        assert 2 == cache.get_or_set("key", 5)
        cache.set_many({"key": 6, "other": 7})
        assert {"key": 6, "other": 7} == cache.get_many(["key", "other", "none"])
        assert cache.touch("other", 100)
        assert 2 == cache.incr_version("other")
        assert (None, 7) == (cache.get("other"), cache.get("other", version=2))
        cache.delete_many(["key"])
        assert cache.get("key") is None

    def test_async_commands_are_isolated(self) -> None:
        """The async twins do the same."""

        async def use() -> list[object]:
            before = await cache.aget("key")
            await cache.aset("key", "mine")
            mine = await cache.aget("key")
            await cache.aclear()
            return [before, mine, await cache.aget("key")]

        assert [None, "mine", None] == async_to_sync(use)()

    def test_clear_forgets_what_the_test_has_stored(self) -> None:
        """clear() does what it is called for, as far as the test goes."""
        cache.set("key", "mine")

        cache.clear()

        assert cache.get("key") is None

    def test_fresh_scope_begins_with_nothing(self) -> None:
        """A fresh scope is an empty cache."""
        cache.set("key", "mine")

        fresh_scope()

        assert cache.get("key") is None

    def test_own_scope_gives_back_what_was_there(self) -> None:
        """A block with a scope of its own sees nothing from before it, and shows nothing after it."""
        cache.set("key", "mine")

        with own_scope():
            assert cache.get("key") is None
            cache.set("key", "inner")

        assert "mine" == cache.get("key")

    def test_cached_functions_are_isolated(self) -> None:
        """A cached function computes once in each scope."""
        count = numbers_from_one()
        numbered = cached_query(name="kit.numbered", ignore=("count",))(lambda: count())  # noqa: PLW0108  a function of Python

        assert [1, 1] == [numbered(), numbered()]
        fresh_scope()
        assert [2, 2] == [numbered(), numbered()]

    def test_sessions_are_isolated(self, settings: Settings) -> None:
        """A session in the cache is there for its test, and for no other one."""
        settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
        session = SessionStore()
        session["club"] = 7
        session.save()

        assert 7 == SessionStore(session.session_key).get("club")
        fresh_scope()
        assert SessionStore(session.session_key).get("club") is None

    def test_keys_at_the_limit_are_taken(self) -> None:
        """The longest key that the server takes is taken with a scope before it, and kept apart from its like."""
        room = 250 - len(cache.make_key("")) + isolation.SCOPE_BYTES * 2 + 1
        keys = ["k" * (room - 1) + last for last in "ab"]

        cache.set_many({key: key[-1] for key in keys})

        assert ["a", "b"] == [cache.get(key) for key in keys]


def test_nested_isolation_gives_back_what_the_outer_one_had(commands: Commands) -> None:
    """A block inside another begins with nothing, and leaves the outer one's values and keys."""
    with isolated():
        cache.set("key", "outer")
        with isolated():
            assert cache.get("key") is None
            cache.clear()
        assert "outer" == cache.get("key")
    assert cache.get("key") is None
    assert "clear" not in commands.names


def test_isolation_itself_sends_no_command(backend: Kind, commands: Commands, settings: Settings) -> None:
    """Beginning, changing scope, clearing and ending reach no cache."""
    assert caches["default"]

    with isolated():
        fresh_scope()
        with own_scope(), isolated(), override_settings(CACHES=settings.CACHES):
            caches["default"].clear()

    assert [] == commands, backend


def test_fresh_scope_outside_isolation_does_nothing() -> None:
    """What a test framework does late, when the isolation has ended, leaves no trace."""
    cache.set("key", "theirs")
    before = traces()

    fresh_scope()

    assert before == traces()
    assert "theirs" == cache.get("key")


@pytest.mark.parametrize("end", [None, AssertionError, ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_isolation_leaves_no_trace(end: type[BaseException] | None, use_caches: UseCaches) -> None:
    """Settings, caches, their classes and what they hold, receivers and mode are as before, however it ends."""
    use_caches(default="locmem", other="memcached")
    before = traces()

    with pytest.raises(end) if end else nullcontext():
        run_to(end)

    assert before == traces()


def test_aclear_of_a_backends_own_is_not_reached(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """A backend's own aclear() must not empty what others have."""
    use_caches(default=cache_config("locmem", BACKEND=f"{__name__}.RealClear"))
    cache.set("key", "theirs")

    with isolated():
        asyncio.run(cache.aclear())

    assert "theirs" == cache.get("key")
    asyncio.run(cache.aclear())
    assert cache.get("key") is None


def test_cache_that_a_module_keeps_is_isolated(use_caches: UseCaches) -> None:
    """A cache object from before the isolation is isolated too, is still the alias's, and is itself again after."""
    use_caches(default="locmem")
    codec = caches["default"]
    codec.set("key", "theirs")

    with isolated():
        assert codec.get("key") is None
        assert codec is caches["default"]
        codec.set("key", "mine")
        with override_settings(CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}):
            assert "mine" == codec.get("key")

    assert "theirs" == codec.get("key")


def test_cache_that_outlives_the_isolation_is_an_ordinary_one(use_caches: UseCaches) -> None:
    """A cache object kept from inside the block puts no scope before keys any more, and clears what it is told to."""
    use_caches(default="locmem")
    with isolated():
        kept = caches["default"]

    kept.set("key", "value")
    assert "value" == cache.get("key")
    kept.clear()

    assert cache.get("key") is None


def test_override_settings_inside_is_isolated(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """Caches that a test puts in the place of the project's are isolated, and so are those it gets back."""
    use_caches(default="locmem")
    entry = cache_config("locmem", LOCATION="elsewhere")
    with override_settings(CACHES={"default": entry}):
        cache.set("key", "theirs")

    with isolated():
        cache.set("key", "project's")
        with override_settings(CACHES={"default": entry, "more": entry}):
            assert (None, None) == (cache.get("key"), caches["more"].get("key"))
        assert "project's" == cache.get("key")


def test_classes_are_made_once(cache_config: CacheConfig) -> None:
    """A run with many override_settings, to as many places, does not fill up with classes."""
    with isolated():
        for number in range(5):
            with override_settings(CACHES={"default": cache_config("locmem", LOCATION=str(number))}):
                cache.set("key", 1)

        assert 1 == len(isolation._classes)


def test_threads_see_what_the_test_sees(use_caches: UseCaches) -> None:
    """A thread from before the isolation, and one from inside, have the test's scope, the latest one."""
    use_caches(default="locmem")
    with ThreadPoolExecutor(max_workers=1) as early:
        early.submit(cache.set, "key", "theirs").result()

        with isolated():
            seen = [early.submit(cache.get, "key").result(), in_thread(lambda: cache.get("key"))]
            cache.set("key", "test's")
            seen += [early.submit(cache.get, "key").result(), in_thread(lambda: cache.get("key"))]
            fresh_scope()
            seen += [early.submit(cache.get, "key").result(), in_thread(lambda: cache.get("key"))]
        after = early.submit(cache.get, "key").result()

    assert [None, None, "test's", "test's", None, None, "theirs"] == [*seen, after]


@pytest.mark.parametrize("entry", [{"BACKEND": "nowhere.Cache"}, {"BACKEND": "tests.support.backends.Nothing"}])
def test_unknown_backend_is_left_to_django(entry: dict[str, str], use_caches: UseCaches) -> None:
    """An alias that Django can't make is no concern of those who don't use it; Django's error comes where one does."""
    use_caches(default="locmem", broken=entry)

    with isolated():
        cache.set("key", 1)
        with pytest.raises(InvalidCacheBackendError, match=entry["BACKEND"]):
            caches["broken"]


def test_entry_without_backend_is_left_to_django(use_caches: UseCaches) -> None:
    """The same for an entry that names no backend."""
    use_caches(default="locmem", broken={})

    with isolated(), pytest.raises(KeyError, match="BACKEND"):
        caches["broken"]


def test_backend_that_is_no_class_is_refused(use_caches: UseCaches) -> None:
    """What can't be isolated is said to be so, rather than left out; and nothing is left behind."""
    use_caches(default="locmem", odd={"BACKEND": f"{__name__}.not_a_class"})
    found = caches.settings

    with pytest.raises(ImproperlyConfigured, match=r"CACHES\['odd'\] can't be isolated: .*no subclass"), isolated():
        pass

    assert found is caches.settings
    assert {} == isolation._classes


def test_isolation_module_has_no_other_attributes() -> None:
    """Asking the module for what it doesn't have is an AttributeError, as of any module."""
    with isolated(), pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        isolation.nothing  # noqa: B018
