"""
Serializers that unpickle only what this project has signed, for Django's cache backends and ours.

Between a cache server and whatever asks for a value stands the backend's own serializer, and Django's unpickle what
they find. With one of these in its place, bytes that somebody else has put there are None, and an error in the log.
Whole numbers stay as they are, unsigned, as servers add to them.
"""

import logging
import pickle
from collections.abc import Sequence
from typing import Any, Final

from cachedeco.storage.serializers import to_pickle
from cachedeco.storage.signing import SIGNATURE_BYTES, Signer, message_for

logger = logging.getLogger("cachedeco")

# How a signed value begins, as no whole number does; the last byte tells what follows the signature.
_BEGINNING: Final = b"cachedeco:"
_PICKLE, _BYTES, _TEXT = b"p", b"b", b"t"
_LENGTH: Final = len(_BEGINNING) + 1
# Of what pymemcache stores beside a value, where its own serializer uses lower bits.
PLAIN_FLAG: Final = 1 << 1
SIGNED_FLAG: Final = 1 << 8


class _Sealer:
    """Sign values, and take back what was signed; for one purpose."""

    def __init__(self, keys: Sequence[str | bytes], purpose: str) -> None:
        self._signer = Signer(keys, purpose)

    def encode_entry(self, place: bytes, value: object) -> bytes:
        """Return a signed value for a place: its kind, the signature, the value."""
        kind, data = _PICKLE, b""
        if type(value) is bytes:
            kind, data = _BYTES, value
        elif type(value) is str:
            kind, data = _TEXT, value.encode("utf-8", "surrogatepass")
        else:
            data = to_pickle(value)
        head = _BEGINNING + kind
        return b"".join((head, self._signer.sign(message_for(place, head, data)), data))

    def decode_entry(self, place: bytes, sealed: bytes) -> Any:
        """Return the value; None where it was not signed for this place, or can't be unpickled."""
        head, data = sealed[:_LENGTH], sealed[_LENGTH + SIGNATURE_BYTES :]
        signature = sealed[_LENGTH : _LENGTH + SIGNATURE_BYTES]
        if not self._signer.accepts(signature, message_for(place, head, data)):
            # Without the key: that of a session is as good as a password, and this is a log.
            logger.error("A value in the cache was not signed by one of our keys: it is not read.")
            return None
        kind = head[-1:]
        if kind == _BYTES:
            return data
        if kind == _TEXT:
            return data.decode("utf-8", "surrogatepass")
        try:
            return pickle.loads(data)  # noqa: S301 -- we have signed it
        except Exception:
            logger.warning("A value in the cache can't be unpickled.", exc_info=True)
            return None


class SignedSerde:
    """
    A `serde` for memcached, of `cachedeco.backends.memcached.MemcachedCache` or Django's `PyMemcacheCache`.

    ::

        "OPTIONS": {"serde": SignedSerde([SECRET_KEY, *SECRET_KEY_FALLBACKS])}

    A value is signed together with its key, so it counts for nothing under another one. Don't set pymemcache's
    own `key_prefix` beside it: the key would be another one on the way back. May be used by many threads at once.

    Args:
        keys: The first signs; the signatures of all are accepted. Texts or bytes, of sixteen bytes or more.

    Raises:
        TypeError, ValueError: The keys are none, or too short.
    """

    def __init__(self, keys: Sequence[str | bytes]) -> None:
        """Derive the keys."""
        self._sealer = _Sealer(keys, "cachedeco.serde")

    def serialize(self, key: str | bytes, value: object) -> tuple[bytes, int]:
        """Return the bytes to store under a key, and the flags to store with them."""
        if type(value) is int:
            return b"%d" % value, PLAIN_FLAG
        return self._sealer.encode_entry(_encoded(key), value), SIGNED_FLAG

    def deserialize(self, key: str | bytes, value: bytes, flags: int) -> Any:
        """Return what was stored under a key; None where that was not signed."""
        # Not by the flags, which anybody can set: they are not signed.
        number = _whole_number(value) if flags == PLAIN_FLAG else None
        return self._sealer.decode_entry(_encoded(key), value) if number is None else number


class SignedSerializer:
    """
    A `serializer` for Django's `RedisCache`.

    ::

        "OPTIONS": {"serializer": SignedSerializer([SECRET_KEY, *SECRET_KEY_FALLBACKS])}

    Django does not tell it the key: who can write to the server can put one signed value in the place of another.
    cachedeco's own entries are bound to their keys by the setting `SIGNING_KEYS`. May be used by many threads at once.

    Args:
        keys: The first signs; the signatures of all are accepted. Texts or bytes, of sixteen bytes or more.

    Raises:
        TypeError, ValueError: The keys are none, or too short.
    """

    def __init__(self, keys: Sequence[str | bytes]) -> None:
        """Derive the keys."""
        self._sealer = _Sealer(keys, "cachedeco.serializer")

    def dumps(self, value: object) -> bytes | int:
        """Return what to store."""
        return value if type(value) is int else self._sealer.encode_entry(b"", value)

    def loads(self, data: bytes) -> Any:
        """Return what was stored; None where that was not signed."""
        number = None if data.startswith(_BEGINNING) else _whole_number(data)
        return self._sealer.decode_entry(b"", data) if number is None else number


def _encoded(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key


def _whole_number(data: bytes) -> int | None:
    """Return a number, which anybody may have written; None where it is none."""
    try:
        return int(data)
    except ValueError:
        return None
