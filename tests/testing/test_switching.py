"""A test that switches the cache on is isolated, or refused, on a server that everybody shares, and again."""

import unittest
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core import mail
from django.core.cache import cache, caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, override_settings
from pytest_django import Settings

from cachedeco import bypass, mode
from cachedeco.testing import CacheAssertions, assert_computations, assert_hits, cache_mode, isolated, isolation
from tests.conftest import CacheConfig, UseCaches
from tests.testing import switching
from tests.testing.cases import BareRunner
from tests.testing.switching import FORMS, clock, look, shown


def outcome(cls: type[unittest.TestCase], runner: type[Any] = BareRunner) -> list[str]:
    """Run a class as Django's runner does, without our own; return what went wrong."""
    chosen = runner(verbosity=0, enable_faulthandler=False)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(cls)
    result = chosen.run_suite(suite)
    assert suite.countTestCases() == result.testsRun or result.errors
    return [text for _, text in [*result.failures, *result.errors]]


@pytest.fixture
def _off(use_caches: UseCaches) -> Iterator[None]:
    """Have the cache off in the settings, and old values on a server that everybody shares."""
    use_caches(default="memcached")
    shown(7)
    cache.set("key", "theirs")
    found = caches.settings, caches["default"], type(caches["default"])
    with override_settings(CACHEDECO={"MODE": "off"}):
        yield
    assert (*found, False) == (caches.settings, caches["default"], type(caches["default"]), isolation._is_in_force)
    assert "theirs" == cache.get("key")


@pytest.mark.usefixtures("_off")
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_that_switches_the_cache_on_is_isolated(form: type[unittest.TestCase]) -> None:
    """No test is served what the server had, what another test has cached, or the run before it."""
    assert [[], []] == [outcome(form), outcome(form)]


@pytest.mark.usefixtures("_off")
def test_mode_outside_of_tests_is_not_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    """In production a block in the mode "on" is served what other processes have stored."""
    monkeypatch.delattr(mail, "outbox")
    monkeypatch.delenv("PYTEST_CURRENT_TEST")

    with mode("on"):
        assert shown.peek(7)


@pytest.mark.usefixtures("_off")
def test_blocks_of_several_threads_share_the_isolation() -> None:
    """The isolation ends with the last block, in whichever order they end."""
    first, second = mode("on"), cache_mode("on")

    first.__enter__()
    second.enable()
    shown(7)
    first.__exit__()
    served = shown.peek(7)
    second.disable()

    assert (7, clock[0]) == served


@pytest.mark.usefixtures("_off")
def test_block_that_can_not_begin_leaves_no_isolation(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt while a block begins ends what was begun for it; the fixture looks."""
    from cachedeco.runtime import modes

    def interrupted(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(modes, "OpenMode", interrupted)

    with pytest.raises(KeyboardInterrupt):
        mode("on").__enter__()


@pytest.mark.usefixtures("_off")
@pytest.mark.parametrize(
    "enter", [bypass, lambda: mode("off"), lambda: cache_mode("off")], ids=["bypass", "off", "off"]
)
def test_mode_that_stays_off_isolates_nothing(enter: Callable[[], Any]) -> None:
    """Where nothing of ours is sent, Django's caches stay as they are."""
    with enter():
        assert "theirs" == cache.get("key")


# --- settings ---


def by_class(changed: dict[str, Any], _: Settings) -> None:
    """Override the settings of a class."""
    [text] = outcome(override_settings(CACHEDECO=changed)(type("Overridden", (SimpleTestCase, switching.Twice), {})))
    raise ImproperlyConfigured(text)


def by_block(changed: dict[str, Any], _: Settings) -> None:
    """Override the settings in a block."""
    with override_settings(CACHEDECO=changed):
        shown(7)


def by_fixture(changed: dict[str, Any], settings: Settings) -> None:
    """Set the settings as pytest-django's fixture does."""
    settings.CACHEDECO = changed


@pytest.mark.usefixtures("_off")
@pytest.mark.parametrize("override", [by_class, by_block, by_fixture])
@pytest.mark.parametrize("changed", [{"MODE": "on"}, {"TIMEOUT": 60}, {}], ids=["on", "another", "empty"])
def test_settings_that_switch_the_cache_on_are_refused(
    override: Callable[[dict[str, Any], Settings], None], changed: dict[str, Any], settings: Settings
) -> None:
    """A dict without MODE switches it on, too: the error says what isolates, and how to change another setting."""
    with pytest.raises(ImproperlyConfigured, match="nothing isolates the caches") as refused:
        override(changed, settings)

    for remedy in ("cache_mode('on')", "IsolatedCacheRunner", "cachedeco_tests = isolated", "'MODE': 'off'"):
        assert remedy in str(refused.value)


@pytest.mark.usefixtures("_off")
@pytest.mark.parametrize("changed", [{"MODE": "off", "TIMEOUT": 60}, {"MODE": "bypass"}, None, 7])
def test_settings_that_serve_nothing_are_not_refused(changed: object) -> None:
    """A faulty setting is told by its own error."""
    with override_settings(CACHEDECO=changed):
        pass


@pytest.mark.usefixtures("_off")
def test_settings_are_not_refused_inside_an_isolation() -> None:
    """What is isolated may be switched on by any means."""
    with isolated(), override_settings(CACHEDECO={"MODE": "on"}):
        look()


def test_isolation_ends_with_the_caches_of_the_settings_in_force(cache_config: CacheConfig, settings: Settings) -> None:
    """CACHES that were overridden before the isolation, and no longer are at its end, are not brought back."""
    found = settings.CACHES

    with override_settings(CACHES={"default": cache_config("dummy")}):
        isolation_of_block = isolated()
        isolation_of_block.__enter__()
    isolation_of_block.__exit__(None, None, None)

    assert found == caches.settings
    assert ":1:key" == cache.make_key("key")[-6:]
    assert isinstance(caches["default"], LocMemCache)


# --- assertions without isolation ---


def test_hit_from_before_the_block_proves_nothing_without_isolation() -> None:
    """A test before may have had the same primary key: each way to count says so, and what isolates."""
    shown(7)

    for block in (lambda: assert_hits(shown, 1), lambda: assert_computations(shown, 0)):
        with pytest.raises(AssertionError, match="nothing isolates the caches") as failed, block():
            shown(7)
        for remedy in ("CacheAssertions, before TestCase", "cache_mode('on')", "IsolatedCacheRunner"):
            assert remedy in str(failed.value)


def test_hit_of_an_entry_of_the_block_needs_no_isolation() -> None:
    """It is the block's own value that is served."""
    shown.invalidate(7)

    with assert_hits(shown, 1), assert_computations(shown, 1):
        assert shown(7) == shown(7)


def test_class_with_assertions_is_isolated() -> None:
    """In the mode of the settings, which is on: again and again, by a runner or by hand."""
    shown(7)

    assert [[], []] == [outcome(switching.Asserting), outcome(switching.Asserting)]
    switching.Asserting("test_one").debug()
    switching.Asserting("test_one").run(result=unittest.TestResult())
    assert not isolation._is_in_force


def test_class_with_assertions_behind_its_base_is_refused() -> None:
    """Python would find the base's run(), and the tests see the values of others: the error has the right order."""
    with pytest.raises(
        TypeError, match=r"Late isolates nothing: write class Late\(CacheAssertions, SimpleTestCase\)\."
    ):
        type("Late", (SimpleTestCase, CacheAssertions), {})
