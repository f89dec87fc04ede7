"""A cache that fails a few times in a row is left alone for a while, and then asked by one caller."""

import logging
from collections.abc import Callable
from typing import Any

import pymemcache.exceptions
import pytest
import redis.exceptions
from django.core.cache import caches
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.db.transaction import TransactionManagementError
from django.test import override_settings

from cachedeco import MISSING, Event, Namespace, breaker, cached_query
from cachedeco.breaker import Debt
from cachedeco.events import listening
from cachedeco.journal import settle
from cachedeco.testing import fresh_scope, isolated
from tests.backends import Commands
from tests.conftest import UseCaches
from tests.failing.clocks import Clock, owed
from tests.faults import faulty
from tests.sides import Side, both

pytestmark = pytest.mark.usefixtures("faulty_backend", "clock")

PROBE = ["set_many", "get_many"]
HIT = ["get_many"]


@cached_query(name="failing.double", namespace="numbers:{number}")
def double(number: int) -> int:
    """Return twice a number."""
    return 2 * number


def fail(times: int) -> None:
    """Have reading fail so many times in a row."""
    with faulty(raises=TimeoutError):
        for _ in range(times):
            double(4)


def sent(commands: Commands, act: Callable[[], object]) -> list[str]:
    """Return the commands that something sends."""
    commands.clear()
    act()
    return commands.names


@both
@pytest.mark.parametrize(("failures", "expected"), [(2, HIT), (3, [])])
def test_so_many_failures_in_a_row_open_the_breaker(
    side: Side, failures: int, expected: list[str], commands: Commands
) -> None:
    """At two failures the cache is still asked, at three it is not; the caller has the value either way."""

    @side.cached()
    def triple(number: int) -> int:
        return 3 * number

    side.call(triple, 4)
    with faulty(raises=TimeoutError):
        for _ in range(failures):
            side.call(triple, 4)

    found: list[int] = []
    names = sent(commands, lambda: found.append(side.call(triple, 4)))

    assert ([12], expected) == (found, names)


@pytest.mark.parametrize(("failures", "expected"), [(0, HIT), (1, []), (4, [])])
def test_setting_says_how_many_failures_open_the_breaker(
    failures: int,
    expected: list[str],
    commands: Commands,
    settings: Any,  # noqa: ANN401
) -> None:
    """One is enough where the project says so, and 0 is no breaker."""
    settings.CACHEDECO = {"BREAKER_FAILURES": failures}
    double(4)

    fail(failures or 20)

    assert expected == sent(commands, lambda: double(4))


def test_success_between_failures_begins_the_count_anew(commands: Commands) -> None:
    """Failures that are not in a row open nothing, however many they are."""
    double(4)

    for _ in range(5):
        fail(2)
        double(4)

    assert HIT == sent(commands, lambda: double(4))


@cached_query(name="failing.bare")
def bare(number: int) -> int:
    """Return a number: in no namespace, so that its tokens are minted one by one."""
    return number


@pytest.mark.parametrize("function", [double, bare])
def test_breaker_that_opens_between_the_commands_of_a_call_stops_the_rest(
    function: Callable[[int], int], commands: Commands
) -> None:
    """What another thread has found out meanwhile counts for this call, too."""

    def open_now() -> None:
        breaker.owe("default", {"key": Debt("", None)}, settle)

    with faulty("get_many", after=open_now):
        function(7)

    assert HIT == commands.names


def test_probe_that_ends_after_all_was_forgotten_changes_nothing(clock: Clock) -> None:
    """What a test has begun in another thread does not reach into the state of the next one."""
    fail(3)
    clock.advance(1)

    def begin_anew() -> None:
        breaker.forget()
        breaker.owe("default", {"key": Debt("", None)}, settle)

    with faulty("set_many", after=begin_anew, times=1):
        double(4)

    assert ["key"] == owed()


