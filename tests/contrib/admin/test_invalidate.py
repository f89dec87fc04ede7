"""The buttons that invalidate: they ask, do it, say what the caches say, and are written down."""

import logging
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext

import cachedeco.diagnosis
import cachedeco.management  # noqa: F401 -- the pages need both doors
from cachedeco import MISSING, cached_query, mode
from cachedeco.contrib.admin.pages import find_target
from tests.contrib.admin.conftest import ADMIN, PAGES, read, text_of
from tests.models import Club
from tests.support import catalogue
from tests.support.faults import faulty

HERE = "tests.support.catalogue"
pytestmark = [pytest.mark.django_db(databases=["default", "other"]), pytest.mark.usefixtures("isolated_caches")]
# What is asked for, what it is called, and what is kept then.
BUTTONS: dict[str, tuple[dict[str, str], str, list[str]]] = {
    "function": (
        {"function": f"{HERE}.name_of", "arguments": ""},
        f"every call of {HERE}.name_of()",
        ["page", "inner"],
    ),
    "call": (
        {"function": f"{HERE}.name_of", "arguments": "{pk}"},
        f"the call of {HERE}.name_of({{pk}})",
        ["other name", "page", "inner"],
    ),
    "namespace": ({"namespace": "club:{pk}"}, "namespace club:{pk}", ["other name", "page", "inner"]),
    "model": ({"model": "tests.Club"}, "all that depends on tests.Club", ["page", "inner"]),
}
buttons = pytest.mark.parametrize("what", BUTTONS)


def make_inner() -> Any:
    """Return a function that no path leads to."""

    @cached_query(name="shop.inner")
    def inner() -> int:
        return 1

    return inner


INNER = make_inner()


@pytest.fixture
def clubs(browser: Client) -> list[Club]:  # noqa: ARG001 -- its user is saved before
    """Give two clubs whose values are stored."""
    clubs = [Club.objects.create(name=name) for name in ("Ajax", "Sparta")]
    for club in clubs:
        catalogue.name_of(club.pk)
    catalogue.page_of(clubs[0])
    INNER()
    return clubs


def kept(clubs: list[Club]) -> list[str]:
    """Return what is still stored."""
    values = {
        "name": catalogue.name_of.peek(clubs[0].pk),
        "other name": catalogue.name_of.peek(clubs[1].pk),
        "page": catalogue.page_of.peek(clubs[0]),
        "inner": INNER.peek(),
    }
    return [name for name, value in values.items() if value is not MISSING]


def log_entries() -> list[Any]:
    """Return what the admin's log has."""
    from django.contrib.admin.models import LogEntry

    return list(LogEntry.objects.order_by("pk"))


def fields_of(what: str, clubs: list[Club]) -> tuple[dict[str, str], str]:
    """Return what a button sends, and what it is called."""
    given, text, _ = BUTTONS[what]
    pk = str(clubs[0].pk)
    return {name: value.replace("{pk}", pk) for name, value in given.items()}, text.replace("{pk}", pk)


@buttons
def test_button_asks_first(browser: Client, clubs: list[Club], what: str) -> None:
    """Nothing is invalidated; what it is about is named, and sent again by the second button."""
    given, named = fields_of(what, clubs)

    html = read(browser, "invalidate/", what=what, **given)

    assert f"This will invalidate {named} ." in text_of(html)
    assert all(f'type="hidden" name="{name}" value="{value}"' in html for name, value in given.items())
    assert (["name", "other name", "page", "inner"], []) == (kept(clubs), log_entries())


