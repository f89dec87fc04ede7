"""`manage.py cachedeco explain`: each cause is planted, and read from what the command prints."""

from time import time
from typing import Any, get_args

import pytest
from django.db import transaction

from cachedeco import cached_query, mode
from cachedeco.diagnosis.explaining import explain
from cachedeco.management.explaining import MEANINGS
from cachedeco.runtime.events import MissReason
from tests.loading import test_reasons
from tests.loading.test_reasons import CAUSES, SITUATIONS, page, pages
from tests.management.saying import said
from tests.models import Club
from tests.support import catalogue
from tests.support.backends import Commands
from tests.support.clocks import replace_time
from tests.support.faults import faulty

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
    meaning = MEANINGS[kind]
    assert f"shop.page() would be a miss: {reason}.\n  {meaning[0].upper()}{meaning[1:]}.\n" in out
    assert ("", 0) == (err, code)
    if blamed:
        assert {"invalidated": "changed", "lost token": "lost"}[kind] == tokens.pop(blamed)
        assert {"same", "changed", "unread"} >= set(tokens.values())


@pytest.mark.parametrize("reason", SITUATIONS)
def test_command_says_why_an_entry_is_not_for_this_process(reason: str) -> None:
    """The cache can't be read, or the entry is of another release."""
    page(7)

    with SITUATIONS[reason]():
        out = said("explain", PAGE, "7").out

    assert f"shop.page() would be a miss: {reason}." in out


def test_call_that_would_be_a_hit_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key, age, timeout, size, cost, and what the entry depends on."""
    page(7)
    key, began = page.key_for(7), time()
    replace_time(monkeypatch, lambda: began + 60)

    found = explained(PAGE, "club=7")
    lines = said("explain", PAGE, "7").out.splitlines()

    assert "shop.page() would be a hit: its entry is fresh, and each of its tokens is the same." == lines[0]
    assert [f"  key          {key}", "  cache        default"] == lines[1:3]
    assert [True, True, "  serializer   pickle"] == [
        " stored 1 min ago by " in lines[3],
        lines[4].endswith("statements"),
        lines[6],
    ]
    assert "  its timeout  in 4 min" == lines[5]
    assert ("hit", True, True) == (found["outcome"], 59 < found["entry"]["age"] < 61, 0 < found["entry"]["size"] < 2000)
    assert {
        "this call": "same",
        "the function": "same",
        "namespace club": "same",
        "namespace club:7": "same",
        "table auth_user": "same",
        "rows of tests_player": "same",
        "rows of tests_player with squad_id 7": "same",
        "the nested call shop.price(club=7)": "same",
        "the nested function shop.price()": "same",
        "namespace price": "same",
        "namespace price:7": "same",
    } == {each["name"]: each["state"] for each in found["tokens"]}


def test_call_without_an_entry_is_explained() -> None:
    """Its tokens are there, or not, and there is nothing to compare them with."""
    catalogue.later.invalidate(8)

    out = said("explain", "tests.support.catalogue.later", "8").out

    assert "  entry       none\n" in out
    assert "  depends on  there   this call\n              absent  the function\n" in out


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        (301, "shop.page_of_the_day() would be served the old value: its entry is past its timeout"),
        (365, "shop.page_of_the_day() would be a miss: expired."),
    ],
)
def test_call_past_its_timeout_is_explained(monkeypatch: pytest.MonkeyPatch, passed: int, expected: str) -> None:
    """Inside its stale window the old value would be served; the entry is kept for a while after it."""
    test_reasons.page_of_the_day()
    began = time()
    replace_time(monkeypatch, lambda: began + passed)

    out = said("explain", "tests.loading.test_reasons.page_of_the_day").out

    assert out.startswith(expected)
    assert " ago, and may be served 1 min longer while it is refreshed\n" in out


@pytest.mark.django_db
def test_entry_for_ever_is_explained() -> None:
    """A row is an argument by its model and primary key."""
    club = Club.objects.create(name="Ajax")
    catalogue.page_of(club)

    assert "  its timeout  never" in said("explain", "tests.support.catalogue.page_of", f"tests.Club:{club.pk}").out


@pytest.mark.parametrize("name", ["off", "bypass"])
def test_call_that_would_bypass_the_cache_is_explained(commands: Commands, name: Any) -> None:
    """By the mode; in the mode "off" the cache is not asked."""
    page(7)
    commands.clear()

    with mode(name):
        out = said("explain", PAGE, "7").out

    assert f"shop.page() would bypass the cache: the mode is '{name}'.\n" in out
    assert (name == "off") == (commands.names == [])


@pytest.mark.django_db(transaction=True)
def test_call_that_its_transaction_has_invalidated_is_explained() -> None:
    """It is a hit for all others until the commit."""
    page(7)

    with transaction.atomic():
        page.invalidate(7)
        inside = explained(PAGE, "7")
        transaction.set_rollback(True)

    assert ("bypassed", "this transaction has invalidated it") == (inside["outcome"], inside["reason"])
    assert "hit" == explained(PAGE, "7")["outcome"]


def test_open_circuit_breaker_is_told() -> None:
    """No command is sent, and the reason says so."""
    page(7)
    with faulty(raises=OSError()):
        for _ in range(4):
            page(7)
        out = said("explain", PAGE, "7").out

    assert (
        "would be a miss: cache not read: the circuit breaker of this process is open.\n  The cache has failed" in out
    )


def test_each_of_many_ids_is_explained() -> None:
    """One after the other, with a line between."""
    pages([1, 2])
    pages.invalidate([2])

    out = said("explain", "tests.loading.test_reasons.pages", "[1, 2]").out

    assert ["shop.pages() would be a hit", "shop.pages() would be a miss"] == [
        part.partition(":")[0] for part in out.split("\n\n")
    ]


def test_explaining_counts_nothing_and_stores_nothing(commands: Commands) -> None:
    """It only looks."""
    before, reads = page.stats(), {"get_many"}
    commands.clear()

    explain(page.call(7))

    assert (before, True) == (page.stats(), set(commands.names) <= reads)


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
        "a callable of vary= or namespace= needs a request, or a tenant: KeyError: 'tenant'" in err,
    )


def test_function_that_the_settings_refuse_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no fault of the arguments."""
    monkeypatch.setitem(catalogue.named._spec.options, "cache", "nowhere")
    monkeypatch.setattr(catalogue.named._spec, "_resolved", None)

    _, err, code = said("explain", "clubs.chosen", "1")

    assert (1, True) == (code, "cache='nowhere'" in err)


def test_each_reason_of_a_miss_has_a_meaning() -> None:
    """All but that of a refresh, which a look at a call never finds."""
    assert {*get_args(MissReason)} - {"refresh"} == set(MEANINGS)
