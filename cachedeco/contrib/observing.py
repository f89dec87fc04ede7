"""
Observe the commands to caches: what the last read and the last write of this context were, and how long they took.

An event is made after the fact, in the context in which its command was sent. So a hook that wants to know when a
look-up began, or how large an entry is, finds it here. Nothing is observed until `observe()` is called.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from itertools import chain
from time import time_ns
from typing import TypeVar

from cachedeco.storage import connections
from cachedeco.storage.access import Connection
from cachedeco.storage.writers import Acknowledged, WholeItem, Writer

Q = TypeVar("Q")  # what is asked for, or sent
A = TypeVar("A")  # what the cache answers
Note = Callable[[int, Q, A], None]  # takes when the command began, too, in nanoseconds since the epoch


class ObservedCommand:
    """One command to a cache. It is made for each read, and so does no more than it must."""

    __slots__ = ("_by_key", "_keys", "_told", "_values", "began", "ended")

    def __init__(self, began: int, ended: int, keys: Sequence[str], values: Sequence[bytes | None]) -> None:
        """Keep when it began and ended, in nanoseconds since the epoch, and what was read or written."""
        self.began = began
        self.ended = ended
        self._keys = keys
        self._values = values
        self._by_key: Mapping[str, bytes | None] | None = None
        self._told: set[tuple[str, str]] = set()

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended - self.began) / 1e9

    @property
    def values(self) -> Mapping[str, bytes | None]:
        """What was read or written, by whole key."""
        if self._by_key is None:
            self._by_key = dict(zip(self._keys, self._values, strict=True))
        return self._by_key

    def is_first(self, kind: str, function: str) -> bool:
        """Tell whether this is the first event of its kind and function about the command; many ids have many."""
        if (kind, function) in self._told:
            return False
        self._told.add((kind, function))
        return True


last_read: ContextVar[ObservedCommand | None] = ContextVar("cachedeco_last_read", default=None)
last_write: ContextVar[ObservedCommand | None] = ContextVar("cachedeco_last_write", default=None)


def observe() -> None:
    """Observe the commands of all connections from now on."""
    connections.observe_with(_observe_connection)


def read_of(key: str) -> ObservedCommand | None:
    """Return the last read of this context if it asked for this key."""
    command = last_read.get()
    return command if command is not None and key in command.values else None


def write_of(key: str) -> ObservedCommand | None:
    """Return the last write of this context if it sent this key."""
    command = last_write.get()
    return command if command is not None and key in command.values else None


def _observe_connection(connection: Connection) -> None:
    connection.read = _timed(connection.read, _note_read)
    connection.read_chunks = _timed(connection.read_chunks, _note_chunks)
    connection.aread = connection.aread and _atimed(connection.aread, _note_read)
    connection.aread_chunks = connection.aread_chunks and _atimed(connection.aread_chunks, _note_chunks)
    connection.awrite = connection.awrite and _atimed(connection.awrite, _note_write)
    connection.writer = _ObservedWriter(connection.writer)


def _timed(send: Callable[[Q], A], note: Note[Q, A]) -> Callable[[Q], A]:
    def observed(what: Q) -> A:
        began = time_ns()
        answer = send(what)
        note(began, what, answer)
        return answer

    return observed


def _atimed(send: Callable[[Q], Awaitable[A]], note: Note[Q, A]) -> Callable[[Q], Awaitable[A]]:
    async def observed(what: Q) -> A:
        began = time_ns()
        answer = await send(what)
        note(began, what, answer)
        return answer

    return observed


class _ObservedWriter:
    """A writer that tells what was stored."""

    def __init__(self, writer: Writer) -> None:
        self.add_each = writer.add_each  # of tokens and leases
        self._set_each = _timed(writer.set_each, _note_write)

    def set_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """See `Writer`."""
        return self._set_each(items)


def _note_read(began: int, keys: Sequence[str], values: Sequence[bytes | None]) -> None:
    last_read.set(ObservedCommand(began, time_ns(), keys, values))


def _note_chunks(began: int, chunks: Sequence[Sequence[str]], values: Sequence[bytes | None]) -> None:
    _note_read(began, [*chain.from_iterable(chunks)], values)


def _note_write(began: int, items: Sequence[WholeItem], _acknowledged: Acknowledged) -> None:
    last_write.set(ObservedCommand(began, time_ns(), [each[0] for each in items], [each[1] for each in items]))
