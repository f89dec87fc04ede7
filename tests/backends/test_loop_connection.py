"""One connection of an event loop: its answers to callers, its last answer, and when it is given up."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from cachedeco.backends import loop_connection
from cachedeco.backends.exchange import LastAnswer
from cachedeco.backends.loop_connection import Answer, LoopConnection, new_answer
from cachedeco.backends.memcached_exchanges import Lines
from tests.backends.caches import cache_apart, cache_on
from tests.backends.on_loops import connections_of, names, opened, raw_of, read_once, server_of
from tests.backends.redis_caches import redis_at
from tests.backends.scripted import Scripted
from tests.support.hanging import BRIEFLY
from tests.support.servers import HOST, Memcached


class Line(Lines[bytes]):
    """A command that is answered by a line."""

    def __init__(self, command: bytes) -> None:
        """Take a command; its answer is the line, the last one if it says so."""
        super().__init__(b"", [command], self._answer)

    @staticmethod
    def _answer(lines: list[bytes]) -> Any:
        if lines == [b"interrupt"]:
            raise KeyboardInterrupt
        if lines == [b"nonsense"]:
            raise ValueError(*lines)
        if lines == [b"last"]:
            raise LastAnswer(lines[0])
        return PermissionError() if lines == [b"refused"] else lines[0]


class Transport:
    """What a connection writes to."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.written: list[bytes] = []
        self.is_aborted = False
        self.is_interrupted = False  #: once, at the next bytes

    def get_extra_info(self, _name: str) -> "Transport":
        """Return the socket, which is this."""
        return self

    def setsockopt(self, *_: object) -> None:
        """Do nothing."""

    def write(self, data: bytes) -> None:
        """Remember it."""
        if self.is_interrupted:
            self.is_interrupted = False
            raise KeyboardInterrupt
        self.written.append(data)

    def abort(self) -> None:
        """Remember it."""
        self.is_aborted = True


def connected(**given: Any) -> tuple[LoopConnection, Transport, list[bool]]:
    """Return a connection, its transport, and what it tells when it is closed."""
    told: list[bool] = []
    options = {"timeout": None, **given}
    connection = LoopConnection(asyncio.get_running_loop(), None, lambda _, failed: told.append(failed), **options)
    transport = Transport()
    connection.connection_made(transport)
    return connection, transport, told


def receive(connection: LoopConnection, data: bytes) -> None:
    """Do as a transport does with what has come."""
    connection.get_buffer(-1)[: len(data)] = data
    connection.buffer_updated(len(data))


async def ask(connection: LoopConnection, command: bytes = b"command") -> bytes:
    """Send a command, and wait for its answer."""
    return await connection.send(Line(command))


async def outcome_of(future: asyncio.Future[bytes]) -> object:
    """Return a result, or the type of an error."""
    try:
        return await future
    except Exception as error:  # noqa: BLE001 -- it is compared
        return type(error)


@pytest.mark.parametrize(
    ("answers", "expected", "is_closed"),
    [
        ([b"one\r\ntw", b"o\r\nthree\r\n"], [b"one", b"two", b"three"], False),
        ([b"refused\r\ntwo\r\nthree\r\n"], [PermissionError, b"two", b"three"], False),
        ([b"last\r\ntwo\r\nthree\r\n"], [b"last", ConnectionAbortedError, ConnectionAbortedError], True),
        ([b"one\r\nnonsense\r\nthree\r\n"], [b"one", ValueError, ConnectionAbortedError], True),
        ([b"one\r\ntwo\r\nthree\r\nfour"], [b"one", b"two", b"three"], True),
    ],
)
def test_answers_are_given_to_commands_in_order(
    answers: list[bytes],
    expected: list[object],
    is_closed: bool,
) -> None:
    """A refusal leaves the connection open; what is no answer closes it, and those behind it fail by another error."""

    async def work() -> tuple[list[object], bool, bool]:
        connection, transport, _ = connected()
        connection.begin()
        futures = [connection.send(Line(b"command")) for _ in range(3)]
        for data in answers:
            receive(connection, data)
        return [await outcome_of(each) for each in futures], connection.is_closed, transport.is_aborted

    assert (expected, is_closed, is_closed) == asyncio.run(work())


def test_command_that_was_cancelled_before_the_connection_opened_is_not_sent() -> None:
    """Its caller may have done something else since."""

    async def work() -> list[bytes]:
        connection, transport, _ = connected()
        futures = [connection.send(Line(name)) for name in (b"one ", b"two ", b"three ")]
        futures[1].cancel()
        connection.begin()
        await asyncio.sleep(0)
        return transport.written

    assert b"one three " == b"".join(asyncio.run(work()))


