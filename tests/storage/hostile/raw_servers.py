"""The bytes that a server holds, past every serializer: as an attacker sees and changes them."""

import pickle
from abc import ABC, abstractmethod
from typing import Any

import redis
from pymemcache.client.base import Client

from tests.support.servers import HOST

exploded: list[str] = []


def explode(what: str) -> str:
    """Run, as code that an attacker has planted."""
    exploded.append(what)
    return what


class Bomb:
    """A value whose pickle runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Explode."""
        return explode, ("a pickle",)


BOMB = pickle.dumps(Bomb())


class Raw(ABC):
    """The memory of one server."""

    @abstractmethod
    def read(self, key: str) -> bytes | None:
        """Return what lies under a whole key."""

    @abstractmethod
    def plant(self, key: str, value: bytes) -> None:
        """Put something else under a whole key; what Django's own backends will unpickle, if they unpickle anything."""


class _Kept:
    """Keep the flags beside the bytes."""

    def serialize(self, _key: object, value: tuple[bytes, int]) -> tuple[bytes, int]:
        return value

    def deserialize(self, _key: object, value: bytes, flags: int) -> tuple[bytes, int]:
        return value, flags


class RawMemcached(Raw):
    """That of a memcached."""

    PICKLED = 1  # pymemcache's flag

    def __init__(self, port: int) -> None:
        """Connect."""
        self._client = Client((HOST, port), serde=_Kept(), default_noreply=False)

    def read(self, key: str) -> bytes | None:
        """Return what lies under a whole key."""
        found = self._client.get(key)
        return found[0] if found else None

    def plant(self, key: str, value: bytes) -> None:
        """Put something else there: with the flags that were there, or those of a pickle."""
        found = self._client.get(key)
        self._client.set(key, (value, self.PICKLED if value == BOMB or found is None else found[1]))

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


class RawRedis(Raw):
    """That of a Redis."""

    def __init__(self, port: int) -> None:
        """Connect."""
        self._client = redis.Redis(HOST, port)

    def read(self, key: str) -> bytes | None:
        """Return what lies under a whole key."""
        found = self._client.get(key)
        assert found is None or isinstance(found, bytes)
        return found

    def plant(self, key: str, value: bytes) -> None:
        """Put something else there."""
        self._client.set(key, value)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()
