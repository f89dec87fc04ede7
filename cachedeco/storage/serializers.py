"""Serializers: turn values into bytes and back, and check which bytes may become a value again."""

import json
import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from struct import Struct
from typing import Any, Final, Literal, NamedTuple, Protocol
from urllib.parse import quote

import django

from cachedeco.runtime.reprs import repr_of
from cachedeco.runtime.validation import check_arguments, check_returns
from cachedeco.storage.model_pickles import PICKLE_PROTOCOL, dump
from cachedeco.storage.signing import SIGNATURE_BYTES, Signer

SerializerName = Literal["pickle", "json"]


class Serializer(Protocol):
    """
    A serializer of the project's own: the option *serializer* takes it beside "pickle" and "json".

    Many threads use it at once. An exception of `dumps()` leaves the value unstored, one of `loads()` is a miss; both
    are events.
    """

    @property
    def name(self) -> str:
        """The name of the format. Entries of another name are misses: change the name when the format changes."""
        ...

    def dumps(self, value: Any, /) -> bytes:
        """Return a value as bytes."""
        ...

    def loads(self, data: bytes, /) -> Any:
        """Return the value of these bytes: exactly those that `dumps()` returned."""
        ...


SerializerOption = SerializerName | Serializer


class Absent(Enum):
    """The value of an entry for an id that a bulk function does not know."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(slots=True)
class Raised:
    """The value of an entry for a call that raised one of its *cache_exceptions*."""

    error: Exception

    def take_error(self) -> Exception:
        """Return the error to raise, and drop it here: its traceback holds frames that hold this, a reference cycle."""
        error = self.error
        del self.error
        return error


class Serialized(NamedTuple):
    """A value as bytes."""

    data: bytes
    models: bytes = b""  #: the models among the values, and their fields: as `are_current()` takes them


COUNT: Final = Struct("<H")  # of tokens


class Tails(dict[int, bytes]):
    """What ends an entry behind its tokens and its key, by the number of tokens."""

    def __init__(self, format_id: bytes) -> None:
        """Begin with none: they are made when they are needed."""
        super().__init__()
        self._format_id = format_id

    def __missing__(self, count: int) -> bytes:
        """Return the end for a number of tokens."""
        tail = self[count] = COUNT.pack(count) + self._format_id
        return tail


@dataclass(frozen=True)
class EntrySerializer:
    """The serializer of one function's entries, under the settings in force."""

    format_id: bytes  #: the end of its entries; an entry with another one is a miss
    release: str  #: what makes its entries incompatible with others: a part of an entry's key
    dumps: Callable[[Any], Serialized]
    loads: Callable[[bytes], Any]
    ignores_trailing_bytes: bool  #: whether loads() stops at the end of the value, as pickle does
    signer: Signer | None = None
    signature_bytes: int = 0  #: length of a signature; 0 without a signer

    @cached_property
    def tails(self) -> Tails:
        """The ends of entries, by the number of their tokens: that number, and the format id."""
        return Tails(self.format_id)

    @cached_property
    def skipped(self) -> int:
        """The bytes behind the body, beside the tokens and the key: signature, number of tokens, format id."""
        return self.signature_bytes + COUNT.size + len(self.format_id)


def check_serializer(function: str, option: str, serializer: object) -> None:
    """
    Check the value of the option *serializer*.

    Raises:
        TypeError: It is a class, or the object lacks `name`, `dumps()` or `loads()`, or these take something else, or
            would have to be awaited.
        ValueError: The name is unknown; or the object's name is a built-in one, or no printable text.
    """
    if isinstance(serializer, str):
        if serializer not in SERIALIZERS:
            names = " or ".join(map(repr, SERIALIZERS))
            msg = (
                f"{option}={repr_of(serializer)} for {function}(); it takes {names}, or an object with name, dumps() "
                "and loads()."
            )
            raise ValueError(msg)
        return
    methods: list[Any] = [getattr(serializer, method, None) for method in ("dumps", "loads")]
    # A class has all that an instance has, `dumps` and `loads` too, and fails with each value.
    if isinstance(serializer, type) and all(map(callable, methods)):
        instance = f"{option}={serializer.__name__}()"
        msg = f"{option}={repr_of(serializer)} for {function}() is a class; give an instance: {instance}."
        raise TypeError(msg)
    name = getattr(serializer, "name", None)
    if not isinstance(name, str) or not all(map(callable, methods)):
        msg = (
            f"{option}={repr_of(serializer)} for {function}(); it takes 'pickle', 'json', or an object with name (a "
            "text), dumps() to bytes and loads()."
        )
        raise TypeError(msg)
    if not name.isprintable() or not name or name in SERIALIZERS:
        msg = f"{option}= for {function}() has the name {repr_of(name)}; give it a printable name of its own."
        raise ValueError(msg)
    for method, called, given in zip(("dumps", "loads"), methods, ("the value", "bytes"), strict=True):
        what = f"{method}() of {option}= for {function}()"
        check_returns(called, what=what)
        check_arguments(called, None, what=what, advice=f"it is called with {given} alone")


