"""The commands of a Redis cache: in the place of those of Django's `RedisCacheClient`, on connections of our own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pickle import HIGHEST_PROTOCOL
from typing import Any, Final, TypeVar

from django.core.cache.backends.redis import RedisCacheClient, RedisSerializer
from redis.exceptions import DataError

from cachedeco.backends.redis_errors import PRODUCT, RedisCacheError
from cachedeco.backends.redis_options import Options, check_serializer
from cachedeco.backends.redis_servers import Client, RedisServer, client_at
from cachedeco.backends.writes import FailedKeys, chunks, log_lost_write, log_unreadable
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.storage.redis_connections import RedisCommand, ask, ask_each, ask_many
from cachedeco.storage.writers import LARGEST_IN_REDIS

T = TypeVar("T")

MISSING: Final = object()


class RedisClient(RedisCacheClient):
    """
    The commands on a primary and its replicas, with the methods that Django's `RedisCache` calls.

    Thread-safe. Reads from an unreachable server are misses. Writes to it raise `RedisCacheError`; with the option
    *ignore_exc* they are logged as errors, and return the result of a write that changed nothing. What a server refuses
    raises redis-py's `ResponseError`.
    """

    # Django's, which its stubs leave out.
    _pool_class: Any
    _pool_options: dict[str, Any]
    _serializer: Any
    _get_connection_pool_index: Callable[[bool], int]

    def __init__(self, servers: list[str], options: Options) -> None:
        """
        Look up the servers; nothing is sent.

        Raises:
            ImproperlyConfigured: An option is unknown, or a server is no URL.
        """
        super().__init__(servers, **options.client)
        check_serializer(self._serializer)
        self._ignore_exc = options.ignore_exc
        self._clients = [client_at(each, self._pool_class, options, self._pool_options) for each in servers]
        self._client_by_pool = {each.connection_pool: each for each in self._clients}
        # Django calls it for each command to make a client.
        self._client: Callable[..., Client] = self._kept_client

    # --- servers ---

    def _get_connection_pool(self, write: bool) -> Any:  # noqa: FBT001 -- as Django has it
        return self._clients[self._get_connection_pool_index(write)].connection_pool

    def _kept_client(self, *, connection_pool: Any) -> Client:
        return self._client_by_pool[connection_pool]

    def server_of(self, key: str | None, *, write: bool) -> RedisServer:
        """Return the server to write a key to, or one to read it from."""
        client: Any = self.get_client(key, write=write)
        server: RedisServer = client.server
        return server

    def is_out_of_reach(self, key: str) -> bool:  # noqa: ARG002 -- each server has all keys
        """Tell whether all servers are known to be unreachable."""
        return all(each.server.is_out_of_reach for each in self._clients)

    def prune(self) -> None:
        """Close the connections that were idle for too long."""
        for each in self._clients:
            each.server.pool.prune()

    # --- reading ---

    def get(self, key: Any, default: Any) -> Any:
        """Return a value; *default* if it is missing or unreadable, or the server is unreachable."""
        value = self.load(self._read("get", key, ask("GET", key), lost=None))
        return default if value is MISSING else value

    def get_or_raise(self, operation: str, key: str, default: Any) -> Any:
        """Return a value of the primary, but raise if it is unreachable: for operations that report a miss."""
        value = self.load(self._write(operation, key, ask("GET", key), lost=None))
        return default if value is MISSING else value

    def get_many(self, keys: Iterable[Any]) -> dict[Any, Any]:
        """Return the values of some keys, by one command."""
        names = list(keys)
        found: list[Any] = self._read("get_many", None, ask_many(names), lost=[]) if names else []
        return self._loaded(names, found)

    def has_key(self, key: Any) -> bool:
        """Tell whether there is a value."""
        return bool(self._read("has_key", key, ask("EXISTS", key), lost=0))

    # --- writing ---

    def set(self, key: Any, value: Any, timeout: Any) -> None:
        """Store a value; with a timeout of 0, delete it."""
        self._write("set", key, ask(*self._set_command(key, value, timeout)), lost=None)

    def add(self, key: Any, value: Any, timeout: Any) -> bool:
        """Store a value if there is none; return whether it was stored. A timeout of 0 stores nothing."""
        command = self._set_command(key, value, timeout)
        if timeout == 0:
            return not self._write("add", key, ask("EXISTS", key), lost=1)
        return bool(self._write("add", key, ask(*command, "NX"), lost=None))

    def touch(self, key: Any, timeout: Any) -> bool:
        """Give a value a new timeout; return whether there is a value."""
        if timeout is not None:
            return bool(self._write("touch", key, ask("EXPIRE", key, timeout), lost=0))
        # PERSIST answers 0 for a value that lives for ever, too.
        answers = self._write("touch", key, ask_each([("PERSIST", key), ("EXISTS", key)]), lost=[0])
        return bool(raise_refusal(answers[-1]))

    def delete(self, key: Any) -> bool:
        """Delete a value; return whether there was one."""
        return bool(self._write("delete", key, ask("DEL", key), lost=0))

    def incr(self, key: Any, delta: int) -> int:
        """
        Add to a number, and return the sum.

        Raises:
            ValueError: There is no value.
        """

        def command(connection: Any) -> Any:
            exists = ask("EXISTS", key)(connection)  # 1, 0 or a refusal
            return ask("INCRBY", key, delta)(connection) if exists == 1 else exists or None

        total: int | None = self._write("incr", key, command, lost=None)
        if total is None:
            msg = f"Key {key!r} not found."
            raise ValueError(msg)
        return total

    def store_many(self, data: Mapping[str, Any], timeout: Any) -> FailedKeys:
        """Store values, and return the keys that were not stored; an unreachable server raises nothing."""
        commands = [(key, self._set_command(key, value, timeout)) for key, value in data.items()]
        failed = FailedKeys()
        for chunk in chunks(commands, [size_of(command) for _, command in commands]):
            answers = self._answers("set_many", [command for _, command in chunk])
            note_failed(failed, [key for key, _ in chunk], answers)
        return failed

    def delete_many(self, keys: Iterable[Any]) -> None:
        """Delete values, by one command."""
        names = list(keys)
        if names:
            self._write("delete_many", None, ask("DEL", *names), lost=0)

    def clear(self) -> bool:
        """Delete all keys of the database, also those of other programs."""
        return bool(self._write("clear", None, ask("FLUSHDB"), lost=False))

    # --- running a command ---

    def _read(self, operation: str, key: str | None, command: RedisCommand[T], *, lost: T) -> T:
        try:
            return raise_refusal(self.server_of(key, write=False).run(operation, command, writes=False))
        except RedisCacheError:  # `Server` logs an outage, once
            return lost

    def _write(self, operation: str, key: str | None, command: RedisCommand[T], *, lost: T) -> T:
        try:
            return raise_refusal(self.server_of(key, write=True).run(operation, command, writes=True))
        except RedisCacheError as error:
            if not self._ignore_exc:
                raise
            log_lost_write(PRODUCT, operation, error)
            return lost

    def _answers(self, operation: str, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send writes at once, and return all answers, errors among them."""
        try:
            return self.server_of(None, write=True).run(operation, ask_each(commands), writes=True)
        except RedisCacheError as error:
            return self._lost_answers(operation, error, len(commands))

    def _lost_answers(self, operation: str, error: RedisCacheError, count: int) -> list[Any]:
        if self._ignore_exc:
            log_lost_write(PRODUCT, operation, error)
        return [error] * count

    # --- values ---

    def _set_command(self, key: str, value: Any, timeout: int | None) -> tuple[Any, ...]:
        """Serialize a value before a connection is taken: an error of the value does not break a connection."""
        data = self.dump(value)
        if isinstance(data, bytes) and len(data) > LARGEST_IN_REDIS:
            # Redis closes the connection in the middle of such a value, as if it were out of reach.
            msg = f"The value is too large for Redis, with {len(data)} bytes; it takes {LARGEST_IN_REDIS}."
            raise DataError(msg)
        if timeout == 0:
            return ("DEL", key)
        return ("SET", key, data) if timeout is None else ("SET", key, data, "EX", timeout)

    @property
    def pickles(self) -> bool:
        """Whether values are stored as Django's own serializer does by default."""
        serializer = self._serializer
        return type(serializer) is RedisSerializer and vars(serializer).get("protocol") == HIGHEST_PROTOCOL

    def _loaded(self, keys: Iterable[Any], found: Iterable[Any]) -> dict[Any, Any]:
        values = {key: self.load(data) for key, data in zip(keys, found, strict=False)}
        return {key: value for key, value in values.items() if value is not MISSING}

    def dump(self, value: Any) -> Any:
        """Return a value as it is stored: bytes, text or an integer."""
        return self._serializer.dumps(value)

    def load(self, data: Any) -> Any:
        """Return a value; `MISSING` for none, and for one that can't be read."""
        if data is None:
            return MISSING
        try:
            return self._serializer.loads(data)
        except Exception as error:  # noqa: BLE001 -- unpickling may raise anything
            pass_interrupt(error)
            log_unreadable(PRODUCT, error)
            return MISSING


def size_of(command: Sequence[Any]) -> int:
    """Return the bytes of the longest argument of a command: of its value."""
    return max(len(each) for each in command if isinstance(each, str | bytes))


def note_failed(failed: FailedKeys, keys: Iterable[str], answers: Sequence[Any]) -> None:
    """Enter the keys whose answers are errors, and the first error."""
    failed += [key for key, answer in zip(keys, answers, strict=True) if isinstance(answer, Exception)]
    failed.error = failed.error or next((each for each in answers if isinstance(each, Exception)), None)


def raise_refusal(answer: T) -> T:
    """Return an answer; raise it if it is the server's refusal."""
    if isinstance(answer, Exception):
        raise answer
    return answer
