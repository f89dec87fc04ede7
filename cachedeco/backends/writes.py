"""Writes of many keys, and what is logged of lost writes and unreadable values: what our backends have in common."""

import logging
from collections.abc import Sequence
from typing import Final, TypeVar

logger = logging.getLogger("cachedeco")

T = TypeVar("T")

# Writes that are sent before the first answer is read. Their answers, of about ten bytes each, have to fit into the
# buffers of the network, or server and client would wait for each other.
MOST_AT_ONCE: Final = 2000
# Bytes that are sent at once; the last value may exceed it. The timeout covers all that is sent at once, and
# half a second is enough for a megabyte on a network of 20 megabits.
MOST_BYTES_AT_ONCE: Final = 2**20


class FailedKeys(list[str]):
    """The keys that were not stored, and the error, if a server was unreachable or refused a value."""

    error: Exception | None = None


def chunks(things: Sequence[T], sizes: Sequence[int] = ()) -> Sequence[Sequence[T]]:
    """Return chunks of keys or items to send at once; *sizes* are their bytes, if values are sent."""
    if len(things) <= MOST_AT_ONCE and sum(sizes) <= MOST_BYTES_AT_ONCE:  # nearly always
        return [things] if things else []
    found: list[list[T]] = [[]]
    size = 0
    for place, thing in enumerate(things):
        if len(found[-1]) == MOST_AT_ONCE or size >= MOST_BYTES_AT_ONCE:
            found.append([])
            size = 0
        found[-1].append(thing)
        size += sizes[place] if sizes else 0
    return found


def log_lost_write(product: str, operation: str, error: Exception) -> None:
    """Log a write that was lost, where OPTIONS has `ignore_exc`."""
    logger.error("A write to %s was lost, and ignored because of ignore_exc (%s): %s", product, operation, error)


def log_unreadable(product: str, error: Exception) -> None:
    """Log a value that can't be deserialized; not its key, which may have secret parts."""
    logger.warning(
        "A value from %s can't be read, and counts as missing: %s: %s. Another program, or another serializer, has "
        "written it: give each a KEY_PREFIX of its own.",
        product,
        type(error).__name__,
        error,
    )
