"""Arguments of a call, as they are typed in a shell."""

import datetime as dt
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError

from cachedeco.management.arguments import call_of, find_row, parse_arguments, parse_value
from tests.models import Club, UuidThing
from tests.support import catalogue
from tests.support.cases import in_one_test
from tests.support.catalogue import Shop

UNIQUE = UUID("12345678123456781234567812345678")


@in_one_test(
    [
        ("7", 7),
        ("-7", -7),
        ("1.5", 1.5),
        ("true", True),
        ("null", None),
        ("None", None),
        ("True", True),
        ('"7"', "7"),
        ("'7'", "7"),
        ("[1, 2]", [1, 2]),
        ('{"a": null}', {"a": None}),
        ("(1, 2)", (1, 2)),
        ("{1}", {1}),
        ("b'x'", b"x"),
        ("judo", "judo"),
        ("two words", "two words"),
        ("007", "007"),
        ("1_000", "1_000"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("(1,", "(1,"),
        ("[judo]", "[judo]"),
        ("2026-11-28", "2026-11-28"),
        ("host.local:80", "host.local:80"),
        ("a=b", "a=b"),
        ("", ""),
        ("[" * 10_000, "[" * 10_000),
    ]
)
def test_value_is_json_or_python_or_text(text: str, expected: object) -> None:
    """What is none of the first two is a text as it stands."""
    value = parse_value(text)

    assert (expected, type(expected)) == (value, type(value))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (
            ["2026-11-28", "2026-11-28T12:30", "1.50"],
            ([dt.date(2026, 11, 28), dt.datetime(2026, 11, 28, 12, 30), Decimal("1.50")], {}),  # noqa: DTZ001 -- as typed
        ),
        (
            ["2026-11-28", "2026-11-28", "1", str(UNIQUE), "12:30", "7"],
            ([dt.date(2026, 11, 28), dt.datetime(2026, 11, 28), Decimal(1), UNIQUE, dt.time(12, 30), "7"], {}),  # noqa: DTZ001 -- as typed
        ),
        (
            ["2026-11-28", "2026-11-28", "1", "null", "hour=None", "word=true"],
            (
                [dt.date(2026, 11, 28), dt.datetime(2026, 11, 28), Decimal(1), None],  # noqa: DTZ001 -- as typed
                {"hour": None, "word": "true"},
            ),
        ),
    ],
    ids=["classes", "optional and text", "keywords"],
)
def test_name_of_an_annotation_makes_a_value_of_a_text(texts: list[str], expected: object) -> None:
    """Of str, date, datetime, time, Decimal and UUID, with or without None; nothing is evaluated."""
    assert expected == parse_arguments(catalogue.dated, texts)


@pytest.mark.parametrize(
    ("function", "texts", "expected"),
    [
        (catalogue.by_slug, ["7", "x", "8"], (["7", "x", 8], {})),
        (catalogue.by_slug, ["slug=7"], ([], {"slug": "7"})),
        (catalogue.by_slug, ['"7"', "page=7"], (["7"], {"page": 7})),
        (catalogue.by_slug, ['"7'], (['"7'], {})),
        (catalogue.names, ["[1, 2]", "prefix=a=b"], ([[1, 2]], {"prefix": "a=b"})),
        (catalogue.log_in, ["q=1", "x"], (["q=1", "x"], {})),
        (Shop.count, ["7"], ([7], {})),
    ],
    ids=["text stays one", "keyword", "of any name", "one quote", "ids", "no such keyword", "bound"],
)
def test_arguments_are_positional_or_named(function: Any, texts: list[str], expected: object) -> None:
    """A name of no parameter is a part of a text; what a method is bound to is left out."""
    assert expected == parse_arguments(function, texts)


@pytest.mark.django_db
def test_row_is_named_by_model_and_primary_key() -> None:
    """By the label of its model, in any case, and the text of the key."""
    club, thing = Club.objects.create(name="Ajax"), UuidThing.objects.create(id=UNIQUE)

    found = [
        parse_value(f"tests.Club:{club.pk}"),
        parse_value(f"tests.club:{club.pk}"),
        find_row(UuidThing, str(UNIQUE)),
    ]

    assert [club, club, thing] == found


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("function", "texts", "expected"),
    [
        (catalogue.page_of, ["tests.Club:999"], "There is no tests.Club with the primary key 999."),
        (catalogue.page_of, ["tests.Club:x"], "x is no primary key of tests.Club."),
        (catalogue.page_of, ["tests.Club:[1, 2]"], "is no primary key of tests.Club."),
        (catalogue.page_of, ["tests.Clubb:1"], "'tests.Clubb' names no model"),
        (catalogue.page_of, ["7"], "can't read {club.pk}: 'int' object has no attribute 'pk'"),
        (catalogue.page_of, [], "missing a required argument: 'club'; it takes club, page, language."),
        (catalogue.name_of, ["1", "2"], "too many positional arguments; it takes pk."),
        (catalogue.names, ["7"], "got ids=7; it takes a collection of ids: [7]."),
        (catalogue.names, ["[]"], "got no ids, and has an entry for each: give one or more, such as [7]."),
        (catalogue.name_of, ["kp=7"], "'kp=7' is no int, as its parameter is annotated."),
        (catalogue.dated, ["tomorrow", "x", "y"], "'tomorrow' is no date, as its parameter is annotated."),
        (catalogue.dated, ["2026-11-28", "2026-11-28", "dear"], "'dear' is no Decimal"),
    ],
    ids=lambda each: " ".join(each)[:30] if isinstance(each, list) else "",
)
def test_argument_that_means_nothing_is_told(function: Any, texts: list[str], expected: str) -> None:
    """With what was given and what is taken; the exit code is that of a misunderstanding."""
    with pytest.raises(CommandError) as caught:
        call_of(function, texts)

    assert (expected in str(caught.value), 2) == (True, caught.value.returncode), str(caught.value)
