"""What hiredis is given to pack."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache.backends.redis import RedisCacheClient

from cachedeco.backends.redis_exchanges import Command, Commands
from cachedeco.storage.redis_connections import RedisConnections, pack
from tests.support.servers import Redis


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Give the commands that hiredis packs, which is not installed everywhere."""
    commands: list[tuple[Any, ...]] = []

    def pack_command(command: tuple[Any, ...]) -> bytes:
        commands.append(command)
        return pack(command)

    monkeypatch.setattr("redis.utils.HIREDIS_AVAILABLE", True)
    monkeypatch.setattr("redis.connection.hiredis", SimpleNamespace(pack_command=pack_command), raising=False)
    return commands


def test_hiredis_packs_no_numbers(packed: list[tuple[Any, ...]], redis_server: Redis) -> None:
    """In it an exception of a signal's handler, raised while a number becomes text, ends the process."""
    address, _, _ = redis_server.location.rpartition("/")
    client = RedisCacheClient([f"{address}/3"], protocol=3)
    connections = RedisConnections(client._get_connection_pool)

    set_answer = connections.run(Command("SET", "number", 7, "EX", 60).over, writes=True)
    answers = connections.run(Commands([("INCRBY", "number", 2), ("SETRANGE", "number", 0, b"8")]).over, writes=True)
    connections.clear()

    assert (b"OK", [9, 1]) == (set_answer, answers)
    # What redis-py sends when it connects, too.
    assert {b"HELLO", b"SELECT", b"SET", b"INCRBY", b"SETRANGE"} <= {command[0] for command in packed}
    assert {bytes, str} == {type(each) for command in packed for each in command}
