"""What another caller has computed is shared in every format, signed or not."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from pytest_django import Settings

from cachedeco import cached_query
from cachedeco.loading.leases import STORED
from cachedeco.storage.entries import serialized_value
from tests.loading.leases.elsewhere import held_lease
from tests.loading.single_flight.callers import Boarding, heard
from tests.support.clocks import Clock
from tests.support.threads import Gate, started

KEY = "a key of the tests, long enough"

formats = pytest.mark.parametrize("form", ["pickle", "json"])
signed = pytest.mark.parametrize("keys", [[], [KEY]], ids=["unsigned", "signed"])


def cached_in(form: Any, gate: Gate) -> Any:
    """Return a cached function of a format, which stops at a gate."""

    @cached_query(serializer=form, ignore=("gate",), timeout=60)
    def read() -> list[Any]:
        gate.wait_to_pass()
        return ["value", 1.5, None]

    return read


@formats
@signed
def test_threads_share_a_value(form: str, keys: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a computation of this process gets a copy of his own."""
    settings.CACHEDECO = {"SIGNING_KEYS": keys}
    gate, boarding = Gate(), Boarding(monkeypatch)
    read = cached_in(form, gate)
    gate.shut()

    with heard() as events, started(read) as leader:
        gate.wait_reached()
        with started(read) as follower:
            boarding.wait_for_followers(1)
            gate.open()

    assert leader.result() == follower.result() == ["value", 1.5, None]
    assert leader.result() is not follower.result()
    assert ["shared"] == [each.kind for each in events if each.kind in {"shared", "error"}]


@formats
@signed
def test_value_of_another_process_is_shared(
    form: str, keys: list[str], settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for another process gets what that one stores, and so does who waits for him."""
    settings.CACHEDECO = {"SIGNING_KEYS": keys}
    read, boarding = cached_in(form, Gate()), Boarding(monkeypatch)
    lease = held_lease(read)
    with ThreadPoolExecutor(1) as threads, heard() as events:
        followers: list[Future[Any]] = []
        clock.meanwhile = [
            lambda: (followers.append(threads.submit(read)), boarding.wait_for_followers(1)),
            lambda: (read.call().set(["theirs"]), lease.end(STORED)),
        ]

        found = [read(), *[each.result() for each in followers]]

    assert [["theirs"]] * 2 == found
    assert ["shared"] * 2 == [each.kind for each in events if each.kind in {"shared", "error"}]


@formats
@signed
def test_packed_value_is_cut_out_of_an_entry(form: str, keys: list[str], settings: Settings) -> None:
    """Names, times, signature and stamp do not belong to it."""
    settings.CACHEDECO = {"SIGNING_KEYS": keys}
    read = cached_in(form, Gate())
    read()
    policy, where = read._spec.resolve_call((), {})
    [sealed] = policy.store.get_many(where[:1]).values()

    packed = serialized_value(policy.codec, where[0], sealed)

    assert policy.codec.serializer.dumps(["value", 1.5, None]).data == packed
