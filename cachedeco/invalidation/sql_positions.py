"""The names in a statement that stand where a table can stand: what it reads, by position."""

from collections.abc import Callable
from typing import Final

from cachedeco.invalidation.sql_tokens import Tokens, names_in, words_of

_BEFORE_NAMES: Final = frozenset({"lateral", "only", "recursive"})
# Behind FOR: what is locked. MariaDB's FOR SYSTEM_TIME and MySQL's FOR ORDER BY stand inside a list of tables.
_LOCKS: Final = frozenset({"fetch", "key", "no", "read", "share", "update"})
_JOINS: Final = frozenset({"apply", "join", "straight_join", "table"})
#: A statement without these reads no table.
BEFORE_TABLES: Final = _JOINS | {"from"}
_ENDS: Final = words_of(
    "except fetch group having intersect limit minus offset order qualify returning union where window"
)
_NO_CTE: Final = frozenset({"(", "ordinality"})


class NamesAtPosition:
    """
    Walks over the tokens of a statement, and keeps the names in a table's position, and the names of its CTEs.

    A name is in a table's position behind FROM, JOIN and the like, and behind a comma of a list that FROM began. A list
    ends with its parentheses, or with a keyword such as WHERE.
    """

    __slots__ = ("_after_comma", "_is_query", "_next", "_outer", "_position", "_tokens", "ctes", "functions", "names")

    def __init__(self, tokens: Tokens) -> None:
        """Walk."""
        self.names: list[str] = []
        self.ctes: list[str] = []
        self.functions: list[str] = []  # names that arguments follow
        self._tokens = tokens
        self._position = 0
        self._next: list[str] | None = None  # where the next name goes
        self._after_comma: list[str] | None = None  # where the name behind the next comma goes
        # FROM belongs to a query: in the parentheses of EXTRACT(year FROM day) and TRIM(BOTH FROM name) it does not.
        self._is_query = True
        self._outer: list[tuple[list[str] | None, bool]] = []
        steps = _STEPS
        for position, token in enumerate(tokens):
            step = steps.get(token)
            if step is not None:
                self._position = position
                step(self)
            elif self._next is not None:
                self._take(token)
            elif self._after_comma is not None and ", " in token:
                self._after_comma += names_in(token)[1:]

    def _take(self, token: str) -> None:
        """Put the next name, and those that commas connect with it, where they go."""
        if self._next is not None and token not in _BEFORE_NAMES:
            first, *others = names_in(token)
            self._next.append(first)
            self._next = None
            if self._after_comma is not None:
                self._after_comma += others

    def _before(self, distance: int = 1) -> str:
        return self._tokens[self._position - distance] if self._position >= distance else ""

    def _behind(self, distance: int = 1) -> str:
        position = self._position + distance
        return self._tokens[position] if position < len(self._tokens) else ""

    def _from(self) -> None:
        is_comparison = self._before() == "distinct" and self._before(2) in {"is", "not"}
        if self._is_query and not is_comparison:
            self._next = self._after_comma = self.names

    def _join(self) -> None:
        if self._next is not None and not self._is_command():  # a table of this name, or FROM TABLE(...)
            self._take(self._tokens[self._position])
        elif self._before() != "for":  # MySQL's index hint
            self._next = self.names

    def _is_command(self) -> bool:
        """Tell whether the token is TABLE in the place of a subquery: FROM (TABLE a) AS b."""
        return self._before() == "(" and self._tokens[self._position] == "table" and self._behind() not in {"(", ")"}

    def _query(self) -> None:
        self._next = self._after_comma = None
        self._is_query = True

    def _end(self) -> None:
        # Not all of these keywords are reserved in all databases: SQLite has tables and aliases of these names.
        if self._next is not None:
            self._take(self._tokens[self._position])
        elif self._before() not in {"as", "for"} and self._behind() != ",":  # FOR: an index hint
            self._after_comma = None

    def _for(self) -> None:
        if self._behind() in _LOCKS:
            self._end()

    def _with(self) -> None:
        is_cte = self._behind() == "recursive" or self._behind(2) in {"as", "("}
        if is_cte and self._behind() not in _NO_CTE:
            self._next = self._after_comma = self.ctes

    def _comma(self) -> None:
        self._next = self._after_comma

    def _open(self) -> None:
        if self.names and self._before() is self.names[-1]:
            self.functions.append(self.names[-1])
        self._outer.append((self._after_comma, self._is_query))
        self._is_query = False
        if self._next is None:  # else tables in parentheses: FROM (a JOIN b)
            self._after_comma = None

    def _close(self) -> None:
        self._next = None
        if self._outer:
            self._after_comma, self._is_query = self._outer.pop()


_STEPS: Final[dict[str, Callable[[NamesAtPosition], None]]] = {
    # ruff: noqa: SLF001 -- the steps of the class above
    "from": NamesAtPosition._from,
    **dict.fromkeys(_JOINS, NamesAtPosition._join),
    **dict.fromkeys(("select", "set", "values"), NamesAtPosition._query),
    **dict.fromkeys(_ENDS, NamesAtPosition._end),
    "for": NamesAtPosition._for,
    "with": NamesAtPosition._with,
    ",": NamesAtPosition._comma,
    "(": NamesAtPosition._open,
    ")": NamesAtPosition._close,
}
KEYWORDS: Final = frozenset(_STEPS)
