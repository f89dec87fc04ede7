"""What a token stands for, by its key: for labels, which have no arguments, and for people."""

import re
from typing import Final, Literal, NamedTuple

from cachedeco.invalidation.namespaces import ROWS, TABLE
from cachedeco.runtime.conf import settings
from cachedeco.runtime.events import Event

UNKNOWN: Final = "unknown"  # where a KEY_FUNCTION has left nothing of the key


class Subject(NamedTuple):
    """What an invalidation is of."""

    kind: Literal["call", "function", "namespace", "table", "rows", "unknown"]
    name: str  #: of the function or the table, or the first part of the namespace: no argument and no id
    text: str  #: for people, with the arguments


def subject_of(event: Event) -> Subject:
    """Return what an event of an invalidation is about."""
    matched = re.search(rf"{re.escape(settings().KEY_PREFIX)}:([tfn]):(.*)", event.key)
    if matched is None:
        return Subject("unknown", event.function, event.function or event.key)
    letter, text = matched.groups()
    if letter == "t":
        return Subject("call", event.function, f"the call {text}")
    if letter == "f":
        return Subject("function", event.function, f"the function {text}")
    beginning, _, path = text.partition(".")
    if beginning == TABLE:
        return Subject("table", path, f"table {path}")
    if beginning == ROWS:
        table, _, rows = path.partition(":")
        return Subject("rows", table, f"rows of {table}" + (f" with {rows.replace('.', ' ', 1)}" if rows else ""))
    return Subject("namespace", text.partition(":")[0], f"namespace {text}")
