"""The panel: what the cache did in each request, read from the real toolbar through Django's test client."""

import asyncio
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from threading import Barrier, current_thread
from time import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.cache import CacheHandler, caches
from django.http import StreamingHttpResponse
from django.test import AsyncClient, Client, override_settings

from cachedeco import Event, Namespace, bypass, remembered
from cachedeco.contrib.debug_toolbar import panel, recording
from cachedeco.contrib.debug_toolbar.recording import SentInvalidation, SentInvalidations, caller
from cachedeco.contrib.observing import ObservedCommand, last_read
from cachedeco.runtime.hooks import emit, remove_hook
from cachedeco.storage import connections
from tests.conftest import CacheConfig, UseCaches
from tests.contrib import toolbar_site as site
from tests.support.backends import Kind
from tests.support.clocks import replace_time
from tests.support.faults import faulty
from tests.support.stored import stored, whole
from tests.support.threads import PATIENCE_SECONDS, started

SPAN = r"[\d.]+ (?:µs|ms|s)"

pytestmark = pytest.mark.django_db(transaction=True)

SETTINGS: dict[str, Any] = {
    "DEBUG": True,
    "ROOT_URLCONF": "tests.contrib.toolbar_urls",
    "MIDDLEWARE": ["debug_toolbar.middleware.DebugToolbarMiddleware"],
    "STATIC_URL": "static/",
    "INTERNAL_IPS": ["127.0.0.1"],
    "DEBUG_TOOLBAR_PANELS": [
        "debug_toolbar.panels.sql.SQLPanel",
        "debug_toolbar.panels.cache.CachePanel",
        "cachedeco.contrib.debug_toolbar.CachedecoPanel",
    ],
    "TEMPLATES": [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
}


@pytest.fixture(autouse=True)
def _toolbar(_fresh_cache: None) -> Iterator[None]:
    """Install the toolbar, and take out all that it and the panel have put in."""
    apps = [*django_settings.INSTALLED_APPS, "django.contrib.staticfiles", "debug_toolbar"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CacheHandler, "create_connection", CacheHandler.create_connection)
        for name in ("DEBUG_TOOLBAR_PANELS", "STATIC_URL"):  # wanted by its app when that is made ready
            patch.setattr(django_settings, name, SETTINGS[name], raising=False)
        with override_settings(INSTALLED_APPS=apps), override_settings(**SETTINGS):
            yield
    del CacheHandler._djdt_patched  # type: ignore[attr-defined] # set by its panel of caches
    remove_hook(panel.record)
    connections.observe_with(None)
    store().clear()
    site.acts.clear()
    site.async_acts.clear()


def store() -> Any:
    """Return the toolbar's store, whose module needs the app."""
    from debug_toolbar.store import MemoryStore

    return MemoryStore


def visit(act: Callable[[], object], name: str = "page") -> dict[str, Any]:
    """Request a page that does something; return what the panel has recorded."""
    site.acts[name] = act
    assert 200 == Client().get(f"/page/{name}/").status_code
    stats: dict[str, Any] = store().panel(store().request_ids()[-1], "CachedecoPanel")
    return stats


def commands_in_panel_of_caches() -> dict[str, int]:
    """Return how many commands of each kind the toolbar's own panel has counted in the last request."""
    stats = store().panel(store().request_ids()[-1], "CachePanel")
    return {name: count for name, count in stats["counts"].items() if count}


def text_of_panel(panel_id: str = "CachedecoPanel") -> str:
    """Return the text that the toolbar shows in a panel of the last request, as it fetches it."""
    request_id = store().request_ids()[-1]
    answer = Client().get("/__debug__/render_panel/", {"request_id": request_id, "panel_id": panel_id})
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.json()["content"])).split())


def test_request_without_a_call_says_so() -> None:
    """An empty panel is no riddle."""
    visit(lambda: None)

    assert "This request called no cached function, and invalidated nothing." in text_of_panel()


def test_response_that_streams_is_said_to() -> None:
    """What is called while it is sent comes after the toolbar: the panel must not say that there was nothing more."""
    stats = visit(lambda: StreamingHttpResponse(site.title(each) for each in range(3)))

    assert (True, 0) == (stats["is_streamed"], stats["calls"])
    assert "This response is streamed" in text_of_panel()
    assert False is visit(lambda: site.title(7))["is_streamed"]


