"""How often Django's Redis client sends one write: why an option that repeats is warned of."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from inspect import signature
from typing import Any

import pytest
from django.core.cache.backends.redis import RedisCache
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.support.servers import HOST

TOKEN = b"0123456789abcdef"
# Without the commands with which a connection introduces itself: they are not answered. Older releases have two names.
_NAMES = signature(AbstractConnection).parameters
SILENT = dict.fromkeys(["driver_info"] if "driver_info" in _NAMES else ["lib_name", "lib_version"])


@pytest.fixture
def silent_server() -> Iterator[tuple[str, Callable[[], int]]]:
    """Give the address of a server that takes all that is sent and answers nothing, and how often a token came."""
    received: list[bytes] = []
    readers: list[threading.Thread] = []

    def read(connection: socket.socket) -> None:
        with closing(connection):
            while data := connection.recv(65536):
                received.append(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            readers.append(threading.Thread(target=read, args=(connection,)))
            readers[-1].start()

    def count() -> int:
        for reader in readers:
            reader.join()
        return b"".join(received).count(TOKEN)

    listener = socket.create_server((HOST, 0))
    accepting = threading.Thread(target=accept)
    accepting.start()
    yield f"redis://{HOST}:{listener.getsockname()[1]}/0", count
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    accepting.join()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 1),
        ({"retry": Retry(NoBackoff(), 0)}, 1),
        ({"retry_on_timeout": True}, 2),
        ({"retry": Retry(NoBackoff(), 3)}, 4),
    ],
    ids=["as Django has it", "none", "on timeout", "three"],
)
def test_write_that_times_out_is_sent_as_often_as_the_options_say(
    options: dict[str, Any], expected: int, silent_server: tuple[str, Callable[[], int]]
) -> None:
    """Django's own configuration sends it once; each option that repeats sends the same bytes again."""
    location, count = silent_server
    cache = RedisCache(location, {"OPTIONS": {"socket_timeout": 0.1, "protocol": 2, "db": 0, **SILENT, **options}})

    with pytest.raises(RedisError):
        cache.set_many({"key": TOKEN}, 60)
    for pool in cache._cache._pools.values():
        pool.disconnect()

    assert expected == count()
