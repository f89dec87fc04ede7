"""When the pause is over one caller asks; while the cache does not answer, the pauses grow."""

from typing import Any

import pytest
import redis.exceptions

from cachedeco.invalidation.retry_queue import flush
from cachedeco.storage import breaker
from cachedeco.storage.breaker import PendingInvalidation
from tests.storage.failing.calls import HIT, PROBE, double, fail, sent
from tests.storage.failing.clocks import Clock, queue
from tests.support.backends import Commands
from tests.support.faults import faulty

pytestmark = pytest.mark.usefixtures("faulty_backend", "clock")


def test_probe_that_ends_after_all_was_forgotten_changes_nothing(clock: Clock) -> None:
    """What a test has begun in another thread does not reach into the state of the next one."""
    fail(3)
    clock.advance(1)

    def begin_anew() -> None:
        breaker.reset()
        breaker.enqueue_pending("default", {"key": PendingInvalidation("", None)}, flush)

    with faulty("set_many", after=begin_anew, times=1):
        double(4)

    assert ["key"] == queue()


@pytest.mark.parametrize(("seconds", "expected"), [(0.99, []), (1.0, [*PROBE, *HIT])])
def test_pause_over_is_a_probe(seconds: float, expected: list[str], clock: Clock, commands: Commands) -> None:
    """Until the pause is over nothing is sent; then a write and its reading back, and the call goes on as ever."""
    double(4)
    fail(3)

    clock.advance(seconds)

    assert expected == sent(commands, lambda: double(4))


def test_setting_says_how_long_the_first_pause_is(clock: Clock, commands: Commands, settings: Any) -> None:
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


@pytest.mark.parametrize(
    ("method", "answer"),
    [(None, {"unreachable": True}), (None, {"returns": ["nonsense"]}), ("get_many", {"raises": TimeoutError})],
    ids=["HashClient", "nonsense", "takes writes alone"],
)
def test_probe_without_a_right_answer_closes_nothing(
    method: str | None, answer: dict[str, Any], clock: Clock, commands: Commands
) -> None:
    """A client that answers for a dead server is not taken for a well one, nor is a server that answers no reads."""
    fail(3)
    clock.advance(1)

    with faulty(*filter(None, [method]), **answer):
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


def test_probe_that_is_interrupted_is_followed_by_another_one(clock: Clock, commands: Commands) -> None:
    """Control-C in a probe does not leave the breaker waiting for it for ever."""
    fail(3)
    clock.advance(1)
    with faulty(raises=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        double(4)

    clock.advance(2)

    assert PROBE == sent(commands, lambda: double(4))[:2]
