"""
Tokens of SQL: what a cursor was given as text, and the text without comments, as each database may read it.

Databases read some texts differently. In MySQL a backslash escapes a quote, `#` begins a comment, `--` does so only
before white space, and the content of `/*! */` is executed; in PostgreSQL comments nest, `E'...'` has escapes and
`$tag$...$tag$` is a literal. A text that has none of these has one reading. Any other is read in each way, and its
tokens are given once for each reading that differs and that leaves no quote open.

A token is a name or a keyword (`"shop"."item"` is one name), a literal, a run of placeholders, or one of `( ) , ;`.
Quoted names that a comma and a space connect are one token, since most of Django's texts are lists of columns.
Everything else, as operators, is left out. Words are casefolded.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from cachedeco.runtime.interrupts import pass_interrupt
from cachedeco.runtime.reprs import describe

Tokens = list[str]

# An unquoted name has letters, digits, "_", "$", and any character above ASCII, in all databases. Said by what it has
# not: to compile a set of a million characters takes each import some milliseconds.
_WORD: Final = r"[^\x00-\x23\x25-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]+"
_QUOTED: Final = r'(?:"[^"]*(?:""[^"]*)*"|`[^`]*(?:``[^`]*)*`)'
_DOT: Final = r"(?:\.|\s+\.(?!\d))\s*"  # SELECT .5 has none
_NAME: Final = rf"(?:{_QUOTED}|{_WORD})(?:{_DOT}(?:{_QUOTED}|{_WORD}))*"
# Before the name of a table, which MySQL takes with a dot before it: FROM .club
_BEFORE_DOT: Final = r"(?:from|into|join|straight_join|table|truncate|update)(?=\s+\.)"
_TEXT: Final = r"'[^']*'"  # to SQLite also a name, where it expects one: main.'club'
_TOKEN: Final = re.compile(
    rf"""%s(?:,\ %s)*
    |[0-9]+\.(?![0-9])  # a number with its point, which is before no name: 2. FROM
    |{_BEFORE_DOT}
    |{_QUOTED}(?:(?:,\ |{_DOT}){_QUOTED}|{_DOT}(?:{_WORD}|{_TEXT}))*
    |(?:{_WORD}|{_TEXT})(?:{_DOT}(?:{_QUOTED}|{_WORD}|{_TEXT}))*
    |[(),;]
    |['"`]  # a quote that nothing closes""",
    re.ASCII | re.VERBOSE,
)
_TAG: Final = r"(?:(?:[a-z_]|[^\x00-\x7f])\w*)?"  # of a literal between dollars
_NAMES: Final = re.compile(_NAME, re.ASCII)
_WORDS: Final = re.compile(_WORD, re.ASCII)
_SPACED_DOT: Final = re.compile(r"\s+\.\s*|\.\s+")
_OPEN: Final = frozenset("'\"`")
_QUOTES: Final = str.maketrans("", "", "\"`'[]")

# SQLite and SQL Server take [name] for "name". What is in brackets behind a word is a subscript of PostgreSQL's.
_BRACKETED: Final = re.compile(rf"""({_QUOTED}|'[^']*')|(?<![\w\])])\[([a-z_][^][()'"`,;]*)\]""")
# Django writes it in each LIKE on SQLite. In MySQL it is no SQL.
_ESCAPE: Final = "escape '\\'"
# Only in these texts can readings differ, and only these can have a comment.
_SUSPICIOUS: Final = ("--", "/*", "\\", "#", "$")
# What a reading drops: comments, and literals that others read differently. What the group "kept" matches, it keeps;
# what nothing closes, too, with all that follows: one search for its end is enough, and no database of this reading
# takes the text. Each alternative but the first begins with a character, since others are tried everywhere.
_READINGS: Final = tuple(
    re.compile(pattern, re.ASCII | re.VERBOSE | re.DOTALL)
    for pattern in (
        rf"""(?P<kept>{_QUOTED}|'[^']*')  # the SQL standard, SQLite, Oracle
        |--[^\n]*
        |/\*.*?(?:\*/|\Z)
        |(?P<open>['"`].*)""",
        rf"""(?P<kept>{_QUOTED}|'[^'\\]*')  # PostgreSQL
        |e(?<![\w$]e)'(?:[^'\\]|\\.|'')*'
        |'[^']*'
        |--[^\n\r]*
        |/\*(?>[^*/]+|\*(?!/)|/(?!\*)|/\*.*?\*/)*+\*/
        |\$(?<![\w$]\$)(?P<tag>{_TAG})\$.*?\$(?P=tag)\$
        |(?P<open>(?:['"`]|/\*|e(?<![\w$]e)'|\$(?<![\w$]\$){_TAG}\$).*)""",
        r"""(?P<kept>`[^`]*`|"[^"\\]*"|'[^'\\]*')  # MySQL, MariaDB
        |"(?:[^"\\]|\\.)*"
        |'(?:[^'\\]|\\.)*'
        |(?:--(?=\s|\Z)|\#)[^\n]*
        |/\*(?!m?!).*?\*/
        |/\*m?!\d*|\*/
        |(?P<open>(?:['"`]|/\*).*)""",
    )
)


