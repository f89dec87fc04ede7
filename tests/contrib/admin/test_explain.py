"""The form that explains a call: each cause is planted, and read from the page."""

from time import time

import pytest
from django.test import Client

import cachedeco.diagnosis
import cachedeco.management  # noqa: F401 -- the pages need both doors
from cachedeco import cached_query, mode
from tests.contrib.admin.conftest import read, text_of
from tests.loading.test_reasons import CAUSES, SITUATIONS, page
from tests.models import Club
from tests.support import catalogue
from tests.support.clocks import replace_time

HERE = "tests.support.catalogue"
pytestmark = [
    pytest.mark.django_db(databases=["default", "other"]),
    pytest.mark.usefixtures("faulty_backend", "isolated_caches"),
]


@cached_query(timeout=None, name="shop.<i>echo", cache_exceptions={LookupError: None})
def echo(text: str, password: str = "") -> str:
    """Return what it was given, which may be hostile."""
    if not text:
        raise LookupError(password)
    return text


@cached_query(name="shop.varied", vary=lambda: 1 / 0)
def varied() -> int:
    """Return what it never does."""
    return 1


def explained(browser: Client, function: str, arguments: str = "") -> str:
    """Return the HTML of an explanation."""
    return read(browser, "explain/", function=function, arguments=arguments)


@pytest.mark.parametrize("reason", CAUSES)
def test_page_says_why_a_call_would_be_a_miss(browser: Client, reason: str) -> None:
    """The token that is to blame is named, with the nested call that has brought it, and has another state."""
    page(7)
    page(7)
    CAUSES[reason]()

    text = text_of(explained(browser, "shop.page", "7"))

    kind, _, blamed = reason.partition(": ")
    assert "A miss shop.page(7)" in text
    state = {"invalidated": "changed", "lost token": "lost"}.get(kind)
    of_whom = ", on which shop.price() inside it depends" if blamed == "namespace price:7" else ""
    assert state is None or f"{blamed}{of_whom} {state}" in text


@pytest.mark.parametrize("reason", SITUATIONS)
def test_page_says_why_an_entry_is_not_for_this_process(browser: Client, reason: str) -> None:
    """The cache can't be read, or the entry is of another release."""
    page(7)

    with SITUATIONS[reason]():
        text = text_of(explained(browser, "shop.page", "7"))

    assert {"cache not read": "could not be read", "other models": "another release"}[reason] in text


def test_page_shows_a_hit_and_what_it_is_of(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key, age, timeout, size, cost, and what the entry depends on."""
    page(7)
    began = time()
    replace_time(monkeypatch, lambda: began + 60)

    text = text_of(explained(browser, "shop.page", "club=7"))

    assert "A hit shop.page(club=7)" in text
    assert f"Key {page.key_for(7)} " in text
    assert "Timeout in 4 min" in text
    assert "this call unchanged" in text


def test_page_says_what_is_past_its_timeout(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """And for how long it may be served."""
    club = Club.objects.create(name="Ajax")
    catalogue.page_of(club)
    page(7)
    began = time()
    replace_time(monkeypatch, lambda: began + 320)

    texts = [
        text_of(explained(browser, f"{HERE}.page_of", f"tests.Club:{club.pk}")),
        text_of(explained(browser, "shop.page", "7")),
    ]

    assert "Timeout none: until it is invalidated" in texts[0]
    assert "Timeout 20 s ago" in texts[1]


def test_stored_exception_is_called_one(browser: Client) -> None:
    """Its entry has no value."""
    with pytest.raises(LookupError):
        echo("")

    assert "Entry an exception, " in text_of(explained(browser, "shop.<i>echo", "''"))


def test_many_ids_are_explained_each(browser: Client) -> None:
    """One of them is stored."""
    club = Club.objects.create(name="Ajax")
    catalogue.names([club.pk])

    html = explained(browser, f"{HERE}.names", f"'[{club.pk}, 999]'")

    assert (1, 1) == (html.count("cd-is-hit"), html.count("cd-is-miss"))


def test_call_past_the_cache_is_explained(browser: Client) -> None:
    """By the mode."""
    with mode("bypass"):
        text = text_of(explained(browser, f"{HERE}.positive", "7"))

    assert "Past the cache" in text


def test_arguments_are_text_and_secrets_are_hidden(browser: Client) -> None:
    """A hostile one is no part of the page; one that sounds secret is shown in the field alone, where it was typed."""
    html = explained(browser, "shop.<i>echo", "'</td><script>x' password=hunter2")

    [above, below] = html.split("cd-explained", 1)
    assert "<script>" not in html
    assert "<i>" not in html
    assert "'</td><script>x'" in text_of(below).replace("shop.<i>", "") or "&lt;script&gt;" in below
    assert (True, False) == ("hunter2" in above, "hunter2" in below)


@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        (f"{HERE}.page_of", "tests.Club:999", "There is no tests.Club with the primary key 999."),
        (f"{HERE}.name_of", "1 2", "too many positional arguments; it takes pk."),
        (f"{HERE}.name_of", "'1", "No closing quotation: write a quote that is meant as a letter"),
        ("os.system", "ls", "Select a valid choice."),
        ("", "", "This field is required."),
        ("shop.varied", "", "ZeroDivisionError"),
    ],
    ids=["no row", "too many", "quotes", "no cached function", "none", "key fails"],
)
def test_call_that_means_nothing_is_told(browser: Client, function: str, arguments: str, expected: str) -> None:
    """In words, and with what was typed."""
    html = explained(browser, function, arguments)

    assert expected in text_of(html)
    assert "cd-explained" not in html


def test_link_chooses_the_function(browser: Client) -> None:
    """The first page has one for each."""
    html = browser.get("/admin/cachedeco_admin/function/explain/", {"function": f"{HERE}.name_of"}).content.decode()

    assert f'<option value="{HERE}.name_of" selected>' in html
