"""The commands of a Redis cache: in the place of those of Django's `RedisCacheClient`, on connections of our own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pickle import HIGHEST_PROTOCOL
from typing import Any, Final, TypeVar

from django.core.cache.backends.redis import RedisCacheClient, RedisSerializer
from redis.exceptions import DataError

from cachedeco.backends.exchange import Exchange
from cachedeco.backends.redis_errors import PRODUCT, RedisCacheError
from cachedeco.backends.redis_exchanges import Command, Commands, ReadMany
from cachedeco.backends.redis_options import Options, check_serializer
from cachedeco.backends.redis_servers import Client as RedisPyClient
from cachedeco.backends.redis_servers import RedisServer, client_at
from cachedeco.backends.requests import ERROR, Client, Request, Requests, both
from cachedeco.backends.server import OnConnection
from cachedeco.backends.writes import FailedKeys, chunks, log_unreadable
from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.storage.writers import LARGEST_IN_REDIS

T = TypeVar("T")

MISSING: Final = object()


_Django: Any = RedisCacheClient  # its stubs leave out much of it


class RedisClient(_Django, Client):  # type: ignore[misc] # as said
    """
    The commands on a primary and its replicas, with the methods that Django's `RedisCache` calls.

    Thread-safe. Reads from an unreachable server are misses. Writes to it raise `RedisCacheError`; with the option
    *ignore_exc* they are logged as errors, and return the result of a write that changed nothing. What a server refuses
    raises redis-py's `ResponseError`.
    """

    _product = PRODUCT
    _read_errors = _write_errors = (RedisCacheError,)

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
        self._client: Callable[..., RedisPyClient] = self._kept_client

    # --- servers ---

    @property
    def natively_async(self) -> bool:
        """Whether event loops can have connections of their own."""
        return all(each.server.pool.loops is not None for each in self._clients)

    def _get_connection_pool(self, write: bool) -> Any:  # noqa: FBT001 -- as Django has it
        return self._clients[self._get_connection_pool_index(write)].connection_pool

    def _kept_client(self, *, connection_pool: Any) -> RedisPyClient:
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

    def _get(self, key: Any, default: Any) -> Requests[Any]:
        """Return a value; *default* if it is missing or unreadable, or the server is unreachable."""
        value = self.load((yield self._read("get", key, Command("GET", key), None)))
        return default if value is MISSING else value

    get, aget = both(_get)

    def get_or_raise(self, operation: str, key: str, default: Any) -> Any:
        """Return a value of the primary, but raise if it is unreachable: for operations that report a miss."""
        # As `get_many()` reads, to which what is no text, such as a list, is missing.
        [data] = self._send(self._write(operation, key, ReadMany([key]), []))
        value = self.load(data)
        return default if value is MISSING else value

    def _get_many(self, keys: Iterable[Any]) -> Requests[dict[Any, Any]]:
        """Return the values of some keys, by one command."""
        names = list(keys)
        found = (yield self._read("get_many", None, ReadMany(names), [])) if names else []
        values = {key: self.load(data) for key, data in zip(names, found, strict=False)}
        return {key: value for key, value in values.items() if value is not MISSING}

    get_many, aget_many = both(_get_many)

    def _has_key(self, key: Any) -> Requests[bool]:
        """Tell whether there is a value."""
        return bool((yield self._read("has_key", key, Command("EXISTS", key), 0)))

    has_key, ahas_key = both(_has_key)

    # --- writing ---

    def _set(self, key: Any, value: Any, timeout: Any) -> Request[Any]:
        """Store a value; with a timeout of 0, delete it."""
        return self._write("set", key, Command(*self._set_command(key, value, timeout)), None)

    set, aset = both(_set)

    def _add(self, key: Any, value: Any, timeout: Any) -> Requests[bool]:
        """Store a value if there is none; return whether it was stored. A timeout of 0 stores nothing."""
        command = self._set_command(key, value, timeout)
        if timeout == 0:
            return not (yield self._write("add", key, Command("EXISTS", key), 1))
        return bool((yield self._write("add", key, Command(*command, "NX"), None)))

    add, aadd = both(_add)

    def _touch(self, key: Any, timeout: Any) -> Requests[bool]:
        """Give a value a new timeout; return whether there is a value."""
        if timeout is not None:
            return bool((yield self._write("touch", key, Command("EXPIRE", key, timeout), 0)))
        # PERSIST answers 0 for a value that lives for ever, too.
        answers = yield self._write("touch", key, Commands([("PERSIST", key), ("EXISTS", key)]), [0])
        return bool(raise_refusal(answers[-1]))

    touch, atouch = both(_touch)

    def _delete(self, key: Any) -> Requests[bool]:
        """Delete a value; return whether there was one."""
        return bool((yield self._write("delete", key, Command("DEL", key), 0)))

    delete, adelete = both(_delete)

    def _incr(self, key: Any, delta: int) -> Requests[int]:
        """
        Add to a number, and return the sum.

        Raises:
            ValueError: There is no value.
        """
        total: int | None = None
        if (yield self._write("incr", key, Command("EXISTS", key), 0)):
            total = yield self._write("incr", key, Command("INCRBY", key, delta), None)
        if total is None:
            msg = f"Key {key!r} not found."
            raise ValueError(msg)
        return total

    incr, aincr = both(_incr)

    def _store_many(self, data: Mapping[str, Any], timeout: Any) -> Requests[FailedKeys]:
        """Store values, and return the keys that were not stored; an unreachable server raises nothing."""
        commands = [(key, self._set_command(key, value, timeout)) for key, value in data.items()]
        failed = FailedKeys()
        for chunk in chunks(commands, [size_of(command) for _, command in commands]):
            answers = yield self._write("set_many", None, Commands([command for _, command in chunk]), ERROR)
            answers = [answers] * len(chunk) if isinstance(answers, Exception) else answers
            failed += [key for (key, _), answer in zip(chunk, answers, strict=True) if isinstance(answer, Exception)]
            failed.error = failed.error or next((each for each in answers if isinstance(each, Exception)), None)
        return failed

    store_many, astore_many = both(_store_many)

    def _delete_many(self, keys: Iterable[Any]) -> Requests[None]:
        """Delete values, by one command."""
        names = list(keys)
        if names:
            yield self._write("delete_many", None, Command("DEL", *names), 0)

    delete_many, adelete_many = both(_delete_many)

    def _clear(self) -> Requests[bool]:
        """Delete all keys of the database, also those of other programs."""
        return bool((yield self._write("clear", None, Command("FLUSHDB"), lost=False)))

    clear, aclear = both(_clear)

    # --- running a command ---

    def _read(self, operation: str, key: str | None, exchange: Exchange[T], lost: T) -> Request[T]:
        return Request(operation, self.server_of(key, write=False), exchange, lost, writes=False)

    def _write(self, operation: str, key: str | None, exchange: Exchange[T], lost: T) -> Request[T]:
        return Request(operation, self.server_of(key, write=True), exchange, lost, writes=True)

    def _over(self, exchange: Any) -> OnConnection[Any]:
        over: OnConnection[Any] = exchange.over
        return over

    def _send(self, request: Request[Any]) -> Any:
        return raise_refusal(super()._send(request)) if request.lost is not ERROR else super()._send(request)

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


def raise_refusal(answer: T) -> T:
    """Return an answer; raise it if it is the server's refusal."""
    if isinstance(answer, Exception):
        raise answer
    return answer