def test_miss_has_its_reason_and_its_cost() -> None:
    """A miss says why, what it cost in time and queries, what was called with what, and by which line."""
    stats = visit(lambda: site.title(7))
    outer, inner = stats["rows"]

    assert [("title", "page=7", "miss", "absent", 2, False), ("names", "page=7", "miss", "absent", 1, True)] == [
        tuple(row[each] for each in ("name", "arguments", "outcome", "reason", "statements", "is_nested"))
        for row in (outer, inner)
    ]
    assert outer["computing"] > inner["computing"] > 0
    assert (stats["computing"], stats["statements"]) == (outer["computing"], 2)
    assert re.fullmatch(r"tests\.contrib\.test_debug_toolbar\.\S+<lambda>, line \d+", outer["where"])
    assert "tests.contrib.toolbar_site.title" in inner["where"]


def test_hit_has_what_it_saved() -> None:
    """A hit says what its computation took, in time and queries, how old the entry is, and how large."""
    visit(lambda: site.names(7))

    stats = visit(lambda: (site.names(7), site.names(7)))

    assert {"hit": 2} == dict(stats["outcomes"])
    assert [1, 1] == [row["statements_saved"] for row in stats["rows"]]
    assert [True] * 2 == [row["saved"] > 0 and row["look_up"] > 0 and row["size"] > 0 for row in stats["rows"]]
    assert all(re.fullmatch(SPAN, row["age"]) for row in stats["rows"])
    assert (0, 2) == (stats["statements"], stats["statements_saved"])
    assert "2 hit" in text_of_panel()


