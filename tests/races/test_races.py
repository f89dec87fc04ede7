"""
The races of two invariants, step by step: what the stamp proves, and which caller joins which.

A `Source` holds the truth, and stops a reader after it has read it. The controls show that the steps are those of
the race: decorators as they are usually written fail.
"""

import asyncio
from collections.abc import Callable

import pytest

from cachedeco import MISSING, cached_query
from tests.support.backends import Recording
from tests.support.naive import DeleteAndSet, SharedByKey
from tests.support.sources import EVERY_WAY, Reader, Source, interfering, slow_reader_meets_writer
from tests.support.threads import PATIENCE_SECONDS, in_thread, started

pytestmark = [
    pytest.mark.usefixtures("backend"),
    pytest.mark.parametrize("backend", ["locmem", "memcached", "redis"], indirect=True),
]


# --- 1. the stamp is read before the computation ---


@pytest.mark.covering(3)
@EVERY_WAY
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_slow_reader_cannot_bring_back_what_was_invalidated(
    source: Source, read: Reader, invalidate: Callable[[Reader], None], *, warm: bool
) -> None:
    """
    A reader has read "old", a writer writes "new" and invalidates, the reader stores: the next call says "new".

    The defect of nearly all: what the reader stored late was served until its timeout.
    """
    if warm:
        read(1)
        read.invalidate(1)

    assert ("old", "new") == slow_reader_meets_writer(source, read, invalidate)


def test_control_delete_and_set_brings_back_what_was_invalidated(source: Source) -> None:
    """The control: with delete and set the steps above serve "old"."""
    read = DeleteAndSet(lambda _number: source.read())

    assert ("old", "old") == slow_reader_meets_writer(source, read, lambda read: read.invalidate(1))


def test_slow_refresh_cannot_bring_back_what_was_invalidated(source: Source, read: Reader) -> None:
    """
    A refresh that is under way when its call is invalidated stores an entry that is dead at birth.

    The defect: a background refresh that ended after a delete put the deleted value back.
    """
    read(1)
    source.gate.shut()
    with started(lambda: read.refresh(1)) as slow:
        source.gate.wait_reached()
        source.value = "new"
        read.invalidate(1)
        source.gate.open()

    assert ("old", MISSING, "new") == (slow.result(), read.peek(1), read(1))


def test_slow_reader_cannot_replace_what_is_fresh(source: Source, read: Reader) -> None:
    """
    A slow reader's late entry is never served, though it may overwrite the fresh one: that costs a computation.

    The defect: a reader that had loaded a stale entry stored it again over the fresh one that a worker had stored.
    """
    source.gate.shut()
    with started(lambda: read(1)) as slow:
        source.gate.wait_reached()
        source.value = "new"
        read.invalidate(1)
        fresh = read(1)
        source.gate.open()

    assert ("old", "new", "new") == (slow.result(), fresh, read(1))
    assert "new" == read.peek(1)


@pytest.mark.covering(3)
@EVERY_WAY
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("at", range(4))
def test_write_between_any_two_commands_of_a_call_is_not_lost(  # noqa: PLR0913 -- the fixtures and one place in time
    source: Source,
    read: Reader,
    monkeypatch: pytest.MonkeyPatch,
    invalidate: Callable[[Reader], None],
    at: int,
    *,
    after: bool,
    warm: bool,
) -> None:
    """Wherever among the commands of a miss a write and its invalidation fall, the next call gives the new value."""
    if warm:
        read(1)
        read.invalidate(1)

    def write() -> None:
        source.value = "new"
        invalidate(getattr(read, "plain", read))

    with monkeypatch.context() as patch:
        patch.setattr(Recording, "carry_out", interfering(at, write, after=after))
        first = read(1)
    if source.value == "old":
        write()  # a warm miss has fewer commands

    assert first in {"old", "new"}
    assert ("new", "new") == (read(1), read(1))


# --- 3. a caller after an invalidation does not get what began before it ---


@pytest.mark.covering(2)
@EVERY_WAY
def test_caller_after_invalidation_does_not_wait_for_an_older_computation(
    source: Source, read: Reader, invalidate: Callable[[Reader], None]
) -> None:
    """While a computation from before the invalidation still runs, a new caller computes, and gets the new value."""
    source.gate.shut()
    with started(lambda: read(1)) as slow:
        source.gate.wait_reached()
        source.value = "new"
        invalidate(read)
        arrived = in_thread(lambda: read(1))
        still_running = not slow.done()
        source.gate.open()

    assert (True, "new", "old") == (still_running, arrived, slow.result())


def test_control_computation_shared_by_key_serves_the_past(source: Source) -> None:
    """The control: where callers share a computation named by the key alone, the new caller gets the old value."""
    read = SharedByKey(lambda _number: source.read())
    source.gate.shut()
    with started(lambda: read(1)) as slow:
        source.gate.wait_reached()
        source.value = "new"
        read.invalidate(1)
        with started(lambda: read(1)) as arrived:
            assert read.joined.wait(PATIENCE_SECONDS)
            source.gate.open()

    assert ("old", "old") == (slow.result(), arrived.result())


# --- tasks of one loop ---


def test_tasks_of_one_loop_are_as_right_as_threads(source: Source) -> None:
    """A task that awaits while another one writes and invalidates stores nothing that is served."""
    reached, opened = asyncio.Event(), asyncio.Event()

    @cached_query(ignore=("source", "reached", "opened"))
    async def read(number: int) -> str:  # noqa: ARG001 -- only the key tells it
        value = source.value
        reached.set()
        await opened.wait()
        return value

    async def main() -> list[str]:
        slow = asyncio.create_task(read(1))
        await reached.wait()
        source.value = "new"
        await read.ainvalidate(1)
        arrived = asyncio.create_task(read(1))
        opened.set()
        return [await arrived, await slow, await read(1)]

    assert ["new", "old", "new"] == asyncio.run(main())


def test_task_cancelled_in_its_computation_leaves_no_trace(source: Source) -> None:
    """A caller that goes away while it computes stores nothing, and the next one computes."""
    reached = asyncio.Event()

    @cached_query(ignore=("source", "reached"))
    async def read(number: int) -> str:  # noqa: ARG001 -- as above
        if source.value == "old":
            reached.set()
            await asyncio.Event().wait()
        return source.value

    async def main() -> list[object]:
        slow = asyncio.create_task(read(1))
        await reached.wait()
        slow.cancel()
        await asyncio.wait([slow])
        peeked = await read.apeek(1)
        source.value = "new"
        return [slow.cancelled(), peeked, await read(1)]

    assert [True, MISSING, "new"] == asyncio.run(main())