def test_value_found_by_a_read_that_began_before_closes_nothing() -> None:
    """The breaker opened while the read was under way: what it found is served, and proves nothing of now."""
    double(4)
    fail(1)

    def open_now() -> None:
        breaker.owe("default", {"key": Debt("", None)}, settle)

    with faulty("get_many", after=open_now):
        found = double(4)

    assert (8, ["key"]) == (found, owed())


def test_token_that_was_minted_begins_the_count_anew(commands: Commands) -> None:
    """Where nothing is ever found, the tokens of new calls prove that the cache is well."""
    for number in range(5):
        fail(2)
        caches["default"].clear()
        commands.clear()
        bare(number)

    assert ["get_many", "add", "add", "set"] == commands.names


def test_write_that_was_acknowledged_begins_the_count_anew(commands: Commands) -> None:
    """An acknowledged invalidation is a proof that the cache is well, as a value read is one."""
    double(4)
    fail(2)
    double.invalidate(4)
    fail(2)

    assert HIT[0] == sent(commands, lambda: double(4))[0]


def test_nothing_found_between_failures_is_no_success(commands: Commands) -> None:
    """HashClient says "nothing there" of a server that hangs: that does not begin the count anew."""
    fail(2)
    with faulty(unreachable=True):
        double(4)
    fail(1)

    assert [] == sent(commands, lambda: double(4))


@both
def test_no_verb_sends_a_command_while_open(side: Side, commands: Commands) -> None:
    """Every verb does what can be done without the cache, and tells of no failure."""

    @side.cached(namespace="numbers")
    def triple(number: int) -> int:
        return 3 * number

    side.call(triple, 4)
    fail(3)
    commands.clear()
    seen: list[Event] = []
    with listening(seen.append):
        answers = [
            side.call(triple, 4),
            side.call(triple.peek, 4),
            side.call(triple.put, 1, 4),
            side.call(triple.refresh, 4),
            side.call(triple.invalidate, 4),
            side.call(triple.invalidate_all),
            side.call(Namespace("numbers").invalidate),
        ]

    assert ([12, MISSING, None, 12, None, None, None], []) == (answers, commands.names)
    assert {"miss", "computed", "unstored", "delayed"} == {event.kind for event in seen}


def test_value_computed_while_the_breaker_opens_is_not_sent(commands: Commands) -> None:
    """What was stamped before the failures is not written after them."""

    @cached_query(name="failing.slow", ignore=("commands",))
    def slow() -> int:
        fail(3)
        commands.clear()
        return 1

    slow()

    assert [] == commands.names


@pytest.mark.parametrize(("seconds", "expected"), [(0.99, []), (1.0, [*PROBE, *HIT])])
def test_pause_over_is_a_probe(seconds: float, expected: list[str], clock: Clock, commands: Commands) -> None:
    """Until the pause is over nothing is sent; then a write and its reading back, and the call goes on as ever."""
    double(4)
    fail(3)

    clock.advance(seconds)

    assert expected == sent(commands, lambda: double(4))


def test_setting_says_how_long_the_first_pause_is(clock: Clock, commands: Commands, settings: Any) -> None:  # noqa: ANN401
    """The pause is what the project says, also where that is more than the longest one that it grows to."""
    settings.CACHEDECO = {"BREAKER_SECONDS": 40}
    fail(3)

    clock.advance(39)
    before = sent(commands, lambda: double(4))
    clock.advance(1)

    assert ([], PROBE) == (before, sent(commands, lambda: double(4))[:2])


def test_pauses_grow_up_to_the_longest(clock: Clock) -> None:
    """Each probe that fails doubles the pause, up to half a minute."""
    fail(3)
    pauses = []

    with faulty(raises=TimeoutError) as fault:
        for _ in range(7):
            began, probes = clock.now, len(fault.met)
            while len(fault.met) == probes:
                clock.advance(0.5)
                double(4)
            pauses.append(clock.now - began)

    assert [1, 2, 4, 8, 16, 30, 30] == pauses


