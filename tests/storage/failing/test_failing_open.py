"""With any failure of the cache, the call goes on; and an invalidation that is lost is never lost in silence."""

import logging
from typing import Any

import pytest
from pytest_django import Settings

from cachedeco import MISSING, Event, Namespace, cached_query_many, listening
from cachedeco.loading.writing import FAILED_ON, NOT_ACKNOWLEDGED
from tests.support.faults import faulty
from tests.support.sides import Side, both
from tests.support.stored import stored

pytestmark = pytest.mark.usefixtures("faulty_backend")


class Incomparable:
    """An answer that no cache should give."""

    def __eq__(self, other: object) -> bool:
        """Refuse."""
        msg = "no"
        raise ValueError(msg)

    __hash__ = None  # type: ignore[assignment]


RAISED: dict[str, dict[str, Any]] = {
    "ValueError": {"raises": ValueError("bad")},
    "TimeoutError": {"raises": TimeoutError("slow")},
    "ConnectionResetError": {"raises": ConnectionResetError("gone")},
}
# django-redis answers None to a set_many that has arrived.
NONSENSE: dict[str, dict[str, Any]] = {
    "text": {"returns": "nonsense"},
    "strange list": {"returns": ["nonsense"]},
    "incomparable": {"returns": Incomparable()},
}
DEAD: dict[str, dict[str, Any]] = {"HashClient": {"unreachable": True}}
FAULTS = {**RAISED, **NONSENSE, **DEAD, "None": {"returns": None}, "empty": {"returns": []}}

operations = pytest.mark.parametrize("operation", ["get_many", "add", "set", "set_many", "everything"])
faults = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
losses = pytest.mark.parametrize("fault", [*RAISED.values(), *NONSENSE.values(), *DEAD.values()])


@pytest.fixture(autouse=True)
def _short_wait(settings: Settings) -> None:
    """Wait little for a lease whose end a cache has acknowledged, and not noted."""
    settings.CACHEDECO = {"WAIT": 0.05}


def names_of(operation: str) -> tuple[str, ...]:
    """Return the names for `faulty()`, which takes none for all."""
    return () if operation == "everything" else (operation,)


@pytest.mark.covering(2)
@both
@operations
@faults
def test_call_under_a_fault_returns_the_right_value(side: Side, operation: str, fault: dict[str, Any]) -> None:
    """A failing operation of the cache costs a computation at most, whether an entry was there or not."""

    @side.cached(namespace="numbers:{number}")
    def double(number: int) -> int:
        return 2 * number

    side.call(double, 4)

    with faulty(*names_of(operation), **fault):
        found = side.call(double, 4), side.call(double, 5), side.call(double, 5)

    assert (8, 10, 10) == found
    assert (8, 10) == (side.call(double, 4), side.call(double, 5))


@pytest.mark.covering(2)
@both
@operations
@faults
def test_every_verb_under_a_fault_returns(side: Side, operation: str, fault: dict[str, Any]) -> None:
    """No verb raises what the cache raises, or is led astray by what it answers."""

    @side.cached(namespace="numbers")
    def double(number: int) -> int:
        return 2 * number

    with faulty(*names_of(operation), **fault):
        answers = [
            side.call(double.peek, 4),
            side.call(double.call(4).set, 8),
            side.call(double.refresh, 4),
            side.call(double.invalidate, 4),
            side.call(double.invalidate_all),
            side.call(Namespace("numbers").invalidate),
        ]

    assert [MISSING, None, 8, None, None, None] == answers


@both
@faults
def test_exception_of_the_function_under_a_fault_reaches_the_caller(side: Side, fault: dict[str, Any]) -> None:
    """The function's own exception is raised as it is, and is not taken for one of the cache."""

    @side.cached()
    def ask() -> int:
        msg = "the function's own"
        raise ConnectionResetError(msg)

    with faulty(**fault), pytest.raises(ConnectionResetError, match="the function's own"):
        side.call(ask)


