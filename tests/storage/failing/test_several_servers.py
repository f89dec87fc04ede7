"""A cache of two servers of which one is away: the backend names the keys that it could not store, and says why."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_django import Settings

from cachedeco import MISSING
from cachedeco.invalidation.retry_queue import MOST_REFUSALS
from cachedeco.storage.breaker import breakers
from cachedeco.storage.cache_keys import LONGEST_KEY, SMALLEST_KEY_BUDGET
from cachedeco.storage.keyspace import keyspace
from cachedeco.storage.store import Store
from cachedeco.testing import capture_events
from tests.conftest import CacheConfig, UseCaches
from tests.storage.failing.calls import double
from tests.storage.failing.clocks import Clock, queue
from tests.support.backends import Command, Commands
from tests.support.faults import FaultyCache
from tests.support.stored import bare

pytestmark = pytest.mark.usefixtures("faulty_backend", "clock")

# By the key of the call's own token.
AWAY, HERE = 4, 5
TOKEN = f"cd:t:failing.double(number={AWAY})"


class NotStored(list[str]):
    """What `set_many()` returns: keys, and why."""

    error: Exception | None = None


class TwoServers:
    """A cache whose one server has a single key, and is away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception, key: Callable[[str], bool]) -> None:
        """Take the server away."""
        self.error: Exception | None = error
        self._is_its = key

        def carry_out(cache: FaultyCache, command: Command, run: Callable[[], Any]) -> Any:
            return self._carried_out(cache, command, run)

        monkeypatch.setattr(FaultyCache, "carry_out", carry_out)

    def _carried_out(self, cache: FaultyCache, command: Command, run: Callable[[], Any]) -> Any:
        found = run()
        its = [key for key in command.keys if self._is_its(key)]
        if self.error is None or not its:
            return found
        match command.name:
            case "get_many":
                return {key: value for key, value in found.items() if key not in its}
            case "set_many":
                cache.evict(its)
                left = NotStored(its)
                left.error = self.error
                return left
            case _:
                raise self.error


@pytest.fixture(params=[ConnectionRefusedError(), TimeoutError()], ids=["gone", "hangs"])
def servers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoServers]:
    """Give the two servers, after calls of which each has stored something."""
    double(AWAY)
    double(HERE)
    return TwoServers(monkeypatch, request.param, lambda key: bare(key) == TOKEN)


def test_invalidation_of_a_server_that_is_away_is_not_given_up(servers: TwoServers, clock: Clock) -> None:
    """What could not be told to a server that is away is no refusal: it is told to it when it is back."""
    with capture_events() as events:
        double.invalidate(AWAY)
        for _ in range(2 * MOST_REFUSALS):
            clock.advance(60)
            double(HERE)
        before = queue()
        servers.error = None
        clock.advance(60)
        found = double.peek(AWAY)

    assert ([TOKEN], [], MISSING) == (before, queue(), found)
    assert ["invalidation_delayed", "invalidated"] == [
        each.kind for each in events if each.kind in {"invalidation_delayed", "invalidated", "invalidation_lost"}
    ]


def test_invalidation_of_the_other_server_arrives(servers: TwoServers) -> None:
    """One server that is away keeps nothing from another."""
    with capture_events() as events:
        double.invalidate(HERE)

    assert (["invalidated"], []) == ([each.kind for each in events], queue())
    assert servers.error


def test_invalidation_of_the_other_server_is_not_held_back(
    servers: TwoServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What is owed to a server that is away keeps nothing from another, which others go on to read.

    The defect: while the breaker of the alias was open no invalidation was sent to any of its servers, and what the
    living ones had was served on. A storm over two servers found it.
    """
    monkeypatch.setattr(FaultyCache, "spares_other_servers", True, raising=False)
    double.invalidate(AWAY)

    with capture_events() as events:
        double.invalidate(HERE)

    assert (["invalidated"], [TOKEN]) == ([each.kind for each in events if each.kind != "error"], queue())
    assert servers.error


def test_failure_says_what_has_happened(servers: TwoServers) -> None:
    """The event has the error of the server that is away."""
    with capture_events() as events:
        double.invalidate(AWAY)

    assert {servers.error} == {each.error for each in events if each.kind == "error"}


def test_server_that_is_back_has_the_next_invalidation_at_once(servers: TwoServers) -> None:
    """As a cache of one server does: who refused connections is asked again at each invalidation, who hangs is not."""
    refused = isinstance(servers.error, ConnectionError)
    double.invalidate(AWAY)
    servers.error = None

    double.invalidate(HERE)

    assert ([] if refused else [TOKEN, TOKEN.replace(str(AWAY), str(HERE))]) == queue()


def test_acknowledgement_makes_the_next_pauses_short(servers: TwoServers, clock: Clock) -> None:
    """A cache that has acknowledged something is asked again soon; one that hangs is still left alone."""
    refused = isinstance(servers.error, ConnectionError)
    double.invalidate(AWAY)
    for _ in range(3):
        clock.advance(60)
        double(HERE)
    before = breakers["default"].pause

    double.invalidate(HERE)

    assert (8.0, 1.0 if refused else 8.0) == (before, breakers["default"].pause)


def test_error_without_a_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all is stored nothing has failed, though the backend has met failures."""
    stored = NotStored()
    stored.error = ConnectionRefusedError()
    monkeypatch.setattr(FaultyCache, "set_many", lambda *_, **__: stored)

    with capture_events() as events:
        double.invalidate(HERE)

    assert ["invalidated"] == [each.kind for each in events]


def test_each_probe_has_a_key_of_its_own(commands: Commands) -> None:
    """Or it would always be the same server that is asked."""
    commands.clear()

    answers = [Store("default").probe() for _ in range(2)]

    assert [True, True] == answers
    assert 2 == len({key for command in commands for key in command.keys})


def test_probe_fits_where_keys_do(settings: Settings, use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """With the longest prefixes that the checks allow a cache can still be asked whether it is well."""
    settings.CACHEDECO = {"KEY_PREFIX": "x" * 50}
    use_caches(default=cache_config("locmem", KEY_PREFIX="y" * (LONGEST_KEY - len(":1:") - SMALLEST_KEY_BUDGET)))

    with capture_events() as events:
        answers = Store("default").probe()

    assert (SMALLEST_KEY_BUDGET, True, []) == (keyspace("default").key_budget, answers, events)


def test_cache_that_can_not_take_the_probe_is_not_well(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """A probe may be for the server that is away; then the next one may be for another."""
    servers = TwoServers(monkeypatch, TimeoutError(), lambda _: True)
    for _ in range(3):
        double.invalidate(HERE)

    with capture_events() as events:
        clock.advance(1)
        double(HERE)
    servers.error = None
    clock.advance(60)
    double(HERE)

    reasons = [each.reason for each in events if each.kind == "error"]
    assert ["Probing failed"] == reasons
    assert [] == queue()
