"""
Statements: which tables an SQL text writes and reads.

A wrong answer may name too many tables, and never too few. So a statement is a read only if its first word says so, and
a write names its target alone only if its form is known from end to end: `INSERT INTO t`, `UPDATE t SET`,
`DELETE FROM t`, `REPLACE INTO t`, `MERGE INTO t USING` and `COPY t FROM`, also behind and inside CTEs. Any other
statement writes all tables that it names, and every table if it names none that is known.

What the text does not show is not found: triggers, what a function writes, cascades of the database (`cascades` tells
when to think of them), and what a name stands for that is no table of a model (`elsewhere` has it).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from itertools import pairwise
from types import MappingProxyType
from typing import Final, NamedTuple

from cachedeco.invalidation.sql_forms import (
    DML,
    QUERIES,
    ROUTINES,
    Cascade,
    cascade_of,
    closing,
    columns_of,
    dml_in,
    kind_of,
    lists_of,
    locks_rows,
    most_of,
    names_among,
    names_defined_in,
    outside_parentheses,
    query_in,
    target_of,
)
from cachedeco.invalidation.sql_positions import BEFORE_TABLES, Names, NamesAtPosition
from cachedeco.invalidation.sql_tokens import (
    Tokens,
    bare,
    last_part,
    readings_of,
    shorten_lists,
    statements_in,
    text_of,
    words_of,
)

#: Texts that are remembered. With savepoints left out and lists shortened, Django's own suite is answered for 87 %.
PLACES: Final = 4_096
# Most texts are shorter than the first; those above the second would fill the memory.
_LONG: Final = 300
_TOO_LONG: Final = 10_000

# Verbs of one statement, all that follows being searched for each of them. More are the words of a long literal that
# only another database takes for one.
_MOST_VERBS: Final = 100

NONE: Final[Names] = frozenset()


class Statement(NamedTuple):
    """
    What a text does.

    Tables are spelled as `Parser` was given them. Other names are casefolded: of columns, and with their schemas those
    of `unknown`.
    """

    #: Tables that are written; for an unknown verb all that are named.
    writes: Names = NONE
    #: Tables that are read; the target of a write only if it is read besides.
    reads: Names = NONE
    #: The first word, or that of the writing CTE, casefolded; "other" for several, "" for what concerns no table.
    #: Of those that concern no table, ones that commit on MySQL have theirs.
    #: Of transactions: "begin", "commit", "rollback", "rollback to", "savepoint", "release", and "isolation" for a SET
    #: that changes properties of transactions. A text of several statements has the last of the first six, if any.
    verb: str = ""
    #: Names that are read and belong to no known table: of views, of functions in FROM, of the database's own tables.
    unknown: Names = NONE
    #: Columns that an `UPDATE t SET` of one table sets; None where they are not known for certain.
    columns: Names | None = None
    #: Whether rows of other tables may be deleted, and by what.
    cascades: Cascade = ""
    #: Whether it may write any table.
    everything: bool = False
    #: Names that are written, or defined anew, and belong to no known table: of views, of partitions, of any other.
    elsewhere: Names = NONE
    #: Whether it defines names, as those of views, alone or beside other statements.
    defines: bool = False
    #: Names that it defines, and then writes: what they stand for then can't be asked before.
    redefined: Names = NONE
    #: Whether it locks the rows that it reads, wherever in the text it says so.
    locks: bool = False


#: What is no SQL, or no SQL that can be read.
EVERYTHING: Final = Statement(verb="other", everything=True)

# Most statements of a suite are savepoints, each with a name of its own: they leave before the cache.
_SAVEPOINTS: Final = ("SAVEPOINT ", "RELEASE SAVEPOINT ", "ROLLBACK TO SAVEPOINT ")
_BY_SECOND_LETTER: Final = {
    "A": Statement(verb="savepoint"),
    "E": Statement(verb="release"),
    "O": Statement(verb="rollback to"),
}
_TRANSACTION_VERBS: Final = frozenset({"begin", "commit", "rollback", "rollback to", "savepoint", "release"})
_WORDS_OF_BEGIN: Final[Names] = frozenset(
    words_of(
        """
        begin start transaction work tran immediate deferred exclusive concurrent isolation level read committed
        uncommitted repeatable serializable snapshot with consistent write only not deferrable
        """
    )
) | {","}

_CALLS: Final = frozenset({"call", "do", "exec", "execute"})
_DEFINITIONS: Final = frozenset({"alter", "create", "drop", "rename"})
# What tables are in, or columns are of: to rename it, or a value of it, changes what tables show that are not named.
_SHARED: Final = frozenset({"database", "domain", "extension", "owned", "schema", "type"})
_DO: Final = re.compile(r"\s*do\b", re.IGNORECASE)
_UNICODE: Final = 'u&"'  # before a name whose letters PostgreSQL reads as codes: U&"d\0061ta"
_STARTS: Final = DML | {"with"}
_BEFORE_MADE: Final = frozenset({"into", "temp", "temporary", "unlogged", "table"})
_EXECUTABLE: Final = DML | QUERIES | {"call", "create", "declare", "do", "exec", "execute", "refresh"}
# Statements that write what they name and nothing else: of other apps' migrations, and of maintenance.
_SPARING: Final = frozenset(
    words_of("create alter drop comment analyze vacuum refresh reindex cluster truncate rename optimize select copy")
)
# They write and read nothing. Those of the second set commit on MySQL.
_NEUTRAL: Final = frozenset(
    words_of("attach checkpoint close deallocate detach discard kill listen move notify unlisten use")
)
_NEUTRAL_COMMITTING: Final = frozenset(words_of("flush grant lock reset revoke unlock"))
# They commit there, too: SET autocommit = 1, SET PASSWORD.
_COMMITTING_SETTINGS: Final = frozenset({"autocommit", "password"})
# MariaDB's blocks outside of routines, as DO: what they write may be named nowhere.
_COMPOUND: Final = frozenset({"case", "do", "for", "if", "loop", "repeat", "while"})
_LABELLED: Final = _COMPOUND | {"begin"}

# What is shown of tables, by SHOW of MySQL's and PRAGMA: it changes with definitions, and with rows.
_SHOWN: Final = frozenset(
    words_of(
        """
        columns create databases events fields index indexes keys schemas table tables triggers
        foreign_key_check foreign_key_list index_info index_list index_xinfo integrity_check quick_check table_info
        table_list table_xinfo
        """
    )
)
_CATALOGS: Final = {"show": "information_schema.tables", "pragma": "sqlite_master"}

# Functions in FROM that read no table but their arguments.
_PURE_FUNCTIONS: Final = frozenset(
    words_of(
        """
        generate_series generate_subscripts unnest regexp_matches regexp_split_to_table string_to_table
        json_array_elements json_array_elements_text json_each json_each_text json_object_keys json_populate_record
        json_populate_recordset json_to_record json_to_recordset json_table json_tree jsonb_array_elements
        jsonb_array_elements_text jsonb_each jsonb_each_text jsonb_object_keys jsonb_path_query jsonb_populate_record
        jsonb_populate_recordset jsonb_to_record jsonb_to_recordset jsonb_tree phraseto_tsquery
        plainto_tsquery to_tsquery websearch_to_tsquery xmltable
        """
    )
)


class Parser:
    """
    Tells what SQL texts do to known tables.

    Instances are thread-safe, and remember texts: make one for a set of tables, and a new one if the set changes.
    """

    def __init__(self, names: Iterable[str], stand_ins: Mapping[str, Iterable[str]] = MappingProxyType({})) -> None:
        """
        Know tables by their names, as in `Model._meta.db_table`.

        A name with a schema is known with and without it, in each schema.

        Args:
            names: The tables.

            stand_ins: Views, functions and procedures, each with the tables that it stands for. A statement that reads
                the name, or calls the function, reads the tables; one that writes or CALLs the name writes them.
        """
        tables: dict[str, set[str]] = {}
        words: dict[str, list[tuple[Names, str]]] = {}
        pairs = [(name, {name}) for name in names] + [(name, {*concerned}) for name, concerned in stand_ins.items()]
        for name, concerned in pairs:
            tables.setdefault(last_part(name), set()).update(concerned)
            for last in words_of(name)[-1:]:
                words.setdefault(last, []).append((frozenset(words_of(name)), last_part(name)))
        self._tables = {name: frozenset(concerned) for name, concerned in tables.items()}
        self._by_last_word = words
        self._stand_ins = frozenset(map(last_part, stand_ins))
        self.parse_cached = lru_cache(PLACES)(self._parse)

    def statement_of(self, sql: object) -> Statement:
        """Tell what a cursor does with what it is given. No text and no object makes this raise."""
        text = sql if type(sql) is str else text_of(sql)
        if text is None:
            return EVERYTHING
        if text.startswith(_SAVEPOINTS) and ";" not in text:
            return _BY_SECOND_LETTER[text[1]]
        if len(text) > _LONG:
            text = shorten_lists(text)
            if len(text) > _TOO_LONG:
                return self._parse(text)
        return self.parse_cached(text)

    def _parse(self, text: str) -> Statement:
        if _DO.match(text):  # not read as other databases read the body
            return self._parse_by_names(words_of(text), "do")
        readings = readings_of(text)
        if not readings:  # a quote is open in all of them
            return self._parse_by_names(words_of(text), "other")
        found = _join([self._parse_statement(tokens) for reading in readings for tokens in _split(reading)])
        is_misread = (found.writes or found.elsewhere) and _UNICODE in text.casefold()
        return EVERYTHING if is_misread else found._replace(locks=any(map(locks_rows, readings)))

    # --- statements by their verbs ---

    def _parse_statement(self, tokens: Tokens) -> Statement:
        verb = next((word for word in tokens if word != "("), "")
        parse = _PARSES.get(verb)
        if parse is not None and (tokens[0] == verb or verb in QUERIES):
            return parse(self, tokens)
        if verb in _NEUTRAL_COMMITTING:
            return Statement(verb=verb)
        if verb in _NEUTRAL or not verb:
            return Statement()
        is_block = not _LABELLED.isdisjoint(tokens[1:2])  # here: BEGIN ...
        return self._parse_by_names(tokens, "do" if is_block else verb)

    def _parse_by_names(self, tokens: Tokens, verb: str) -> Statement:
        """Return the statement that writes all tables that it names."""
        writes = self._mentioned_tables(tokens)
        everything = not writes and verb not in _SPARING
        cascades: Cascade = ""
        elsewhere = NONE
        match verb:
            case _ if verb in _COMPOUND:  # the body of DO is a literal, and writes what it may not name: a view
                everything = True
            case "truncate":
                cascades = "truncate"
                elsewhere = self._names_elsewhere(names_among(tokens[1:]))
                everything = "cascade" in tokens and bool(elsewhere)
            case "rename":
                elsewhere = self._names_elsewhere(names_among(tokens[1:]))
            case "drop" | "create" | "alter":
                # SQLite deletes the rows first.
                cascades = "delete" if verb == "drop" else ""
                everything = not _SHARED.isdisjoint(tokens[1:2]) and (verb == "drop" or "rename" in tokens)
                elsewhere = self._names_elsewhere(names_defined_in(tokens))
        return Statement(writes, writes, verb, NONE, None, cascades, everything, elsewhere, verb in _DEFINITIONS)

    def _names_elsewhere(self, names: Iterable[str]) -> Names:
        """Return those of the names that belong to no known table."""
        return frozenset([bare(name) for name in names if last_part(name) not in self._tables])

    def _parse_query(self, tokens: Tokens) -> Statement:
        verb = next(word for word in tokens if word != "(")
        reads, unknown = self._tables_at_position(tokens)
        writes = NONE
        if "into" in tokens:  # makes a table, or sets a variable
            if tokens.count("into") > 1:
                return self._parse_by_names(tokens, "select")
            made = [word for word in tokens[tokens.index("into") :] if word not in _BEFORE_MADE]
            writes = self._tables.get(last_part("".join(made[:1])), NONE)
        return Statement(writes, reads, "select" if verb == "with" else verb, unknown)

    def _parse_create(self, tokens: Tokens) -> Statement:
        """Parse CREATE: a table or a view that is made of a query writes nothing that the query reads."""
        kind = kind_of(tokens)
        query = query_in(tokens) if kind in {"table", "view"} else None
        if query is None:
            made = self._parse_by_names(tokens, "create")
            return self._with_body(made, tokens) if kind in ROUTINES and ";" in tokens else made
        made, read = self._parse_by_names(tokens[:query], "create"), self._parse_statement(tokens[query:])
        elsewhere = made.elsewhere | read.elsewhere
        return read._replace(writes=made.writes | read.writes, verb="create", elsewhere=elsewhere, defines=True)

    def _with_body(self, made: Statement, tokens: Tokens) -> Statement:
        """Return what the definition of a routine may do where the rest of the text is not its body, but statements."""
        _, *behind = [self._parse_statement(each) for each in statements_in(tokens)]
        calls = any(each.everything for each in behind if each.verb in _CALLS)
        elsewhere = made.elsewhere.union(*(each.elsewhere for each in behind))
        return made._replace(everything=made.everything or calls, elsewhere=elsewhere, redefined=_redefined_in(behind))

    def _parse_dml(self, tokens: Tokens) -> Statement:
        verbs = list(dml_in(tokens))
        if not verbs:
            return self._parse_query(tokens)
        if len(verbs) > _MOST_VERBS:
            return self._parse_by_names(tokens, "other")
        verb = tokens[verbs[0]] if len(verbs) == 1 else "other"
        cascades = most_of(cascade_of(tokens, at) for at in verbs)
        # Each up to the next verb: a CTE is a statement by itself.
        parts = list(zip(verbs, [*verbs[1:], len(tokens)], strict=True))
        targets = [at + place for at, end in parts if (place := target_of(tokens[at:end])) is not None]
        elsewhere = self._names_elsewhere([tokens[at] for at in targets])
        is_known = len(targets) == len(verbs) and not any(map(partial(self._may_be_alias, tokens), verbs, targets))
        writes = NONE.union(*[self._tables.get(last_part(tokens[at]), NONE) for at in targets])
        if len(verbs) > 1 or not is_known:
            if not is_known:  # UPDATE a JOIN b, DELETE a FROM a JOIN b: each may be written
                elsewhere |= self._names_elsewhere(NamesAtPosition(lists_of(tokens, verbs)).names)
            named = self._mentioned_tables(tokens)
            _, unknown = self._tables_at_position(tokens)
            is_nothing = not named and not is_known
            return Statement(writes if is_known else named, named, verb, unknown, None, cascades, is_nothing, elsewhere)
        [target] = targets
        rest = tokens[target + 1 :]
        columns = columns_of(rest) if verb == "update" else None
        if "using" in rest[:3]:
            rest[rest.index("using")] = "from"
        reads, unknown = self._tables_at_position([*tokens[: verbs[0]], "select", *rest])
        return Statement(writes, reads, verb, unknown, columns, cascades, elsewhere=elsewhere)

    def _may_be_alias(self, tokens: Tokens, verb: int, target: int) -> bool:
        """Tell whether an unknown target can be another name of a table that stands elsewhere."""
        if last_part(tokens[target]) in self._tables:
            return False
        # MySQL and SQL Server name it behind the alias. Words before it are none of the form if a table has that name.
        behind = {"delete": "using", "update": "from"}.get(tokens[verb])
        return behind in outside_parentheses(tokens[target:]) or bool(self._mentioned_tables(tokens[verb:target]))

    def _parse_explain(self, tokens: Tokens) -> Statement:
        """Parse EXPLAIN and MariaDB's ANALYZE, which execute the statement if they are to measure it."""
        # ANALYZE TABLE is maintenance, EXPLAIN ANALYZE TABLE a query.
        executable = _EXECUTABLE - {"table"} if tokens[0] == "analyze" else _EXECUTABLE
        start = next((at for at, token in enumerate(tokens) if at and token in executable), len(tokens))
        if "analyze" not in tokens[:start] and "analyse" not in tokens[:start]:
            # Without a statement it is MySQL's DESCRIBE of a table.
            explained = tokens[start:] or ["from", "information_schema.columns"]
            _, unknown = self._tables_at_position(explained)
            return Statement(NONE, self._mentioned_tables(explained), "explain", unknown)
        return self._parse_statement(tokens[start:]) if start < len(tokens) else self._parse_by_names(tokens, "analyze")

    def _parse_show(self, tokens: Tokens) -> Statement:
        """Parse SHOW and PRAGMA, which show settings, or what the database's own tables have."""
        if _SHOWN.isdisjoint(map(last_part, tokens[1:4])):
            return Statement()
        reads, unknown = self._tables_at_position(["from", _CATALOGS[tokens[0]]])
        return Statement(reads=reads, verb="explain", unknown=unknown)

    def _parse_copy(self, tokens: Tokens) -> Statement:
        """Parse PostgreSQL's COPY, which copies from a table, to one, or from a query, which may write."""
        if tokens[1:2] == ["("] and tokens[2:3] != ["copy"]:
            return self._parse_statement(tokens[2 : closing(tokens, 1)])
        name, behind = "".join(tokens[1:2]), 2
        if tokens[2:3] == ["("]:
            behind = closing(tokens, 2) + 1
        match tokens[behind : behind + 1]:
            case ["to"]:
                reads, unknown = self._tables_at_position(["from", name])
                return Statement(NONE, reads, "copy", unknown)
            case ["from"]:
                writes = self._tables.get(last_part(name), NONE)
                return Statement(writes, verb="copy", elsewhere=self._names_elsewhere([name]))
        return self._parse_by_names(tokens, "other")

    def _parse_load(self, tokens: Tokens) -> Statement:
        """Parse MySQL's LOAD DATA; other forms of LOAD write no table."""
        if "table" not in tokens:
            return Statement()
        name = "".join(tokens[tokens.index("table") + 1 :][:1])
        reads, unknown = self._tables_at_position(tokens)
        writes, elsewhere = self._tables.get(last_part(name), NONE), self._names_elsewhere([name])
        cascades: Cascade = "replace" if "replace" in tokens else ""
        return Statement(writes, reads, "load", unknown - elsewhere, None, cascades, elsewhere=elsewhere)

    def _parse_call(self, tokens: Tokens) -> Statement:
        writes = self._tables.get(last_part(tokens[1]), NONE) if len(tokens) > 1 else NONE
        return Statement(writes, writes, tokens[0], everything=not writes)

    def _parse_set(self, tokens: Tokens) -> Statement:
        if tokens[1:2] == ["statement"] and "for" in tokens:  # MariaDB: settings for the statement behind them
            return self._parse_statement(tokens[tokens.index("for") + 1 :])
        start = next(
            (at for at, word in enumerate(tokens) if word in _STARTS and tokens[at + 1 : at + 2] != ["("]), None
        )
        if start is not None:  # of SQL Server, which needs nothing between two statements: SET NOCOUNT ON INSERT INTO t
            return self._parse_dml(tokens[start:])
        if "transaction" in tokens or any("isolation" in token for token in tokens[:5]):
            return Statement(verb="isolation")
        reads, unknown = self._tables_at_position(tokens)  # of MySQL's variables: SET @a = (SELECT ...)
        return Statement(reads=reads, verb="set" if _COMMITTING_SETTINGS & set(tokens) else "", unknown=unknown)

    def _parse_transaction(self, tokens: Tokens) -> Statement:
        verb = tokens[0]
        if "prepared" in tokens:  # what the prepared transaction has written is not known here
            return EVERYTHING
        match verb:
            case "begin" | "start":
                if _WORDS_OF_BEGIN.issuperset(tokens):
                    return Statement(verb="begin")
                return self._parse_by_names(tokens, "do" if verb == "begin" else "other")
            case "rollback" | "abort":
                return Statement(verb="rollback to" if "to" in tokens else "rollback")
            case "end":
                return Statement(verb="commit")
        return Statement(verb=verb)

    # --- names ---

    def _tables_at_position(self, tokens: Tokens) -> tuple[Names, Names]:
        """Return the tables that stand where tables stand, and the names there that are unknown."""
        if BEFORE_TABLES.isdisjoint(tokens) and not self._stand_ins:
            return NONE, NONE
        found = NamesAtPosition(tokens)
        reads = set(NONE.union(*[self._tables.get(last_part(name), NONE) for name in found.names_of_ctes]))
        unknown: set[str] = set()
        for name in found.names:
            tables = self._tables.get(last_part(name))
            if tables is not None:
                reads |= tables
            elif last_part(name) != "dual" and not (  # Oracle's and MySQL's FROM without a table
                name in found.functions and name.removeprefix("pg_catalog.") in _PURE_FUNCTIONS
            ):
                unknown.add(bare(name))
        if self._stand_ins:
            for name, arguments in pairwise(tokens):
                if arguments == "(" and last_part(name) in self._stand_ins:
                    reads |= self._tables[last_part(name)]
        return frozenset(reads), frozenset(unknown)

    def _mentioned_tables(self, tokens: Iterable[str]) -> Names:
        """Return the tables whose words all stand anywhere, outside of literals."""
        words = {word for token in tokens if not token.startswith("'") for word in words_of(token)}
        names = {
            name
            for last in words & self._by_last_word.keys()
            for all_words, name in self._by_last_word[last]
            if all_words <= words
        }
        return frozenset().union(*(self._tables[name] for name in names))


