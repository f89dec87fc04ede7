"""Subjects: what a token stands for, by its key: for counters, which have no arguments, and for people."""

import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from django.core.exceptions import ImproperlyConfigured

from cachedeco.runtime import conf

SubjectKind = Literal["call", "function", "namespace", "table", "rows", "unknown"]

# The first parts of namespaces that stand for a table, and for rows of one.
TABLE: Final = "table"
ROWS: Final = "rows"


class Subject(NamedTuple):
    """What a token stands for."""

    kind: SubjectKind  #: unknown where a KEY_FUNCTION has left nothing of the key
    name: str  #: of the function or the table, or the first part of the namespace: no argument and no id
    text: str  #: for people, with the arguments: "namespace club:7", "table clubs_club", "the call shop.price(club=7)"

    @property
    def label(self) -> str:
        """Return the text without arguments: "namespace club", "table clubs_club", "the call shop.price()"."""
        before, after = _AROUND[self.kind]
        return f"{before}{self.name}{after}"


_AROUND: Final[dict[SubjectKind, tuple[str, str]]] = {
    "call": ("the call ", "()"),
    "function": ("the function ", "()"),
    "namespace": ("namespace ", ""),
    "table": ("table ", ""),
    "rows": ("rows of ", ""),
    "unknown": ("", ""),
}


def subject_of(key: str, function: str = "") -> Subject:
    """Return what the token of a whole key stands for; *function* is the name of its function, if that is known."""
    return _parse(_prefix(), key, function)


@lru_cache(maxsize=1024)  # each write counts the tables that it ends
def _parse(prefix: str, key: str, function: str) -> Subject:
    # Behind what Django and KEY_PREFIX put before it.
    matched = re.search(rf"{re.escape(prefix)}:([tfn]):(.*)", key)
    if matched is None:
        return Subject("unknown", function, function or key)
    letter, text = matched.groups()
    if letter != "n":
        kind: SubjectKind = "call" if letter == "t" else "function"
        return Subject(kind, function or text.partition("(")[0], f"the {kind} {text}")
    beginning, _, path = text.partition(".")
    if beginning == TABLE:
        return Subject("table", path, f"table {path}")
    if beginning == ROWS:
        table, _, rows = path.partition(":")
        return Subject("rows", table, f"rows of {table}" + (f" with {rows.replace('.', ' ', 1)}" if rows else ""))
    return Subject("namespace", text.partition(":")[0], f"namespace {text}")


def _prefix() -> str:
    try:
        return conf.settings().KEY_PREFIX
    except ImproperlyConfigured:  # an event of a process whose settings are being changed
        return conf.Settings.KEY_PREFIX
