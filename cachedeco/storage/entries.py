"""
Entries and the tokens that they depend on: why what you read was not invalidated.

The data
    A *token* is sixteen random bytes in the cache, under a name of its own. Each call has one, each function has
    one, each namespace has one. An *entry* is a value together with its *stamp*: the tokens that its call
    depended on, in order, as they stood before its computation began. To invalidate is to write a new token.

The read
    One `get_many` fetches the entry and its tokens. The entry is served if its stamp is what the tokens are now.
    Otherwise the tokens that were read become the stamp of the entry to come; those that are absent are minted.

Why it is right
    Suppose a read begins after an invalidation was acknowledged. What it serves has a stamp equal to the tokens
    now. Tokens never repeat, so the stamp was read after the invalidation, and the computation began after that:
    it saw what the invalidation announced. This holds for any number of readers and writers, and whatever the
    server evicts: an absent token is no token, so a lost one can only cause a miss. A counter that is lost
    begins again and returns to the past; a clock can be set; a stamp read after the computation vouches for
    data that it never saw. Facebook's leases (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, 3.2.1)
    prevent the same race by a token that a delete revokes.

Not promised
    A writer killed between its commit and its invalidation, a server that was unreachable during an invalidation,
    a database replica that lags: until the entry's timeout, these may let an old value be read.
"""

from collections.abc import Mapping, Sequence
from struct import Struct
from struct import error as StructError  # noqa: N812 -- a class with the name of a variable
from typing import Any, Final, NamedTuple, Self

from cachedeco.storage.serializers import EntrySerializer
from cachedeco.storage.signing import bound
from cachedeco.storage.store import Store

TOKEN_BYTES: Final = 16


# --- entries ---


class Entry(NamedTuple):
    """A stored value whose stamp is what the tokens are now."""

    value: Any  #: a copy that no other caller has
    expires: float  #: seconds since the epoch; infinity for ever
    seconds: float  #: what the computation took


Stamp = tuple[bytes, ...]  # tokens in the order of their keys


class EntryCodec(NamedTuple):
    """Where the entries of a function lie, and in which format."""

    store: Store
    serializer: EntrySerializer

    def signature(self, key: str, head: bytes, tail: bytes) -> bytes:
        """Return the signature of an entry under a key; empty where the format has none."""
        return self.serializer.signer.sign(self._signed(key, head, tail)) if self.serializer.signer else b""

    def accepts(self, key: str, sealed: bytes, end: int) -> bool:
        """Tell whether an entry whose head ends there was signed, for this key; where it was not, that is an event."""
        signer, stamp = self.serializer.signer, end + self.serializer.signature_bytes
        if signer is None or signer.accepts(sealed[end:stamp], self._signed(key, sealed[:end], sealed[stamp:])):
            return True
        self.store.tell_failure("The entry is not signed by a key of the setting SIGNING_KEYS", key)
        return False

    def _signed(self, key: str, head: bytes, tail: bytes) -> bytes:
        # With the whole key, as another site's entry is not to be put under it either.
        return bound(self.store.whole_key(key).encode(), head, tail)


_header = Struct("<ddI")  # expires, seconds, and the length of what stands before it: the names of inner tokens


def encode_entry(
    codec: EntryCodec, key: str, stamp: Sequence[bytes], inner: Mapping[str, bytes], entry: Entry
) -> bytes:
    """
    Return the bytes to store: value, names of inner tokens, times, signature if there is one, stamp, format.

    What is checked first comes last, because a pickle knows where it ends: a hit need not cut it out.

    Args:
        codec: That of the function.

        key: That of the entry.

        stamp: The tokens that the call itself depends on.

        inner: The tokens that calls inside it depended on, by name.

        entry: What it is, with the value packed.
    """
    names = "\n".join(inner).encode()
    head = b"".join((entry.value, names, _header.pack(entry.expires, entry.seconds, len(names))))
    tail = _tail((*stamp, *inner.values()), codec.serializer.mark)
    return b"".join((head, codec.signature(key, head, tail), tail))


