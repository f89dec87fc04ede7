"""The setting REFRESH = "task", on any Django: what is enqueued, and what a worker refuses."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.core import signing
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from pytest_django import Settings

from cachedeco import MISSING, Event, cached_query, listening
from cachedeco.loading import refreshing
from cachedeco.runtime import conf, validation
from cachedeco.storage.store import Store
from tests.loading.leases.elsewhere import lease_for
from tests.loading.refreshing.conftest import Cached
from tests.support.clocks import Clock
from tests.support.sides import Side, both

tenant = "one"
computed: list[str] = []


def whose() -> str:
    """Return what the functions vary on."""
    return tenant


@cached_query(timeout=60, stale_while_revalidate=60, vary=whose)
def read(number: int) -> str:
    """Tell whose it was."""
    computed.append(tenant)
    return f"{tenant} {number} {len(computed)}"


@cached_query(timeout=60, stale_while_revalidate=60, vary=whose)
async def aread(number: int) -> str:
    """Tell whose it was."""
    computed.append(tenant)
    return f"{tenant} {number} {len(computed)}"


@pytest.fixture
def messages(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the messages in a queue, which no worker takes by itself."""
    queue: list[str] = []
    tasks: Any = ModuleType("cachedeco.loading.refresh_task")
    tasks.refresh = SimpleNamespace(enqueue=queue.append)
    monkeypatch.setitem(sys.modules, "cachedeco.loading.refresh_task", tasks)
    monkeypatch.setattr(validation, "django", SimpleNamespace(VERSION=(6, 0), __version__="6.0"))
    settings.CACHEDECO = {"REFRESH": "task"}
    computed.clear()
    return queue


def of(side: Side) -> Cached:
    """Return the function of a side."""
    return aread if side.is_async else read


@both
def test_task_is_enqueued_and_refreshes_in_the_worker(side: Side, clock: Clock, messages: list[str]) -> None:
    """The caller is served the old value, and so are others, as the lease stands, until a worker has refreshed."""
    cached = of(side)
    side.call(cached, 1)
    clock.now += 60
    lease = lease_for(cached, 1)

    found = side.call(cached, 1), side.call(cached, 1)
    held = Store("default").get_many([lease.key])
    for message in messages:
        refreshing.refresh_from(message)

    assert (("one 1 1",) * 2, "one 1 2", 1, 2) == (found, side.call(cached, 1), len(messages), len(computed))
    assert held


@both
def test_message_that_was_tampered_with_is_refused_before_it_is_unpickled(
    side: Side, clock: Clock, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who can write to the queue, and does not know the SECRET_KEY, can have nothing unpickled."""
    side.call(of(side), 1)
    clock.now += 60
    side.call(of(side), 1)
    [message] = messages
    monkeypatch.setattr(refreshing.pickle, "loads", lambda _: pytest.fail("it was unpickled"))

    for tampered in (message[:-1] + ("a" if message[-1] != "a" else "b"), "x" + message, signing.dumps("x"), ""):
        with pytest.raises(signing.BadSignature):
            refreshing.refresh_from(tampered)


@both
def test_worker_that_finds_another_key_refuses(
    side: Side, clock: Clock, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the worker would compute for another tenant it says so, and computes nothing."""
    side.call(of(side), 1)
    clock.now += 60
    side.call(of(side), 1)
    monkeypatch.setattr(sys.modules[__name__], "tenant", "two")

    with pytest.raises(RuntimeError, match=r"what it varies on is not known there.*REFRESH"):
        refreshing.refresh_from(messages[0])

    assert (["one"], MISSING) == (computed, side.call(of(side).peek, 1))


@both
@pytest.mark.usefixtures("messages")
def test_call_that_can_not_be_pickled_is_an_event(side: Side, clock: Clock) -> None:
    """The caller is served, an event tells why, and the lease is given back."""

    @side.cached(timeout=60, stale_while_revalidate=60)
    def inside() -> int:
        return 1

    side.call(inside)
    clock.now += 60
    lease = lease_for(inside)
    seen: list[Event] = []

    with listening(seen.append):
        found = side.call(inside)

    assert (1, ["error", "stale"], {}) == (found, [each.kind for each in seen], Store("default").get_many([lease.key]))
    assert "The refresh can't be enqueued" == seen[0].reason


@pytest.mark.parametrize("version", [(5, 2, 0), (6, 0, 0)])
def test_setting_needs_django_6(monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...]) -> None:
    """On an older Django the setting is a fault that says what it needs."""
    monkeypatch.setattr(validation, "django", SimpleNamespace(VERSION=version, __version__="its version"))
    with override_settings(CACHEDECO={"REFRESH": "task"}):
        if version >= (6,):
            assert "task" == conf.settings().REFRESH
        else:
            with pytest.raises(
                ImproperlyConfigured, match=r"'task' needs django.tasks, of Django 6; this is Django its"
            ):
                conf.settings()
