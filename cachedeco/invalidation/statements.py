"""Temporary: the prototype's parse under the interface that is being built."""

# ruff: noqa
# mypy: ignore-errors
# pyright: basic
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Statement(NamedTuple):
    writes: frozenset[str]
    reads: frozenset[str]
    verb: str
    unknown: frozenset[str]
    columns: "frozenset[str] | None"
    cascades: bool
    everything: bool


WRITES = re.compile(
    r'(?<!["`.\w])(?:INSERT|UPDATE|DELETE|REPLACE|TRUNCATE|MERGE|ALTER|DROP|CREATE|RENAME|REFRESH|COPY|LOAD|DO|CALL|EXECUTE|IMPORT)\b(?!["`.]|\s*\()',
    re.I,
)
UPSERT = re.compile(r"\bDO\s+(?:UPDATE|NOTHING)\b|\bKEY\s+UPDATE\b", re.I)
LOCKS = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+)?UPDATE\b", re.I)
DIRTY = re.compile(r"--|/\*|#|\$\$|\$[A-Za-z_]|;\s*\S|\\")
SIMPLE = re.compile(
    r'\s*(?:(INSERT)\s+(?:OR\s+\w+\s+|IGNORE\s+)?INTO|(UPDATE)|(DELETE)\s+FROM)\s+((?:["`\w]+\.)?["`]?(\w+)["`]?)(?=[\s(;]|$)',
    re.I,
)
LITERAL = re.compile(r"""("(?:[^"])*"|`[^`]*`)|'[^']*'""")
TOKEN = re.compile(r'"([^"]*)"|`([^`]*)`|(\w+)|([(),.])')
TABLE_COMES = frozenset("from join into update table only using truncate straight_join merge exists copy view".split())
LIST_ENDS = frozenset(
    "where set group order having limit union except intersect returning values select window when offset".split()
)
LIST = frozenset("from using update truncate table".split())
QUIET = ("SAVEPOINT", "RELEASE ", "ROLLBACK", "BEGIN", "COMMIT", "SET ", "PRAGMA")


def words_of(name):
    return [w.casefold() for w in re.findall(r"\w+", name)]


class Parser:
    def __init__(self, tables: Iterable[str], names: Mapping[str, Iterable[str]] = {}):
        self.by_word = {}
        for t in tables:
            w = words_of(t)
            if w:
                self.by_word.setdefault(w[-1], []).append((frozenset(w), t))

    def mentioned(self, sql):
        words = {w.casefold() for w in re.findall(r"\w+", sql)}
        return {t for w in words & self.by_word.keys() for need, t in self.by_word[w] if need <= words}

    def at_position(self, sql):
        found, expect, inlist, stack = set(), False, False, []
        prev = None
        unknown = set()
        for q, b, w, p in TOKEN.findall(sql):
            if p:
                if p == "(":
                    stack.append(inlist)
                    inlist = False
                    expect = expect and prev != "using"
                elif p == ")":
                    inlist = stack.pop() if stack else False
                    expect = False
                elif p == ",":
                    expect = inlist
                elif p == ".":
                    expect = prev == "taken"
                    prev = "."
                    continue
                prev = p
                continue
            if w:
                low = w.lower()
                if low in TABLE_COMES and prev != ".":
                    expect = True
                    inlist = inlist or low in LIST
                    prev = low
                    continue
                if low in LIST_ENDS and prev != ".":
                    inlist = expect = False
                    prev = low
                    continue
                if expect and low in (
                    "if",
                    "not",
                    "lateral",
                    "concurrently",
                    "temporary",
                    "ignore",
                    "low_priority",
                    "quick",
                ):
                    continue
            if expect:
                known = False
                for name in words_of(q or b or w):
                    if name in self.by_word:
                        found.update(t for _, t in self.by_word[name])
                        known = True
                if not known:
                    unknown.add(q or b or w)
                expect = False
                prev = "taken"
            else:
                prev = "name"
        return found, unknown

    def parse(self, sql):
        writes, reads, unknown, verb = self._parse(sql)
        m = re.match(r"\s*(\w+)", sql) if isinstance(sql, str) else None
        return Statement(
            frozenset(writes),
            frozenset(reads),
            (m[1].lower() if m else "other"),
            frozenset(unknown),
            None,
            False,
            False,
        )

    def _parse(self, sql):
        if not isinstance(sql, str):
            sql = text_of(sql)
        if sql.startswith(QUIET):
            return (), (), (), ""
        if "'" in sql:
            sql = LITERAL.sub(r"\1", sql.replace("ESCAPE '\\'", ""))
        if "'" in sql or DIRTY.search(sql):
            names = tuple(self.mentioned(sql))
            return (names if WRITES.search(LOCKS.sub("", sql)) else ()), names, (), ""
        m = SIMPLE.match(sql)
        if m:
            rest = sql[m.end() :]
            target = self.by_word.get(m[5].casefold(), ())
            target = tuple(t for _, t in target)
            if m[1]:
                rest = UPSERT.sub("", rest)
            if not WRITES.search(rest) or (m[1] and not re.search(r"\bSELECT\b", rest, re.I)):
                return (
                    target,
                    tuple(self.at_position(rest)[0])
                    if re.search(r"\b(?:SELECT|FROM|USING|JOIN)\b", rest, re.I)
                    else (),
                    (),
                    "",
                )
        if WRITES.search(LOCKS.sub("", sql)):
            names = tuple(self.mentioned(sql))
            return names, names, (), ""
        f, u = self.at_position(sql)
        return (), f, u, ""


def text_of(sql):
    if isinstance(sql, (bytes, bytearray)):
        return bytes(sql).decode("utf8", "surrogateescape")
    try:
        return sql.as_string(None)
    except Exception:
        return str(sql)