def decode_entry(codec: EntryCodec, keys: Sequence[str], found: Mapping[str, object] | None) -> Entry | None:
    """
    Return the entry if its stamp is what the tokens are now.

    Args:
        codec: That of the function.

        keys: The entry's key, then those of its tokens, inner ones included.

        found: What the cache holds. Whatever it is, this does not raise.
    """
    serializer = codec.serializer
    try:
        sealed: Any = found[keys[0]]  # type: ignore[index] # None is caught like any other nonsense
        if not sealed.endswith(_tail([found[key] for key in keys[1:]], serializer.mark)):  # type: ignore[index, misc] # as above
            return None
        end = _end(serializer, sealed, len(keys) - 1)
        expires, seconds, length = _header.unpack_from(sealed, end - _header.size)
    except (KeyError, TypeError, AttributeError, StructError):
        return None  # absent, or bytes that are none of ours
    if serializer.signer and not codec.accepts(keys[0], sealed, end):
        return None
    try:
        value = serializer.loads(sealed if serializer.ignores_trailing_bytes else sealed[: end - _header.size - length])
    except Exception as error:  # noqa: BLE001 -- whatever a class does when it is unpickled
        codec.store.tell_failure("The entry can't be unpickled", keys[0], error)
        return None
    return Entry(value, expires, seconds)


class _Layout(NamedTuple):
    """Where what ends in an entry."""

    value: int
    names: int
    head: int
    signature: int  #: and the stamp begins

    @classmethod
    def of(cls, serializer: EntrySerializer, sealed: bytes) -> Self:
        """
        Find the parts of an entry.

        Raises:
            StructError: It is too short to be one.
        """
        number = len(sealed) - len(serializer.mark) - _number.size
        head = _end(serializer, sealed, _number.unpack_from(sealed, number)[0])
        names = head - _header.size
        return cls(names - _header.unpack_from(sealed, names)[2], names, head, head + serializer.signature_bytes)


def inner_names(codec: EntryCodec, keys: Sequence[str], found: Mapping[str, object]) -> list[str] | None:
    """
    Return the names of the inner tokens of an entry; None where there is none, or where its own stamp is dead.

    Args:
        codec: That of the function.

        keys: The entry's key, then those of the tokens that the call itself depends on.

        found: What the cache holds of them.
    """
    sealed = found.get(keys[0])
    if not isinstance(sealed, bytes) or not sealed.endswith(codec.serializer.mark):
        return None
    try:
        own = b"".join([found[key] for key in keys[1:]])  # type: ignore[misc] # what is no bytes is caught
        parts = _Layout.of(codec.serializer, sealed)
        text = sealed[parts.value : parts.names].decode()
    except (KeyError, TypeError, StructError, UnicodeDecodeError):
        return None
    if not sealed.startswith(own, parts.signature):
        return None
    if not codec.accepts(keys[0], sealed, parts.head):
        return None  # what stands in it would be keys to ask for
    return text.split("\n") if text else []


def packed_of(serializer: EntrySerializer, sealed: bytes) -> bytes:
    """Return the packed value of an entry that unseal() has found to be one."""
    return sealed[: _Layout.of(serializer, sealed).value]


# --- tokens and stamps ---


_number = Struct("<H")
MOST_TOKENS: Final = 0xFFFF  # whose number that can tell


def _tail(tokens: Sequence[bytes], mark: bytes) -> bytes:
    """Return how an entry with this stamp ends: the tokens, their number, so that they have one reading, the format."""
    return b"".join(tokens) + _number.pack(len(tokens)) + mark


def _end(serializer: EntrySerializer, sealed: bytes, number: int) -> int:
    """
    Return where the head of an entry ends that has so many tokens, and its signature begins.

    By their number alone, which is signed: where the lengths of what lies under their names now could move it, somebody
    could have us take a signature out of the middle of a value, and run the rest of that.
    """
    return len(sealed) - len(serializer.mark) - _number.size - TOKEN_BYTES * number - serializer.signature_bytes


def is_token(value: object) -> bool:
    """Tell a token from anything else that may lie under its name."""
    return isinstance(value, bytes) and len(value) == TOKEN_BYTES
