"""Past its timeout an entry is refreshed by one caller, and served to the others; what was invalidated, to none."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from cachedeco import Event, Namespace, listening
from cachedeco.loading.leases import STORED
from cachedeco.storage.store import Store
from tests.loading.leases.elsewhere import lease_for
from tests.loading.refreshing.conftest import Cached, Truth
from tests.support.backends import Commands
from tests.support.clocks import Clock
from tests.support.sides import SYNC, Side, both
from tests.support.stored import stored
from tests.support.threads import Gate, started

shared_backends = pytest.mark.parametrize("backend", ["locmem", "memcached", "redis"], indirect=True)


def kinds_of(side: Side, read: Cached) -> tuple[object, list[str]]:
    """Return what a call gives, and what has happened."""
    events: list[Event] = []
    with listening(events.append):
        value = side.call(read, 1)
    return value, [each.kind for each in events]


@both
@shared_backends
@pytest.mark.usefixtures("backend")
def test_one_caller_refreshes_and_gets_the_new_value(
    side: Side, clock: Clock, truth: Truth, commands: Commands
) -> None:
    """The one who gets the lease computes, at the cost of a miss; the entry then is as fresh as any."""
    read = truth.cached(side, stale_while_revalidate=60)
    side.call(read, 1)
    clock.now += 60
    truth.value = "new"
    commands.clear()

    found = kinds_of(side, read)

    assert ("new", ["miss", "computed", "stored"]) == found
    assert ["get_many", "add", "set_many", "set_many"] == commands.names
    clock.now += 59.99
    assert ("new", ["hit"]) == kinds_of(side, read)


@both
@shared_backends
@pytest.mark.usefixtures("backend")
def test_others_are_served_the_old_value_at_once(side: Side, clock: Clock, truth: Truth, commands: Commands) -> None:
    """Where another process refreshes, two commands serve the old value, without a pause."""
    read = truth.cached(side, stale_while_revalidate=60)
    side.call(read, 1)
    clock.now += 60
    truth.value = "new"
    assert lease_for(read, 1).take()
    commands.clear()

    found = kinds_of(side, read)

    assert ("old", ["stale"], []) == (*found, clock.pauses)
    assert (["get_many", "add"], 1) == (commands.names, truth.read_count)


@both
def test_others_in_the_process_are_served_by_one_command(
    side: Side, clock: Clock, truth: Truth, commands: Commands
) -> None:
    """While a caller of this process refreshes, the others need not even ask for the lease."""
    gate = Gate()
    read = truth.cached(side, stale_while_revalidate=60)
    side.call(read, 1)
    clock.now += 60
    truth.value, truth.meanwhile = "new", gate.wait_to_pass
    gate.shut()

    with started(lambda: side.call(read, 1)) as refresher:
        gate.wait_reached()
        commands.clear()
        found = kinds_of(side, read), kinds_of(side, read)
        names = commands.names
        gate.open()

    assert ((("old", ["stale"]),) * 2, ["get_many"] * 2) == (found, names)
    assert ("new", "new") == (refresher.result(), side.call(read, 1))


@both
@pytest.mark.parametrize(("passed", "kind"), [(59.99, "hit"), (60, "stale"), (89.99, "stale"), (90, "miss")])
def test_stale_has_its_bounds(side: Side, clock: Clock, truth: Truth, passed: float, kind: str) -> None:
    """Until the timeout a value is a hit, then stale for as long as was said; from then on callers wait."""
    read = truth.cached(side, stale_while_revalidate=30, wait=0.1)
    side.call(read, 1)
    clock.now += passed
    truth.value = "new"
    assert lease_for(read, 1).take()

    value, [first, *_] = kinds_of(side, read)

    assert (kind, "new" if kind == "miss" else "old", kind == "miss") == (first, value, bool(clock.pauses))


# --- what was invalidated ---


WAYS: dict[str, Callable[[Cached], object]] = {
    "invalidate": lambda read: read.invalidate(1),
    "invalidate_all": lambda read: read.invalidate_all(),
    "namespace": lambda _: Namespace("stale", 1).invalidate(),
    "parent": lambda _: Namespace("stale").invalidate(),
    "token lost": lambda read: stored().delete(read._spec.own_token((1,), {}).key),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
settings_that_serve_old = pytest.mark.parametrize(
    "options",
    [
        {"stale_while_revalidate": 100},
        {"stale_if_error": 100},
        {"stale_while_revalidate": 100, "stale_if_error": 100},
        {"early": 1e9, "stale_while_revalidate": 100},
    ],
    ids=["stale", "on error", "both", "early"],
)


@pytest.mark.covering(3)
@both
@every_way
@settings_that_serve_old
@pytest.mark.parametrize("passed", [1, 61])
@pytest.mark.parametrize("fails", [True, False])
def test_invalidated_value_is_never_served(  # noqa: PLR0913 -- all that might make a difference
    side: Side,
    clock: Clock,
    truth: Truth,
    options: dict[str, Any],
    passed: float,
    *,
    way: Callable[[Cached], object],
    fails: bool,
) -> None:
    """However old values may be served otherwise, and whether the computation fails: never what was invalidated."""
    read = truth.cached(side, namespace="stale:{number}", wait=0.1, **options)
    side.call(read, 1)
    clock.now += passed
    truth.value, truth.error = "new", ZeroDivisionError() if fails else None
    way(read)

    found: list[object] = []
    with suppress(ZeroDivisionError):
        found.append(side.call(read, 1))

    assert ([] if fails else ["new"]) == found


@pytest.mark.covering(2)
@both
@every_way
@settings_that_serve_old
def test_value_invalidated_while_the_computation_fails_is_not_served(
    side: Side, clock: Clock, truth: Truth, way: Callable[[Cached], object], options: dict[str, Any]
) -> None:
    """An exception rescues no value that was invalidated after the computation had begun."""
    read = truth.cached(side, namespace="stale:{number}", **options)
    side.call(read, 1)
    clock.now += 61
    truth.error, truth.meanwhile = ZeroDivisionError(), lambda: way(read)

    with pytest.raises(ZeroDivisionError):
        side.call(read, 1)


@pytest.mark.covering(2)
@both
@settings_that_serve_old
@pytest.mark.parametrize("during", [True, False], ids=["during", "before"])
def test_value_whose_inner_call_was_invalidated_is_never_served(
    side: Side, clock: Clock, truth: Truth, options: dict[str, Any], *, during: bool
) -> None:
    """What a call inside has given is part of the value: with it invalidated, the value is."""
    inner = Truth().cached(SYNC, namespace="inner", timeout=None)
    truth.meanwhile = lambda: inner(7)
    read = truth.cached(side, **options)
    side.call(read, 1)
    clock.now += 61
    truth.error = ZeroDivisionError()
    if during:
        truth.meanwhile = Namespace("inner").invalidate
    else:
        inner.invalidate(7)

    with pytest.raises(ZeroDivisionError):
        side.call(read, 1)


# --- transactions ---


@both
@pytest.mark.django_db(transaction=True)
def test_transaction_is_served_the_old_value_and_refreshes_nothing(
    side: Side, clock: Clock, truth: Truth, commands: Commands
) -> None:
    """What is computed inside a transaction no other caller may see, so it is left to others to refresh."""
    read = truth.cached(side, stale_while_revalidate=60)
    side.call(read, 1)
    clock.now += 60
    commands.clear()

    with transaction.atomic():
        found = kinds_of(side, read)

    assert (("old", ["stale"]), ["get_many"], 1) == (found, commands.names, truth.read_count)


@both
@pytest.mark.django_db(transaction=True)
def test_transaction_that_has_invalidated_an_inner_call_is_not_served(side: Side, clock: Clock, truth: Truth) -> None:
    """What this transaction has invalidated is old for itself at once, where it is part of another value too."""
    inner = Truth().cached(SYNC, name="tests.stale.inner", timeout=None)
    truth.meanwhile = lambda: inner(7)
    read = truth.cached(side, stale_while_revalidate=60)
    side.call(read, 1)
    clock.now += 60
    truth.value = "new"

    with transaction.atomic():
        inner.invalidate(7)
        found = side.call(read, 1)

    assert "new" == found


@both
@pytest.mark.django_db
@pytest.mark.parametrize("refresh", ["caller", "thread"])
def test_testcase_refreshes_in_the_caller(
    side: Side,
    clock: Clock,
    truth: Truth,
    settings: Settings,
    refresh: str,
) -> None:
    """What the block of a TestCase has written no other connection sees: for each setting, the caller computes."""
    settings.CACHEDECO = {"REFRESH": refresh}
    read = truth.cached(side, stale_while_revalidate=60)
    side.call(read, 1)
    clock.now += 60
    truth.value = "new"

    assert "new" == side.call(read, 1)


# --- how it ended ---


@both
@pytest.mark.parametrize("options", [{"cache_if": lambda value: value == "old"}, {}], ids=["unwanted", "unpicklable"])
def test_value_that_can_not_be_stored_is_not_computed_by_everyone(
    side: Side, clock: Clock, truth: Truth, options: dict[str, Any]
) -> None:
    """Where the new value is not stored, the old one is served on, and the next attempt is five seconds away."""
    read = truth.cached(side, stale_while_revalidate=60, **options)
    side.call(read, 1)
    clock.now += 60
    truth.value = new = lambda: None
    lease = lease_for(read, 1)

    found = side.call(read, 1), side.call(read, 1), side.call(read, 1)

    assert ((new, "old", "old"), 2) == (found, truth.read_count)
    assert STORED == Store("default").get_many([lease.key])[lease.key]  # type: ignore[index] # it is not down


def test_stale_serves_copies(clock: Clock, truth: Truth) -> None:
    """A caller that changes an old value changes no other caller's."""
    truth.value = ["old"]
    read = truth.cached(SYNC, stale_while_revalidate=60)
    read(1)
    clock.now += 60
    assert lease_for(read, 1).take()

    read(1).append("changed")

    assert ["old"] == read(1)
