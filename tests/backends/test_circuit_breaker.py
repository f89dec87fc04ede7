"""When a server is asked, and when it is left alone: by a clock that only the test moves."""

import logging
import socket

import pytest
from pymemcache.exceptions import MemcacheServerError, MemcacheUnexpectedCloseError, MemcacheUnknownError

from cachedeco.backends.memcached_errors import MemcachedConnectionError, MemcachedError, MemcachedTimeoutError
from cachedeco.backends.memcached_pool import MemcachedConnection
from cachedeco.backends.server import FIRST_PAUSE, GROWTH, JITTER, LONGEST_PAUSE
from tests.backends.asking import GONE, HANGS, Asked, Clock

WHAT_FOLLOWS = "What is read from it counts as missing until it answers."


def test_read_during_the_pause_is_not_sent(asked: Asked, advance: Clock) -> None:
    """One failure begins the pause; until its end nothing is asked, and then it is."""
    asked.trouble = HANGS

    first = asked.run()
    advance(FIRST_PAUSE - 0.01)
    second = asked.run()
    times = asked.times
    advance(0.01)
    third = asked.run()

    assert ["MemcachedTimeoutError"] * 3 == [first, second, third]
    assert (1, 2) == (times, asked.times)


def test_error_that_is_not_of_the_server_passes_in_an_outage(asked: Asked) -> None:
    """A write of what can't be sent is the caller's fault, then too."""
    asked.trouble = GONE
    asked.run(writes=True)
    asked.trouble = UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    with pytest.raises(UnicodeEncodeError):
        asked.run(writes=True)


def test_answer_ends_the_outage(asked: Asked, advance: Clock) -> None:
    """From then on every command is sent, and the next outage begins with a short pause."""
    asked.trouble = HANGS
    asked.run()
    asked.trouble = None
    advance(FIRST_PAUSE)

    answers = [asked.run(), asked.run(writes=True), asked.run()]

    assert ["answer"] * 3 == answers
    asked.trouble = HANGS
    asked.run()
    advance(FIRST_PAUSE)
    asked.trouble = None
    assert "answer" == asked.run()


def test_pauses_grow_to_a_bound(asked: Asked, advance: Clock) -> None:
    """Each failure of who asks makes the next pause longer, and none is longer than the longest."""
    asked.trouble = GONE
    asked.run()
    pause, pauses = FIRST_PAUSE, []
    for _ in range(10):
        times = asked.times
        advance(pause - 0.01)
        asked.run()
        advance(0.01)
        asked.run()
        pauses.append(asked.times - times)
        pause = min(GROWTH * pause, LONGEST_PAUSE)

    assert [1] * 10 == pauses
    assert LONGEST_PAUSE == pause


