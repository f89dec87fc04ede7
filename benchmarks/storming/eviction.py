"""Keys dropped at random from a real server, as one does that needs the room: entries, tokens, all that is there."""

import socket
from io import BufferedRWPair
from random import Random
from urllib.parse import unquote_to_bytes

HOST = "127.0.0.1"
PATIENCE_SECONDS = 2.0
AT_ONCE = 3


def evict_some(backend: str, port: int, random: Random) -> None:
    """Drop a few keys."""
    with socket.create_connection((HOST, port), PATIENCE_SECONDS) as connection, connection.makefile("rwb") as stream:
        if not backend.endswith("redis"):
            keys = _keys_in_memcached(stream)
            for key in random.sample(keys, min(AT_ONCE, len(keys))):
                _ask(stream, b"delete " + key)
        else:
            for _ in range(AT_ONCE):
                _delete_any_in_redis(stream)


def _ask(stream: BufferedRWPair, command: bytes) -> bytes:
    stream.write(command + b"\r\n")
    stream.flush()
    return stream.readline().rstrip()


def _keys_in_memcached(stream: BufferedRWPair) -> list[bytes]:
    line = _ask(stream, b"lru_crawler metadump all")
    keys = []
    while line.startswith(b"key="):
        keys.append(unquote_to_bytes(line.split(b" ", 1)[0].removeprefix(b"key=")))
        line = stream.readline().rstrip()
    return keys  # none if the crawler was busy: then next time


def _delete_any_in_redis(stream: BufferedRWPair) -> None:
    length = int(_ask(stream, b"RANDOMKEY")[1:])
    if length < 0:
        return
    key = stream.read(length + 2)[:-2]
    _ask(stream, b"*2\r\n$3\r\nDEL\r\n$%d\r\n%b" % (len(key), key))
