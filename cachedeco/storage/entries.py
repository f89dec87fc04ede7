"""
Encode and decode entries, and compare their stamps with the tokens: why a hit was not invalidated.

The data
    A *token* is sixteen random bytes in the cache, under a key of its own. Each call has one, each function has
    one, each namespace has one. An *entry* is a value together with its *stamp*: the tokens that its call
    depended on, in order, as they stood before its computation began. To invalidate is to write a new token.

The read
    One `get_many` fetches the entry and its tokens. The entry is served if its stamp equals the tokens now.
    Otherwise the tokens that were read become the stamp of the next entry; absent tokens are created first.

Why it is right
    Suppose that a read begins after an invalidation was acknowledged. The entry that it serves has a stamp equal
    to the tokens now. Tokens never repeat, so the stamp was read after the invalidation, and the computation began
    after that: it saw the change. This holds for any number of readers and writers, and for any eviction: an absent
    token never equals a stamp, so a lost token can only cause a miss. Counters, clocks and late stamps do not have
    this property: a lost counter begins again and repeats its values, a clock can be set back, and a stamp that is
    read after the computation may be newer than the data. Facebook's leases (Nishtala et al., "Scaling Memcache at
    Facebook", NSDI 2013, 3.2.1) prevent the same race by a token that a delete revokes.

Not promised
    A writer killed between its commit and its invalidation, a server that was unreachable during an invalidation,
    a database replica that lags: until the entry's timeout, these may let an old value be read.

The bytes
    ::

        |<------------------ body ----------------->|           |<------------- trailer ------------->|
        | value | names of nested tokens | header   | signature | tokens: the stamp   | count | format |
        | ...   | separated by line ends | 20 bytes | 0 or 32   | 16 each, own first  | 2     | id     |

    The header is `<ddI`: expiry (seconds since the epoch), seconds of the computation, length of the names.
    The signature covers the whole key, the body and the trailer. The stamp stands last, because a hit compares it
    first, by one `endswith`, and because `pickle.loads` ignores trailing bytes: a hit never slices the value.
    The trailer names its own length by the count, so an entry with other nested tokens can still be parsed.
    Nested tokens belong to the cached calls inside the computation: they are named in the body, since only the
    entry knows which they are, and are compared like the call's own.
"""

from collections.abc import Mapping, Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812 -- a class with a lower-case name
from typing import Any, Final, NamedTuple, Self

from cachedeco.storage.serializers import EntrySerializer
from cachedeco.storage.signing import message_for
from cachedeco.storage.store import Store

TOKEN_BYTES: Final = 16
Stamp = tuple[bytes, ...]  # tokens in the order of their keys

_header = Struct("<ddI")  # expiry, seconds of the computation, length of the names before it
_count = Struct("<H")
MOST_TOKENS: Final = 0xFFFF  # the largest count


class Entry(NamedTuple):
    """A stored value whose stamp equals the tokens now."""

    value: Any  #: a copy that no other caller has
    expires: float  #: seconds since the epoch; infinity for ever
    seconds: float  #: what the computation took


class EntryCodec(NamedTuple):
    """Encodes and decodes the entries of a function: its store, and its serializer with the signature."""

    store: Store
    serializer: EntrySerializer

    def signature(self, key: str, body: bytes, trailer: bytes) -> bytes:
        """Return the signature of an entry under a key; empty if entries are not signed."""
        return self.serializer.signer.sign(self._message(key, body, trailer)) if self.serializer.signer else b""

    def accepts(self, key: str, data: bytes, body_end: int) -> bool:
        """Tell whether an entry was signed for this key, or need not be; a wrong signature is an event."""
        signer, start = self.serializer.signer, body_end + self.serializer.signature_bytes
        if signer is None or signer.accepts(data[body_end:start], self._message(key, data[:body_end], data[start:])):
            return True
        self.store.emit_failure("The entry is not signed by a key of the setting SIGNING_KEYS", key)
        return False

    def _message(self, key: str, body: bytes, trailer: bytes) -> bytes:
        # With the whole key: an entry of another site under this key is refused, too.
        return message_for(self.store.whole_key(key).encode(), body, trailer)


def encode_entry(
    codec: EntryCodec, key: str, stamp: Sequence[bytes], nested_tokens: Mapping[str, bytes], entry: Entry
) -> bytes:
    """
    Return the bytes to store: value, names of nested tokens, header, signature, stamp, format id.

    The stamp is the trailer: `pickle.loads` ignores trailing bytes, so a hit never slices the value.

    Args:
        codec: That of the function.

        key: That of the entry.

        stamp: The tokens that the call itself depends on.

        nested_tokens: The tokens that nested calls depended on, by name.

        entry: The entry, its value serialized.
    """
    names = "\n".join(nested_tokens).encode()
    body = b"".join((entry.value, names, _header.pack(entry.expires, entry.seconds, len(names))))
    trailer = _trailer((*stamp, *nested_tokens.values()), codec.serializer.format_id)
    return b"".join((body, codec.signature(key, body, trailer), trailer))


