"""A cache that answers, and does not take a token: it is removed, or lost in the end."""

import logging
from collections.abc import Callable, Sequence
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest
import redis.exceptions
from django.core.cache.backends.filebased import FileBasedCache
from redis import Redis as RedisClient

from cachedeco import MISSING, cached_query
from cachedeco.invalidation import retry_queue
from cachedeco.storage import breaker
from cachedeco.storage.store import Item, Store
from cachedeco.storage.writers import Acknowledged, proves_absence
from cachedeco.testing import capture_events
from tests.conftest import CacheConfig, UseCaches
from tests.storage.failing.calls import HIT, PROBE, double, lose
from tests.storage.failing.clocks import Clock, queue
from tests.support.backends import Command, Commands, Kind
from tests.support.faults import FaultyCache, faulty
from tests.support.servers import Redis
from tests.support.stored import bare_each, stored

TAKES_CHANGES = ["set_many"]  # whether it takes others
# Django's own, and no subclass, which may hide what is raised.
BARE: dict[str, dict[str, Any]] = {
    "redis": {"BACKEND": "django.core.cache.backends.redis.RedisCache"},
    "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "database": {"BACKEND": "django.core.cache.backends.db.DatabaseCache"},
    "file": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache"},
}

pytestmark = pytest.mark.usefixtures("faulty_backend", "clock")


class Refusing:
    """A cache that answers, and refuses to store tokens under some keys."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, remove: Callable[[], bool] | None = None) -> None:
        """Refuse none so far; *remove* is what becomes of a delete."""
        self.keys: set[str] = set()
        self._remove = remove
        monkeypatch.setattr(FaultyCache, "carry_out", lambda _cache, command, run: self._carried_out(command, run))

    def _carried_out(self, command: Command, run: Callable[[], Any]) -> Any:
        if command.name == "set_many" and self.keys.intersection(bare_each(command.keys)):
            raise redis.exceptions.OutOfMemoryError
        if command.name == "delete" and self._remove:
            return self._remove()
        return run()


def test_token_that_is_refused_is_removed(clock: Clock, commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without memory for a token may still remove one: a token that is lost is an invalidation."""
    double(4)
    cache = Refusing(monkeypatch)
    cache.keys = {"cd:t:failing.double(number=4)"}
    double.invalidate(4)
    double.invalidate(5)
    clock.advance(1)
    commands.clear()

    found = double.peek(4)

    assert (MISSING, []) == (found, queue())
    assert [*PROBE, "set_many", *TAKES_CHANGES, "set_many", "delete", "set_many", *HIT] == commands.names


def fail_to_remove() -> bool:
    """Raise what a server may that refuses everything."""
    raise redis.exceptions.NoPermissionError