def test_pause_after_a_recovery_is_the_first_again(clock: Clock, commands: Commands) -> None:
    """What the cache did before it was well again is forgotten."""
    fail(3)
    for _ in range(3):
        clock.advance(30)
        fail(1)
    clock.advance(30)
    double(4)
    fail(3)

    clock.advance(1)

    assert PROBE == sent(commands, lambda: double(4))[:2]


def test_pause_is_jittered(clock: Clock, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause may be shorter by a quarter, so that processes that failed together do not probe together."""
    monkeypatch.setattr(breaker, "uniform", lambda low, _high: low)
    fail(3)

    clock.advance(0.74)
    before = sent(commands, lambda: double(4))
    clock.advance(0.01)

    assert ([], PROBE) == (before, sent(commands, lambda: double(4))[:2])


def test_probe_that_fails_costs_one_command(clock: Clock, commands: Commands) -> None:
    """The caller that probes waits for one command and no more; those after it for none."""
    fail(3)
    clock.advance(1)

    with faulty(raises=TimeoutError):
        names = sent(commands, lambda: [double(number) for number in range(50)])

    assert ["set_many"] == names


@pytest.mark.parametrize("answer", [{"unreachable": True}, {"returns": ["nonsense"]}], ids=["HashClient", "nonsense"])
def test_probe_that_is_not_acknowledged_closes_nothing(
    answer: dict[str, Any], clock: Clock, commands: Commands
) -> None:
    """A client that answers for a dead server without raising does not pass for one that is well."""
    fail(3)
    clock.advance(1)

    with faulty(**answer):
        double(4)

    assert [] == sent(commands, lambda: double(4))


def test_probe_that_is_refused_is_an_answer(clock: Clock, commands: Commands) -> None:
    """A server without memory left for writes is there, and is read from."""
    double(4)
    fail(3)
    clock.advance(1)

    with faulty("set_many", raises=redis.exceptions.OutOfMemoryError):
        names = sent(commands, lambda: double(4))

    assert ["set_many", *HIT] == names


def test_probe_whose_reading_fails_closes_nothing(clock: Clock, commands: Commands) -> None:
    """A server that takes writes and does not answer reads is not used."""
    fail(3)
    clock.advance(1)

    with faulty("get_many", raises=TimeoutError):
        double(4)

    assert [] == sent(commands, lambda: double(4))


def test_probe_that_is_interrupted_is_followed_by_another_one(clock: Clock, commands: Commands) -> None:
    """Control-C in a probe does not leave the breaker waiting for it for ever."""
    fail(3)
    clock.advance(1)
    with faulty(raises=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        double(4)

    clock.advance(2)

    assert PROBE == sent(commands, lambda: double(4))[:2]


def test_opening_and_closing_are_one_event_each(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A warning says when the cache is left alone, and a line that it is used again; nothing between them."""
    caplog.set_level(logging.INFO, "cachedeco")
    seen: list[Event] = []

    with listening(seen.append):
        fail(20)
        clock.advance(1)
        double(4)
        double(4)
    told = [event for event in seen if event.kind in {"opened", "closed"}]

    assert [
        Event("opened", cache="default", reason="3 failures in a row"),
        Event("closed", cache="default"),
    ] == told
    assert [
        ("WARNING", "Going past cache 'default' from now on: 3 failures in a row."),
        ("INFO", "Cache 'default' answers again, and is used."),
    ] == [(record.levelname, record.getMessage()) for record in caplog.records if "failed" not in record.getMessage()]
    assert 3 == sum(event.kind == "error" for event in seen)


def test_breaker_of_one_cache_leaves_the_others_alone(use_caches: UseCaches, commands: Commands, settings: Any) -> None:  # noqa: ANN401
    """Each alias has a state of its own."""
    settings.CACHEDECO = {"CACHES": ["default", "other"]}
    use_caches(default="faulty", other="locmem")

    @cached_query(cache="other", name="failing.other")
    def other() -> int:
        return 1

    other()
    fail(3)

    assert HIT == sent(commands, other)


def change_caches(use_caches: UseCaches) -> None:
    """Configure other caches."""
    use_caches(default="faulty")


def change_settings(_: UseCaches) -> None:
    """Configure cachedeco."""
    with override_settings(CACHEDECO={}):
        pass


def begin_scope(_: UseCaches) -> None:
    """Begin a test with isolated caches."""
    with isolated():
        fresh_scope()


@pytest.mark.parametrize("begin", [change_caches, change_settings, begin_scope])
def test_nothing_leaks_into_the_next_test(begin: Callable[[UseCaches], None], use_caches: UseCaches) -> None:
    """A test that has other caches, or settings, knows nothing of what failed in those before it."""
    with faulty(raises=TimeoutError):
        double.invalidate(4)
        double(4)
    assert [breaker.troubled["default"].alias] == ["default"] == [*breaker.troubled] != owed()

    begin(use_caches)

    assert {} == breaker.troubled


def test_other_settings_have_no_say(commands: Commands) -> None:
    """An override in the middle of a test, of anything else, leaves the breaker as it is."""
    fail(3)

    with override_settings(DEBUG=True):
        names = sent(commands, lambda: double(4))

    assert [] == names


OUTAGES = [
    ConnectionRefusedError(),
    TimeoutError(),
    OSError(),
    OperationalError(),
    InterfaceError(),
    pymemcache.exceptions.MemcacheError(),
    pymemcache.exceptions.MemcacheUnknownError(),
    pymemcache.exceptions.MemcacheUnexpectedCloseError(),
    redis.exceptions.ConnectionError(),
    redis.exceptions.TimeoutError(),
    redis.exceptions.BusyLoadingError(),
    redis.exceptions.AuthenticationError(),
]
# Django unpickles inside get_many: what a class does there says nothing of the server.
OTHERS = [
    AttributeError(), EOFError(), ImportError(), KeyError(), ValueError(), ModuleNotFoundError(), ProgrammingError(),
    TransactionManagementError(),
]  # fmt: skip
REFUSALS = [
    pymemcache.exceptions.MemcacheClientError(),
    pymemcache.exceptions.MemcacheIllegalInputError(),
    pymemcache.exceptions.MemcacheServerError(),
    redis.exceptions.ResponseError(),
    redis.exceptions.OutOfMemoryError(),
    redis.exceptions.ReadOnlyError(),
]


def name_of(error: object) -> str:
    """Name a parameter."""
    return f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}"