@buttons
def test_second_button_invalidates_and_is_written_down(
    browser: Client, clubs: list[Club], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In the admin's log, with the user, and on the logger, without arguments."""
    given, named = fields_of(what, clubs)

    with caplog.at_level(logging.INFO, "cachedeco"):
        text = text_of(read(browser, "invalidate/", what=what, confirmed="yes", **given))

    assert BUTTONS[what][2] == kept(clubs)
    assert f"Invalidated {named}." in text
    [entry] = log_entries()
    assert ("ann", named, "cached function") == (entry.user.username, entry.object_repr, entry.content_type.name)
    assert f"Invalidated {named}, in the cache default." == entry.get_change_message()
    [record] = [each.getMessage() for each in caplog.records if "in the admin" in each.getMessage()]
    assert record.endswith(f", by the user with the primary key {entry.user_id} in the admin.")
    assert f"({clubs[0].pk})" not in record
    assert "club:" not in record
    assert 200 == browser.get("/admin/").status_code  # which lists recent actions


def test_function_inside_another_one_is_invalidated(browser: Client, clubs: list[Club]) -> None:
    """No path leads to it, and none is needed for all its calls."""
    read(browser, "invalidate/", what="function", function="shop.inner", confirmed="yes")

    assert ["name", "other name", "page"] == kept(clubs)


@pytest.mark.usefixtures("faulty_backend")
def test_invalidation_without_acknowledgement_is_a_warning(browser: Client) -> None:
    """It says what to do."""
    with faulty(unreachable=True):
        html = read(browser, "invalidate/", what="namespace", namespace="club:1", confirmed="yes")

    assert 'class="warning"' in html
    assert "Not acknowledged: namespace club:1." in text_of(html)
    assert ["Not acknowledged: namespace club:1, in the cache default."] == [
        each.get_change_message() for each in log_entries()
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"what": "call", "function": f"{HERE}.page_of", "arguments": "tests.Club:999"}, "There is no tests.Club"),
        ({"what": "call", "function": f"{HERE}.name_of", "arguments": ""}, "missing a required argument: 'pk'"),
        ({"what": "call", "function": "shop.inner", "arguments": ""}, "no dotted path leads to it"),
        ({"what": "function", "function": "os.system"}, "Select a valid choice."),
        ({"what": "namespace", "namespace": "club:"}, "The namespace 'club:' has an empty part"),
        ({"what": "namespace", "namespace": ""}, "This field is required."),
        ({"what": "model", "model": "nowhere.Model"}, "Select a valid choice."),
        ({"what": "everything"}, "Each button asks once more."),
    ],
    ids=["no row", "arguments", "no path", "no function", "empty part", "no namespace", "no model", "unknown"],
)
def test_what_means_nothing_invalidates_nothing(
    browser: Client, clubs: list[Club], fields: dict[str, str], expected: str
) -> None:
    """Also if it is sent as if it had been confirmed."""
    text = text_of(read(browser, "invalidate/", confirmed="yes", **fields))

    assert expected in text
    assert (["name", "other name", "page", "inner"], []) == (kept(clubs), log_entries())


def test_hostile_namespace_is_text(browser: Client) -> None:
    """In the question, in the message, and in the admin's log."""
    fields = {"what": "namespace", "namespace": "<script>x</script>"}

    pages = [
        read(browser, "invalidate/", **fields),
        read(browser, "invalidate/", confirmed="yes", **fields),
        browser.get("/admin/").content.decode().partition('id="content-start"')[2],
    ]

    assert [(True, False)] * 3 == [("&lt;script&gt;x" in each, "<script>x" in each) for each in pages]


def test_process_whose_mode_is_off_says_so(browser: Client) -> None:
    """Nothing would be invalidated."""
    with mode("off"):
        text = text_of(read(browser, "invalidate/", what="namespace", namespace="club", confirmed="yes"))

    assert "The mode is 'off' in this process" in text


def test_pages_write_nothing_but_the_log(browser: Client, clubs: list[Club]) -> None:
    """To look reads, and to invalidate writes one row."""
    sent = {"what": "function", "function": f"{HERE}.name_of"}

    with CaptureQueriesContext(
        connection,
    ) as looking:
        for page in PAGES:
            read(browser, page)
        read(browser, "explain/", function=f"{HERE}.name_of", arguments=str(clubs[0].pk))
        read(browser, "invalidate/", **sent)
    with CaptureQueriesContext(connection) as acting:
        browser.post(f"{ADMIN}invalidate/", {**sent, "confirmed": "yes"})

    verbs = [{each["sql"].split()[0] for each in queries} - {"SELECT"} for queries in (looking, acting)]
    assert [set(), {"INSERT"}] == verbs
    assert [True] == ["django_admin_log" in each["sql"] for each in acting if each["sql"].startswith("INSERT")]


@buttons
def test_wrong_settings_are_told(browser: Client, what: str) -> None:
    """Nothing can be invalidated, and the page says why."""
    fields = {name: text.format(pk=7) for name, text in BUTTONS[what][0].items()}

    with override_settings(CACHEDECO={"MODE": "of"}):
        told = [
            text_of(read(browser, "invalidate/", what=what, **fields, **more)) for more in ({}, {"confirmed": "yes"})
        ]

    assert [True, True] == ["the mode is 'of'" in text for text in told]


def test_function_that_has_gone_since_the_form_was_read_is_no_target() -> None:
    """A function inside another one may end at any time: the page says so."""
    with pytest.raises(CommandError, match=r"shop\.gone\(\) is not there any more"):
        find_target("function", {"function": "shop.gone"})