def text_of(sql: object) -> str | None:
    """
    Return what a cursor was given as text; None for what no driver is known to take.

    psycopg takes bytes, `sql.SQL(...)` and, from Python 3.14 on, template strings.
    """
    # A property of the object, and as_string(), may raise anything.
    try:
        return _text_of(sql)
    except Exception as error:  # noqa: BLE001 -- as above
        pass_interrupt(error)
        return None


def _text_of(sql: Any) -> str | None:
    if isinstance(sql, str):
        return str.__str__(sql)
    if isinstance(sql, bytes | bytearray | memoryview):
        return bytes(sql).decode(errors="surrogateescape")
    if hasattr(sql, "as_string"):
        return str(sql.as_string(None))
    return "".join(map(_text_of_part, sql)) if type(sql).__module__ == "string.templatelib" else None


def _text_of_part(part: Any) -> str:
    """Return a part of a template as text: psycopg takes names as `{name:i}`, SQL as `{sql:q}`, and values."""
    if isinstance(part, str):
        return part
    if part.format_spec == "i" and isinstance(part.value, str):
        return quoted(part.value)
    if part.format_spec in {"i", "q"}:
        text = text_of(part.value)
        if text is None:
            msg = f"{describe(part.value)} is no SQL"
            raise TypeError(msg)
        return text
    return "%s"


def quoted(name: str) -> str:
    """Return a name as standard SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def shorten_lists(sql: str) -> str:
    """Return a text with one place for all lengths of a list of placeholders, and of a list of rows of them."""
    for several, one in (("%s, %s", "%s"), ("(%s), (%s)", "(%s)")):
        while several in sql:
            sql = sql.replace(several, one)
    return sql


def readings_of(sql: str) -> list[Tokens]:
    """Return the tokens of a text, once for each reading of it; none if each reading leaves a quote open."""
    text = sql.casefold().replace(_ESCAPE, "")
    texts = [text]
    if any(mark in text for mark in _SUSPICIOUS):
        texts = sorted({reading.sub(r" \g<kept>\g<open> ", text) for reading in _READINGS})
    if "[" in text:  # not before: a comment may have half of a quote
        texts = [_BRACKETED.sub(lambda found: found[1] or f'"{found[2]}"', each) for each in texts]
    return [tokens for tokens in map(_TOKEN.findall, texts) if _OPEN.isdisjoint(tokens)]


def names_in(token: str) -> list[str]:
    """Return the names in a token, which may be a list of quoted ones."""
    return _NAMES.findall(token) if ", " in token and token[0] in '"`' else [token]


def words_of(text: str) -> list[str]:
    """Return the words of a text, quoted or not."""
    return _WORDS.findall(text.casefold())


def last_part(name: str) -> str:
    """Return a name without quotes and case, and without the schema before it."""
    return name.casefold().translate(_QUOTES).rpartition(".")[2].strip()


def bare(name: str) -> str:
    """Return a name as it is asked for in a database: with its schema, without quotes and spaces around the dot."""
    return _SPACED_DOT.sub(".", name).replace('"', "").replace("`", "").replace("'", "")


def statements_in(tokens: Tokens) -> Iterator[Tokens]:
    """Yield the tokens of each statement of a text."""
    start = 0
    for end in [at for at, word in enumerate(tokens) if word == ";"] + [len(tokens)]:
        if end > start:
            yield tokens[start:end]
        start = end + 1
