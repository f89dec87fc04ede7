"""How a value becomes bytes, and which bytes may become a value again."""

import json
import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Literal, Protocol

import django

from cachedeco.storage.signing import SIGNATURE_BYTES, Signer

SerializerName = Literal["pickle", "json"]


class Serializer(Protocol):
    """
    A serializer of the project's own: what the option *serializer* takes beside "pickle" and "json".

    It is used by many threads at once. An exception of `dumps()` leaves the value unstored, one of `loads()` is a miss;
    both are events.
    """

    @property
    def name(self) -> str:
        """The name of the format: entries of another name are misses, so a changed format is a changed name."""
        ...

    def dumps(self, value: Any, /) -> bytes:
        """Return a value as bytes."""
        ...

    def loads(self, data: bytes, /) -> Any:
        """Return the value of these bytes: what `dumps()` returned, no more and no less."""
        ...


SerializerOption = SerializerName | Serializer

# Fixed rather than "highest": processes on an older Python must read what those on a newer one wrote.
PICKLE_PROTOCOL: Final = 5


class Absent(Enum):
    """What an entry holds where there is no value: a function over many ids does not know this one."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class EntrySerializer:
    """How the values of one function are packed, under the settings in force."""

    mark: bytes  #: how its entries end; an entry that ends otherwise is a miss
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]
    ignores_trailing_bytes: bool  #: whether unpack() stops by itself, whatever follows
    signer: Signer | None = None
    signature_bytes: int = 0  #: how long a signature is, where there is one


def check_serializer(function: str, option: str, given: object) -> None:
    """
    Check what the option *serializer* was given.

    Raises:
        TypeError: An object lacks `name`, `dumps()` or `loads()`.
        ValueError: It is no name that there is, or its name is taken or no printable text.
    """
    if isinstance(given, str):
        if given not in SERIALIZERS:
            names = " or ".join(map(repr, SERIALIZERS))
            msg = f"{option}={given!r} for {function}(); it takes {names}, or an object with name, dumps() and loads()."
            raise ValueError(msg)
        return
    name, methods = getattr(given, "name", None), [getattr(given, each, None) for each in ("dumps", "loads")]
    if not isinstance(name, str) or not all(map(callable, methods)):
        msg = (
            f"{option}={given!r} for {function}(); it takes 'pickle', 'json', or an object with name (a text), "
            "dumps() to bytes and loads()."
        )
        raise TypeError(msg)
    if not name.isprintable() or not name or name in SERIALIZERS:
        msg = f"{option}= for {function}() has the name {name!r}; give it a printable name of its own."
        raise ValueError(msg)


def build_serializer(given: SerializerOption, keys: Sequence[bytes]) -> EntrySerializer:
    """Return the serializer of entries, signed where there are keys."""
    plain = SERIALIZERS[given] if isinstance(given, str) else _custom(given)
    if not keys:
        return plain
    signer = Signer(keys, "cachedeco.storage.entries")
    return replace(plain, mark=plain.mark + b", signed", signer=signer, signature_bytes=SIGNATURE_BYTES)


# --- a serializer of the project's own ---

_VALUE: Final = b"="  # before the bytes of a value, as ABSENT has none


def _custom(given: Serializer) -> EntrySerializer:
    def dumps(value: object) -> bytes:
        if value is ABSENT:
            return b""
        data = given.dumps(value)
        if not isinstance(data, bytes):
            msg = f"dumps() of the serializer {given.name!r} returned a {type(data).__name__}; it must return bytes."
            raise TypeError(msg)
        return _VALUE + data

    def loads(data: bytes) -> Any:
        return given.loads(data[len(_VALUE) :]) if data else ABSENT

    mark = f"\ncachedeco 1, custom {given.name!r}".encode()  # in quotes, as a signed one goes on behind
    return EntrySerializer(mark, dumps, loads, ignores_trailing_bytes=False)


# --- pickle ---


def to_pickle(value: object) -> bytes:
    """Pickle a value."""
    return pickle.dumps(value, PICKLE_PROTOCOL)


# --- JSON ---

# Exactly these come back as what they were: of a subclass, or a tuple, a hit would give something else than the miss.
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
_NOTHING: Final = b""  # ABSENT, as no JSON is empty


def to_json(value: object) -> bytes:
    """
    Return plain data as JSON.

    Raises:
        TypeError: There is something in it that JSON would give back as something else, or not at all.
        ValueError: There is an infinity or "not a number" in it, or it contains itself.
    """
    if value is ABSENT:
        return _NOTHING
    # What is not plain passes here, and is refused by us, who can say where it is. As it is rather than escaped: two
    # halves of one character, which are two characters to Python, would come back as one.
    text = json.dumps(
        value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), skipkeys=True, default=lambda _: None
    )
    if flaw := _flaw_of(value):
        msg = (
            f"the value{flaw}, and serializer='json' keeps only what JSON gives back as it was: None, bool, int, float,"
            " str, list, and dict with str for keys. Return these, or leave the serializer out."
        )
        raise TypeError(msg)
    return text.encode("utf-8", "surrogatepass")


def from_json(packed: bytes) -> Any:
    """Return the data."""
    return ABSENT if packed == _NOTHING else json.loads(packed)


def _flaw_of(value: Any) -> str:
    """Say where in a value something is not plain, and what; nothing where all of it is."""
    kind = type(value)
    if kind in _PLAIN:
        return ""
    parts: Iterable[tuple[object, object]]
    if kind is list:
        parts = enumerate(value)
    elif kind is dict and all(type(key) is str for key in value):
        parts = value.items()
    else:
        return " is a dict with keys that are no str" if kind is dict else f" is a {kind.__qualname__}"
    for place, each in parts:
        if flaw := _flaw_of(each):
            return f"[{place!r}]{flaw}"
    return ""


# The mark of pickles names Django: models and QuerySets of another version unpickle with a warning.
SERIALIZERS: Final[dict[SerializerName, EntrySerializer]] = {
    "pickle": EntrySerializer(
        f"\ncachedeco 1, Django {django.__version__}".encode(), to_pickle, pickle.loads, ignores_trailing_bytes=True
    ),
    "json": EntrySerializer(b"\ncachedeco 1, JSON", to_json, from_json, ignores_trailing_bytes=False),
}
