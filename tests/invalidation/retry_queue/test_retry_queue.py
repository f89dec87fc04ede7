"""What a cache has not acknowledged is delivered before this process trusts it again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.cache import CacheHandler
from django.db import transaction

from cachedeco import MISSING, Event, Namespace, cached_query, listening
from cachedeco.invalidation.delivery import Invalidation, attempt, delay
from cachedeco.storage import breaker
from cachedeco.storage.store import Item, Store
from cachedeco.storage.writers import Acknowledged
from tests.conftest import UseCaches
from tests.storage.failing.calls import HIT, PROBE, double, lose
from tests.storage.failing.clocks import Clock, queue
from tests.support.backends import Commands, Kind
from tests.support.faults import faulty
from tests.support.sides import Side, both
from tests.support.stored import bare, bare_each

pytestmark = pytest.mark.usefixtures("faulty_backend", "clock")


@contextmanager
def failing_from(operation: str, first: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have an operation fail from its nth call on."""
    count = iter(range(1, 10**6))
    with faulty(operation, raises=TimeoutError) as fault, monkeypatch.context() as patch:
        patch.setattr(fault, "meet", lambda command: command.name == operation and next(count) >= first)
        yield


@both
@pytest.mark.parametrize("way", ["invalidate", "invalidate_all", "namespace"])
def test_old_value_is_never_read_again(side: Side, way: str, clock: Clock, commands: Commands) -> None:
    """The cache is well at once and still has the old value; it is not asked before it has the invalidation."""
    truth = ["old"]

    @side.cached(ignore=("truth",), namespace="truths")
    def read() -> str:
        return truth[0]

    side.call(read)
    truth[0] = "new"
    ways = {"invalidate": read.invalidate, "invalidate_all": read.invalidate_all}
    lose(lambda: side.call(ways.get(way, Namespace("truths").invalidate)))
    commands.clear()

    before = side.call(read), side.call(read.peek), list(commands.names)
    clock.advance(1)
    after = side.call(read), side.call(read.peek)

    assert (("new", MISSING, []), ("new", "new")) == (before, after)
    assert [*PROBE, "set_many", *HIT, "add", "set_many", "set_many", *HIT] == commands.names


def test_old_value_would_be_read_without_the_journal() -> None:
    """The control: the entry is there, and only the journal stands between it and its reader."""
    truth = ["old"]

    @cached_query(ignore=("truth",))
    def read() -> str:
        return truth[0]

    read()
    truth[0] = "new"
    lose(read.invalidate)

    breaker.reset()

    assert "old" == read()


def test_invalidation_not_acknowledged_opens_the_breaker_without_one(settings: Any, clock: Clock) -> None:
    """Where failures are not counted, what is owed is delivered first all the same."""
    settings.CACHEDECO = {"BREAKER_FAILURES": 0}
    double(4)
    lose(lambda: double.invalidate(4))

    before = double.peek(4)
    clock.advance(1)

    assert (MISSING, MISSING, []) == (before, double.peek(4), queue())


def test_invalidation_while_open_is_noted_and_not_sent(commands: Commands) -> None:
    """It costs no timeout: the journal has it, and an event tells."""
    lose(lambda: double.invalidate(4))
    commands.clear()
    seen: list[Event] = []

    with listening(seen.append):
        Namespace("numbers").invalidate()

    assert (["invalidation_delayed"], []) == ([event.kind for event in seen], commands.names)
    assert "cd:n:numbers" == bare(queue()[1])


def test_delivery_is_told_as_an_invalidation_of_its_function(clock: Clock) -> None:
    """Who hears that an invalidation was delayed hears that it was acknowledged, with the same words."""
    seen: list[Event] = []
    with listening(seen.append):
        lose(lambda: double.invalidate(4))
        lose(Namespace("numbers").invalidate)
        clock.advance(1)
        double.peek(4)
    told = {
        kind: {event[1:4] for event in seen if event.kind == kind} for kind in ("invalidation_delayed", "invalidated")
    }

    assert told["invalidation_delayed"] == told["invalidated"]
    assert {"failing.double", ""} == {function for function, _, _ in told["invalidation_delayed"]}


