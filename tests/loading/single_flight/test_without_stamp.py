"""While the cache can't be asked nothing tells of invalidations: who comes during a computation shares the next."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from threading import Semaphore
from typing import Any

import pytest

from cachedeco import cached_query
from cachedeco.loading import effects
from cachedeco.loading.promise import Promise
from tests.support.faults import faulty
from tests.support.sides import Side, both
from tests.support.sources import Source
from tests.support.threads import PATIENCE_SECONDS, started

LATE = 5


@both
@pytest.mark.usefixtures("faulty_backend")
def test_late_callers_share_one_computation_that_begins_after_they_came(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One computes; five who come meanwhile get what is true by then, by one computation more, once it is there."""
    source, waiting = Source(), Semaphore(0)

    @side.cached(ignore=("source",), wait=10 * PATIENCE_SECONDS)
    def read() -> str:
        return source.read()

    if side.is_async:
        monkeypatch.setattr(effects, "_wait_until_kept", counted_async(effects._wait_until_kept, waiting))
    else:
        monkeypatch.setattr(Promise, "result", counted(Promise.result, waiting))
    with ExitStack() as stack:
        stack.enter_context(faulty("get_many", raises=OSError))
        source.gate.shut()
        first = stack.enter_context(started(lambda: side.call(read)))
        source.gate.wait_reached()
        source.value = "new"
        pool = stack.enter_context(ThreadPoolExecutor(LATE))
        late: list[Future[Any]] = [pool.submit(side.call, read) for _ in range(LATE)]
        for _ in range(LATE):
            assert waiting.acquire(timeout=PATIENCE_SECONDS)
        source.gate.open()
        values = [each.result(PATIENCE_SECONDS) for each in (first, *late)]

    assert (["old", *["new"] * LATE], 2) == (values, source.read_count)


def counted(wait: Any, waiting: Semaphore) -> Any:
    """Return the function, telling of each call before it."""

    def inside(*args: object) -> object:
        waiting.release()
        return wait(*args)

    return inside


def counted_async(wait: Any, waiting: Semaphore) -> Any:
    """Return the async function, telling of each call before it."""

    async def inside(*args: object) -> object:
        waiting.release()
        return await wait(*args)

    return inside


@pytest.mark.usefixtures("faulty_backend")
def test_caller_who_has_waited_long_enough_computes_beside_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computation that hangs holds no caller up for longer than `wait`."""
    source = Source()

    @cached_query(ignore=("source",))
    def read() -> str:
        return source.read()

    monkeypatch.setattr(Promise, "result", lambda *_: None)  # the time is over at once
    with faulty("get_many", raises=OSError):
        source.gate.shut()
        with started(read) as first:
            source.gate.wait_reached()
            second = read()
            source.gate.open()

    assert ("old", "old", 2) == (second, first.result(), source.read_count)
