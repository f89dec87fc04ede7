"""Writes of many keys, and writes that are lost: what our backends have in common."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

logger = logging.getLogger("cachedeco")

T = TypeVar("T")

# Writes that are sent before the first answer is read. Their answers, of about ten bytes each, have to fit into the
# buffers of the network, or server and client would wait for each other.
MOST_AT_ONCE: Final = 2000
# Bytes of values that are sent at once; the last value may exceed it. The timeout covers all that is sent at once, and
# half a second is enough for a megabyte on a network of 20 megabits.
MOST_BYTES_AT_ONCE: Final = 2**20


class FailedKeys(list[str]):
    """The keys that were not stored, and the error, if a server was unreachable or refused a value."""

    error: Exception | None = None


def chunks(things: Iterable[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Yield chunks of keys or items to send at once; *size_of* tells the bytes of one's value, if values are sent."""
    chunk: list[T] = []
    size = 0
    for thing in things:
        if len(chunk) == MOST_AT_ONCE or size >= MOST_BYTES_AT_ONCE:
            yield chunk
            chunk, size = [], 0
        chunk.append(thing)
        size += size_of(thing)
    if chunk:
        yield chunk


def log_lost_write(product: str, operation: str, error: Exception) -> None:
    """Log a write that was lost, where OPTIONS has `ignore_exc`."""
    logger.error("A write to %s was lost, and ignored because of ignore_exc (%s): %s", product, operation, error)