# ruff: noqa: SLF001 -- the methods of the class above
_PARSES: Final[Mapping[str, Callable[[Parser, Tokens], Statement]]] = {
    **dict.fromkeys(("select", "values", "table", "fetch", "declare"), Parser._parse_query),
    **dict.fromkeys(("with", *DML), Parser._parse_dml),
    **dict.fromkeys(("explain", "describe", "desc", "analyze"), Parser._parse_explain),
    **dict.fromkeys(("call", "exec", "execute"), Parser._parse_call),
    **dict.fromkeys(
        ("begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release"), Parser._parse_transaction
    ),
    "copy": Parser._parse_copy,
    "create": Parser._parse_create,
    "load": Parser._parse_load,
    "set": Parser._parse_set,
    **dict.fromkeys(_CATALOGS, Parser._parse_show),
}


def _split(tokens: Tokens) -> list[Tokens]:
    """Return the statements of a text; the body of a routine stays with what creates it."""
    if ";" not in tokens:
        return [tokens] if tokens else []
    is_routine = tokens[0] == "create" and kind_of(tokens) in ROUTINES
    return [tokens] if is_routine else list(statements_in(tokens))


def _join(statements: list[Statement]) -> Statement:
    """Return what several statements, or readings of one, do together."""
    if len(statements) == 1:
        return statements[0]
    verbs = [each.verb for each in statements if each.verb]
    transaction = [verb for verb in verbs if verb in _TRANSACTION_VERBS]
    return Statement(
        writes=NONE.union(*(each.writes for each in statements)),
        reads=NONE.union(*(each.reads for each in statements)),
        verb=transaction[-1] if transaction else verbs[0] if len(set(verbs)) == 1 else "other" if verbs else "",
        unknown=NONE.union(*(each.unknown for each in statements)),
        cascades=most_of(each.cascades for each in statements),
        everything=any(each.everything for each in statements),
        elsewhere=NONE.union(*(each.elsewhere for each in statements)),
        defines=any(each.defines for each in statements),
        redefined=_redefined_in(statements).union(*(each.redefined for each in statements)),
    )


def _redefined_in(statements: Iterable[Statement]) -> Names:
    """Return the names that one of the statements defines, and one behind it writes."""
    defined: set[str] = set()
    redefined: set[str] = set()
    for each in statements:
        names = each.writes | each.elsewhere
        if each.defines:
            defined.update(map(last_part, names))
        else:
            redefined.update(name for name in names if last_part(name) in defined)
    return frozenset(redefined)
