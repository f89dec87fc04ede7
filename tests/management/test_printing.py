"""Tables fit the terminal; JSON holds any value."""

import json
import os
from dataclasses import dataclass
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.management.base import OutputWrapper
from hypothesis import given
from hypothesis import strategies as st

from cachedeco.management.printing import Console, plain, table, width_of, wrap


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (
            None,
            [
                "function                    calls  note",
                "clubs.queries.club_classes  1 234  of all clubs in a town",
                "b                               5",
            ],
        ),
        (
            40,
            [
                "function         calls  note",
                "clubs.queries.   1 234  of all clubs in",
                "club_classes            a town",
                "b                    5",
            ],
        ),
        (
            20,
            [
                "clubs.queries.club_",
                "classes",
                "  calls  1 234",
                "  note   of all",
                "         clubs in a",
                "         town",
                "b",
                "  calls  5",
            ],
        ),
    ],
    ids=["no terminal", "narrow", "too narrow"],
)
def test_table_is_aligned_and_fits(width: int | None, expected: list[str]) -> None:
    """Numbers stand at the right; what may be wrapped gives way, the widest first; below that a row is a list."""
    rows = [("clubs.queries.club_classes", 1234, "of all clubs in a town"), ("b", 5, None)]

    assert expected == table(("function", "calls", "note"), rows, width, flexible=(0, 2))


def test_table_without_heads_or_rows() -> None:
    """Empty heads are no line; without rows the heads are left."""
    assert (["a  b"], ["x  y"]) == (table(("", ""), [("a", "b")], None), table(("x", "y"), [], 80))


def test_table_that_may_not_wrap_is_left_as_it_is() -> None:
    """A column that is not flexible keeps its width."""
    assert ["heading", "a long cell"] == table(("heading",), [("a long cell",)], 5)


@given(st.text("ab ./:_", max_size=60), st.integers(1, 30))
def test_wrapped_text_is_complete_and_narrow(text: str, width: int) -> None:
    """No line is wider than asked, and but for blanks all characters are there."""
    lines = wrap(text, width)

    assert text.replace(" ", "") == "".join(lines).replace(" ", "")
    assert all(len(line) <= width for line in lines)


class Pair(NamedTuple):
    """A named tuple."""

    one: int
    other: Path


@dataclass
class Box:
    """A dataclass."""

    content: Any


def test_any_value_is_plain() -> None:
    """Dataclasses and named tuples are objects, sequences lists, and all else that JSON lacks is text."""
    value = Box([Pair(1, Path("x")), {"a": frozenset({None})}, (True, 1.5), Box])

    assert {
        "content": [{"one": 1, "other": "x"}, {"a": [None]}, [True, 1.5], str(Box)],
    } == plain(value)


def test_width_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or a pipe has none, unless the variable COLUMNS says one."""
    monkeypatch.delenv("COLUMNS", raising=False)
    piped, terminal = StringIO(), StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    widths = [width_of(OutputWrapper(each)) for each in (piped, terminal)]
    monkeypatch.setenv("COLUMNS", "33")

    assert ([None, 80], 33) == (widths, width_of(OutputWrapper(piped)))


def console_in(encoding: str, *, as_json: bool = False) -> tuple[Console, BytesIO]:
    """Return a console whose outputs have an encoding, and the bytes that it prints."""
    printed = BytesIO()
    output = OutputWrapper(TextIOWrapper(printed, encoding, write_through=True))
    return Console(output, output, as_json=as_json), printed


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("text", ["é", "€ 学", "\udcff", "😀"])
def test_output_of_any_encoding_takes_any_text(encoding: str, text: str) -> None:
    """In the locale C, and of arguments that are no text of the locale, characters are escaped; JSON stays JSON."""
    console, printed = console_in(encoding)
    structured, as_json = console_in(encoding, as_json=True)

    console.say(text)
    console.whisper(text)
    structured.json({text: [text]})

    assert 2 * f"{text.encode(encoding, 'backslashreplace').decode(encoding)}\n" == printed.getvalue().decode(encoding)
    assert {text: [text]} == json.loads(as_json.getvalue().decode(encoding))


def test_reader_of_a_pipe_may_go() -> None:
    """After `| head -1` the work goes on, and what it prints is discarded."""
    reader, writer = os.pipe()
    output = OutputWrapper(os.fdopen(writer, "w", encoding="utf-8"))
    console = Console(output, output, as_json=False)
    os.close(reader)

    console.say(100_000 * "more than a buffer ")
    console.whisper("and on")
    output.close()

    assert output.closed
