"""Real servers that return with the memory of another time, and a deliverer that notices."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.db import transaction
from redis import Redis as RedisClient

from cachedeco.outbox.delivery import Deliverer, Report
from cachedeco.storage import breaker
from cachedeco.storage.connections import forget_connections
from tests.conftest import CacheConfig, UseCaches
from tests.outbox.conftest import Clock
from tests.outbox.sites import ALIAS, create_club, name_of, rename, waiting_and_done
from tests.support.servers import Memcached, Redis

pytestmark = pytest.mark.usefixtures("database")

# Django's own, and no subclass, which may hide what is raised.
DJANGOS: dict[str, Any] = {"BACKEND": "django.core.cache.backends.redis.RedisCache"}
# A client that asks a dead server again after an hour, or at once.
STUBBORN: dict[str, Any] = {"retry_attempts": 0, "dead_timeout": 3600}
EAGER = STUBBORN | {"dead_timeout": 0}


class SavingRedis(Redis):
    """A Redis that begins with what it has saved last."""

    def __init__(self, directory: Path) -> None:
        """Save into a directory."""
        super().__init__()
        self._dumps = directory

    def save(self) -> None:
        """Save what there is now."""
        with RedisClient.from_url(self.location) as client:
            client.save()

    def _arguments(self, port: int) -> list[str]:
        return [*super()._arguments(port), "--dir", str(self._dumps)]


@pytest.fixture
def saving_redis(tmp_path: Path) -> Iterator[SavingRedis]:
    """Give a redis that can return to the past."""
    with SavingRedis(tmp_path) as server:
        yield server


def called_club() -> int:
    """Make a club, call its function, and return its primary key."""
    pk: int = create_club()
    assert ("old", "old") == (name_of(pk), name_of.peek(pk))
    return pk


def called_club_on(server: Memcached) -> int:
    """Return the primary key of a club, called, whose token is on one node of several."""
    while True:
        pk = called_club()
        token = name_of._spec.own_token((pk,), {}).key
        if caches["default"]._cache._get_client(token).server[1] == server.port:  # type: ignore[attr-defined]
            return pk


def change(pk: int) -> None:
    """Change the club, and invalidate in the same transaction."""
    with transaction.atomic(using=ALIAS):
        rename(pk, "new")
        name_of.invalidate(pk)


def test_redis_restored_from_an_old_dump_is_caught_up(
    saving_redis: SavingRedis, use_caches: UseCaches, cache_config: CacheConfig
) -> None:
    """It had acknowledged the invalidation, and has forgotten it: the old value returns, and is dead after one run."""
    use_caches(default=cache_config("redis", server=saving_redis))
    pk = called_club()
    deliverer = Deliverer()
    deliverer.run()
    saving_redis.save()
    change(pk)
    watched = deliverer.run()
    saving_redis.kill()
    saving_redis.start()
    forget_connections()  # which are broken
    before = (waiting_and_done(), name_of(pk))

    report = deliverer.run()

    assert (Report(), (0, 1), "old") == (watched, *before)
    assert (Report(replayed=1), "new", Report()) == (report, name_of(pk), deliverer.run())


def test_memcached_that_was_out_of_reach_is_caught_up(
    use_caches: UseCaches, cache_config: CacheConfig, private_memcached: Memcached
) -> None:
    """What was acknowledged by another node in its place is told to the one that returns."""
    with Memcached() as other:
        location = [private_memcached.location, other.location]
        use_caches(default=cache_config("memcached", LOCATION=location, OPTIONS=STUBBORN))
        pk = called_club_on(private_memcached)
        deliverer = Deliverer()
        deliverer.run()
        private_memcached.pause()
        name_of.peek(pk)  # from now on this process takes the other node for both
        change(pk)
        away = waiting_and_done()
        deliverer.run()
        private_memcached.resume()
        forget_connections()  # as if the hour were over
        before = name_of(pk)

        report = deliverer.run()

        after = name_of(pk)

    assert ((0, 1), "old") == (away, before)
    assert (Report(replayed=1), "new") == (report, after)


def test_server_that_hung_gets_what_it_missed(
    use_caches: UseCaches, cache_config: CacheConfig, private_memcached: Memcached, clock: Clock
) -> None:
    """An invalidation that was lost while the server hung waits, and arrives when it goes on."""
    use_caches(default=cache_config("memcached", server=private_memcached, OPTIONS=EAGER))
    pk = called_club()
    deliverer = Deliverer()
    deliverer.run()
    private_memcached.pause()
    change(pk)
    clock.pass_grace()
    hanging = deliverer.run()
    private_memcached.resume()

    report = deliverer.run()

    assert (Report(waiting=1), Report(delivered=1, replayed=1)) == (hanging, report)
    assert ("new", (0, 1)) == (name_of(pk), waiting_and_done())


@pytest.mark.parametrize("config", [{"kind": "redis", **DJANGOS}, {"kind": "our redis"}], ids=["Django's", "ours"])
def test_redis_without_memory_gets_deletions(
    config: dict[str, Any],
    clock: Clock,
    private_redis: Redis,
    use_caches: UseCaches,
    cache_config: CacheConfig,
) -> None:
    """A token that a full server can't replace is deleted, so that a killed writer's row does not wait for room."""
    use_caches(default=cache_config(server=private_redis, **config))
    pk = called_club()
    deliverer = Deliverer()
    with RedisClient.from_url(private_redis.location) as client:
        client.config_set("maxmemory", 1)
        change(pk)
        breaker.reset()  # as if this process had been killed
        clock.pass_grace()
        before = name_of(pk)
        full = deliverer.run(replay=False)
        client.config_set("maxmemory", 0)

    assert ("old", Report(delivered=1), (0, 1)) == (before, full, waiting_and_done())
    assert ("new", Report(replayed=1), Report()) == (name_of(pk), deliverer.run(), deliverer.run())
