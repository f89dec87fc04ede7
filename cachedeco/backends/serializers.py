"""
Serializers that unpickle only what this project has signed, for Django's cache backends and ours.

The serializers of Django's backends unpickle all bytes that the server returns. With one of these instead, a value that
was not signed by this project reads as None, and is logged as an error. Integers are stored as they are, unsigned,
since servers add to them.
"""

import logging
import pickle
from collections.abc import Sequence
from typing import Any, Final

from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.storage.serializers import to_pickle
from cachedeco.storage.signing import SIGNATURE_BYTES, Signer, message_for

logger = logging.getLogger("cachedeco")

# The prefix of a signed value, which no integer has. One byte follows it: the kind of the data after the signature.
_BEGINNING: Final = b"cachedeco:"
_PICKLE, _BYTES, _TEXT = b"p", b"b", b"t"
_LENGTH: Final = len(_BEGINNING) + 1
# Flags that pymemcache stores with a value.
PLAIN_FLAG: Final = 1 << 1
SIGNED_FLAG: Final = 1 << 8


class _SignedEncoder:
    """Encode signed values, and decode those whose signature is valid; for one purpose."""

    def __init__(self, keys: Sequence[str | bytes], purpose: str) -> None:
        self._signer = Signer(keys, purpose)

    def encode(self, key: bytes, value: object) -> bytes:
        """Return a signed value, bound to a key: prefix, kind, signature, data."""
        kind, data = _PICKLE, b""
        if type(value) is bytes:
            kind, data = _BYTES, value
        elif type(value) is str:
            kind, data = _TEXT, value.encode("utf-8", "surrogatepass")
        else:
            data = to_pickle(value)
        header = _BEGINNING + kind
        return b"".join((header, self._signer.sign(message_for(key, header, data)), data))

    def decode(self, key: bytes, signed: bytes) -> Any:
        """Return the value; None if it was not signed for this key, or can't be unpickled."""
        header, data = signed[:_LENGTH], signed[_LENGTH + SIGNATURE_BYTES :]
        signature = signed[_LENGTH : _LENGTH + SIGNATURE_BYTES]
        if not self._signer.accepts(signature, message_for(key, header, data)):
            # Without the key: a session's key is like a password, and must not stand in a log.
            logger.error("A value in the cache was not signed by one of our keys: it is not read.")
            return None
        kind = header[-1:]
        if kind == _BYTES:
            return data
        if kind == _TEXT:
            return data.decode("utf-8", "surrogatepass")
        try:
            return pickle.loads(data)  # noqa: S301 -- we have signed it
        except Exception as error:
            pass_interrupt(error)
            logger.warning("A value in the cache can't be unpickled.", exc_info=True)
            return None


class SignedSerde:
    """
    A `serde` for memcached, of `cachedeco.backends.memcached.MemcachedCache` or Django's `PyMemcacheCache`.

    ::

        "OPTIONS": {"serde": SignedSerde([SECRET_KEY, *SECRET_KEY_FALLBACKS])}

    A value is signed together with its key, so it is invalid under another key. Don't set pymemcache's own
    `key_prefix` as well: `deserialize()` would get a key without the prefix. Thread-safe.

    Args:
        keys: Text or bytes, sixteen bytes or more each. The first one signs; signatures of all are accepted.

    Raises:
        TypeError, ValueError: There are no keys, or one is of another type or too short.
    """

    def __init__(self, keys: Sequence[str | bytes]) -> None:
        """Derive the keys."""
        self._encoder = _SignedEncoder(keys, "cachedeco.serde")

    def serialize(self, key: str | bytes, value: object) -> tuple[bytes, int]:
        """Return the bytes to store under a key, and the flags to store with them."""
        if type(value) is int:
            return b"%d" % value, PLAIN_FLAG
        return self._encoder.encode(_to_bytes(key), value), SIGNED_FLAG

    def deserialize(self, key: str | bytes, value: bytes, flags: int) -> Any:
        """Return the value stored under a key; None if it was not signed."""
        # The flags prove nothing, since they are not signed.
        number = _whole_number(value) if flags == PLAIN_FLAG else None
        return self._encoder.decode(_to_bytes(key), value) if number is None else number


class SignedSerializer:
    """
    A `serializer` for Redis, of `cachedeco.backends.redis.RedisCache` or Django's `RedisCache`.

    ::

        "OPTIONS": {"serializer": SignedSerializer([SECRET_KEY, *SECRET_KEY_FALLBACKS])}

    Django does not pass the key: an attacker who can write to the server can copy a signed value to another key.
    cachedeco's own entries are bound to their keys by the setting `SIGNING_KEYS`. Thread-safe.

    Args:
        keys: Text or bytes, sixteen bytes or more each. The first one signs; signatures of all are accepted.

    Raises:
        TypeError, ValueError: There are no keys, or one is of another type or too short.
    """

    def __init__(self, keys: Sequence[str | bytes]) -> None:
        """Derive the keys."""
        self._encoder = _SignedEncoder(keys, "cachedeco.serializer")

    def dumps(self, value: object) -> bytes | int:
        """Return the bytes to store, or the integer."""
        return value if type(value) is int else self._encoder.encode(b"", value)

    def loads(self, data: bytes) -> Any:
        """Return the stored value; None if it was not signed."""
        number = None if data.startswith(_BEGINNING) else _whole_number(data)
        return self._encoder.decode(b"", data) if number is None else number


def _to_bytes(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key


def _whole_number(data: bytes) -> int | None:
    """Return data as an integer, which may come from any writer; None if it is no integer."""
    try:
        return int(data)
    except ValueError:
        return None
