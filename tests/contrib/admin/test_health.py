"""The page on the health of the caches: what it asks, and when."""

import re
from types import SimpleNamespace

import pytest
from django.test import Client

import cachedeco.management  # noqa: F401 -- the pages need this door
from cachedeco import Namespace
from cachedeco.contrib.admin import views
from cachedeco.diagnosis import examination
from cachedeco.diagnosis.findings import Finding
from cachedeco.outbox.models import Row, rows
from tests.conftest import CacheConfig, UseCaches
from tests.contrib.admin.conftest import ADMIN, PAGES, read, text_of
from tests.support.backends import Commands
from tests.support.faults import faulty

pytestmark = pytest.mark.django_db(databases=["default", "other"])
EXAMINE = {"examine": "yes"}


@pytest.fixture(autouse=True)
def _no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock of the caches go on when the examination waits for a timeout."""
    now = [1000.0]
    for module in ("base", "locmem"):
        monkeypatch.setattr(f"django.core.cache.backends.{module}.time", SimpleNamespace(time=lambda: now[0]))
    monkeypatch.setattr(views, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))


@pytest.mark.parametrize("page", PAGES)
def test_no_page_asks_a_cache_when_it_is_opened(browser: Client, commands: Commands, page: str) -> None:
    """A cache that is down makes no page slow."""
    commands.clear()

    read(browser, page)

    assert [] == commands.names


def test_opened_page_shows_the_process_and_the_outbox(browser: Client) -> None:
    """What waits there is counted."""
    rows("default").bulk_create([Row(cache="default", key="k", created=1.0)])

    text = text_of(read(browser, "health/"))

    assert "Does this process use it? yes, its circuit breaker is closed" in text
    assert "WRONG Is all delivered? no: 1 row" in text
    assert re.search(r"1 of \d+ answers is wrong , of those that this process gives by itself", text)
    assert "Does it answer?" not in text


@pytest.mark.usefixtures("faulty_backend")
def test_open_breaker_and_what_is_owed_are_shown(browser: Client) -> None:
    """Without asking the cache that is down."""
    with faulty(unreachable=True):
        for _ in range(3):
            Namespace("club").invalidate()
        text = text_of(read(browser, "health/"))

    assert "WRONG Does this process use it? no, its circuit breaker is open" in text
    assert "WRONG Are invalidations owed to it? yes, 1, by this process" in text


def test_button_asks_all(browser: Client) -> None:
    """As the command does: servers, databases, checks."""
    text = text_of(read(browser, "health/", **EXAMINE))

    assert "Does it answer? yes: a write took" in text
    assert "Are its writes seen? yes" in text
    assert "Does it honour timeouts? yes" in text


def test_finding_has_its_advice_and_is_text(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each state has its word."""
    found = [
        Finding("cache <b>", "Is it <i>?", "wrong", "no, <script>", "Do <u>."),
        Finding("cache <b>", "Else?", "notice", "perhaps"),
    ]
    monkeypatch.setattr(examination, "examine", lambda _: iter(found))

    html = read(browser, "health/", **EXAMINE)

    assert "cache <b> WRONG Is it <i>? no, <script> Do <u>. notice Else? perhaps" in text_of(html)
    assert [] == re.findall(r"<(?:b|i|u|script)>", html)


def test_password_of_a_location_is_masked(browser: Client, use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """No page shows one."""
    entry = cache_config("locmem") | {"LOCATION": "redis://ann:hunter2@localhost:1/0"}
    use_caches(default=entry)

    html = read(browser, "health/", **EXAMINE)

    assert ("localhost:1" in html, "hunter2" in html) == (True, False)


def test_pages_have_neither_scripts_nor_styles_inside(browser: Client) -> None:
    """So that a strict content security policy lets them be, and they work without JavaScript."""
    html = "".join(read(browser, page) for page in PAGES)

    assert [] == re.findall(r"<script|<style| style=| on\w+=", html)
    assert [] == re.findall(r"(?:src|href|action)=\"(?:https?:)?//", html)


def test_pages_are_of_the_site_that_serves_them(browser: Client) -> None:
    """Their addresses are those of the admin in which they are registered."""
    assert [views.CHANGELIST, views.EXPLAIN, views.INVALIDATE, views.HEALTH] == [
        browser.get(f"{ADMIN}{page}").resolver_match.url_name for page in PAGES
    ]