@pytest.mark.parametrize("remove", [lambda: False, fail_to_remove], ids=["not there", "raises"])
def test_token_that_is_always_refused_is_lost_in_the_end(
    remove: Callable[[], bool], clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One key that the cache will not take does not keep this process from it for ever: it is given up, loudly."""
    cache = Refusing(monkeypatch, remove)
    cache.keys = {"cd:t:failing.double(number=4)"}
    double.invalidate(4)
    double.invalidate(5)
    debts = []

    for _ in range(retry_queue.MOST_REFUSALS):
        clock.advance(30)
        double.peek(4)
        debts.append(queue())
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]

    assert [["cd:t:failing.double(number=4)"]] * (retry_queue.MOST_REFUSALS - 1) + [[]] == debts
    assert (3, True) == (
        len(errors),
        "Invalidation of t:failing.double#" in errors[-1] and "was never acknowledged" in errors[-1],
    )
    assert {} == breaker.breakers


def test_token_that_is_refused_and_invalidated_again_is_lost_as_soon(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is invalidated at every turn does not begin its count of refusals anew."""
    cache = Refusing(monkeypatch, remove=lambda: False)
    cache.keys = {"cd:t:failing.double(number=4)"}

    for _ in range(retry_queue.MOST_REFUSALS):
        double.invalidate(4)
        clock.advance(30)
        double.peek(4)

    assert [] == queue()


def replicate_nothing(server: RedisClient) -> None:
    """Have a Redis that has lost its replicas: it refuses every write, and answers reads."""
    server.config_set("min-replicas-to-write", 1)


def permit_no_write(server: RedisClient) -> None:
    """Have a Redis whose user may only read."""
    server.execute_command("ACL", "SETUSER", "default", "-@write")


@pytest.mark.parametrize("kind", ["redis", "our redis"])
@pytest.mark.parametrize("refuse", [replicate_nothing, permit_no_write])
def test_server_that_refuses_every_change_is_owed_what_it_refuses(  # noqa: PLR0913 -- fixtures
    kind: Kind,
    refuse: Callable[[RedisClient], None],
    *,
    clock: Clock,
    private_redis: Redis,
    cache_config: CacheConfig,
    use_caches: UseCaches,
) -> None:
    """Its invalidations wait as those of a server that is out of reach: however long, and then they arrive."""
    use_caches(default=cache_config(kind, server=private_redis))
    truth = [1]

    @cached_query(ignore=("truth",))
    def number() -> int:
        return truth[-1]

    number()
    truth.append(2)
    with RedisClient.from_url(private_redis.location) as client, capture_events() as events:
        client.execute_command("ACL", "SETUSER", "admin", "on", ">x", "+@all")
        refuse(client)
        number.invalidate()
        found = set()
        for _ in range(retry_queue.MOST_REFUSALS + 1):
            clock.advance(30)
            found.add(number())
    with RedisClient.from_url(private_redis.location, username="admin", password="x") as client:  # noqa: S106 -- as above
        client.config_set("min-replicas-to-write", 0)
        client.execute_command("ACL", "SETUSER", "default", "+@all")
    clock.advance(30)
    found.add(number())

    kinds = [event.kind for event in events]
    assert ({2}, 1, 0) == (found, kinds.count("invalidation_delayed"), kinds.count("invalidation_lost"))
    assert ([], {}) == (queue(), breaker.breakers)


@pytest.mark.parametrize("kind", ["redis", "our redis"])
def test_token_that_is_absent_from_a_full_server_needs_no_room(
    kind: Kind, clock: Clock, private_redis: Redis, cache_config: CacheConfig, use_caches: UseCaches
) -> None:
    """A server without memory answers that there is none to delete: nothing depends on it, and nothing is lost."""
    use_caches(default=cache_config(kind, server=private_redis, **BARE.get(kind, {})))
    double(5)
    with RedisClient.from_url(private_redis.location) as client, capture_events() as events:
        client.config_set("maxmemory", 1)
        double.invalidate(4)
        clock.advance(1)
        double(5)

    kinds = [event.kind for event in events]
    assert ["invalidation_delayed", "invalidated", "breaker_closed", "hit"] == [
        each for each in kinds if each not in {"error", "breaker_opened"}
    ]


def test_token_on_a_full_disk_is_removed(
    clock: Clock, tmp_path: Path, use_caches: UseCaches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored is served, what can't be stored is computed, and an invalidation needs no room."""
    use_caches(default={"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": tmp_path})
    double(4)
    double(5)

    def fail(*_: object) -> None:
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(FileBasedCache, "_write_content", fail)
    with capture_events() as events:
        double.invalidate(4)
        clock.advance(1)
        found = [double(number) for number in (4, 5, 6)]

    kinds = [event.kind for event in events if event.kind not in {"error", "unstored", "computed"}]
    assert [8, 10, 12] == found
    assert ["breaker_opened", "invalidation_delayed", "invalidated", "breaker_closed", "miss", "hit", "miss"] == kinds


def test_client_that_hides_what_fails_takes_changes() -> None:
    """It says of a key that it is not stored, and no word of the server: no proof that all are refused."""
    with faulty("set_many", unreachable=True):
        assert Store("default").takes_changes()


@pytest.mark.parametrize("kind", ["memcached", "ours", "redis", "our redis", "locmem", "file", "database"])
@pytest.mark.parametrize("ignores", [False, True])
def test_deletion_proves_absence_where_a_lost_one_raises(
    kind: Kind, ignores: bool, cache_config: CacheConfig, use_caches: UseCaches
) -> None:
    """Not of a client that hides a server which is unreachable: HashClient, and our own with that option."""
    ours = kind in {"ours", "our redis"}
    use_caches(default=cache_config(kind, OPTIONS={"ignore_exc": ignores} if ours else {}, **BARE.get(kind, {})))

    assert proves_absence(stored()) is (not ignores if ours else kind != "memcached")


def test_token_that_is_refused_waits_for_the_next_pause(
    clock: Clock, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not tried again at each call, but by one probe in each pause, as after an outage."""
    cache = Refusing(monkeypatch, remove=lambda: False)
    cache.keys = {"cd:t:failing.double(number=4)"}
    double.invalidate(4)
    clock.advance(1)
    double(5)
    commands.clear()

    clock.advance(1.99)
    double(5)

    assert [] == commands.names


def test_outage_while_one_by_one_is_delivered_ends_it(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a refusal each key goes by itself; the first that finds the server gone is the last."""
    for number in range(3):
        lose(lambda number=number: double.invalidate(number))
    errors = iter([redis.exceptions.ResponseError(), TimeoutError(), TimeoutError(), TimeoutError()])
    sent = []

    def write_unguarded(_store: Store, items: Sequence[Item]) -> Acknowledged:
        sent.append([key for key, _, _ in items])
        if "cd:probe" not in items[0][0]:
            raise next(errors)
        return Acknowledged([True] * len(items))

    monkeypatch.setattr(Store, "write_unguarded", write_unguarded)
    clock.advance(1)
    double(4)

    assert ([1, 3, 1, 1], 3) == ([len(keys) for keys in sent], len(queue()))
