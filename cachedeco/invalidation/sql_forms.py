"""Forms of statements that write or lock rows, or define tables and views: where one begins, and what it names."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Final, Literal

from cachedeco.invalidation.sql_positions import KEYWORDS, Names
from cachedeco.invalidation.sql_tokens import Tokens, last_part, names_in, words_of

#: What the database may delete besides: children of deleted rows, children of replaced rows, tables that point here.
Cascade = Literal["", "delete", "replace", "truncate"]
_CASCADES: Final[tuple[Cascade, ...]] = ("", "delete", "replace", "truncate")

QUERIES: Final = frozenset({"select", "values", "table", "with"})
ROUTINES: Final = frozenset({"event", "function", "package", "procedure", "rule", "trigger"})
KINDS: Final = ROUTINES | {"extension", "index", "table", "type", "view"}
DML: Final = frozenset({"insert", "update", "delete", "merge", "replace"})
# Before a word of DML that begins no statement: ON CONFLICT DO UPDATE, FOR UPDATE, ON DUPLICATE KEY UPDATE, MERGE's.
_NO_DML_BEHIND: Final = frozenset({"do", "for", "key", "on", "then"})
_BEFORE_TARGET: Final[Mapping[str, frozenset[str]]] = {
    "insert": frozenset(
        words_of("or replace rollback abort fail ignore low_priority high_priority delayed overwrite into")
    ),
    "replace": frozenset({"low_priority", "delayed", "into"}),
    "update": frozenset({"or", "replace", "rollback", "abort", "fail", "ignore", "low_priority", "only"}),
    "delete": frozenset({"low_priority", "quick", "ignore", "from", "only"}),
    "merge": frozenset({"into", "only"}),
}
# What stands among the names of TRUNCATE, RENAME, DROP TABLE, and a definition of a view.
_NO_NAMES: Final = frozenset(
    words_of("table tables only restart continue identity cascade restrict if not exists nowait to user wait")
) | {","}
# FOR UPDATE, FOR NO KEY UPDATE, FOR SHARE, FOR KEY SHARE, LOCK IN SHARE MODE
_ROW_LOCKS: Final = frozenset({("for", "update"), ("for", "no"), ("for", "share"), ("for", "key"), ("in", "share")})
_BEHIND_TABLES: Final = frozenset({"where", "using", "returning", "order", "limit", ")"})


def dml_in(tokens: Tokens) -> Iterator[int]:
    """Yield where a statement that writes rows begins, CTEs included."""
    for at, word in enumerate(tokens):
        if word in DML and (at == 0 or _is_verb(word, tokens[at - 1], "".join(tokens[at + 1 : at + 2]))):
            yield at


def _is_verb(word: str, before: str, behind: str) -> bool:
    if word == "replace":  # else a function, or OR REPLACE
        return behind == "into" and before != "or"
    return behind != "(" and before not in _NO_DML_BEHIND


def cascade_of(tokens: Tokens, at: int) -> Cascade:
    """Return what a statement that writes rows may delete besides."""
    verb = tokens[at]
    if verb == "replace" or tokens[at + 1 : at + 3] == ["or", "replace"]:
        return "replace"
    return "delete" if verb == "delete" or (verb == "merge" and "delete" in tokens[at:]) else ""


def most_of(cascades: Iterable[Cascade]) -> Cascade:
    """Return what concerns the most rows."""
    return _CASCADES[max(map(_CASCADES.index, cascades), default=0)]


def target_of(tokens: Tokens) -> int | None:
    """Return where a statement names the one table that it writes; None if its form is not known."""
    verb = tokens[0]
    target = 1
    while target < len(tokens) and tokens[target] in _BEFORE_TARGET[verb]:
        target += 1
    name, rest = "".join(tokens[target : target + 1]), tokens[target + 1 :]
    match verb:
        case "insert" | "replace":
            # MySQL and SQL Server need no INTO.
            count = tokens.count("into")
            is_known = (count == 1 and tokens[target - 1] == "into") or (count == 0 and bool(rest))
        case "update":
            is_known = "set" in rest[:2] or (rest[:1] == ["as"] and rest[2:3] == ["set"])
        case "delete":
            end = next((at for at, word in enumerate(rest) if word in _BEHIND_TABLES), len(rest))
            is_known = tokens[target - 1] in {"from", "only"} and "," not in rest[:end] and "join" not in rest[:end]
        case _:
            is_known = "using" in rest[:3]
    is_name = name not in KEYWORDS and name not in {"", "as"} and len(names_in(name)) == 1
    return target if is_known and is_name else None


def lists_of(tokens: Tokens, verbs: Iterable[int]) -> Tokens:
    """Return a statement with FROM before each list of tables that an UPDATE, or a DELETE USING, may write."""
    found = ["from" if word == "using" else word for word in tokens]
    for at in reversed([at for at in verbs if tokens[at] == "update"]):
        behind = at + 1
        while behind < len(tokens) and tokens[behind] in _BEFORE_TARGET["update"]:
            behind += 1
        found[at:behind] = ["from"]
    return found


def kind_of(tokens: Tokens) -> str:
    """Return what a statement makes, changes or drops: a table, a view, a routine; "" for all else."""
    return next((word for word in tokens if word in KINDS), "")


def query_in(tokens: Tokens) -> int | None:
    """Return where the query begins of which a table or a view is made; None if there is none."""
    depth = 0
    for at, word in enumerate(tokens[:-1]):
        depth += {"(": 1, ")": -1}.get(word, 0)
        if word == "as" and not depth and tokens[at + 1] in QUERIES | {"("}:
            return at + 1
    return None


def closing(tokens: Tokens, opening: int) -> int:
    """Return where the parentheses close that open at a place; the end if they do not."""
    depth = 0
    for at in range(opening, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[at], 0)
        if depth == 0:
            return at
    return len(tokens)


def outside_parentheses(tokens: Tokens) -> Tokens:
    """Return the tokens up to parentheses that close what opened before, without those in parentheses."""
    found: Tokens = []
    depth = 0
    for word in tokens:
        if word == "(":
            depth += 1
        elif word == ")":
            depth -= 1
        if depth < 0:
            break
        if depth == 0:
            found.append(word)
    return found


def columns_of(rest: Tokens) -> Names | None:
    """Return the columns that the tokens behind an updated table set; None if not each is a name by itself."""
    columns: set[str] = set()
    is_column = True
    for word in outside_parentheses(rest[rest.index("set") + 1 :]):
        if word == "where":
            break
        if word == ")" and is_column:  # SET (a, b) = ...
            return None
        columns.update(names_in(word)[not is_column :])
        is_column = word == ","
    return None if any("." in column for column in columns) else frozenset(map(last_part, columns))


def locks_rows(tokens: Tokens) -> bool:
    """Tell whether a query among the tokens locks the rows that it reads."""
    return any(pair in _ROW_LOCKS for pair in pairwise(tokens))


def names_among(tokens: Tokens) -> list[str]:
    """Return the names of a list of tables, as TRUNCATE has it."""
    return [name for word in tokens if word not in _NO_NAMES for name in names_in(word)]


def names_defined_in(tokens: Tokens) -> list[str]:
    """Return the names of the views and tables that a statement changes or drops, of views also where it makes one."""
    at = next((at for at, word in enumerate(tokens) if word in KINDS), len(tokens))
    match tokens[0], tokens[at : at + 1]:
        case "drop", ["table" | "view"]:
            return names_among(tokens[at + 1 :])
        case ("alter", ["table" | "view"]) | (_, ["view"]):
            renamed = tokens[-1:] if tokens[-3:-1] == ["rename", "to"] else []
            return names_among(tokens[at + 1 :])[:1] + renamed
        case "create", ["table"] if "partition" in tokens:  # of a table that may be a partition itself
            return names_among(tokens[tokens.index("partition") + 2 :])[:1]
    return []
