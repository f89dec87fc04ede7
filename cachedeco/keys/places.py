"""Places in memory: what the default `str()` and `hash()` tell of an object, and what another one may have later."""

import gc
import re
from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Final
from urllib.parse import quote

IN_MEMORY: Final = (
    "its text is an object's place in memory, where another object may lie later: give what distinguishes the two"
)
#: What the default repr of an object has before its place; in the path of a namespace, too.
AT_PLACE: Final = " at 0x"
AT_PLACE_IN_PATH: Final = quote(AT_PLACE)

_PLACE: Final = re.compile(r" at 0x([0-9a-f]+)>", re.IGNORECASE)
# What holds what all objects of a program have in common.
_SHARED: Final = (type, ModuleType, FunctionType)
# Objects that are looked at: those of a row, of its related rows, and of theirs.
_MOST_HELD: Final = 1000


def is_place(identity: object, value: object) -> bool:
    """Tell whether a number is the `id()` or the default hash of an object."""
    return isinstance(identity, int) and identity in {id(value), object.__hash__(value)}


def holds_place(text: str, objects: Iterable[object]) -> bool:
    """
    Tell whether a text has the default repr of one of these objects, or of what they hold.

    That of other objects a visitor may have typed.
    """
    if AT_PLACE not in text:
        return False
    places = {int(place, 16) for place in _PLACE.findall(text)}
    return not places.isdisjoint(map(id, _held_by(objects)))


def _held_by(objects: Iterable[object]) -> Iterator[object]:
    """Yield objects, and what they hold, the nearest first; no code of theirs runs."""
    held, seen = [*objects], set[int]()
    for each in held:
        if id(each) in seen or issubclass(type(each), _SHARED):
            continue
        seen.add(id(each))
        yield each
        if len(held) < _MOST_HELD:
            held += gc.get_referents(each)
