"""How a value becomes bytes, and which bytes may become a value again."""

import json
import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Literal

import django

from cachedeco.storage.signing import SIGNATURE_BYTES, Signer

SerializerName = Literal["pickle", "json"]

# Fixed rather than "highest": processes on an older Python must read what those on a newer one wrote.
PICKLE_PROTOCOL: Final = 5


class Absent(Enum):
    """What an entry holds where there is no value: a function over many ids does not know this one."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Serializer:
    """How the values of one function are packed, under the settings in force."""

    mark: bytes  #: how its entries end; an entry that ends otherwise is a miss
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]
    ignores_trailing_bytes: bool  #: whether unpack() stops by itself, whatever follows
    signer: Signer | None = None
    signature_bytes: int = 0  #: how long a signature is, where there is one


def build_serializer(name: SerializerName, keys: Sequence[bytes]) -> Serializer:
    """Return a format, signed where there are keys."""
    plain = SERIALIZERS[name]
    if not keys:
        return plain
    signer = Signer(keys, "cachedeco.storage.entries")
    return replace(plain, mark=plain.mark + b", signed", signer=signer, signature_bytes=SIGNATURE_BYTES)


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
            f"the value{flaw}, and format='json' keeps only what JSON gives back as it was: None, bool, int, float,"
            " str, list, and dict with str for keys. Return these, or leave the format out."
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
SERIALIZERS: Final[dict[SerializerName, Serializer]] = {
    "pickle": Serializer(
        f"\ncachedeco 1, Django {django.__version__}".encode(), to_pickle, pickle.loads, ignores_trailing_bytes=True
    ),
    "json": Serializer(b"\ncachedeco 1, JSON", to_json, from_json, ignores_trailing_bytes=False),
}
