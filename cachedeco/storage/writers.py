"""
Writers: store the values of some keys, in one trip where the backend can, and tell which were stored.

A writer takes whole, valid keys, as a reader does, and positive timeouts in whole seconds, None for ever. It stores
bytes in the form that the cache's own `set()` gives them.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from django.db import connections, router
from django.db.transaction import TransactionManagementError

from cachedeco.runtime.databases import UndoneError
from cachedeco.storage.direct_access import LocalMemory, pickle_bytes
from cachedeco.storage.readers import closing_if_interrupted
from cachedeco.storage.redis_connections import answers_to, pack

#: What a backend is given: whole key, value, and whole seconds or None for ever.
WholeItem = tuple[str, bytes, int | None]


LARGEST_IN_REDIS: Final = 512 * 2**20 - 64  # its default proto-max-bulk-len; a pickle of bytes has a few bytes more


class Acknowledged(list[bool]):
    """For each item whether the cache has stored it, and the error if a server refused an item or is unreachable."""

    error: Exception | None = None
    #: Whether a command has failed, so that an item that is not stored may be absent all the same.
    has_failed: bool = False

    def or_raise(self) -> "Acknowledged":
        """Return this; raise the error, and hold it no longer: or it and a frame that has this would be a cycle."""
        error, self.error = self.error, None
        try:
            if error is not None:
                raise error
        finally:
            del error
        return self


class Writer(Protocol):
    """
    Writes to one cache; raises what the cache raises.

    False proves nothing: the item may have been stored before the answer was lost.
    """

    def add_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """Store each value whose key is absent; tell which were stored."""
        ...

    def set_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """Store values; tell which were acknowledged."""
        ...


# Backends of Django that raise where a deletion fails.
_PROVING: Final = frozenset({DatabaseCache, FileBasedCache, LocMemCache, RedisCache})


def delete(cache: BaseCache, key: str) -> bool:
    """Delete a key; True proves that it was there and is gone."""
    with closing_if_interrupted(cache):
        return cache.delete(key) is True


def proves_absence(cache: BaseCache) -> bool:
    """
    Tell whether a deletion that finds nothing proves that the key is absent.

    The answer of a server, a database or a disk does; pymemcache's HashClient says the same of a server that is
    unreachable. Our own backends know by their options.
    """
    return type(cache) in _PROVING or getattr(cache, "deletions_prove_absence", False) is True


@contextmanager
def _raising_if_undone(cache: DatabaseCache) -> Generator[None]:
    """Raise if a write of the database cache loses the caller's transaction: Django swallows the error."""
    connection = connections[router.db_for_write(cache.cache_model_class)]
    was_lost = connection.needs_rollback
    try:
        yield
    except TransactionManagementError:  # of the next item
        if was_lost or not connection.needs_rollback:
            raise
    if connection.needs_rollback and not was_lost:
        msg = "The database has rolled back while its cache wrote, as after a deadlock: try the transaction again."
        raise UndoneError(msg)


class GeneralWriter:
    """Writes to any cache: `add()` for each item, `set_many()` for those of one timeout."""

    def __init__(self, cache: BaseCache) -> None:
        """Use the methods of a cache."""
        self._cache = cache

    def add_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """Store each value whose key is absent; tell which were stored."""
        with closing_if_interrupted(self._cache):
            return Acknowledged(self._cache.add(key, value, seconds) is True for key, value, seconds in items)

    def set_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """Store values; tell which were acknowledged."""
        with closing_if_interrupted(self._cache):
            return _by_timeout(items, self._set_many)

    def _set_many(self, values: dict[str, bytes], seconds: int | None) -> tuple[Iterable[str], Exception | None]:
        """Store values; return the keys of those that were acknowledged, and an error that was reported."""
        failed = self._failed_of(values, seconds)
        if failed is None:  # django-redis returns it
            return values, None
        is_collection = isinstance(failed, list | tuple | set | frozenset)
        named = frozenset(failed).intersection(values) if is_collection else frozenset()
        if not named and (failed or not is_collection):  # it names none of these keys: count all as failed
            named = frozenset(values)
        return values.keys() - named, getattr(failed, "error", None) if named else None

    def _failed_of(self, values: dict[str, bytes], seconds: int | None) -> Any:
        """Store values; return what the cache says of those that failed."""
        return self._cache.set_many(values, seconds)


class DatabaseWriter(GeneralWriter):
    """Writes to Django's database cache, which swallows any DatabaseError of a write, as "database is locked"."""

    _cache: DatabaseCache

    def add_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """See `Writer`."""
        with _raising_if_undone(self._cache):
            return super().add_each(items)

    def _failed_of(self, values: dict[str, bytes], seconds: int | None) -> list[str]:
        """Store values; return the keys of those that failed, which it does not report: read them back."""
        with _raising_if_undone(self._cache):
            super()._failed_of(values, seconds)
        stored = self._cache.get_many(values)
        return [key for key, value in values.items() if stored.get(key) != value]


