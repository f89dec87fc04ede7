"""Places in memory: what the default `str()` and `hash()` tell of an object, and what another one may have later."""

from collections.abc import Iterable
from typing import Final

IN_MEMORY: Final = (
    "its text is an object's place in memory, where another object may lie later: give what distinguishes the two"
)
#: What the default repr of an object has before its place.
AT_PLACE: Final = " at 0x"


def is_place(identity: object, value: object) -> bool:
    """Tell whether a number is the `id()` or the default hash of an object."""
    return isinstance(identity, int) and identity in {id(value), object.__hash__(value)}


def holds_place(text: str, objects: Iterable[object]) -> bool:
    """Tell whether a text has the default repr of one of these objects; that of others a visitor may have typed."""
    return AT_PLACE in text and any(f"{id(each):x}>" in text.lower() for each in objects)