def build_serializer(serializer: SerializerOption, keys: Sequence[bytes]) -> EntrySerializer:
    """Return the serializer of entries; they are signed if there are keys."""
    plain = SERIALIZERS[serializer] if isinstance(serializer, str) else _custom(serializer)
    if not keys:
        return plain
    signer = Signer(keys, "cachedeco.entries")
    return replace(
        plain,
        format_id=plain.format_id + b", signed",
        release=f"{plain.release}+signed",
        signer=signer,
        signature_bytes=SIGNATURE_BYTES,
    )


# --- a serializer of the project's own ---

# Before the bytes of a value, and of an exception; ABSENT is stored as no bytes.
_VALUE_PREFIX: Final = b"="
_ERROR_PREFIX: Final = b"!"


def _custom(serializer: Serializer) -> EntrySerializer:
    def dumps(value: object) -> Serialized:
        if value is ABSENT:
            return Serialized(b"")
        prefix, plain = (_ERROR_PREFIX, value.error) if type(value) is Raised else (_VALUE_PREFIX, value)
        data = serializer.dumps(plain)
        if not isinstance(data, bytes):
            msg = (
                f"dumps() of the serializer {serializer.name!r} returned a {type(data).__name__}; it must return bytes."
            )
            raise TypeError(msg)
        return Serialized(prefix + data)

    def loads(data: bytes) -> Any:
        if not data:
            return ABSENT
        value = serializer.loads(data[1:])
        return Raised(value) if data.startswith(_ERROR_PREFIX) else value

    format_id = f"\ncachedeco 1, custom {serializer.name!r}".encode()  # in quotes: a signed one continues behind it
    release = f"custom-{quote(serializer.name, safe='')}"
    return EntrySerializer(format_id, release, dumps, loads, ignores_trailing_bytes=False)


# --- pickle ---


def to_pickle(value: object) -> bytes:
    """Pickle a value as it is, with Django's version in rows."""
    return pickle.dumps(value, PICKLE_PROTOCOL)


# --- JSON ---

# Exactly these types round-trip: for a subclass or a tuple, a hit would return another type than the miss.
_PLAIN_TYPES: Final = frozenset({str, int, float, bool, type(None)})
_ABSENT_JSON: Final = b""  # no JSON is empty


def to_json(value: object) -> bytes:
    """
    Return plain data as JSON.

    Raises:
        TypeError: A part of it does not survive a round trip through JSON.
        ValueError: It contains an infinity, a "not a number", or itself.
    """
    if value is ABSENT:
        return _ABSENT_JSON
    # json.dumps accepts other types here; _describe_misfit() refuses them, because it can say where they are. Text is
    # not escaped: two halves of a surrogate pair, two characters to Python, would come back as one.
    text = json.dumps(
        value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), skipkeys=True, default=lambda _: None
    )
    if misfit := _describe_misfit(value):
        msg = (
            f"the value{misfit}; return None, bool, int, float, str, list or dict with str for keys, or leave "
            "serializer='json' out"
        )
        raise TypeError(msg)
    return text.encode("utf-8", "surrogatepass")


def from_json(data: bytes) -> Any:
    """Return the plain data of these bytes, or ABSENT."""
    return ABSENT if data == _ABSENT_JSON else json.loads(data)


def _describe_misfit(value: Any) -> str:
    """Describe the first part of a value that does not survive JSON, with its path; empty if all of it does."""
    kind = type(value)
    if kind in _PLAIN_TYPES:
        return ""
    parts: Iterable[tuple[object, object]]
    if kind is list:
        parts = enumerate(value)
    elif kind is dict and all(type(key) is str for key in value):
        parts = value.items()
    else:
        return " is a dict with keys that are no str" if kind is dict else f" is a {kind.__qualname__}"
    for index, part in parts:
        if misfit := _describe_misfit(part):
            return f"[{index!r}]{misfit}"
    return ""


# Models and QuerySets of another feature release of Django may not unpickle; those of another patch release do.
_FEATURE_RELEASE: Final = ".".join(map(str, django.VERSION[:2]))
SERIALIZERS: Final[dict[SerializerName, EntrySerializer]] = {
    "pickle": EntrySerializer(
        f"\ncachedeco 1, Django {_FEATURE_RELEASE}".encode(),
        f"pickle-{_FEATURE_RELEASE}",
        lambda value: Serialized(*dump(value)),
        pickle.loads,
        ignores_trailing_bytes=True,
    ),
    "json": EntrySerializer(
        b"\ncachedeco 1, JSON",
        "json",
        lambda value: Serialized(to_json(value)),
        from_json,
        ignores_trailing_bytes=False,
    ),
}