class LocalMemoryWriter:
    """Writes to a LocMemCache."""

    def __init__(self, memory: LocalMemory) -> None:
        """Use the dictionaries of a cache."""
        self._memory = memory

    def add_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """See `Writer`."""
        return self._store_each(items, self._memory.has_expired)

    def set_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """See `Writer`."""
        return self._store_each(items, lambda _: True)

    def _store_each(self, items: Sequence[WholeItem], allows: Callable[[str], bool]) -> Acknowledged:
        results = Acknowledged()
        pickled = [(key, pickle_bytes(value), seconds) for key, value, seconds in items]
        with self._memory.lock:
            for key, data, seconds in pickled:
                results.append(allows(key))
                if results[-1]:
                    self._memory.set(key, data, seconds)
        return results


class RedisWriter:
    """Writes to a Redis: all commands in one send, then all answers. A value too large for Redis is not sent."""

    def __init__(self, run: Callable[..., Any], dump: Callable[[bytes], Any]) -> None:
        """
        Use connections.

        Args:
            run: Runs a command on a connection, as `RedisConnections.run()` does.

            dump: Gives bytes the form in which the cache's own `set()` stores them.
        """
        self._run = run
        self._dump = dump

    def add_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """Store each value whose key is absent; tell which were stored."""
        return self._store_each(items, "NX")

    def set_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """Store values; tell which were acknowledged."""
        return self._store_each(items)

    def _store_each(self, items: Sequence[WholeItem], *options: str) -> Acknowledged:
        commands = self.commands(items, *options)
        command = partial(answers_to, [b"".join(commands)], len(commands))
        return self.acknowledged(items, self._run(command, writes=True) if commands else [])

    def commands(self, items: Sequence[WholeItem], *options: str) -> list[bytes]:
        """Return the commands that store the items that fit, packed: whole keys are ASCII, in any encoding."""
        return [
            pack(("SET", key, self._dump(value), *(() if seconds is None else ("EX", seconds)), *options))
            for key, value, seconds in items
            if _fits(value)
        ]

    def acknowledged(self, items: Sequence[WholeItem], answers: Sequence[Any]) -> Acknowledged:
        """Return which items the answers to these commands acknowledge, and the first refusal."""
        from redis.exceptions import DataError

        left = iter(answers)
        results = Acknowledged(_fits(value) and next(left) == b"OK" for _, value, _ in items)
        if len(answers) < len(items):
            results.error = DataError("the value is too large for Redis")
        else:
            results.error = next((answer for answer in answers if isinstance(answer, Exception)), None)
        return results


def _fits(value: bytes) -> bool:
    """Tell whether Redis takes a value: it closes the connection in the middle of another, as if out of reach."""
    return len(value) <= LARGEST_IN_REDIS


class HashClientWriter:
    """Writes to the one client of pymemcache's HashClient; see the reader of it."""

    def __init__(self, client: Any, cache: BaseCache) -> None:
        """Use the client of a cache."""
        self._client = client
        self._expiry = cache.get_backend_timeout
        self._general = GeneralWriter(cache)

    def add_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """See `Writer`."""
        return self._store_each(items, self._add_many, self._general.add_each)

    def set_each(self, items: Sequence[WholeItem]) -> Acknowledged:
        """See `Writer`."""
        return self._store_each(items, self._set_many, self._general.set_each)

    def _store_each(
        self, items: Sequence[WholeItem], store: "StoreMany", general: Callable[[Sequence[WholeItem]], Acknowledged]
    ) -> Acknowledged:
        if self._client._dead_clients:  # noqa: SLF001
            return general(items)
        try:
            return _by_timeout(items, store)
        except BaseException:
            self._only.close()  # it does so itself, but for an interrupt
            raise

    @property
    def _only(self) -> Any:
        [only] = self._client.clients.values()
        return only

    def _add_many(self, values: dict[str, bytes], seconds: int | None) -> tuple[Iterable[str], None]:
        only = self._only
        run, add = self._client._safely_run_func, only._store_cmd  # noqa: SLF001
        stored = run(only, add, {}, b"add", values, self._expiry(seconds), noreply=False)
        return [key for key, is_stored in stored.items() if is_stored], None

    def _set_many(self, values: dict[str, bytes], seconds: int | None) -> tuple[Iterable[str], None]:
        only = self._only
        run = self._client._safely_run_func  # noqa: SLF001
        # Its own set_many() reports no failed key where OPTIONS has ignore_exc.
        failed = run(only, only.set_many, values, values, self._expiry(seconds))
        return values.keys() - failed, None


StoreMany = Callable[[dict[str, bytes], int | None], tuple[Iterable[str], Exception | None]]


def _by_timeout(items: Sequence[WholeItem], store: StoreMany) -> Acknowledged:
    """Store the items of each timeout together."""
    values_by_timeout: dict[int | None, dict[str, bytes]] = {}
    for key, value, seconds in items:
        values_by_timeout.setdefault(seconds, {})[key] = value
    acknowledged: set[tuple[str, int | None]] = set()
    error: Exception | None = None
    for seconds, values in values_by_timeout.items():
        keys, group_error = store(values, seconds)
        acknowledged.update((key, seconds) for key in keys)
        error = error or group_error
    results = Acknowledged((key, seconds) in acknowledged for key, _, seconds in items)
    results.error = error
    return results
