"""
Encode and decode entries, and compare their stamps with the tokens: why a hit was not invalidated.

The data
    A *token* is sixteen bytes in the cache, ten of them random, under a key of its own. Each call has one, each
    function has one, each namespace has one. An *entry* is a value together with its *stamp*: the tokens that its call
    depended on, in order, as they stood before its computation began. To invalidate is to write a new token.

The read
    One read fetches the entry and its tokens. The entry is served if its stamp equals the tokens now.
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

        |<------------------------ body ------------------------>|           |<-------- trailer --------->|
        | value | models | names of nested tokens | origin | header | signature | stamp | key | count | format |
        | ...   | ...    | separated by line ends | 44     | 33     | 0 or 32   | 16 n  | ... | 2     | id     |

        origin: | process: host and id | stored at | statements |    header: | expires | stale | seconds |
                | 32                   | d         | I          |            | d       | d     | d       |

                | length of models | length of names | flags |    all little-endian
                | I                | I               | B     |

    The trailer is known before the entry is read: the tokens as they are now, the whole key, the number of tokens,
    the format. So a hit makes it by one join, compares it as a slice, and unpacks the header before it; nothing is
    decoded before that. The whole key and no digest of it: it costs memory, and a hit no hash. It is bound in, so
    that an answer to another caller's command, of another entry with its tokens, is a miss.

    `models` describes the fields of the models among the values; a value is a miss once a model has other fields.
    Until that entry ends, this process stores its own under another key: see `key_for_models_here()`.
    The origin is who stored the entry. `stale` is how many seconds past its expiry the entry may be
    served while it is refreshed; `seconds` and `statements` are the cost of its computation. The signature covers
    the body and the trailer. The value stands first, because `pickle.loads` ignores trailing bytes: a hit never
    slices it. Nested tokens belong to the cached calls inside the computation: they are named in the body, since
    only the entry knows which they are, and are compared like the call's own, behind these.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import urandom
from socket import gethostname
from struct import Struct
from time import time
from typing import Any, Final, NamedTuple, TypeGuard

from cachedeco.runtime.events import MissReason
from cachedeco.runtime.interrupts import Reraised, pass_interrupt
from cachedeco.storage.cache_keys import key_for_models
from cachedeco.storage.model_pickles import are_current, digest_here
from cachedeco.storage.serializers import COUNT, EntrySerializer, Raised
from cachedeco.storage.signing import message_for
from cachedeco.storage.store import Store

TOKEN_BYTES: Final = 16
_born = Struct(">HI")  # the beginning of a token: when it was made, milliseconds since the epoch; the rest is random
Stamp = tuple[bytes, ...]  # tokens in the order of their keys

_origin = Struct("<32sdI")  # process; when it stored the entry, seconds since the epoch; statements that were run
_header = Struct("<dddIIB")  # expiry, stale window, seconds of the computation, lengths of models and names, flags
_HEADER_BYTES: Final = _header.size
FIXED_BYTES: Final = _origin.size + _HEADER_BYTES
MOST_TOKENS: Final = 0xFFFF  # the largest count
MOST_REFUSED: Final = 100  # keys of a function whose bytes are known to be no entry
HOST: Final = gethostname()[:24]
IS_ERROR: Final = 1  # flag: the value is an exception that the call raised


# What NamedTuple's own constructors call, which are written in Python: each hit makes two.
new_tuple: Final = tuple.__new__


class Entry(NamedTuple):
    """A stored value whose stamp equals the tokens now."""

    value: Any  #: a copy that no other caller has; a `Raised` if the call raised
    expires: float  #: seconds since the epoch; infinity for ever
    seconds: float  #: what the computation took
    stale: float = 0.0  #: seconds past its expiry in which it may be served while it is refreshed
    is_error: bool = False  #: whether the call raised one of its *cache_exceptions*
    statements: int = 0  #: how many statements the computation has run on databases; not read by a hit
    models: bytes = b""  #: the models among the values, and their fields, from the serializer; not read by a hit


@dataclass(eq=False, slots=True)
class EntryCodec:
    """Encodes and decodes the entries of a function: its store, and its serializer with the signature."""

    store: Store
    serializer: EntrySerializer
    #: Whether each value is loaded before it is stored: this process has met one that can't be.
    tries_to_load: bool = False
    _refused: dict[str, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def signature(self, key: str, body: bytes, trailer: bytes) -> bytes:
        """Return the signature of an entry under a key; empty if entries are not signed."""
        return self.serializer.signer.sign(_message(key, body, trailer)) if self.serializer.signer else b""

    def accepts(self, key: str, data: bytes, body_end: int) -> bool:
        """Tell whether an entry was signed for this key, or need not be; a wrong signature is an event."""
        signer, start = self.serializer.signer, body_end + self.serializer.signature_bytes
        if signer is None or signer.accepts(data[body_end:start], _message(key, data[:body_end], data[start:])):
            return True
        self.emit_refused("The entry is not signed by a key of the setting SIGNING_KEYS", key, data)
        return False

    def emit_refused(self, what: str, key: str, data: bytes, error: Exception | None = None) -> None:
        """Emit that the bytes under a key are no entry: once, though a call that waits for another looks many times."""
        if self._refused.get(key) == hash(data):
            return
        if len(self._refused) >= MOST_REFUSED:
            self._refused.clear()
        self._refused[key] = hash(data)
        self.store.emit_failure(what, key, error)


def _message(key: str, body: bytes, trailer: bytes) -> bytes:
    return message_for(key.encode(), body, trailer)


def encode_entry(
    codec: EntryCodec,
    key: str,
    stamp: Sequence[bytes],
    nested_tokens: Mapping[str, bytes],
    entry: Entry,
) -> bytes:
    """Return the bytes to store of an entry whose value is serialized; *stamp* are the tokens of the call itself."""
    names = "\n".join(nested_tokens).encode()
    process = f"{HOST}:{os.getpid()}".encode()
    flags = IS_ERROR if entry.is_error else 0
    body = b"".join(
        (
            entry.value,
            entry.models,
            names,
            _origin.pack(process, time(), entry.statements),
            _header.pack(entry.expires, entry.stale, entry.seconds, len(entry.models), len(names), flags),
        )
    )
    tokens = (*stamp, *nested_tokens.values())
    trailer = _trailer(codec, key, tokens)
    return b"".join((body, codec.signature(key, body, trailer), trailer))


def _trailer(codec: EntryCodec, key: str, tokens: Sequence[bytes]) -> bytes:
    """Return the trailer: tokens, the whole key, the number of tokens, format id."""
    return b"".join((*tokens, key.encode(), codec.serializer.tails[len(tokens)]))


def decode_values(  # noqa: PLR0911 -- one return for each reason
    codec: EntryCodec,
    key: str,
    values: Sequence[bytes | None],
    names: bytes | None = None,
    reraised: Reraised = (),
) -> Entry | None:
    """
    Return the entry if its stamp equals the tokens now, and the models among the values have the fields that they had.

    Args:
        codec: That of the function.

        key: The whole key of the entry.

        values: What one read has found: the bytes of the entry, and those of all its tokens in the order of the stamp,
            nested ones last. No value of it raises.

        names: The names of the nested tokens that were read, separated by line ends: the entry must name the same.
            None: they are not compared.

        reraised: Exceptions of unpickling that are raised, and are no event.
    """
    data = values[0]
    serializer = codec.serializer
    whole_key = key.encode()
    count = len(values) - 1
    if type(data) is not bytes:
        return None
    # By the number of tokens alone. If the lengths of the values that lie under the tokens' keys now could move this
    # offset, an attacker could present a part of a value as the signature, and have the bytes before it unpickled.
    body_end = len(data) - serializer.skipped - TOKEN_BYTES * count - len(whole_key)
    if body_end < FIXED_BYTES:
        return None
    try:
        trailer = b"".join([*values[1:], whole_key, serializer.tails[count]])  # type: ignore[list-item] # caught
    except TypeError:  # a token is absent
        return None
    if data[body_end + serializer.signature_bytes :] != trailer:
        return None
    expires, stale, seconds, models, length, flags = _header.unpack_from(data, body_end - _HEADER_BYTES)
    value_end = body_end - FIXED_BYTES
    if models or length or names or serializer.signer:  # nearly never
        names_start = value_end - length
        value_end = names_start - models
        if (
            value_end < 0
            or (names is not None and data[names_start : names_start + length] != names)
            or (serializer.signer and not codec.accepts(key, data, body_end))
            or (models and not are_current(data[value_end:names_start]))
        ):
            return None
    try:
        value = serializer.loads(data if serializer.ignores_trailing_bytes else data[:value_end])
    except Exception as error:  # unpickling the user's class may raise anything
        pass_interrupt(error)
        if isinstance(error, reraised):
            raise
        codec.emit_refused("The entry can't be unpickled", key, data, error)
        return None
    is_error = flags & IS_ERROR != 0
    if is_error and type(value) is not Raised:
        codec.emit_refused("The entry has no exception, and says that it has one", key, data)
        return None
    return new_tuple(Entry, (value, expires, seconds, stale, is_error, 0, b""))


def decode_entry(codec: EntryCodec, keys: Sequence[str], raw: Mapping[str, Any] | None) -> Entry | None:
    """Return the entry if its stamp equals the tokens now, as `decode_values()` does; *raw* is what the cache holds."""
    return None if raw is None else decode_values(codec, keys[0], [raw.get(key) for key in keys])


class _Layout(NamedTuple):
    """Byte offsets of the sections of an entry: where each of them ends; and the number of its tokens."""

    value_end: int
    models_end: int
    names_end: int
    body_end: int
    signature_end: int
    tokens: int


def _layout_of(codec: EntryCodec, key: str, data: object) -> _Layout | None:
    """Find the sections of an entry of this key, by the count of its tokens; None if the bytes are none."""
    serializer, whole_key = codec.serializer, key.encode()
    if type(data) is not bytes or not data.endswith(serializer.format_id) or len(data) < serializer.skipped:
        return None
    signature_bytes = serializer.signature_bytes
    count_start = len(data) - serializer.skipped + signature_bytes
    key_start = count_start - len(whole_key)
    [tokens] = COUNT.unpack_from(data, count_start)
    signature_end = key_start - TOKEN_BYTES * tokens
    body_end = signature_end - signature_bytes
    names_end = body_end - FIXED_BYTES
    if names_end < 0 or not data.startswith(whole_key, key_start):
        return None
    _, _, _, models, names, _ = _header.unpack_from(data, body_end - _HEADER_BYTES)
    models_end = names_end - names
    value_end = models_end - models
    if value_end < 0:
        return None
    return new_tuple(_Layout, (value_end, models_end, names_end, body_end, signature_end, tokens))


def read_nested_names(codec: EntryCodec, keys: Sequence[str], raw: Mapping[str, object]) -> list[str] | None:
    """
    Return the names of an entry's nested tokens; None if there is no entry, or if its own stamp is dead.

    *keys* are the entry's key, then those of the tokens that the call itself depends on.
    """
    data: Any = raw.get(keys[0])
    layout = _layout_of(codec, keys[0], data)
    if layout is None:
        return None
    try:
        own_tokens = b"".join([raw[key] for key in keys[1:]])  # type: ignore[misc] # a TypeError is caught
        text: str = data[layout.models_end : layout.names_end].decode()
    except (KeyError, TypeError, UnicodeDecodeError):
        return None
    if not data.startswith(own_tokens, layout.signature_end):
        return None
    if not codec.accepts(keys[0], data, layout.body_end):
        return None  # names in a forged entry must not be read from the cache
    return text.split("\n") if text else []


def examine_entry(codec: EntryCodec, keys: Sequence[str], raw: Mapping[str, object]) -> tuple[MissReason, str]:
    """
    Return why what was read is no entry that can be served, and the key of the first token that is to blame.

    Args:
        codec: That of the function.

        keys: The entry's key, then those of the tokens that the call itself depends on.

        raw: What the cache holds under these keys, and under the names of the entry's nested tokens.
    """
    data: Any = raw.get(keys[0])
    if data is None:
        return "absent", ""
    layout = _layout_of(codec, keys[0], data)
    if layout is None:
        return "unreadable", ""
    tokens, names = _inside(layout, data)
    if len(tokens) != len(keys) - 1 + len(names):
        return "other dependencies", ""
    for key, token in zip((*keys[1:], *names), tokens, strict=True):
        if key not in raw:
            return "lost token", key
        if raw[key] != token:
            return "invalidated", key
    models = data[layout.value_end : layout.models_end]
    return ("other models" if models and not are_current(models) else "unreadable"), ""


class Inside(NamedTuple):
    """What an entry says of its tokens."""

    tokens: list[bytes]  #: its stamp
    names: list[str]  #: of those of nested calls, which are the last ones


def tokens_inside(codec: EntryCodec, key: str, data: bytes) -> Inside:
    """Return the stamp of an entry that this process has encoded under a key."""
    layout: Any = _layout_of(codec, key, data)
    return _inside(layout, data)


def _inside(layout: _Layout, data: bytes) -> Inside:
    """Return what the bytes of an entry say of its tokens; names that are no text are told all the same."""
    starts = range(layout.signature_end, layout.signature_end + TOKEN_BYTES * layout.tokens, TOKEN_BYTES)
    text = data[layout.models_end : layout.names_end].decode(errors="replace")
    return Inside([data[start : start + TOKEN_BYTES] for start in starts], text.split("\n") if text else [])


def own_tokens_of(codec: EntryCodec, key: str, data: bytes) -> int | None:
    """Return how many tokens the stamp of an entry has, nested ones left out; None if the bytes are no entry."""
    layout = _layout_of(codec, key, data)
    if layout is None:
        return None
    names = data[layout.models_end : layout.names_end]
    return layout.tokens - (names.count(b"\n") + 1 if names else 0)


def key_for_models_here(codec: EntryCodec, keys: Sequence[str], raw: Mapping[str, object]) -> str | None:
    """
    Return the key of the entry for the models of this process, if a valid entry has other fields of them; else None.

    Processes of two releases of a project run side by side during a deployment. Each leaves the valid entries of the
    other alone: else the two would overwrite each other's, and each call would compute.
    """
    data: Any = raw.get(keys[0])
    layout = _layout_of(codec, keys[0], data)
    if layout is None or layout.value_end == layout.models_end:
        return None
    models = data[layout.value_end : layout.models_end]
    stamp = stamp_of(keys[1:], raw)
    if stamp is None or data[layout.signature_end :] != _trailer(codec, keys[0], stamp):
        return None
    expires, stale, *_ = _header.unpack_from(data, layout.body_end - _HEADER_BYTES)
    if expires + stale <= time() or are_current(models) or not codec.accepts(keys[0], data, layout.body_end):
        return None
    return key_for_models(keys[0], digest_here(models))


class Details(NamedTuple):
    """What the bytes of an entry say beside its value: who stored it, how long it is served, and what it cost."""

    process: str  #: host and process id
    stored_at: float  #: seconds since the epoch
    statements: int  #: how many the computation has run on databases
    expires: float  #: seconds since the epoch; infinity for ever
    stale: float  #: seconds past its expiry in which it may be served while it is refreshed
    seconds: float  #: what the computation took
    is_error: bool  #: whether the call raised one of its *cache_exceptions*


def read_details(codec: EntryCodec, key: str, data: bytes) -> Details | None:
    """Return what an entry says beside its value, alive or not; None if the bytes are no entry of this key."""
    layout = _layout_of(codec, key, data)
    if layout is None:
        return None
    process, stored_at, statements = _origin.unpack_from(data, layout.names_end)
    expires, stale, seconds, _, _, flags = _header.unpack_from(data, layout.body_end - _HEADER_BYTES)
    name = process.rstrip(b"\0").decode(errors="replace")
    return Details(name, stored_at, statements, expires, stale, seconds, flags & IS_ERROR != 0)


def serialized_value(codec: EntryCodec, key: str, data: bytes) -> bytes | None:
    """Return the serialized value in the bytes of an entry; None if they are no entry of this key."""
    layout = _layout_of(codec, key, data)
    return None if layout is None else data[: layout.value_end]


def has_value(codec: EntryCodec, key: str, data: object, serialized: bytes | None) -> bool:
    """Tell whether the bytes of an entry have this serialized value."""
    if serialized is None or not isinstance(data, bytes) or not data.startswith(serialized):
        return False
    layout = _layout_of(codec, key, data)
    return layout is not None and layout.value_end == len(serialized)


def new_token() -> bytes:
    """
    Return a new token: the millisecond in which it is made, and 10 random bytes.

    The time answers when an invalidation was, and decides nothing: tokens are compared as a whole, and of those of one
    key that are made in one millisecond, or by a clock that was set back, no two have the same 10 bytes.
    """
    return _born.pack(*divmod(int(time() * 1000), 1 << 32)) + urandom(TOKEN_BYTES - _born.size)


def age_of(token: bytes) -> float:
    """Return how many seconds ago a token was made, by the clock of the process that has made it."""
    parts: tuple[int, int] = _born.unpack_from(token)
    return max(0.0, time() - ((parts[0] << 32) + parts[1]) / 1000)


def stamp_of(keys: Sequence[str], raw: Mapping[str, object]) -> Stamp | None:
    """Return the tokens that were read under some keys, in order; None if one is absent or no token."""
    tokens: Any = tuple(map(raw.get, keys))
    for token in tokens:
        if not isinstance(token, bytes) or len(token) != TOKEN_BYTES:  # faster than is_token()
            return None
    return tokens  # type: ignore[no-any-return] # as tested


def is_token(value: object) -> TypeGuard[bytes]:
    """Tell whether a value is a token: the cache may return anything under its key."""
    return isinstance(value, bytes) and len(value) == TOKEN_BYTES
