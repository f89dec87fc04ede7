"""Threads and processes on one backend object: every answer reaches who has asked for it."""

import json

import pytest

from tests.backends import hammer
from tests.support.programs import run
from tests.support.servers import Memcached, Redis, Server


def output_of(module: str, *arguments: str) -> str:
    """Run a module of the tests in a process of its own, and return what it prints."""
    done = run("-W", "error", "-m", f"tests.backends.{module}", *arguments)
    assert "" == done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["memcached", "redis"])
def test_every_answer_reaches_who_has_asked(kind: str) -> None:
    """Threads of processes, now and then interrupted in the middle of an answer; `hammer` alone does more of it."""
    processes, threads = 4, 16

    found = json.loads(output_of("hammer", kind, "6000", str(processes), str(threads)))

    bad = {
        name: count
        for name, count in found.items()
        if name.startswith(("wrong", "sent on", "raised", "evictions", "connections at the end"))
    }
    assert dict.fromkeys(bad, 0) == bad
    assert 6000 <= found["operations"]
    assert 0 < found["interrupted"]
    assert found["most connections at once"] <= processes * threads + 10


@pytest.mark.parametrize("kind", ["memcached", "redis"])
def test_fork_takes_no_connection_and_no_lock(kind: str, memcached_server: Memcached, redis_server: Redis) -> None:
    """Parent and child go on, each with connections of its own, also where a thread was in the middle of something."""
    server: Server = redis_server if kind == "redis" else memcached_server

    printed = output_of("forking", kind, server.location)

    assert [
        "the child reads what it has written",
        "the parent has kept its connection",
        "a child of which Python has not been told has its own connection",
        "the child's event loop reads what it has written",
        "the parent's event loop has kept its connection",
        "the child waits for no lock",
    ] == printed.splitlines()


def test_hammer_knows_what_is_wrong() -> None:
    """A cache that gives the answers of others is found out."""

    class Confused:
        """Gives everybody the same."""

        def get(self, _key: str) -> str:
            return "somebody else's"

        def get_many(self, _keys: list[str]) -> dict[str, str]:
            return {}

        def set_many(self, values: dict[str, str]) -> list[str]:
            return list(values)

        def add(self, *_: str) -> bool:
            return False

        def delete(self, *_: str) -> bool:
            return True

        def set(self, *_: str) -> None:
            raise OSError

    hammer.counts.clear()
    caller = hammer.Caller(Confused(), "name")

    caller.call(200)

    assert 50 < hammer.counts["wrong"]
    assert 0 < hammer.counts["raised OSError: "]
    hammer.counts.clear()
