"""A cache that fails a few times in a row is left alone for a while."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from cachedeco import MISSING, Event, Namespace, cached_query, listening
from cachedeco.invalidation.retry_queue import flush
from cachedeco.storage import breaker
from cachedeco.storage.breaker import PendingInvalidation
from cachedeco.testing import fresh_scope, isolated
from tests.conftest import UseCaches
from tests.storage.failing.calls import HIT, bare, double, fail, sent
from tests.storage.failing.clocks import Clock, queue
from tests.support.backends import Commands
from tests.support.faults import faulty
from tests.support.sides import Side, both

pytestmark = pytest.mark.usefixtures("faulty_backend", "clock")


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
    settings: Any,
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


@pytest.mark.parametrize("function", [double, bare])
def test_breaker_that_opens_between_the_commands_of_a_call_stops_the_rest(
    function: Callable[[int], int], commands: Commands
) -> None:
    """What another thread has found out meanwhile counts for this call, too."""

    def open_now() -> None:
        breaker.enqueue_pending("default", {"key": PendingInvalidation("", None)}, flush)

    with faulty("get_many", after=open_now):
        function(7)

    assert HIT == commands.names


def test_value_found_by_a_read_that_began_before_closes_nothing() -> None:
    """The breaker opened while the read was under way: what it found is served, and proves nothing of now."""
    double(4)
    fail(1)

    def open_now() -> None:
        breaker.enqueue_pending("default", {"key": PendingInvalidation("", None)}, flush)

    with faulty("get_many", after=open_now):
        found = double(4)

    assert (8, ["key"]) == (found, queue())


def test_invalidation_that_is_queued_while_expired_ones_are_dropped_is_kept() -> None:
    """A signal's handler may queue one between any two lines, in the thread that has the lock."""

    class Interrupted(PendingInvalidation):
        """One in the middle of whose look at the clock a handler invalidates something."""

        def is_expired(self) -> bool:
            """Be interrupted."""
            breaker.enqueue_pending("default", {"another": PendingInvalidation("", None)}, flush)
            return True

    several = {"one": Interrupted("", None), "two": PendingInvalidation("", None)}
    breaker.enqueue_pending("default", several, flush)

    breaker.breakers["default"]._finish_probe(cache_answers=True)

    assert ["two", "another"] == queue()


def test_token_that_was_minted_begins_the_count_anew(commands: Commands) -> None:
    """Where nothing is ever found, the tokens of new calls prove that the cache is well."""
    for number in range(5):
        fail(2)
        caches["default"].clear()
        commands.clear()
        bare(number)

    assert ["get_many", "add", "add", "add", "set_many", "set_many"] == commands.names


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
            side.call(triple.call(4).set, 1),
            side.call(triple.refresh, 4),
            side.call(triple.invalidate, 4),
            side.call(triple.invalidate_all),
            side.call(Namespace("numbers").invalidate),
        ]

    assert ([12, MISSING, None, 12, None, None, None], []) == (answers, commands.names)
    assert {"miss", "computed", "unstored", "invalidation_delayed"} == {event.kind for event in seen}


def test_value_computed_while_the_breaker_opens_is_not_sent(commands: Commands) -> None:
    """What was stamped before the failures is not written after them."""

    @cached_query(name="failing.slow", ignore=("commands",))
    def slow() -> int:
        fail(3)
        commands.clear()
        return 1

    slow()

    assert [] == commands.names


def test_opening_and_closing_are_one_event_each(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """A warning says when the cache is left alone, and a line that it is used again; nothing between them."""
    caplog.set_level(logging.INFO, "cachedeco")
    seen: list[Event] = []

    with listening(seen.append):
        fail(20)
        clock.advance(1)
        double(4)
        double(4)
    told = [event for event in seen if event.kind in {"breaker_opened", "breaker_closed"}]

    assert [
        Event("breaker_opened", cache="default", reason="3 failures in a row"),
        Event("breaker_closed", cache="default"),
    ] == told
    assert [
        ("WARNING", "Bypassing cache 'default' from now on: 3 failures in a row."),
        ("INFO", "Cache 'default' answers again, and is used."),
    ] == [(record.levelname, record.getMessage()) for record in caplog.records if "failed" not in record.getMessage()]
    assert 3 == sum(event.kind == "error" for event in seen)


def test_breaker_of_one_cache_leaves_the_others_alone(use_caches: UseCaches, commands: Commands, settings: Any) -> None:
    """Each alias has a state of its own."""
    settings.CACHEDECO = {"ALIASES": ["default", "other"]}
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
    assert [breaker.breakers["default"].alias] == ["default"] == [*breaker.breakers] != queue()

    begin(use_caches)

    assert {} == breaker.breakers


def test_other_settings_have_no_say(commands: Commands) -> None:
    """An override in the middle of a test, of anything else, leaves the breaker as it is."""
    fail(3)

    with override_settings(DEBUG=True):
        names = sent(commands, lambda: double(4))

    assert [] == names