@both
@faults
def test_reading_that_fails_is_a_miss(side: Side, fault: dict[str, Any]) -> None:
    """A hit that can't be read is computed, and is a hit again when the cache is well."""
    computed = []

    @side.cached(ignore=("computed",))
    def answer() -> int:
        computed.append(1)
        return 1

    side.call(answer)
    with faulty("get_many", **fault):
        side.call(answer)

    side.call(answer)

    assert 2 == len(computed)


@pytest.mark.covering(2)
@both
@pytest.mark.parametrize(("operation", "what"), [("get_many", "Reading"), ("add", "Adding"), ("set_many", "Writing")])
@pytest.mark.parametrize("fault", RAISED.values(), ids=RAISED)
def test_failure_is_an_event_with_its_error(side: Side, operation: str, what: str, fault: dict[str, Any]) -> None:
    """Each exception of the cache is told, and counted, for the function that met it."""
    seen: list[Event] = []

    @side.cached(namespace="a:b:c")
    def answer() -> int:
        return 1

    before = answer.stats().errors
    with faulty(operation, **fault), listening(seen.append):
        side.call(answer)
    errors = [event for event in seen if event.kind == "error"]

    assert what + " failed" in {event.reason for event in errors}
    assert {f"{__name__}.{test_failure_is_an_event_with_its_error.__name__}.<locals>.answer"} == {
        event.function for event in errors
    }
    assert all(event.error is not None for event in errors)
    assert len(errors) == answer.stats().errors - before


@both
@losses
def test_invalidation_lost_is_logged_as_an_error(
    side: Side, fault: dict[str, Any], caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    """Each verb's lost invalidation is logged at ERROR and names what is stale: elsewhere it was swallowed."""
    settings.CACHEDECO = {"LOG_ARGUMENTS": True}

    @side.cached(namespace="numbers")
    def double(number: int) -> int:
        return 2 * number

    with faulty("set_many", **fault):
        side.call(double.invalidate, 4)
        side.call(double.invalidate_all)
        side.call(Namespace("numbers").invalidate)
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]

    assert [True] * 3 == [
        part in message for part, message in zip(["(number=4)", "()", "n:numbers"], messages, strict=True)
    ]


@both
@losses
def test_invalidation_lost_is_counted(side: Side, fault: dict[str, Any]) -> None:
    """An invalidation that is not acknowledged is an event, and among the function's errors."""
    seen: list[Event] = []

    @side.cached()
    def answer() -> int:
        return 1

    before = answer.stats().errors
    with faulty("set_many", **fault), listening(seen.append):
        side.call(answer.invalidate)
    kinds = [event.kind for event in seen]

    assert (1, 0) == (kinds.count("invalidation_delayed"), kinds.count("invalidated"))
    assert kinds.count("error") + 1 == answer.stats().errors - before