def test_invalidation_that_is_acknowledged_in_part_delays_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the cache names as failed is owed, and no more."""
    monkeypatch.setattr(Store, "set_tokens", lambda _store, items: [key != "b" for key, _, _ in items])

    left = attempt([Invalidation(Store("default"), key) for key in "abc"])
    delay(left)

    assert ([Invalidation(Store("default"), "b")], ["b"]) == (left, queue())


def test_delivery_gives_nothing_back_where_all_is_acknowledged() -> None:
    """Nothing is left, nothing is owed."""
    assert ([], []) == (attempt([Invalidation(Store("default"), "a")]), queue())


def test_each_attempt_has_a_token_of_its_own(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that arrives late must not bring back what it stood for: no token is sent twice."""
    sent: list[bytes] = []

    def write_unguarded(_store: Store, items: Sequence[Item]) -> Acknowledged:
        sent.extend(value for _, value, _ in items)
        return Acknowledged("cd:probe" in key for key, _, _ in items)

    monkeypatch.setattr(Store, "write_unguarded", write_unguarded)
    double.invalidate(4)
    for _ in range(3):
        clock.advance(30)
        double(4)
    tokens = [each for each in sent if len(each) == 16]

    assert 5 == len(tokens) == len(set(tokens))


def test_what_is_invalidated_again_during_its_delivery_is_delivered_again(clock: Clock, commands: Commands) -> None:
    """The token that is on its way may be older than the write: it pays the first debt, and not the second."""
    lose(lambda: double.invalidate(4))
    clock.advance(1)
    probes = []

    def again() -> None:
        probes.append(1)
        if len(probes) == 2:
            double.invalidate(4)

    with faulty("set_many", before=again):
        first = double.peek(4), len(queue())
    commands.clear()
    second = double.peek(4), len(queue())

    assert ((MISSING, 1), (MISSING, 0)) == (first, second)
    assert [*PROBE, "set_many", *HIT] == commands.names


def in_twos(_: Store, items: Sequence[object]) -> Iterator[Sequence[object]]:
    """Split items as `chunks()` does, where a command takes two."""
    return (items[start : start + 2] for start in range(0, len(items), 2))


def test_outage_in_the_middle_of_the_delivery_ends_it(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was delivered is paid, the rest stays owed, and no further command is waited for."""
    monkeypatch.setattr(Store, "chunks", in_twos)
    for number in range(5):
        lose(lambda number=number: double.invalidate(number))
    clock.advance(1)

    with failing_from("set_many", 3, monkeypatch):
        double(9)

    assert 3 == len(queue())


def test_delivery_goes_in_batches(clock: Clock, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is owed, each command has so many keys at most, each with its lifetime."""
    monkeypatch.setattr(Store, "chunks", in_twos)
    for number in range(3):
        lose(lambda number=number: double.invalidate(number))
    lose(double.invalidate_all)
    clock.advance(1)
    commands.clear()

    double.peek(4)
    writes = [(len(each.keys), each.timeout) for each in commands if each.name == "set_many"][1:]

    assert [(2, 1201), (1, 1201), (1, None)] == writes


@pytest.mark.parametrize(("seconds", "expected"), [(1200, 1), (1200.5, 0)])
def test_invalidation_of_what_has_timed_out_is_not_owed(seconds: float, expected: int, clock: Clock) -> None:
    """After the lifetime of its token no entry is left: a long outage costs no memory without end."""
    lose(lambda: double.invalidate(4))

    clock.advance(seconds)
    with faulty(raises=TimeoutError):
        double(4)

    assert expected == len(queue())


def test_invalidation_of_what_lives_for_ever_is_owed_for_ever(clock: Clock) -> None:
    """The tokens of functions have no lifetime: these are delivered however late."""
    lose(double.invalidate_all)

    clock.advance(10**9)
    with faulty(raises=TimeoutError):
        double(4)

    assert ["cd:f:failing.double()"] == bare_each(queue())


def test_delivery_waits_for_no_lock_of_djangos(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's `caches` have a lock that an exception of a signal may leave taken, for all other threads."""
    double(1)
    lose(lambda: double.invalidate(1))
    monkeypatch.setattr(CacheHandler, "__getitem__", lambda _, alias: pytest.fail(f"caches[{alias!r}]"))

    clock.advance(1)
    double(1)

    assert [] == queue()


@pytest.mark.django_db
@pytest.mark.parametrize(("backend", "expected"), [("database", 1), ("locmem", 0)])
def test_debt_is_not_paid_where_a_rollback_would_undo_it(
    backend: Kind,
    expected: int,
    clock: Clock,
    use_caches: UseCaches,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The database cache writes inside the caller's transaction: its debts wait for a call outside."""
    use_caches(default=backend)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "set_tokens", lambda _store, items: [False] * len(items))
        double.invalidate(4)
    clock.advance(1)

    with transaction.atomic():
        double(4)
        inside = len(queue())
    clock.advance(30)
    double(4)

    assert (expected, 0) == (inside, len(queue()))
