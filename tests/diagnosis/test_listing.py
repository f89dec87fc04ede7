"""Functions are described by their options, under the settings in force."""

from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from cachedeco import AUTO, Namespace, cached_query, mode, rows
from cachedeco.diagnosis.listing import FunctionDescription, depends_on_model, describe_functions
from cachedeco.testing import isolated
from tests.models import Club, Member
from tests.support import catalogue
from tests.support.backends import Commands


def described(function: Any) -> FunctionDescription:
    """Return the description of one function."""
    return next(each for each in describe_functions() if each.name == function._spec.name)


def test_function_is_described_with_its_place_and_options() -> None:
    """What has a field is not repeated among the options, and what is a default is left out."""
    found = described(catalogue.page_of)

    assert (
        FunctionDescription(
            name="tests.support.catalogue.page_of",
            signature="(club, page=1, *, language='en')",
            file="tests/support/catalogue.py",
            line=catalogue.page_of.__code__.co_firstlineno,  # type: ignore[attr-defined] # that of the function
            many="",
            is_async=False,
            cache="default",
            timeout=None,
            key="{club.pk}:{page}:{language}",
            namespaces=(),
            depends_on=(),
            tables=(),
            tables_read=(),
            options={"stale_while_revalidate": "60"},
        )
        == found
    )


def test_kinds_of_functions_are_told() -> None:
    """Over many ids, and async."""
    assert [("", False), ("ids", False), ("", True)] == [
        (each.many, each.is_async) for each in map(described, (catalogue.name_of, catalogue.names, catalogue.later))
    ]


def test_options_of_each_form_are_texts() -> None:
    """Callables with their place, namespaces as they are written, spans, classes; secrets are hidden."""

    def by_value(_value: object) -> int:
        return 1

    @cached_query(
        timeout=by_value,
        key=lambda number: number,
        namespace=["club:{number}", Namespace("all", "x"), lambda number: Namespace("n", number)],
        vary=(by_town,),
        ignore=("other",),
        depends_on=[Club, "tests.Member", rows(Club, name="{number}"), AUTO],
        stale_if_error=timedelta(minutes=5),
        cache_exceptions={LookupError: 60},
        serializer=Reversed(),
        name="diagnosis.all_forms",
    )
    def all_forms(number: str, other: int = 0) -> str:  # noqa: ARG001 -- which the key ignores
        return number

    found = described(all_forms)
    here = "tests/diagnosis/test_listing.py:"

    assert "by value" == found.timeout
    assert found.key.startswith("test_options_of_each_form_are_texts.<locals>.<lambda> (" + here)
    assert ("club:{number}", "all:x") == found.namespaces[:2]
    assert ("tests.Club", "tests.Member", "rows(tests.Club, name='{number}')", "auto") == found.depends_on
    assert {"vary", "ignore", "stale_if_error", "cache_exceptions", "serializer"} == set(found.options)
    assert ("other", "0:05:00", "LookupError: 60") == tuple(
        found.options[name] for name in ("ignore", "stale_if_error", "cache_exceptions")
    )
    assert found.options["vary"].startswith(f"by_town ({here}")
    assert "<tests.diagnosis.test_listing.Reversed object>" == found.options["serializer"]
    assert ("tests_club", "tests_member") == found.tables


def by_town() -> str:
    """Return the town of the visitor."""
    return "Utrecht"


class Reversed:
    """A serializer whose repr would say a secret."""

    name = "reversed"

    def __repr__(self) -> str:
        """Say it."""
        return "password"

    def dumps(self, value: Any) -> bytes:
        """Return bytes."""
        return bytes(value)

    def loads(self, data: bytes) -> Any:
        """Return the value."""
        return data


@pytest.mark.django_db
def test_tables_that_were_read_are_known_to_other_processes(commands: Commands) -> None:
    """Under AUTO they are asked of the cache; in the mode "off" it is not asked."""
    with isolated():
        catalogue.members()
        found = described(catalogue.members)
        catalogue.members._spec._resolved = None  # as in a process that has not called it
        again = described(catalogue.members)
        catalogue.members._spec._resolved = None
        commands.clear()
        with mode("off"):
            off = described(catalogue.members)

    assert (("tests_member",), ("tests_member",), (), []) == (
        found.tables_read,
        again.tables_read,
        off.tables_read,
        commands.names,
    )
    assert [True, False, True] == [
        depends_on_model(each, model) for each, model in ((found, Member), (found, Club), (found, "tests.Member"))
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"cache": "nowhere"}, "cache='nowhere', which is not in CACHES"),
        ({"using": "nowhere"}, "has using='nowhere', which is not in DATABASES"),
    ],
)
def test_function_that_can_not_be_called_is_described(options: dict[str, Any], expected: str) -> None:
    """With the reason; what follows from the settings is left out."""

    @cached_query(name="diagnosis.misplaced", **options)
    def misplaced() -> None:
        pass

    found = described(misplaced)

    assert (expected in found.problem, (), None) == (True, found.tables, found.timeout)


def test_function_whose_cache_can_not_be_opened_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client's package may be missing: the others are listed all the same."""
    missing = "No module named 'pymemcache'"

    def fail(_: object) -> None:
        raise ModuleNotFoundError(missing)

    monkeypatch.setattr("cachedeco.functions.spec.FunctionSpec.resolve", fail)

    assert "ModuleNotFoundError: No module named 'pymemcache'" == described(catalogue.later).problem


def test_settings_are_defaults(settings: Settings) -> None:
    """The timeout and the dependencies are those in force."""
    settings.CACHEDECO = {"TIMEOUT": 90, "DEPENDS_ON": ["tests.Club"]}

    found = described(catalogue.wrapped.__wrapped__)  # type: ignore[attr-defined] # as above

    assert (90.0, ("tests.Club",), ("tests_club",)) == (found.timeout, found.depends_on, found.tables)
