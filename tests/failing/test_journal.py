"""What a cache has not acknowledged is delivered before this process trusts it again."""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis.exceptions
from django.db import transaction

from cachedeco import MISSING, Event, Namespace, breaker, cached_query, journal
from cachedeco.events import listening
from cachedeco.invalidation import Invalidation, deliver
from cachedeco.store import Store
from tests.backends import Command, Commands, Kind
from tests.conftest import UseCaches
from tests.failing.clocks import Clock, owed
from tests.faults import FaultyCache, faulty
from tests.servers import free_port
from tests.sides import Side, both

pytestmark = pytest.mark.usefixtures("faulty_backend", "clock")

PROBE = ["set_many", "get_many"]
HIT = ["get_many"]


@cached_query(name="journal.double", namespace="numbers:{number}", timeout=300)
def double(number: int) -> int:
    """Return twice a number."""
    return 2 * number


def lose(invalidate: Callable[[], object]) -> None:
    """Have an invalidation not be acknowledged."""
    with faulty("set_many", raises=TimeoutError):
        invalidate()


@contextmanager
def failing_from(operation: str, first: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have an operation fail from its nth call on."""
    count = iter(range(1, 10**6))
    with faulty(operation, raises=TimeoutError) as fault, monkeypatch.context() as patch:
        patch.setattr(fault, "meet", lambda command: command.name == operation and next(count) >= first)
        yield


class Refusing:
    """A cache that answers, and refuses to store tokens under some keys."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, remove: Callable[[], bool] | None = None) -> None:
        """Refuse none so far; *remove* is what becomes of a delete."""
        self.keys: set[str] = set()
        self._remove = remove
        monkeypatch.setattr(FaultyCache, "carry_out", lambda _cache, command, run: self._carried_out(command, run))

    def _carried_out(self, command: Command, run: Callable[[], Any]) -> Any:  # noqa: ANN401 -- as the command
        if command.name == "set_many" and self.keys.intersection(command.keys):
            raise redis.exceptions.OutOfMemoryError
        if command.name == "delete" and self._remove:
            return self._remove()
        return run()


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
    assert [*PROBE, "set_many", *HIT, "set", *HIT] == commands.names


def test_old_value_would_be_read_without_the_journal() -> None:
    """The control: the entry is there, and only the journal stands between it and its reader."""
    truth = ["old"]

    @cached_query(ignore=("truth",))
    def read() -> str:
        return truth[0]

    read()
    truth[0] = "new"
    lose(read.invalidate)

    breaker.forget()

    assert "old" == read()


def test_invalidation_not_acknowledged_opens_the_breaker_without_one(settings: Any, clock: Clock) -> None:  # noqa: ANN401
    """Where failures are not counted, what is owed is delivered first all the same."""
    settings.CACHEDECO = {"BREAKER_FAILURES": 0}
    double(4)
    lose(lambda: double.invalidate(4))

    before = double.peek(4)
    clock.advance(1)

    assert (MISSING, MISSING, []) == (before, double.peek(4), owed())


def test_invalidation_while_open_is_noted_and_not_sent(commands: Commands) -> None:
    """It costs no timeout: the journal has it, and an event tells."""
    lose(lambda: double.invalidate(4))
    commands.clear()
    seen: list[Event] = []

    with listening(seen.append):
        Namespace("numbers").invalidate()

    assert (["delayed"], []) == ([event.kind for event in seen], commands.names)
    assert "cd:n:numbers" == owed()[1]


def test_delivery_is_told_as_an_invalidation_of_its_function(clock: Clock) -> None:
    """Who hears that an invalidation was delayed hears that it was acknowledged, with the same words."""
    seen: list[Event] = []
    with listening(seen.append):
        lose(lambda: double.invalidate(4))
        lose(Namespace("numbers").invalidate)
        clock.advance(1)
        double.peek(4)
    told = {kind: {event[1:4] for event in seen if event.kind == kind} for kind in ("delayed", "invalidated")}

    assert told["delayed"] == told["invalidated"]
    assert {"journal.double", ""} == {function for function, _, _ in told["delayed"]}


def test_invalidation_that_is_acknowledged_in_part_delays_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the cache names as failed is owed, and no more."""
    monkeypatch.setattr(Store, "set_many", lambda _store, values, _timeout: [key for key in values if key == "b"])

    left = deliver([Invalidation(Store("default"), key) for key in "abc"])

    assert ([Invalidation(Store("default"), "b")], ["b"]) == (left, owed())


def test_delivery_gives_nothing_back_where_all_is_acknowledged() -> None:
    """Nothing is left, nothing is owed."""
    assert ([], []) == (deliver([Invalidation(Store("default"), "a")]), owed())


def test_each_attempt_has_a_token_of_its_own(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that arrives late must not bring back what it stood for: no token is sent twice."""
    sent: list[bytes] = []

    def write_many(_store: Store, values: dict[str, bytes], _timeout: object) -> list[str]:
        sent.extend(values.values())
        return [key for key in values if key != "cd:probe"]

    monkeypatch.setattr(Store, "write_many", write_many)
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
        first = double.peek(4), len(owed())
    commands.clear()
    second = double.peek(4), len(owed())

    assert ((MISSING, 1), (MISSING, 0)) == (first, second)
    assert [*PROBE, "set_many", *HIT] == commands.names


def test_outage_in_the_middle_of_the_delivery_ends_it(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was delivered is paid, the rest stays owed, and no further command is waited for."""
    monkeypatch.setattr(journal, "BATCH", 2)
    for number in range(5):
        lose(lambda number=number: double.invalidate(number))
    clock.advance(1)

    with failing_from("set_many", 3, monkeypatch):
        double(9)

    assert 3 == len(owed())


def test_delivery_goes_in_batches(clock: Clock, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is owed, each command has so many keys at most; what lives for ever goes apart."""
    monkeypatch.setattr(journal, "BATCH", 2)
    for number in range(3):
        lose(lambda number=number: double.invalidate(number))
    lose(Namespace("numbers").invalidate)
    clock.advance(1)
    commands.clear()

    double.peek(4)
    writes = [(len(each.keys), each.timeout) for each in commands if each.name == "set_many"][1:]

    assert [(1, None), (2, 1201), (1, 1201)] == writes


@pytest.mark.parametrize(("seconds", "expected"), [(1200, 1), (1200.5, 0)])
def test_invalidation_of_what_has_timed_out_is_not_owed(seconds: float, expected: int, clock: Clock) -> None:
    """After the lifetime of its token no entry is left: a long outage costs no memory without end."""
    lose(lambda: double.invalidate(4))

    clock.advance(seconds)
    with faulty(raises=TimeoutError):
        double(4)

    assert expected == len(owed())


def test_invalidation_of_what_lives_for_ever_is_owed_for_ever(clock: Clock) -> None:
    """The tokens of namespaces and functions have no lifetime: these are delivered however late."""
    lose(double.invalidate_all)

    clock.advance(10**9)
    with faulty(raises=TimeoutError):
        double(4)

    assert ["cd:f:journal.double()"] == owed()


def test_token_that_is_refused_is_removed(clock: Clock, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without memory for a token may still remove one: a token that is lost is an invalidation."""
    double(4)
    cache = Refusing(monkeypatch)
    cache.keys = {"cd:t:journal.double(number=4)"}
    double.invalidate(4)
    double.invalidate(5)
    clock.advance(1)
    commands.clear()

    found = double.peek(4)

    assert (MISSING, []) == (found, owed())
    assert [*PROBE, "set_many", "set_many", "delete", "set_many", *HIT] == commands.names


def fail_to_remove() -> bool:
    """Raise what a server may that refuses everything."""
    raise redis.exceptions.NoPermissionError


@pytest.mark.parametrize("remove", [lambda: False, fail_to_remove], ids=["not there", "raises"])
def test_token_that_is_always_refused_is_lost_in_the_end(
    remove: Callable[[], bool], clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One key that the cache will not take does not keep this process from it for ever: it is given up, loudly."""
    cache = Refusing(monkeypatch, remove)
    cache.keys = {"cd:t:journal.double(number=4)"}
    double.invalidate(4)
    double.invalidate(5)
    debts = []

    for _ in range(journal.REFUSALS):
        clock.advance(30)
        double.peek(4)
        debts.append(owed())
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]

    assert [["cd:t:journal.double(number=4)"]] * (journal.REFUSALS - 1) + [[]] == debts
    assert (3, True) == (len(errors), "(number=4) in cache 'default' was never acknowledged" in errors[-1])
    assert {} == breaker.troubled


def test_token_that_is_refused_and_invalidated_again_is_lost_as_soon(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is invalidated at every turn does not begin its count of refusals anew."""
    cache = Refusing(monkeypatch, remove=lambda: False)
    cache.keys = {"cd:t:journal.double(number=4)"}

    for _ in range(journal.REFUSALS):
        double.invalidate(4)
        clock.advance(30)
        double.peek(4)

    assert [] == owed()


def test_token_that_is_refused_waits_for_the_next_pause(
    clock: Clock, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not tried again at each call, but by one probe in each pause, as after an outage."""
    cache = Refusing(monkeypatch, remove=lambda: False)
    cache.keys = {"cd:t:journal.double(number=4)"}
    double.invalidate(4)
    clock.advance(1)
    double(5)
    commands.clear()

    clock.advance(1.99)
    double(5)

    assert [] == commands.names


def test_outage_while_one_by_one_is_delivered_ends_it(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a refusal each key goes by itself; the first that finds the server gone is the last."""
    for number in range(3):
        lose(lambda number=number: double.invalidate(number))
    errors = iter([redis.exceptions.ResponseError(), TimeoutError(), TimeoutError(), TimeoutError()])
    sent = []

    def write_many(_store: Store, values: dict[str, bytes], _timeout: object) -> list[str]:
        sent.append(list(values))
        if "cd:probe" not in values:
            raise next(errors)
        return []

    monkeypatch.setattr(Store, "write_many", write_many)
    clock.advance(1)
    double(4)

    assert ([1, 3, 1], 3) == ([len(keys) for keys in sent], len(owed()))


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
        patch.setattr(Store, "set_many", lambda _store, values, _timeout: list(values))
        double.invalidate(4)
    clock.advance(1)

    with transaction.atomic():
        double(4)
        inside = len(owed())
    clock.advance(30)
    double(4)

    assert (expected, 0) == (inside, len(owed()))


# --- at the exit ---


@pytest.mark.parametrize(("fault", "kind"), [({"after": lambda: None}, "invalidated"), ({"raises": OSError}, "lost")])
def test_last_attempt_is_made_at_the_exit(fault: dict[str, Any], kind: str) -> None:
    """What is owed when the process ends is delivered, pause or not, or told to be lost."""
    lose(lambda: double.invalidate(4))
    with faulty(raises=TimeoutError):
        double(4)
    seen: list[Event] = []

    with faulty(**fault), listening(seen.append):
        journal.deliver_at_exit()

    assert ([kind], []) == ([event.kind for event in seen if event.kind in {"invalidated", "lost"}], owed())


def test_exit_that_owes_nothing_sends_nothing(commands: Commands) -> None:
    """A cache that failed and is owed nothing is not waited for once more."""
    with faulty(raises=TimeoutError):
        for _ in range(3):
            double(4)
    commands.clear()

    journal.deliver_at_exit()

    assert [] == commands.names


SCRIPT = """
import django
from django.conf import settings
location = "127.0.0.1:{port}"
backend = "django.core.cache.backends.memcached.PyMemcacheCache"
settings.configure(CACHES={{"default": {{"BACKEND": backend, "LOCATION": location}}}})
django.setup()
from cachedeco import Namespace
Namespace("numbers").invalidate()
"""


def test_process_that_ends_tells_what_is_lost() -> None:
    """A process that could not deliver an invalidation says so before it is gone."""
    done = subprocess.run(  # noqa: S603 -- our own script
        [sys.executable, "-c", SCRIPT.format(port=free_port())], capture_output=True, text=True, check=True
    )

    assert "Invalidation of cd:n:numbers in cache 'default' was never acknowledged" in done.stderr