def decode_entry(codec: EntryCodec, keys: Sequence[str], raw: Mapping[str, object] | None) -> Entry | None:
    """
    Return the entry if its stamp equals the tokens now.

    Args:
        codec: That of the function.

        keys: The entry's key, then those of its tokens, nested ones included.

        raw: What the cache holds under these keys. No value of it raises.
    """
    serializer = codec.serializer
    try:
        data: Any = raw[keys[0]]  # type: ignore[index] # None is caught like any other wrong type
        if not data.endswith(_trailer([raw[key] for key in keys[1:]], serializer.format_id)):  # type: ignore[index, misc] # as above
            return None
        body_end = _body_end(serializer, data, len(keys) - 1)
        expires, seconds, length = _header.unpack_from(data, body_end - _header.size)
    except (KeyError, TypeError, AttributeError, StructError):
        return None  # absent, or bytes of another origin
    if serializer.signer and not codec.accepts(keys[0], data, body_end):
        return None
    try:
        value = serializer.loads(
            data if serializer.ignores_trailing_bytes else data[: body_end - _header.size - length]
        )
    except Exception as error:  # noqa: BLE001 -- unpickling the user's class may raise anything
        codec.store.emit_failure("The entry can't be unpickled", keys[0], error)
        return None
    return Entry(value, expires, seconds)


class _Layout(NamedTuple):
    """Byte offsets of the sections of an entry: where each of them ends."""

    value_end: int
    names_end: int
    body_end: int
    signature_end: int

    @classmethod
    def of(cls, serializer: EntrySerializer, data: bytes) -> Self:
        """
        Find the sections of an entry, by the count of its tokens.

        Raises:
            StructError: It is too short to be an entry.
        """
        count_start = len(data) - len(serializer.format_id) - _count.size
        body_end = _body_end(serializer, data, _count.unpack_from(data, count_start)[0])
        names_end = body_end - _header.size
        value_end = names_end - _header.unpack_from(data, names_end)[2]
        return cls(value_end, names_end, body_end, body_end + serializer.signature_bytes)


def read_nested_names(codec: EntryCodec, keys: Sequence[str], raw: Mapping[str, object]) -> list[str] | None:
    """
    Return the names of an entry's nested tokens; None if there is no entry, or if its own stamp is dead.

    Args:
        codec: That of the function.

        keys: The entry's key, then those of the tokens that the call itself depends on.

        raw: What the cache holds under these keys.
    """
    data = raw.get(keys[0])
    if not isinstance(data, bytes) or not data.endswith(codec.serializer.format_id):
        return None
    try:
        own_tokens = b"".join([raw[key] for key in keys[1:]])  # type: ignore[misc] # a TypeError is caught
        layout = _Layout.of(codec.serializer, data)
        text = data[layout.value_end : layout.names_end].decode()
    except (KeyError, TypeError, StructError, UnicodeDecodeError):
        return None
    if not data.startswith(own_tokens, layout.signature_end):
        return None
    if not codec.accepts(keys[0], data, layout.body_end):
        return None  # names in a forged entry must not be read from the cache
    return text.split("\n") if text else []


def serialized_value(serializer: EntrySerializer, data: bytes) -> bytes:
    """Return the serialized value in the bytes of an entry that `decode_entry()` has accepted."""
    return data[: _Layout.of(serializer, data).value_end]


def _trailer(tokens: Sequence[bytes], format_id: bytes) -> bytes:
    """Return the trailer: tokens, token count (so the encoding is unambiguous), format id."""
    return b"".join(tokens) + _count.pack(len(tokens)) + format_id


def _body_end(serializer: EntrySerializer, data: bytes, count: int) -> int:
    """
    Return the offset at which the body of an entry with *count* tokens ends, and its signature begins.

    By the signed count alone. If the lengths of the values that lie under the tokens' keys now could move this offset,
    an attacker could present a part of a value as the signature, and have the bytes before it unpickled.
    """
    tokens = TOKEN_BYTES * count
    return len(data) - len(serializer.format_id) - _count.size - tokens - serializer.signature_bytes


def is_token(value: object) -> bool:
    """Tell whether a value is a token: the cache may return anything under its key."""
    return isinstance(value, bytes) and len(value) == TOKEN_BYTES
