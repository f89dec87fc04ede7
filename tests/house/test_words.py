"""The words: pages, docstrings and comments say what happens in plain English, without the riddles listed here."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.support import ROOT

# Threads, keys and processes are no persons, and a sentence says who does what: a leader, a follower, an entry.
DENIED = [
    "anybody",
    "are to be",
    "is to be",
    "nobody",
    "somebody",
    "vouch",
    "vouches",
    "whatever",
    "what is due",
    "who leads",
    "whoever",
    "whom",
]
DENIED_WORDS = re.compile(rf"\b(?:{'|'.join(DENIED)})\b", re.IGNORECASE)

# What users and maintainers search for.
TERMS = [
    "backoff",
    "circuit breaker",
    "fail-open",
    "retry queue",
    "single flight",
    "stale-if-error",
    "stale-while-revalidate",
    "stampede",
    "thread-safe",
    "TTL",
]

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = ("cachedeco", "tests", "benchmarks", "examples", "scripts")
MODULES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]

CODE = re.compile(r"^ *```.*?^ *```$|<!--.*?-->", re.MULTILINE | re.DOTALL)


def denied_in(text: str, first_line: int = 1) -> Iterator[str]:
    """Yield each denied word of a text, with its line."""
    for match in DENIED_WORDS.finditer(text):
        yield f"line {first_line + text.count(chr(10), 0, match.start())}: {match[0]}"


def prose_of(source: str) -> Iterator[tuple[int, str]]:
    """Yield the docstrings, comments, and names of classes and functions of a module, each with its first line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name.replace("_", " ")
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.lineno, str(first.value.value)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def denied_in_code(path: Path) -> Iterator[str]:
    """Yield each denied word of a module's prose; one that has none anywhere is not parsed."""
    source = path.read_text()
    if DENIED_WORDS.search(source.replace("_", " ")):
        for line, prose in prose_of(source):
            yield from denied_in(prose, line)


def test_pages_have_no_denied_words() -> None:
    """No page has a denied word outside its examples."""
    texts = {page: CODE.sub(lambda match: "\n" * match[0].count("\n"), page.read_text()) for page in PAGES}

    assert [] == [f"{page.relative_to(ROOT)} {word}" for page, text in texts.items() for word in denied_in(text)]


def test_pages_have_the_terms_of_the_field() -> None:
    """A reader who searches the pages for the usual term of a mechanism finds it."""
    text = "\n".join(page.read_text() for page in PAGES)

    assert [] == [term for term in TERMS if not re.search(rf"\b{term}\b", text, re.IGNORECASE)]


def test_code_has_no_denied_words() -> None:
    """No docstring, no comment and no name has a denied word."""
    assert [] == [f"{path.relative_to(ROOT)} {word}" for path in MODULES for word in denied_in_code(path)]


def test_denied_words_are_found() -> None:
    """The test sees denied words in docstrings, in comments and in names, with their lines."""
    source = '"""Wait\nfor nobody."""\nx = "nobody"  # whatever it is\ndef whom_it_concerns(): pass\n'

    assert ["line 2: nobody", "line 4: whom", "line 3: whatever"] == [
        word for line, prose in prose_of(source) for word in denied_in(prose, line)
    ]