def test_pauses_are_shortened_at_random(asked: Asked, advance: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a quarter at most, so that processes do not ask together."""
    ranges: list[tuple[float, float]] = []
    monkeypatch.setattr("cachedeco.backends.server.uniform", lambda least, most: ranges.append((least, most)) or least)
    asked.trouble = HANGS
    asked.run()
    advance(FIRST_PAUSE * (1 - JITTER))
    asked.trouble = None

    assert "answer" == asked.run()
    assert [(1 - JITTER, 1)] == ranges


def test_one_caller_asks_after_the_pause(asked: Asked, advance: Clock) -> None:
    """While it waits, others are told at once, those who write to a server that hung among them."""
    asked.trouble = HANGS
    asked.run()
    advance(FIRST_PAUSE)
    others: list[str] = []

    def slow(_connection: MemcachedConnection) -> str:
        others.extend([asked.run(), asked.run(writes=True)])
        return "answer"

    assert "answer" == asked.server.run("get", slow, writes=False)
    assert (["MemcachedTimeoutError"] * 2, 1) == (others, asked.times)


def test_write_is_tried_where_no_server_was_there(asked: Asked, advance: Clock) -> None:
    """During the pause, too; it reaches a server that was started again, and reads follow."""
    asked.trouble = GONE
    asked.run()
    failed = asked.run(writes=True)
    asked.trouble = None

    answers = [asked.run(), asked.run(writes=True), asked.run()]

    assert "MemcachedConnectionError" == failed
    assert ["MemcachedConnectionError", "answer", "answer"] == answers
    advance(0)


def test_write_is_not_tried_where_a_server_was_waited_for(asked: Asked, advance: Clock) -> None:
    """Each would wait; after the pause one does."""
    asked.trouble = HANGS
    asked.run()
    asked.trouble = None

    during = asked.run(writes=True)
    advance(FIRST_PAUSE)
    after = asked.run(writes=True)

    assert ("MemcachedTimeoutError", "answer") == (during, after)


def test_server_that_was_gone_and_now_hangs_is_left_alone(asked: Asked, advance: Clock) -> None:
    """The first write that waits is the last one in that pause."""
    asked.trouble = GONE
    asked.run()
    asked.trouble = HANGS
    asked.run(writes=True)
    times = asked.times

    asked.run(writes=True)

    assert times == asked.times
    advance(GROWTH * FIRST_PAUSE)
    asked.run(writes=True)
    assert times + 1 == asked.times


@pytest.mark.parametrize("trouble", [GONE, HANGS])
def test_failure_of_who_began_before_is_no_second_one(asked: Asked, advance: Clock, trouble: Exception) -> None:
    """Callers who were under way when the server died make the pause no longer."""

    def slow(_connection: MemcachedConnection) -> str:
        asked.trouble = trouble
        asked.run()
        raise trouble

    with pytest.raises(MemcachedError):
        asked.server.run("get", slow, writes=False)

    advance(FIRST_PAUSE)
    asked.trouble = None
    assert "answer" == asked.run()


def test_answer_of_who_began_before_proves_nothing(asked: Asked, advance: Clock) -> None:
    """It was given before the server failed."""

    def slow(_connection: MemcachedConnection) -> str:
        asked.trouble = HANGS
        asked.run()
        return "answer"

    asked.server.run("get", slow, writes=False)
    asked.trouble = None

    assert "MemcachedTimeoutError" == asked.run()
    advance(0)


def test_second_answer_in_an_outage_is_nothing_new(
    asked: Asked, advance: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Of two writes that reach the server again, one ends the outage."""
    caplog.set_level(logging.INFO, "cachedeco")
    asked.trouble = GONE
    asked.run()
    asked.trouble = None

    def first(_connection: MemcachedConnection) -> str:
        return asked.run(writes=True)

    assert "answer" == asked.server.run("set", first, writes=True)
    assert 1 == sum("answers again" in record.getMessage() for record in caplog.records)
    advance(0)


def test_interrupted_probe_leaves_it_to_the_next(asked: Asked, advance: Clock) -> None:
    """A worker that is killed while it waits is not waited for."""
    asked.trouble = HANGS
    asked.run()
    advance(FIRST_PAUSE)
    asked.trouble = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        asked.run()
    asked.trouble = None

    assert "answer" == asked.run()


def test_outage_is_logged_when_it_begins_and_when_it_ends(
    asked: Asked, advance: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Once each, with the server and the reason."""
    caplog.set_level(logging.INFO, "cachedeco")
    asked.trouble = GONE
    for _ in range(3):
        asked.run()
        asked.run(writes=True)
        advance(60)
    asked.trouble = None
    asked.run()
    asked.run()

    assert [
        (
            "WARNING",
            f"memcached server there:1 is out of reach: ConnectionRefusedError: {GONE}. {WHAT_FOLLOWS}",
        ),
        ("INFO", "memcached server there:1 answers again, after 180.0 s."),
    ] == [(record.levelname, record.getMessage()) for record in caplog.records]


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (GONE, MemcachedConnectionError),
        (BrokenPipeError(), MemcachedConnectionError),
        (FileNotFoundError("no socket"), MemcachedConnectionError),
        (MemcacheUnexpectedCloseError(), MemcachedConnectionError),
        (MemcacheUnknownError(b"nonsense"), MemcachedConnectionError),
        (ValueError("no number"), MemcachedConnectionError),
        (KeyError(b"a key that nobody asked for"), MemcachedConnectionError),
        (HANGS, MemcachedTimeoutError),
        (socket.gaierror("no such name"), MemcachedTimeoutError),
    ],
    ids=lambda given: given.__name__ if isinstance(given, type) else type(given).__name__,
)
@pytest.mark.parametrize("writes", [True, False])
def test_error_tells_what_happened(
    asked: Asked,
    cause: Exception,
    expected: type[MemcachedError],
    writes: bool,
) -> None:
    """It names server, operation, reason and remedy, and comes from what the client raised."""
    asked.trouble = cause

    with pytest.raises(expected, match=r"set failed, as memcached server there:1 .*Start it") as caught:
        asked.server.run("set", asked._answer, writes=writes)

    assert cause is caught.value.__cause__
    assert ("there:1", "set") == (caught.value.server, caught.value.operation)
    assert type(cause).__name__ in str(caught.value)
    assert "nobody asked for" not in str(caught.value), "keys of sessions must not be in logs"


@pytest.mark.parametrize("trouble", [MemcacheServerError("object too large"), TypeError("expire")], ids=repr)
def test_refusal_to_write_is_no_outage(asked: Asked, trouble: Exception) -> None:
    """It is raised as it is, the server's answer or what is wrong with the command; and the next command is sent."""
    asked.trouble = trouble

    with pytest.raises(type(trouble)):
        asked.run(writes=True)
    asked.trouble = None

    assert "answer" == asked.run()


def test_refusal_to_read_is_an_outage(asked: Asked) -> None:
    """A proxy says so of the server behind it."""
    asked.trouble = MemcacheServerError("no backend")

    assert ["MemcachedConnectionError"] * 2 == [asked.run(), asked.run()]
    assert 1 == asked.times
