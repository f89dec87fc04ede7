"""Real servers that hang and come back with their memory: what they cost meanwhile, and what is read from them."""

from types import SimpleNamespace
from typing import Any

import pymemcache.client.hash
import pytest
import redis

from cachedeco import cached_query
from cachedeco.storage import breaker
from tests.conftest import CacheConfig, UseCaches
from tests.storage.failing.clients import CLIENTS, eager
from tests.storage.failing.clocks import Clock, queue
from tests.support.backends import Commands
from tests.support.servers import Memcached, Redis, Server

CALLS = 50


@cached_query(name="hanging.double", timeout=300)
def double(number: int) -> int:
    """Return twice a number."""
    return 2 * number


@eager
def test_server_that_hangs_costs_one_timeout_in_each_pause(server: Server, clock: Clock, commands: Commands) -> None:
    """Fifty calls wait three times for it, and fifty more after each pause once."""
    double(4)
    server.pause()
    spent = []

    for _ in range(4):
        commands.clear()
        assert [2 * number for number in range(CALLS)] == [double(number) for number in range(CALLS)]
        spent.append(len(commands))
        clock.advance(30)

    assert [3, 1, 1, 1] == spent


@eager
def test_server_that_hangs_is_used_again_when_it_answers(server: Server, clock: Clock, commands: Commands) -> None:
    """After the pause one probe is enough."""
    double(4)
    server.pause()
    for _ in range(3):
        double(4)
    server.resume()
    double(4)
    clock.advance(1)
    double(4)
    double(4)
    commands.clear()

    found = double(4)

    assert (8, ["get_many"], {}) == (found, commands.names, breaker.breakers)


@eager
def test_invalidations_of_a_server_that_hangs_cost_two_timeouts_in_all(
    server: Server, clock: Clock, commands: Commands
) -> None:
    """The first one is tried twice; those that follow are noted, and reach the server with the next probe."""
    double(4)
    server.pause()
    commands.clear()

    for number in range(CALLS):
        double.invalidate(number)
    spent = list(commands.names)
    server.resume()
    clock.advance(1)
    double(4)

    assert (["set_many"] * 2, []) == (spent, queue())


def outdated(alias_config: dict[str, Any], use_caches: UseCaches) -> Any:
    """Return a function that has stored "old", and whose truth is "new" since."""
    use_caches(default=alias_config)
    truth = ["old"]

    @cached_query(ignore=("truth",), name="hanging.read", timeout=300)
    def read() -> str:
        return truth[0]

    read()
    truth[0] = "new"
    return read


def found_by_and_by(read: Any, clock: Clock) -> list[str]:
    """Return what it gives now, after a pause, and after another one."""
    found = []
    for _ in range(3):
        found.append(read())
        clock.advance(100)
    return found


@pytest.mark.parametrize("has_journal", [True, False])
def test_memcached_that_comes_back_with_its_memory(  # noqa: PLR0913, PLR0917 -- the fixtures
    has_journal: bool,
    private_memcached: Memcached,
    cache_config: CacheConfig,
    use_caches: UseCaches,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old value is there, and without the journal it is served; this process never reads it."""
    # HashClient keeps a server for dead until its clock says otherwise: what we invalidate is not sent.
    monkeypatch.setattr(pymemcache.client.hash, "time", SimpleNamespace(time=clock))
    config = cache_config("memcached", server=private_memcached)
    read = outdated(config, use_caches)
    private_memcached.pause()
    read()
    read.invalidate()
    private_memcached.resume()
    assert 1 == len(queue())
    if not has_journal:
        breaker.reset()

    found = found_by_and_by(read, clock)

    assert has_journal is (["new"] * 3 == found)
    assert has_journal is not ("old" in found)


@pytest.mark.parametrize("has_journal", [True, False])
def test_redis_that_comes_back_with_its_memory(
    has_journal: bool,
    private_redis: Redis,
    cache_config: CacheConfig,
    use_caches: UseCaches,
    clock: Clock,
) -> None:
    """The same of a Redis that takes no connections for a while."""
    config = cache_config("redis", server=private_redis, OPTIONS=CLIENTS["redis"])
    read = outdated(config, use_caches)
    with redis.Redis(port=private_redis.port) as admin:
        admin.config_set("maxclients", 1)
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        read.invalidate()
        admin.config_set("maxclients", 100)
    assert 1 == len(queue())
    if not has_journal:
        breaker.reset()

    found = found_by_and_by(read, clock)

    assert has_journal is (["new"] * 3 == found)
    assert has_journal is not ("old" in found)
