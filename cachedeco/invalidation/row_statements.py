"""
Statements about rows: which rows of one table a text of Django's writes, and the values that it gives them.

These forms are known from end to end, each for one table::

    INSERT INTO "t" ("a", "b") VALUES (%s, %s), (%s, %s)
    INSERT INTO "t" ("a", "b") SELECT * FROM UNNEST((%s)::integer[], (%s)::varchar[])
    UPDATE "t" SET "a" = %s, "b" = ("t"."b" + %s) WHERE "t"."id" = %s
    DELETE FROM "t" WHERE "t"."id" IN (%s, %s)

A text of any other form is none of these, and may write any row.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

# Longer ones are mostly lists of rows, each of another length: they are read anew each time.
LONGEST_REMEMBERED: Final = 2_000

_NAME: Final = r'(?:"[^"]+"|`[^`]+`)'
_RETURNING: Final = rf"(?: RETURNING (?P<returned>{_NAME}(?:\.{_NAME})?)(?:, {_NAME}(?:\.{_NAME})?)*)?"
_INSERT: Final = re.compile(
    rf"INSERT (?:OR IGNORE )?INTO (?P<table>{_NAME}) \((?P<columns>{_NAME}(?:, {_NAME})*)\) "  # noqa: S608 -- a pattern, which nothing executes
    rf"(?:VALUES (?P<rows>\(.*\))|SELECT \* FROM UNNEST\((?P<lists>[^,]*(?:, [^,]*)*)\))"
    rf"(?: ON CONFLICT DO NOTHING)?{_RETURNING}"
)
_UPDATE: Final = re.compile(
    rf"UPDATE (?P<table>{_NAME}) SET (?P<sets>.+) WHERE (?P<of>{_NAME})\.(?P<key>{_NAME}) = %s{_RETURNING}"  # noqa: S608 -- as above
)
_DELETE: Final = re.compile(
    rf"DELETE FROM (?P<table>{_NAME}) WHERE (?P<of>{_NAME})\.(?P<key>{_NAME}) (?:= %s|IN \(%s(?:, %s)*\))"  # noqa: S608 -- as above
)
_LIST: Final = re.compile(r"\(%s\)::[\w ]+(?:\(\d+(?:, \d+)?\))?\[\]")
_SET: Final = re.compile(rf"({_NAME}) = (.+)")
_PIECE: Final = re.compile(rf"{_NAME}|%s|[(),]|[^\"`%(),]+")
_OTHER_CLAUSE: Final = re.compile(r"\b(?:FROM|WHERE)\b", re.IGNORECASE)
# With one of these a text may be read in several ways, or is no text of Django's.
_SUSPICIOUS: Final = ("--", "/*", "\\", "#", "$", ";", "'", "%(", "%%")


class Unknown:
    """A value that only the database knows: of an expression."""


UNKNOWN: Final = Unknown()
#: A column's value in one row: the position of its parameter, None for NULL.
Slot = int | None | Unknown


class RowStatement(NamedTuple):
    """What a text does to rows of one table."""

    verb: str  #: "insert", "update", "delete"
    table: str
    parameters: int  #: how many it takes
    columns: tuple[str, ...] = ()  #: those that it sets
    rows: tuple[tuple[Slot, ...], ...] = ()  #: the value of each column, for each row
    is_of_lists: bool = False  #: each parameter is a list: the values of all rows
    key: str = ""  #: the column by which rows are chosen
    keys: range = range(0)  #: positions of the values of this column
    returned: str = ""  #: the first column that it returns


def row_statement_of(sql: str) -> RowStatement | None:
    """Return what a text does to rows of one table; None if its form is none of those above."""
    return _remembered(sql) if len(sql) <= LONGEST_REMEMBERED else _parse(sql)


def _parse(sql: str) -> RowStatement | None:
    if any(mark in sql for mark in _SUSPICIOUS):
        return None
    if sql.startswith("INSERT "):
        return _parse_insert(sql)
    if sql.startswith("UPDATE "):
        return _parse_update(sql)
    found = _DELETE.fullmatch(sql)
    if found is None or found["of"] != found["table"]:
        return None
    count = sql.count("%s")
    return RowStatement("delete", _bare(found["table"]), count, key=_bare(found["key"]), keys=range(count))


_remembered = lru_cache(1_024)(_parse)


def _parse_insert(sql: str) -> RowStatement | None:
    found = _INSERT.fullmatch(sql)
    if found is None:
        return None
    columns = tuple([_bare(name) for name in found["columns"].split(", ")])
    rows = _parse_lists(found["lists"]) if found["rows"] is None else _parse_rows(found["rows"], len(columns))
    if rows is None or any(len(row) != len(columns) for row in rows):
        return None
    returned = found["returned"] or ""
    return RowStatement(
        "insert",
        _bare(found["table"]),
        sql.count("%s"),
        columns,
        rows,
        is_of_lists=found["rows"] is None,
        returned=_bare(returned.rpartition(".")[2]),
    )


def _parse_lists(text: str) -> tuple[tuple[Slot, ...], ...] | None:
    lists = text.split(", ")
    return (tuple(range(len(lists))),) if all(map(_LIST.fullmatch, lists)) else None


def _parse_rows(text: str, width: int) -> tuple[tuple[Slot, ...], ...] | None:
    count = text.count("%s")
    row = f"({', '.join(['%s'] * width)})"
    if text == ", ".join([row] * (count // width)):  # the common one, and that of long lists
        return tuple([tuple(range(start, start + width)) for start in range(0, count, width)])
    rows: list[tuple[Slot, ...]] = []
    position = 0
    for each in _split(text) or ():
        slots = []
        for value in _split(each[1:-1]) if each.startswith("(") and each.endswith(")") else ():
            slots.append(_slot_of(value, position))
            position += value.count("%s")
        rows.append(tuple(slots))
    return tuple(rows) or None


def _parse_update(sql: str) -> RowStatement | None:
    found = _UPDATE.fullmatch(sql)
    if found is None or found["of"] != found["table"]:
        return None
    columns: list[str] = []
    slots: list[Slot] = []
    position = 0
    for each in _split(found["sets"]):
        part = _SET.fullmatch(each)
        if part is None:
            return None
        columns.append(_bare(part[1]))
        slots.append(_slot_of(part[2], position))
        position += each.count("%s")
    if not columns or sql.count("%s") != position + 1:
        return None
    return RowStatement(
        "update",
        _bare(found["table"]),
        position + 1,
        tuple(columns),
        (tuple(slots),),
        key=_bare(found["key"]),
        keys=range(position, position + 1),
    )


def _split(text: str) -> list[str]:
    """Return what commas separate, outside of parentheses; nothing if these do not match, or a clause begins."""
    parts: list[str] = [""]
    depth = 0
    for piece in _pieces(text):
        depth += (piece == "(") - (piece == ")")
        if depth < 0 or (depth == 0 and piece[0] not in '"`' and _OTHER_CLAUSE.search(piece)):
            return []
        if depth == 0 and piece == ",":
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts] if depth == 0 else []


def _pieces(text: str) -> Iterator[str]:
    return (piece[0] for piece in _PIECE.finditer(text))


def _slot_of(value: str, position: int) -> Slot:
    if value == "%s":
        return position
    return None if value == "NULL" else UNKNOWN


def _bare(name: str) -> str:
    return name[1:-1]