@pytest.mark.parametrize(
    ("error", "reading", "expected"),
    [
        *[(error, reading, True) for error in OUTAGES for reading in (True, False)],
        *[(error, reading, False) for error in OTHERS for reading in (True, False)],
        *[(error, reading, reading) for error in REFUSALS for reading in (True, False)],
    ],
    ids=lambda value: str(value) if isinstance(value, bool) else name_of(value),
)
def test_class_of_the_exception_says_whether_the_server_is_out(
    error: Exception,
    reading: bool,  # noqa: FBT001
    expected: bool,  # noqa: FBT001
) -> None:
    """What the connection or the client raises counts; a failed unpickling, or a refused write, does not."""
    assert expected is breaker.is_outage(error, reading=reading)


@pytest.mark.parametrize(("operation", "expected"), [("get_many", []), ("set", HIT)])
def test_refusal_counts_where_something_is_read(operation: str, expected: list[str], commands: Commands) -> None:
    """Values too large to be stored open nothing; a proxy that refuses every read, for its dead server, does."""
    double(4)

    with faulty(operation, raises=pymemcache.exceptions.MemcacheServerError):
        for number in (4, 5, 6, 7, 8):
            double(number)
    double(4)

    assert expected == sent(commands, lambda: double(4))


def test_nonsense_read_opens_the_breaker(commands: Commands) -> None:
    """A cache that answers what no cache should is left alone as one that fails."""
    double(4)

    with faulty("get_many", returns="nonsense"):
        for _ in range(3):
            double(4)

    assert [] == sent(commands, lambda: double(4))
