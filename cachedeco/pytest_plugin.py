"""
pytest plugin: isolated caches for each test, if the ini option `cachedeco_tests` is set.

pytest imports this in every run of every project that has cachedeco installed: unless the option is set, Django is not
imported, and no hook is called for a test.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cachedeco import Event
    from cachedeco.runtime.validation import ModeName

OPTION = "cachedeco_tests"
CHOICES = ("isolated", "on", "bypass", "off")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini option and its twin on the command line."""
    text = (
        f"isolates the caches of each test: {', '.join(CHOICES)} (the last three set cachedeco's mode too). Default: no"
    )
    parser.addini(OPTION, text, default="")
    parser.getgroup("cachedeco").addoption("--cachedeco", choices=CHOICES, help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and `IsolationHooks` if the option is set; otherwise pytest reports the marker as unknown."""
    choice = config.getoption("--cachedeco") or config.getini(OPTION)
    if not choice:
        return
    if choice not in CHOICES:
        msg = f"{OPTION} = {choice} in the ini file is unknown; accepted are {', '.join(CHOICES)}."
        raise pytest.UsageError(msg)
    config.addinivalue_line("markers", "cache_mode(name): run the test with cachedeco in a mode: on, bypass or off.")
    config.pluginmanager.register(IsolationHooks(choice), "cachedeco-isolation")


class IsolationHooks:
    """The hooks that isolate tests; registered only if the option is set."""

    def __init__(self, choice: str) -> None:
        """Store the choice."""
        self._choice = choice

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Refuse a marker without a valid mode, before any test runs."""
        from cachedeco.runtime.validation import MODES

        for item in items:
            marker = item.get_closest_marker("cache_mode")
            if marker and (len(marker.args) != 1 or marker.args[0] not in MODES or marker.kwargs):
                msg = f"{item.nodeid}: {marker!r} takes one of {', '.join(MODES)}."
                raise pytest.UsageError(msg)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Isolate the caches while tests run, and restore them afterwards."""
        if session.config.pluginmanager.hasplugin("dsession"):  # pytest-xdist: the tests run in other processes
            return (yield)
        require_settings()
        from cachedeco.testing import cache_mode, isolated

        with isolated(), cache_mode(None if self._choice == "isolated" else self._choice):  # type: ignore[arg-type] # CHOICES
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Give the test empty caches, and its mode."""
        from cachedeco.testing import cache_mode
        from cachedeco.testing.isolation import own_scope

        marker = item.get_closest_marker("cache_mode")
        with own_scope(), cache_mode(marker.args[0]) if marker else nullcontext():
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Give a repeated test empty caches too: plugins that rerun tests do it inside the protocol."""
        from cachedeco.testing import fresh_scope

        fresh_scope()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        """Separate the entries of a test from those of fixtures of its class, module or session."""
        from cachedeco.testing.isolation import fresh_scope, own_scope

        if fixturedef.scope == "function":
            return (yield)
        with own_scope():
            result = yield
        fixturedef.addfinalizer(fresh_scope)  # finalizers run in reverse order, so before the fixture's own teardown
        return result


def require_settings() -> None:
    """Refuse to isolate caches if Django has no settings."""
    from django.conf import settings

    if not settings.configured and not os.environ.get("DJANGO_SETTINGS_MODULE"):
        msg = f"{OPTION} is set, but Django has no settings: set DJANGO_SETTINGS_MODULE, or use pytest-django."
        raise pytest.UsageError(msg)


@pytest.fixture
def cache_events() -> Iterator["list[Event]"]:
    """Give the list of events of cached functions during the test."""
    from cachedeco.testing import capture_events

    with capture_events() as events:
        yield events


@pytest.fixture
def cache_off() -> Iterator[None]:
    """Run the test with cachedeco off."""
    yield from _in_mode("off")


@pytest.fixture
def cache_bypass() -> Iterator[None]:
    """Run the test with cachedeco bypassed."""
    yield from _in_mode("bypass")


@pytest.fixture
def cache_on() -> Iterator[None]:
    """Run the test with cachedeco on, regardless of the settings."""
    yield from _in_mode("on")


def _in_mode(name: "ModeName") -> Iterator[None]:
    from cachedeco.testing import cache_mode

    with cache_mode(name):
        yield
