"""What one caller has from another one's computation depends on all that the computation depended on."""

from threading import Event

import pytest

from cachedeco import MISSING, bypass, cached_query
from cachedeco.loading import flights, single_flight
from tests.support.threads import PATIENCE_SECONDS, started


def test_caller_who_shares_what_went_past_the_cache_stores_nothing_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    No invalidation can reach what a call inside has read past the cache: no outer entry may hold it.

    The defect: the one who computed stored nothing, and those who shared its value stored it in their outer entries.
    """
    begun, finish, joined, board = Event(), Event(), Event(), flights.join_or_lead

    @cached_query(timeout=None)
    def inner() -> str:
        return "inner"

    @cached_query(timeout=None, ignore=("begun", "finish", "inner"))
    def middle() -> str:
        begun.set()
        assert finish.wait(PATIENCE_SECONDS)
        with bypass():
            return inner()

    @cached_query(timeout=None, ignore=("middle",))
    def outer() -> str:
        return middle()

    def boarded(*args: object) -> object:
        boarding = board(*args)  # type: ignore[arg-type] # any arguments
        joined.set()
        return boarding

    with started(middle) as leader:
        assert begun.wait(PATIENCE_SECONDS)
        monkeypatch.setattr(single_flight, "join_or_lead", boarded)
        with started(outer.refresh) as follower:  # no caller waits for a refresh, so that it may wait inside
            assert joined.wait(PATIENCE_SECONDS)
            finish.set()

    assert ("inner", "inner") == (leader.result(), follower.result())
    assert (MISSING, MISSING) == (middle.peek(), outer.peek())
