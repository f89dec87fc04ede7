"""Random SQL: statements of all shapes over some tables, for those who judge how texts are read."""

# ruff: noqa: S608 -- no text of a user's is in it

from random import Random
from typing import Final, Literal

Dialect = Literal["sqlite", "postgresql"]

# Names that are words of SQL, or no plain words at all.
TABLES: Final = ("shop", "item", "order", "group", "Upper", "old table", "window", "offset", "name", "only", "first")
COLUMNS: Final = 'id integer primary key, name text, n integer, day date, "update" integer'
SCHEMAS: Final = {"sqlite": "main", "postgresql": "pg_temp"}

SPACES: Final = (" ", " ", " ", "\n", "\t", " /* FROM shop, it's */ ", " -- it's, item\n")
LITERALS: Final = (
    "1",
    "'it''s FROM item'",
    "'a [b] c, \"d'",
    "replace('a', 'b', 'c')",
    "count(*) OVER (PARTITION BY 1 ORDER BY 2)",
    "CAST('1' AS integer)",
    "'a' LIKE 'b%' ESCAPE '\\'",
)
LITERALS_OF: Final = {
    "sqlite": ("iif(1, 2, 3)", "x'1f'", "1 IS NOT 2"),
    "postgresql": (
        "EXTRACT(day FROM now())",
        "SUBSTRING('abc' FROM 2 FOR 1)",
        "TRIM(BOTH 'x' FROM 'xax')",
        "1 IS DISTINCT FROM 2",
        "'1'::integer",
        "(ARRAY[1, 2])[1]",
        "$$FROM item$$",
        "$a$ $$, shop $a$",
        "ROW(1, 2)",
    ),
}


class Grammar:
    """Makes statements; many are no valid ones."""

    def __init__(self, random: Random, dialect: Dialect) -> None:
        """Begin."""
        self._random = random
        self._dialect = dialect
        self._aliases = 0
        self._ctes: list[str] = []

    def statement(self) -> str:
        """Return a statement."""
        self._ctes.clear()
        if self._chance(0.5):
            return self._query(3)
        if self._dialect == "postgresql" and self._chance(0.2):
            first = f"WITH first_one AS ({self._write(1)} RETURNING 1 AS id) "
            return first + self._any(f"SELECT * FROM first_one, {self._sources(1)}", self._write(1))
        if self._chance(0.2):
            return self._any("CREATE VIEW made AS ", "CREATE TEMP TABLE made AS ") + self._query(2)
        return self._any("", "", f"WITH x AS ({self._query(1)}) ") + self._write(2)

    def _any(self, *choices: str) -> str:
        return self._random.choice(choices)

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _join(self, *words: str) -> str:
        return "".join([word + self._any(*SPACES) for word in words if word])

    def _quoted(self, name: str) -> str:
        return self._any('"{}"', "[{}]", "`{}`").format(name) if self._dialect == "sqlite" else f'"{name}"'

    def _table(self) -> str:
        name = self._quoted(self._any(*TABLES))
        if self._chance(0.2):
            schema = SCHEMAS[self._dialect]
            return self._any(schema, schema.upper(), self._quoted(schema)) + self._any(".", " . ") + name
        return name

    def _alias(self) -> str:
        self._aliases += 1
        return self._any("a{}", "A{}", '"from {}"', '"x,{}"', '"it\'s {}"', '"update{}"').format(self._aliases)

    def _source(self, depth: int) -> str:
        if depth <= 0 or self._chance(0.5):
            name = self._random.choice(self._ctes) if self._ctes and self._chance(0.3) else self._table()
            return f"{name} {self._any('', 'AS ')}{self._alias()}"
        if self._chance(0.4):
            before = self._any("", "LATERAL ") if self._dialect == "postgresql" else ""
            inner = self._any(self._query(depth - 1), "VALUES (1, 'shop, item')")
            return f"{before}({inner}) AS {self._alias()}"
        kind = self._any("JOIN", "LEFT JOIN", "CROSS JOIN", "LEFT OUTER JOIN")
        condition = "" if kind == "CROSS JOIN" else f"ON EXISTS ({self._query(depth - 2)})"
        return self._join(self._source(depth - 1), kind, self._source(depth - 1), condition)

    def _sources(self, depth: int) -> str:
        separator = self._any(", ", ",", " ,\n")
        return separator.join([self._source(depth) for _ in range(self._random.randint(1, 3))])

    def _expression(self, depth: int) -> str:
        if depth > 0 and self._chance(0.4):
            return self._any(
                f"(SELECT count(*) FROM {self._sources(depth - 1)})",
                f"EXISTS ({self._query(depth - 1)})",
                f"CASE WHEN EXISTS ({self._query(depth - 1)}) THEN 1 END",
                f"1 IN (SELECT n FROM {self._table()})",
            )
        return self._any(*LITERALS, *LITERALS_OF[self._dialect])

    def _query(self, depth: int) -> str:
        known = list(self._ctes)
        before = ""
        if depth > 0 and self._chance(0.2):
            self._aliases += 1
            name = self._any('"cte {}"', "with{}").format(self._aliases)
            before = f"WITH {self._any('', 'RECURSIVE ')}{name} AS ({self._query(depth - 1)})"
            self._ctes.append(name)
        columns = self._expression(depth - 1) + self._any("", " AS c", ' AS "from"')
        condition = f"WHERE {self._expression(depth - 1)} IS NOT NULL" if self._chance(0.4) else ""
        more = self._any("UNION ALL", "EXCEPT") + f" SELECT NULL FROM {self._table()}" if self._chance(0.1) else ""
        limit = self._any("", "", "LIMIT 1", "LIMIT 1 OFFSET 1")
        self._ctes = known
        return self._join(before, "SELECT", columns, "FROM", self._sources(depth - 1), condition, more, limit)

    def _write(self, depth: int) -> str:
        table, sources = self._table(), self._sources(depth)
        condition = f"WHERE EXISTS ({self._query(1)})"
        match self._random.randrange(4):
            case 0:
                verb = self._any("INSERT INTO", "INSERT OR REPLACE INTO", "REPLACE INTO")
                verb = verb if self._dialect == "sqlite" else "INSERT INTO"
                rows = self._any(
                    f"SELECT 1, 'x' FROM {sources} {condition}", f"VALUES (1, (SELECT 'x' FROM {sources}))"
                )
                return self._join(verb, table, "(id, name)", rows)
            case 1:
                value = self._any("name = 'x', n = 1", f"name = (SELECT 'x' FROM {sources})", f"n = 1 FROM {sources}")
                return self._join("UPDATE", table, "SET", value, condition)
            case 2 if self._dialect == "postgresql":
                return self._join("DELETE FROM", table, "AS t", f"USING {sources}", condition)
            case _:
                return self._join("DELETE FROM", table, condition)
