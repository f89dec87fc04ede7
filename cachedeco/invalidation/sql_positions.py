"""The names in a statement that stand where a table can stand: what it reads, by position."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from cachedeco.invalidation.sql_tokens import Tokens, last_part, names_in, words_of

Names = frozenset[str]

_BEFORE_NAMES: Final = frozenset({"lateral", "only", "recursive"})
# Behind FOR: what is locked. MariaDB's FOR SYSTEM_TIME and MySQL's FOR ORDER BY stand inside a list of tables.
_LOCKS: Final = frozenset({"fetch", "key", "no", "read", "share", "update"})
_JOINS: Final = frozenset({"apply", "join", "straight_join", "table"})
#: A statement without these reads no table.
BEFORE_TABLES: Final = _JOINS | {"from", "in"}
# Behind IN, where SQLite takes a table: parentheses, psycopg 2's placeholder of a tuple, and modes of MySQL's.
_NO_TABLE_BEHIND_IN: Final = frozenset({"(", "%s", "boolean", "natural", "share"})
_ENDS: Final = words_of(
    "except fetch group having intersect limit minus offset order qualify returning union where window"
)
_NO_CTE: Final = frozenset({"(", "ordinality"})


class _Parentheses(NamedTuple):
    """What parentheses are, and what holds again behind them."""

    before: str  #: the token before them
    definition: str  #: the name of the CTE that they define; empty for other parentheses
    after_comma: list[str] | None  #: where the name behind the next comma goes, outside
    is_query: bool  #: whether FROM belongs to a query there
    is_recursive: bool  #: whether WITH RECURSIVE began the CTEs there
    defined: Names  #: the CTEs that a name may stand for there


class NamesAtPosition:
    """
    Walks over the tokens of a statement, and keeps the names in a table's position, those of its CTEs apart.

    A name is in a table's position behind FROM, JOIN and the like, on SQLite behind IN, and behind a comma of a list
    that FROM began. A list ends with its parentheses, or with a keyword such as WHERE.

    A name without a schema is that of a CTE from the end of the definition on, as long as the parentheses last in which
    WITH stands; from its beginning on if the CTE is RECURSIVE. Some databases do without this word, so that the name
    counts as the CTE's behind UNION, too. Before that it is another one's: `WITH club AS (SELECT * FROM club)`.
    """

    __slots__ = (
        "_after_comma",
        "_ctes",
        "_defined",
        "_is_query",
        "_is_recursive",
        "_next",
        "_outer",
        "_position",
        "_tokens",
        "functions",
        "names",
        "names_of_ctes",
    )

    def __init__(self, tokens: Tokens) -> None:
        """Walk."""
        self.names: list[str] = []
        self.names_of_ctes: list[str] = []  # where they stand for the CTEs
        self.functions: list[str] = []  # names that arguments follow
        self._ctes: list[str] = []
        self._defined: Names = frozenset()  # those of the CTEs that a name may stand for here
        self._is_recursive = False
        self._tokens = tokens
        self._position = 0
        self._next: list[str] | None = None  # where the next name goes
        self._after_comma: list[str] | None = None  # where the name behind the next comma goes
        # FROM belongs to a query: in the parentheses of EXTRACT(year FROM day) and TRIM(BOTH FROM name) it does not.
        self._is_query = True
        self._outer: list[_Parentheses] = []
        steps = _STEPS
        for position, token in enumerate(tokens):
            step = steps.get(token)
            if step is not None:
                self._position = position
                step(self)
            elif self._next is not None:
                self._take(token)
            elif self._after_comma is not None and ", " in token:
                self._put(self._after_comma, names_in(token)[1:])

    def _take(self, token: str) -> None:
        """Put the next name, and those that commas connect with it, where they go."""
        if self._next is not None and token not in _BEFORE_NAMES:
            first, *others = names_in(token)
            self._put(self._next, [first])
            self._next = None
            if self._after_comma is not None:
                self._put(self._after_comma, others)

    def _put(self, names: list[str], several: Iterable[str]) -> None:
        for name in several:
            if names is self._ctes:
                names.append(last_part(name))
                if self._is_recursive:
                    self._defined |= {last_part(name)}
            else:
                is_cte = last_part(name) in self._defined and "." not in name
                (self.names_of_ctes if is_cte else names).append(name)

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
            if self._tokens[self._position] == "union":
                self._defined |= {name for each in self._outer if (name := each.definition)}

    def _for(self) -> None:
        if self._behind() in _LOCKS:
            self._end()

    def _with(self) -> None:
        is_cte = self._behind() == "recursive" or self._behind(2) in {"as", "("}
        if is_cte and self._behind() not in _NO_CTE:
            self._next = self._after_comma = self._ctes
            self._is_recursive = self._behind() == "recursive"

    def _in(self) -> None:
        is_position = bool(self._outer) and self._outer[-1].before == "position"  # POSITION('a' IN name)
        if not is_position and self._behind() not in _NO_TABLE_BEHIND_IN:
            self._next = self.names

    def _comma(self) -> None:
        self._next = self._after_comma

    def _open(self) -> None:
        if self.names and self._before() is self.names[-1]:
            self.functions.append(self.names[-1])
        before = self._before()
        is_definition = self._after_comma is self._ctes and before in {"as", "materialized"}
        definition = self._ctes[-1] if is_definition else ""
        self._outer.append(
            _Parentheses(before, definition, self._after_comma, self._is_query, self._is_recursive, self._defined)
        )
        self._is_query = False
        if self._next is None:  # else tables in parentheses: FROM (a JOIN b)
            self._after_comma = None

    def _close(self) -> None:
        self._next = None
        if self._outer:
            _, definition, self._after_comma, self._is_query, self._is_recursive, self._defined = self._outer.pop()
            if definition:
                self._defined |= {definition}


_STEPS: Final[dict[str, Callable[[NamesAtPosition], None]]] = {
    # ruff: noqa: SLF001 -- the steps of the class above
    "from": NamesAtPosition._from,
    "in": NamesAtPosition._in,
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