def test_error_for_a_task_that_was_cancelled_is_dropped() -> None:
    """The connection is closed all the same."""

    async def work() -> bool:
        connection, _, _ = connected()
        connection.begin()
        connection.send(Line(b"command")).cancel()
        receive(connection, b"nonsense\r\n")
        return connection.is_closed

    assert asyncio.run(work())


# --- who waits for an answer ---


async def in_the_loop(work: Callable[[], object]) -> None:
    """Call something as a transport is called: by the loop itself, outside of all tasks."""
    loop = asyncio.get_running_loop()
    called = loop.create_future()
    loop.call_soon(lambda: called.set_result(None) if work() is None else None)
    await called


def test_tasks_go_on_at_once_and_what_they_send_is_written_together() -> None:
    """Not in the next turn of the loop, and not a write for each; a task of another answer waits on."""
    seen: list[object] = []

    async def ask_twice(connection: LoopConnection) -> None:
        seen.append(await ask(connection, b"first "))
        seen.append(await ask(connection, b"second "))

    async def work() -> list[bytes]:
        connection, transport, _ = connected(timeout=100.0)
        connection.begin()
        tasks = [asyncio.create_task(ask_twice(connection)) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        def come() -> None:
            receive(connection, b"one\r\ntwo\r\nthr")
            seen.append(len(connection.waiting))
            receive(connection, b"ee\r\n")
            receive(connection, b"four\r\nfive\r\nsix\r\n")
            seen.append([task.done() for task in tasks])

        await in_the_loop(come)
        await asyncio.gather(*tasks)
        return transport.written

    written = asyncio.run(work())

    assert [b"one", b"two", 3, b"three", b"four", b"five", b"six", [True] * 3] == seen
    assert [b"first ", b"first first ", b"second second ", b"second "] == written


def test_answer_that_comes_while_a_task_runs_wakes_others_in_the_next_turn() -> None:
    """A loop runs one task at a time."""

    async def work() -> tuple[bool, bytes]:
        connection, _, _ = connected()
        connection.begin()
        task = asyncio.create_task(ask(connection))
        await asyncio.sleep(0)
        receive(connection, b"one\r\n")
        return task.done(), await task

    assert (False, b"one") == asyncio.run(work())


def test_interrupt_of_a_task_that_goes_on_leaves_the_others_their_answers() -> None:
    """It is the loop's, and none of the connection's."""

    async def interrupted(connection: LoopConnection) -> None:
        await ask(connection)
        raise KeyboardInterrupt

    async def work() -> list[object]:
        connection, _, _ = connected()
        connection.begin()
        first, second = asyncio.create_task(interrupted(connection)), asyncio.create_task(ask(connection))
        await asyncio.sleep(0)

        def come() -> None:
            with pytest.raises(KeyboardInterrupt):
                receive(connection, b"one\r\ntwo\r\n")

        await in_the_loop(come)
        return [type(first.exception()), await second, connection.is_closed]

    assert [KeyboardInterrupt, b"two", False] == asyncio.run(work())


def test_task_that_is_cancelled_by_one_that_went_on_before_it_ends() -> None:
    """Its answer is here, and it has not seen it."""

    async def work() -> list[object]:
        connection, _, _ = connected()
        connection.begin()

        async def cancel() -> None:
            await ask(connection)
            second.cancel()

        first = asyncio.create_task(cancel())
        second = asyncio.create_task(ask(connection))
        await asyncio.sleep(0)
        await in_the_loop(lambda: receive(connection, b"one\r\ntwo\r\n"))
        await asyncio.wait([first, second])
        return [first.exception(), second.cancelled(), connection.is_closed]

    assert [None, True, False] == asyncio.run(work())


def test_answer_calls_all_who_wait_for_it_once() -> None:
    """As any future: those that are added, and not removed, before and after it is here."""
    called: list[str] = []

    async def work() -> list[int]:
        answer: Answer[str] = new_answer(asyncio.get_running_loop())
        waiting = {name: lambda _, name=name: called.append(name) for name in ("first", "second", "third", "late")}
        for name in ("first", "second", "third"):
            answer.add_done_callback(waiting[name])
        removed = [answer.remove_done_callback(waiting[name]) for name in ("third", "first", "first")]
        answer.add_done_callback(waiting["first"])
        answer.set_result("")
        answer.add_done_callback(waiting["late"])
        answer.wake()
        await asyncio.sleep(0)
        return removed

    assert [1, 1, 0] == asyncio.run(work())
    assert ["first", "late", "second"] == sorted(called)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupt_in_the_middle_of_an_answer_closes_the_connection(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to the thread of the loop, and goes on; what waits fails."""

    async def work() -> tuple[object, bool]:
        connection, _, _ = connected()
        connection.begin()
        future = connection.send(Line(b"command"))
        monkeypatch.setattr(Line, "cut", lambda *_: (_ for _ in ()).throw(error))
        with pytest.raises(error):
            receive(connection, b"one\r\n")
        return await outcome_of(future), connection.is_closed

    assert (ConnectionAbortedError, True) == asyncio.run(work())


def test_answer_before_an_interrupt_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that came together, what was read before it."""
    cut = Line.cut

    def interrupted(line: Line, data: bytes, at: int) -> Any:
        if at:
            raise KeyboardInterrupt
        return cut(line, data, at)

    async def work() -> list[object]:
        connection, _, _ = connected()
        connection.begin()
        monkeypatch.setattr(Line, "cut", interrupted)
        tasks = [asyncio.create_task(outcome_of(connection.send(Line(b"command")))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(KeyboardInterrupt):
            receive(connection, b"one\r\ntwo\r\n")
        return await asyncio.gather(*tasks)

    assert [b"one", ConnectionAbortedError] == asyncio.run(work())


def test_interrupt_by_a_signals_handler_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an Exception, and none of the server's."""
    monkeypatch.setattr(loop_connection, "is_interrupt", lambda error: isinstance(error, ValueError))

    async def work() -> object:
        connection, _, _ = connected()
        connection.begin()
        future = connection.send(Line(b"command"))
        with pytest.raises(ValueError, match="nonsense"):
            receive(connection, b"nonsense\r\n")
        return await outcome_of(future)

    assert ConnectionAbortedError is asyncio.run(work())


def test_interrupt_while_a_command_is_written_closes_the_connection() -> None:
    """It is unknown whether it was sent: the answers of others would be given to the wrong ones."""

    async def work() -> list[object]:
        connection, transport, _ = connected()
        connection.begin()
        waiting = connection.send(Line(b"command"))
        receive(connection, b"one\r\n")
        transport.is_interrupted = True
        with pytest.raises(KeyboardInterrupt):
            connection.send(Line(b"command"))
        return [await waiting, connection.is_closed, [*connection.waiting]]

    assert [b"one", True, []] == asyncio.run(work())


def test_interrupt_while_commands_are_written_together_closes_the_connection() -> None:
    """Each of those that wait fails."""

    async def work() -> list[object]:
        connection, transport, _ = connected()
        connection.begin()
        waiting = [connection.send(Line(b"command")) for _ in range(3)]
        transport.is_interrupted = True
        with pytest.raises(KeyboardInterrupt):
            connection._flush()
        return [*[await outcome_of(each) for each in waiting], connection.is_closed]

    assert [*[ConnectionAbortedError] * 3, True] == asyncio.run(work())


def test_interrupt_while_a_connection_begins_leaves_no_command_waiting() -> None:
    """Those that were not sent yet, too."""

    async def work() -> list[object]:
        connection, transport, _ = connected()
        waiting = [connection.send(Line(b"command")) for _ in range(3)]
        transport.is_interrupted = True
        with pytest.raises(KeyboardInterrupt):
            connection.begin()
        return [*[await outcome_of(each) for each in waiting], connection.is_closed]

    assert [*[ConnectionAbortedError] * 3, True] == asyncio.run(work())


def test_connection_that_was_closed_while_it_opened_stays_closed() -> None:
    """The task that opens it may do anything then."""

    async def work() -> list[object]:
        connection, _, told = connected()
        waiting = connection.send(Line(b"command"))
        connection.close()
        late = Transport()
        connection.connection_made(late)
        greeting = connection.greet(Line(b"hello"))
        connection.begin()
        connection.close()
        return [await outcome_of(waiting), await outcome_of(greeting), late.is_aborted, connection.is_open, told]

    assert [ConnectionAbortedError, ConnectionAbortedError, True, False, [True]] == asyncio.run(work())


def test_connection_is_retired_when_its_last_answer_has_come() -> None:
    """Commands that were sent before are answered."""

    async def work() -> list[object]:
        connection, _, told = connected()
        waiting = connection.send(Line(b"command"))
        connection.retire()
        connection.begin()
        before = connection.is_closed
        receive(connection, b"one\r\n")
        return [before, await waiting, connection.is_closed, told]

    assert [False, b"one", True, [False]] == asyncio.run(work())


def test_watchdog_looks_twice_and_reads_what_has_come() -> None:
    """A loop that was blocked for longer than the timeout is no failure of the server."""

    async def work() -> list[object]:
        connection, _, _ = connected(timeout=100.0)
        connection.begin()
        first = connection.send(Line(b"command"))
        connection.heard_at -= 101
        connection._look()
        between = connection.is_closed
        receive(connection, b"one\r\n")
        second = connection.send(Line(b"command"))
        connection._look(again=True)
        heard = connection.is_closed
        connection.heard_at -= 101
        connection._look(again=True)
        return [between, await first, heard, await outcome_of(second)]

    assert [False, b"one", False, TimeoutError] == asyncio.run(work())


def test_watchdog_of_a_connection_without_commands_ends() -> None:
    """No timer is left until the next command."""

    async def work() -> object:
        connection, _, _ = connected(timeout=100.0)
        connection.begin()
        connection.send(Line(b"command"))
        receive(connection, b"one\r\n")
        connection._look()
        return connection._watchdog

    assert None is asyncio.run(work())


def test_value_that_is_too_large_leaves_the_connection_open(private_memcached: Memcached) -> None:
    """Memcached reads it to its end, and other tasks' commands wait behind it."""
    cache, keys = cache_on(private_memcached), names(2)
    raw = raw_of(cache)

    async def work() -> list[Any]:
        await raw.aread(keys)
        [connection] = connections_of(cache)
        large, small = await asyncio.gather(
            raw.aset_each([(keys[0], b"x" * 2**21, None)]), raw.aset_each([(keys[1], b"small", None)])
        )
        return [large, "too large" in str(large.error), small, connection.is_closed]

    assert [[False], True, [True], False] == asyncio.run(work())


def test_refusal_that_may_have_more_lines_closes_the_connection() -> None:
    """What it is not followed by is known of memcached alone, for values that it does not take."""
    with Scripted([b"END\r\n", b"SERVER_ERROR busy\r\n"], [b"STORED\r\n"]) as server:
        raw = raw_of(cache_on(server))

        async def work() -> list[Any]:
            await raw.aread(["key"])
            return [await raw.aset_each([("key", b"value", None)]) for _ in range(2)]

        refused, stored = asyncio.run(work())

    assert ([False], "SERVER_ERROR busy", [True]) == (refused, str(refused.error), stored)


def test_idle_connection_is_not_used_for_long(private_memcached: Memcached) -> None:
    """A firewall may have forgotten it, and does not tell."""
    cache, [key] = cache_on(private_memcached), names(1)

    async def work() -> list[bool]:
        await read_once(cache, key)
        [first] = connections_of(cache)
        first.heard_at -= 61
        await read_once(cache, key)
        return [first.is_closed, *(each is first for each in connections_of(cache))]

    assert [True, False] == asyncio.run(work())


def test_second_connection_that_is_refused_is_not_opened_at_once_again(private_memcached: Memcached) -> None:
    """The server may have as many as it takes."""
    cache, [key] = cache_on(private_memcached), names(1)

    async def work() -> int:
        while not connections_of(cache)[1:]:
            await asyncio.gather(read_once(cache, key), read_once(cache, key))
        await opened(cache)
        for _ in range(3):
            await asyncio.gather(read_once(cache, key), read_once(cache, key))
            for each in connections_of(cache)[1:]:
                each.close()
        return int(private_memcached.stats()["total_connections"])

    before = int(private_memcached.stats()["total_connections"])
    number = asyncio.run(work()) - before

    assert 3 == number  # one of stats()


def test_clearing_from_another_thread_lets_commands_end(private_memcached: Memcached) -> None:
    """A loop that is closed has nothing to clear."""
    cache, [key] = cache_on(private_memcached), names(1)
    loops = server_of(cache).pool.loops
    assert loops is not None

    async def work() -> list[Any]:
        await read_once(cache, key)
        [first] = connections_of(cache)
        waiting = asyncio.ensure_future(read_once(cache, key))
        await asyncio.sleep(0)
        await asyncio.to_thread(loops.clear)
        return [await waiting, first.is_closed, connections_of(cache)]

    found = asyncio.run(work())
    loops.clear()

    assert [[None], True, []] == found


def test_time_to_connect_is_limited() -> None:
    """Also where a server takes the connection, and does not greet."""
    with socket.create_server((HOST, 0)) as silent:
        cache = redis_at(f"redis://{HOST}:{silent.getsockname()[1]}/1", socket_connect_timeout=BRIEFLY)
        with pytest.raises(TimeoutError, match="timed out"):
            asyncio.run(cache.aset("key", 1))


def test_time_to_connect_may_be_unlimited(memcached_server: Memcached) -> None:
    """As in sync code."""
    cache = cache_apart(memcached_server, connect_timeout=None)

    asyncio.run(cache.aset("key", 1))

    assert 1 == asyncio.run(cache.aget("key"))