@both
@pytest.mark.parametrize("acknowledgement", [None, [], (), set()], ids=repr)
def test_invalidation_acknowledged_is_not_lost(
    side: Side, acknowledgement: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing failed, in each way in which a backend says so: there is no alarm."""
    seen: list[Event] = []

    @side.cached()
    def answer() -> int:
        return 1

    with faulty("set_many", returns=acknowledgement), listening(seen.append):
        side.call(answer.invalidate)

    assert (["invalidated"], []) == ([event.kind for event in seen], caplog.records)


@both
@pytest.mark.parametrize(
    ("failures", "outcome"), [(1, ["invalidated"]), (2, ["breaker_opened", "invalidation_delayed"])]
)
def test_invalidation_is_tried_twice(side: Side, failures: int, outcome: list[str]) -> None:
    """One failure, as of a connection that was idle too long, is made good; two delay it."""
    seen: list[Event] = []

    @side.cached()
    def answer() -> int:
        return 1

    with faulty("set_many", raises=ConnectionResetError, times=failures) as fault, listening(seen.append):
        side.call(answer.invalidate)

    assert (["error"] * failures + outcome, 2) == ([event.kind for event in seen], len(fault.met))


@both
def test_invalidation_after_one_failure_reaches_the_entry(side: Side) -> None:
    """What was delivered at the second attempt is as good as at the first."""

    @side.cached()
    def answer() -> int:
        return 1

    side.call(answer)

    with faulty("set_many", raises=TimeoutError, times=1):
        side.call(answer.invalidate)

    assert MISSING is side.call(answer.peek)


@both
@pytest.mark.parametrize("operation", ["get_many", "add", "set_many"])
@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_signal_that_arrives_in_the_cache_passes_through(
    side: Side, operation: str, signal: type[BaseException]
) -> None:
    """Only exceptions are failures of the cache: Control-C ends the program wherever it arrives."""

    @side.cached()
    def answer() -> int:
        return 1

    with faulty(operation, raises=signal), pytest.raises(signal):
        side.call(answer)


@both
@pytest.mark.parametrize("option", ["cache_if", "timeout"])
def test_option_that_raises_does_not_keep_the_value_from_the_caller(side: Side, option: str) -> None:
    """A callable of the value that fails is an event, an error the first time: the caller has its value."""
    seen: list[Event] = []

    def fail(value: object) -> Any:
        msg = f"can't judge {value}"
        raise LookupError(msg)

    @side.cached(**{option: fail})
    def answer() -> int:
        return 1

    with listening(seen.append):
        found = [side.call(answer), side.call(answer)]

    assert [1, 1] == found
    assert ["miss", "computed", "error", "miss", "computed", "unstored"] == [event.kind for event in seen]
    assert [FAILED_ON.format(f"{option}=")] * 2 == [event.reason for event in seen if event.error]


class Several:
    """Of several truths, as an array of numpy is."""

    def __bool__(self) -> bool:
        """Have none."""
        msg = "The truth value of an array is ambiguous."
        raise ValueError(msg)


@both
def test_answer_of_cache_if_that_is_neither_true_nor_false_is_told_of_as_such(side: Side) -> None:
    """It is no fault of the timeout."""
    seen: list[Event] = []

    @side.cached(cache_if=lambda value: value)
    def answer() -> Several:
        return Several()

    with listening(seen.append):
        side.call(answer)

    assert [FAILED_ON.format("cache_if=")] == [event.reason for event in seen if event.error]


@both
@pytest.mark.parametrize("seconds", [-1, "60", float("nan"), True, 10**400])
def test_timeout_that_is_none_does_not_keep_the_value_from_the_caller(side: Side, seconds: object) -> None:
    """A callable that gives no timeout is an event, which says what it gave, and nothing is stored."""
    seen: list[Event] = []

    @side.cached(timeout=lambda _value: seconds)
    def answer() -> int:
        return 1

    with listening(seen.append):
        found = side.call(answer)

    assert (1, MISSING) == (found, side.call(answer.peek))
    assert "its result is " in str(seen[-1].error)


@both
@pytest.mark.parametrize("verb", ["set", "refresh"])
def test_storing_verb_whose_write_fails_leaves_nothing_old(side: Side, verb: str) -> None:
    """Who refreshes or puts says that what is stored is old: if the new value does not arrive, it is invalidated."""

    @side.cached()
    def answer() -> int:
        return 1

    side.call(answer)

    with faulty("set_many", raises=TimeoutError, times=1):
        side.call(answer.call().set, 2) if verb == "set" else side.call(answer.refresh)

    assert MISSING is side.call(answer.peek)


@both
@pytest.mark.parametrize("fault", [*RAISED.values(), *DEAD.values()])
def test_entry_that_is_not_acknowledged_is_an_unstored_value(side: Side, fault: dict[str, Any]) -> None:
    """The events and `explain()` say so of each value, beside the error of the command, if there was one."""

    @side.cached()
    def double(number: int) -> int:
        return 2 * number

    @cached_query_many(over="ids")
    def doubles(ids: list[int]) -> dict[int, int]:
        return {each: 2 * each for each in ids}

    side.call(double, 4)
    doubles([1, 2])
    for key in (double.key_for(4), *doubles.keys_for([1, 2]).values()):  # and not their tokens
        stored().delete(key)
    with faulty("set_many", **fault), listening((events := []).append):
        found = side.call(double, 4), doubles([1, 2])

    assert (8, {1: 2, 2: 4}) == found
    assert [NOT_ACKNOWLEDGED] * 3 == [event.reason for event in events if event.kind == "unstored"]
    assert NOT_ACKNOWLEDGED in str(side.call(double.explain, 4))