CAUSES: dict[str, tuple[Callable[[], object], str]] = {
    "a save": (lambda: User.objects.create(username="new"), "invalidated: table auth_user"),
    "a namespace": (Namespace("page", 7).invalidate, "invalidated: namespace page:7"),
    "the call": (lambda: site.names.invalidate(7), "invalidated: this call"),
    "the function": (site.names.invalidate_all, "invalidated: the function"),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_miss_says_who_has_invalidated(cause: str) -> None:
    """What ended an entry is named with the request that did it, the line, and when."""
    invalidate, reason = CAUSES[cause]
    visit(lambda: site.names(7))
    stats = visit(invalidate, "write")
    [row] = stats["invalidations"][-1:]

    stats = visit(lambda: site.names(7))

    assert [reason] == [row["reason"] for row in stats["rows"]]
    assert re.fullmatch(rf"by GET /page/write/ at {re.escape(row['where'])}, {SPAN} ago", stats["rows"][0]["ended"])
    assert f"{reason} by GET /page/write/" in text_of_panel()


LOSSES: dict[str, Callable[[], object]] = {
    "absent": lambda: stored().delete(site.names.key_for(7)),
    "unreadable": lambda: stored().set(site.names.key_for(7), b"no entry"),
    "lost token: namespace page:7": lambda: stored().delete(whole("cd:n:page:7")),
    "invalidated: namespace page": Namespace("page").invalidate,
}


@pytest.mark.parametrize("reason", LOSSES)
def test_every_cause_of_a_miss_is_in_the_panel(reason: str) -> None:
    """An entry that is gone or can't be read, a token that the cache has lost, and the namespace above, too."""
    visit(lambda: site.names(7))
    LOSSES[reason]()

    stats = visit(lambda: site.names(7))

    assert (
        [reason] == [row["reason"] for row in stats["rows"]] == [each for each, _ in stats["functions"][0]["reasons"]]
    )
    assert f"miss : {reason}" in text_of_panel()


def test_entry_past_its_timeout_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry whose time is over is no mystery either."""
    visit(lambda: site.names(7))
    replace_time(monkeypatch, lambda: time() + 301)

    assert ["expired"] == [row["reason"] for row in visit(lambda: site.names(7))["rows"]]


def test_cache_out_of_reach_is_told(use_caches: UseCaches) -> None:
    """The reason is the cache's failure, and the failure is among the problems."""
    use_caches(default="faulty")

    def act() -> None:
        with faulty(raises=ConnectionError("refused")):
            site.names(7)

    stats = visit(act)

    assert ["cache not read"] == [row["reason"].partition(":")[0] for row in stats["rows"]]
    assert "ConnectionError: refused" in stats["problems"][0]["text"]
    assert "Problems and advice" in text_of_panel()


def test_nested_call_that_was_invalidated_is_named() -> None:
    """The reason of an outer miss is the inner call's token, and what ended that is known, too."""
    visit(lambda: site.title(7))
    visit(lambda: site.names.invalidate(7), "write")

    [outer, _] = visit(lambda: site.title(7))["rows"]

    assert "invalidated: the nested call site.names(page=7)" == outer["reason"]
    assert outer["ended"].startswith("by GET /page/write/ at ")


def test_invalidation_outside_requests_is_named_by_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another thread of this process has invalidated is known, and of what another process has, when."""
    site.names(7)
    site.names.invalidate(7)
    [here] = visit(lambda: site.names(7))["rows"]
    site.names.invalidate(7)
    monkeypatch.setattr(panel, "_ends", SentInvalidations())  # as in another process

    [elsewhere] = visit(lambda: site.names(7))["rows"]

    where = r"tests\.contrib\.test_debug_toolbar\.test_\w+, line \d+"
    assert re.fullmatch(rf"by {where}, {SPAN} ago", here["ended"])
    assert "invalidated: this call" == elsewhere["reason"]
    assert re.fullmatch(f"{SPAN} ago", elsewhere["ended"])


def test_oldest_invalidation_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that runs for days remembers a thousand, and for each subject the last."""
    monkeypatch.setattr(recording, "MOST_ENDS", 2)
    ends = SentInvalidations()
    for request in "abc":
        ends.add(f"table {request}", SentInvalidation(time(), request, ""))
    ends.add("table b", SentInvalidation(time(), "", ""))

    found = [ends.find(f"invalidated: table {table}", "", "") for table in "abc"]

    assert ["", "by another thread, ", "by c, "] == [re.sub(f"{SPAN} ago", "", each) for each in found]


def test_invalidations_are_named_once_for_each_line() -> None:
    """A loop of saves is one row with a number, and says what was invalidated and where."""
    stats = visit(lambda: [User.objects.create(username=f"new {number}") for number in range(3)])

    assert [("table auth_user", ["default"], 3)] == [
        (row["subject"], row["caches"], row["times"]) for row in stats["invalidations"]
    ]
    assert "table auth_user 3 default tests.contrib.test_debug_toolbar" in text_of_panel()


def test_call_over_many_ids_is_a_row_for_each_id() -> None:
    """The time of the one look-up is counted once; what the misses cost is counted once, too."""
    visit(lambda: site.users([1, 2]))
    stats = visit(lambda: site.users([1, 2, 3, 4]))

    assert {"hit": 2, "miss": 2} == dict(stats["outcomes"])
    assert 1 == len([row for row in stats["rows"] if row["look_up"]])
    assert 1 == len([row for row in stats["rows"] if row["computing"]])
    assert "4 calls of 1 cached function" in text_of_panel()


def test_bypassed_and_unstored_calls_say_so() -> None:
    """A call that bypasses the cache is one, and a value that can't be stored says why; a secret is hidden."""

    def act() -> None:
        with bypass():
            site.names(7)
        site.callback("hunter2")
        site.callback("hunter2")

    stats = visit(act)
    text = text_of_panel()

    assert {"miss": 2, "bypassed": 1} == dict(stats["outcomes"])
    assert 1 == stats["rows"][0]["statements"]
    assert stats["rows"][2]["unstored"] in text
    assert ["error"] == [each["kind"] for each in stats["problems"]]
    assert "hunter2" not in text


def test_bypassed_calls_inside_each_other_have_costs_of_their_own() -> None:
    """They have no key by which to tell them apart."""

    def act() -> None:
        with bypass():
            site.countdown(2)

    rows = visit(act)["rows"]

    assert [1, 1, 1] == [row["statements"] for row in rows]
    assert rows[0]["computing"] > rows[1]["computing"] > rows[2]["computing"] > 0


def test_memory_of_a_request_is_told_from_the_cache() -> None:
    """What the request remembers has taken no look-up."""

    def act() -> None:
        with remembered():
            site.names(7)
            site.names(7)

    visit(lambda: site.names(7))
    stats = visit(act)

    assert [("hit", True), ("remembered", False)] == [(row["outcome"], row["look_up"] > 0) for row in stats["rows"]]


def test_stale_value_and_shared_one_are_served() -> None:
    """What no read has found, and what another caller has computed, have saved the cost; others are known by time."""

    def act() -> None:
        last_read.set(ObservedCommand(0, 10**6, ["cd:e:site.gone(0||pickle-5.2)"], [None]))  # its transaction has it
        emit(Event("hit", "site.gone", key="cd:e:site.gone(0||pickle-5.2)", cache="default", seconds=0.125))
        emit(Event("stale", "site.gone", key="cd:e:site.gone(1||pickle-5.2)", cache="default", seconds=0.5))
        emit(Event("miss", "site.gone", key="cd:e:site.gone(2||pickle-5.2)", reason="invalidated: table a", seconds=75))
        emit(Event("shared", "site.gone", key="cd:e:site.gone(2||pickle-5.2)", cache="default", seconds=0.25))
        emit(Event("stored", "site.gone", key="cd:e:site.gone(3||pickle-5.2)", cache="default"))
        emit(Event("audited", "site.gone", key="cd:e:site.gone(3||pickle-5.2)", cache="default"))
        emit(Event("stored", "site.gone", key="cd:e:site.gone(2||pickle-5.2)", cache="default"))

    stats = visit(act)

    assert [("0", 125), ("1", 500), ("2", 250)] == [(row["arguments"], row["saved"]) for row in stats["rows"]]
    assert {"hit": 1, "remembered": 1, "shared": 1} == dict(stats["outcomes"])
    assert ["", "", "1.2 min ago"] == [row["ended"] for row in stats["rows"]]


def test_toolbar_shows_a_subtitle_and_a_title() -> None:
    """The bar says how many calls the cache has answered."""
    site.acts["page"] = lambda: (site.names(7), site.names(7))
    page = Client().get("/page/page/").content.decode()
    site.acts["page"] = lambda: None
    empty = Client().get("/page/page/").content.decode()

    assert "1 of 2 calls from the cache" in page
    assert "no calls" in empty
    assert "Cached functions" in page


@pytest.mark.parametrize("kind", ["locmem", "file"])
def test_panel_of_caches_counts_no_command_of_ours(
    kind: Kind, use_caches: UseCaches, cache_config: CacheConfig
) -> None:
    """It would count each token of a call; what the project does with its caches it counts as before."""
    use_caches(default=cache_config(kind))

    def act() -> None:
        site.names(7)
        caches["default"].get("own")

    for _ in range(2):
        visit(act)
        assert {"get": 1} == commands_in_panel_of_caches()


def test_panel_of_caches_counts_no_command_of_async_views() -> None:
    """Commands that a view on an event loop sends, there or in other threads, are left out as well."""

    async def act() -> None:
        await site.answer(7)
        await sync_to_async(site.names)(7)
        await caches["default"].aget("own")

    site.async_acts["page"] = act
    for _ in range(2):
        asyncio.run(AsyncClient().get("/async/page/"))
        assert {"get": 1} == commands_in_panel_of_caches()


def test_broken_settings_are_left_to_the_page() -> None:
    """The panel opens no cache that is not there: a page without a call is served, as without the panel."""
    with override_settings(CACHEDECO={"ALIASES": ["missing"]}):
        assert 0 == visit(lambda: None)["calls"]


def test_requests_of_several_threads_are_apart() -> None:
    """Two requests at the same time have the calls of their own."""
    barrier = Barrier(2, timeout=PATIENCE_SECONDS)

    def act() -> None:
        barrier.wait()
        site.users([int(current_thread().name)])
        barrier.wait()

    def request(number: int) -> None:
        current_thread().name = str(number)
        Client().get("/page/page/")

    site.acts["page"] = act
    with started(lambda: request(1)), started(lambda: request(2)):
        pass

    panels = [store().panel(each, "CachedecoPanel") for each in store().request_ids()]
    assert [["each=1"], ["each=2"]] == sorted([row["arguments"] for row in stats["rows"]] for stats in panels)


def test_async_view_has_its_calls() -> None:
    """The calls of an async view are those of its task, on the event loop and where they run in another thread."""

    async def act() -> None:
        await site.answer(7)
        await site.answer(7)

    site.async_acts["page"] = act
    asyncio.run(AsyncClient().get("/async/page/"))
    stats = store().panel(store().request_ids()[-1], "CachedecoPanel")

    assert ["miss", "hit"] == [row["outcome"] for row in stats["rows"]]
    assert [True, True] == [row["look_up"] > 0 for row in stats["rows"]]


def test_thread_without_code_of_the_project_has_no_line() -> None:
    """In a thread that asgiref has started there may be no frame of the project."""
    with ThreadPoolExecutor(1) as pool:
        assert "" == pool.submit(caller).result()
