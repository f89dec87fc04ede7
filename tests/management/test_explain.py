"""`manage.py cachedeco explain`: each cause is planted, and read from what the command prints."""

from typing import Any

import pytest

from cachedeco import Stats, cached_query, mode
from cachedeco.runtime.statistics import Statistics
from tests.loading.test_reasons import CAUSES, page, pages
from tests.management.saying import said
from tests.models import Club
from tests.support import catalogue
from tests.support.backends import Commands

PAGE = "tests.loading.test_reasons.page"
pytestmark = pytest.mark.usefixtures("faulty_backend")


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print lines of any length."""
    monkeypatch.setenv("COLUMNS", "300")


def explained(*arguments: str) -> Any:
    """Return what the command says of one call, as JSON."""
    [explanation] = said("explain", *arguments, "--json").json
    return explanation


@pytest.mark.parametrize("reason", CAUSES)
def test_command_says_why_a_call_would_be_a_miss(reason: str) -> None:
    """What has ended the entry is named, and what that means; the token that is to blame has another state."""
    page(7)
    page(7)
    CAUSES[reason]()

    out, err, code = said("explain", PAGE, "7")
    tokens = {each["name"]: each["state"] for each in explained(PAGE, "7")["tokens"]}

    kind, _, blamed = reason.partition(": ")
    assert out.startswith("shop.page(7) would be a miss: ")
    assert blamed in out.splitlines()[0]
    assert ("", 0) == (err, code)
    if blamed:
        assert {"invalidated": "changed", "lost token": "lost"}[kind] == tokens.pop(blamed)
        assert {"unchanged", "changed", "unread"} >= set(tokens.values())


@pytest.mark.parametrize(
    ("unstored", "expected"),
    [
        (
            {"it is large": 1},
            ["Of shop.page() 1 value was returned and not stored, by shared statistics: it is large (1)."],
        ),
        (
            {"a": 1, "b": 2},
            ["Of shop.page() 3 values were returned and not stored, by shared statistics: b (2); a (1)."],
        ),
        ({}, []),
    ],
)
def test_absent_entry_has_the_reasons_of_other_processes(
    monkeypatch: pytest.MonkeyPatch, unstored: dict[str, int], expected: list[str]
) -> None:
    """A command has stored nothing itself, so that it asks those who share their counts why nothing is there."""
    counts = Stats(unstored=sum(unstored.values()), unstored_reasons=unstored)
    shared = Statistics(functions={"shop.page": counts}, is_shared=True)
    monkeypatch.setattr("cachedeco.statistics", lambda **_: shared)

    absent = said("explain", PAGE, "7").out.splitlines()
    page(7)
    stored = said("explain", PAGE, "7").out.splitlines()

    assert expected == [each for each in absent if each.startswith("Of ")]
    assert [] == [each for each in stored if each.startswith("Of ")]


@pytest.mark.django_db
def test_row_is_an_argument() -> None:
    """By its model and primary key."""
    club = Club.objects.create(name="Ajax")
    catalogue.page_of(club)

    assert "hit" == explained("tests.support.catalogue.page_of", f"tests.Club:{club.pk}")["outcome"]


@pytest.mark.parametrize("name", ["off", "bypass"])
def test_call_that_would_bypass_the_cache_is_explained(commands: Commands, name: Any) -> None:
    """By the mode; in the mode "off" the cache is not asked."""
    page(7)
    commands.clear()

    with mode(name):
        out = said("explain", PAGE, "7").out

    assert f"shop.page(7) would bypass the cache: the mode is '{name}'.\n" in out
    assert (name == "off") == (commands.names == [])


def test_each_of_many_ids_is_explained() -> None:
    """One after the other, with a line between."""
    pages([1, 2])
    pages.invalidate([2])

    out = said("explain", "tests.loading.test_reasons.pages", "[1, 2]").out

    assert ["shop.pages([1]) would be a hit", "shop.pages([2]) would be a miss"] == [
        part.partition(":")[0] for part in out.split("\n\n")
    ]


def test_key_has_no_secret() -> None:
    """What is printed may be pasted into a ticket."""
    found = explained("tests.support.catalogue.log_in", "ann", "hunter2")

    assert ("hunter2" in found["key"], found["key"].endswith("password=***")) == (False, True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["tests.support.catalogue.pageof"], "did you mean tests.support.catalogue.page_of"),
        ([PAGE], "missing a required argument: 'club'"),
    ],
)
def test_call_that_means_nothing_is_told(options: list[str], expected: str) -> None:
    """By the exit code of a misunderstanding."""
    out, err, code = said("explain", *options)

    assert (2, "") == (code, out)
    assert expected in err


def test_key_that_needs_a_request_is_told() -> None:
    """The command has none, and a function may vary by one."""

    @cached_query(name="management.varied", vary=lambda: {}["tenant"])
    def varied() -> int:
        return 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cachedeco.management.explaining.function_of", lambda _: varied)
        _, err, code = said("explain", "management.varied")

    assert (1, True) == (
        code,
        "The key can't be made here: KeyError: 'tenant'. A callable of vary= or namespace= may need a request" in err,
    )


def test_argument_that_names_no_part_is_told() -> None:
    """It is the argument that is at fault, and no callable."""

    @cached_query(name="management.of_author", namespace="author:{author}")
    def of_author(author: object) -> object:
        return author

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cachedeco.management.explaining.function_of", lambda _: of_author)
        _, err, code = said("explain", "management.of_author", "[1]")

    assert (1, True) == (
        code,
        "{author} in namespace='author:{author}' of management.of_author(): Namespace() can't take <list object>"
        in err,
    )


def test_function_that_the_settings_refuse_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no fault of the arguments."""
    monkeypatch.setitem(catalogue.named._spec.options, "cache", "nowhere")
    monkeypatch.setattr(catalogue.named._spec, "_resolved", None)

    _, err, code = said("explain", "clubs.chosen", "1")

    assert (1, True) == (code, "cache='nowhere'" in err)
