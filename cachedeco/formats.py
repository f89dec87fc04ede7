"""How a value becomes bytes, and which bytes may become a value again."""

import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, Literal

import django

from cachedeco.signing import SIGNATURE_BYTES, Signer

FormatName = Literal["pickle", "json"]

# Fixed rather than "highest": processes on an older Python must read what those on a newer one wrote.
PICKLE_PROTOCOL: Final = 5


class Absent(Enum):
    """What an entry holds where there is no value: a function over many ids does not know this one."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Format:
    """How the values of one function are packed, under the settings in force."""

    mark: bytes  #: how its entries end; an entry that ends otherwise is a miss
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]
    knows_its_end: bool  #: whether unpack() stops by itself, whatever follows
    signer: Signer | None = None
    signature_bytes: int = 0  #: how long a signature is, where there is one


def format_of(name: FormatName, keys: Sequence[bytes]) -> Format:
    """Return a format, signed where there are keys."""
    plain = FORMATS[name]
    if not keys:
        return plain
    signer = Signer(keys, "cachedeco.entries")
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
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    _check_plain(value, "the value")
    return text.encode()


def from_json(packed: bytes) -> Any:  # noqa: ANN401 -- whatever was packed
    """Return the data."""
    return ABSENT if packed == _NOTHING else json.loads(packed)


def _check_plain(value: object, where: str) -> None:
    if type(value) in _PLAIN:
        return
    if type(value) is list:
        for n, each in enumerate(value):
            _check_plain(each, f"{where}[{n}]")
    elif type(value) is dict and all(type(key) is str for key in value):
        for key, each in value.items():
            _check_plain(each, f"{where}[{key!r}]")
    else:
        what = "dict with keys that are no str" if type(value) is dict else type(value).__qualname__
        msg = (
            f"{where} is a {what}, and format='json' keeps only what JSON gives back as it was: None, bool, int, float,"
            " str, list, and dict with str for keys. Return these, or leave the format out."
        )
        raise TypeError(msg)


# The mark of pickles names Django: models and QuerySets of another version unpickle with a warning.
FORMATS: Final[dict[FormatName, Format]] = {
    "pickle": Format(
        f"\ncachedeco 1, Django {django.__version__}".encode(), to_pickle, pickle.loads, knows_its_end=True
    ),
    "json": Format(b"\ncachedeco 1, JSON", to_json, from_json, knows_its_end=False),
}
