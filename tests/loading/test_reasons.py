"""Each miss says why: a reason of a closed list, and which token is to blame."""

import asyncio
from collections.abc import Callable
from hashlib import sha256
from time import time
from typing import Any, get_args

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from cachedeco import Event, Namespace, cached_query, cached_query_many, listening, rows
from cachedeco.loading.reasons import MEANINGS
from cachedeco.runtime.events import BypassReason, MissReason
from tests.conftest import CacheConfig, UseCaches
from tests.models import Player
from tests.support.backends import Kind
from tests.support.clocks import replace_time
from tests.support.faults import faulty
from tests.support.releases import another_release
from tests.support.stored import stored, whole

pytestmark = pytest.mark.usefixtures("faulty_backend")


@cached_query(name="shop.price", namespace="price:{club}")
def price(club: int) -> int:
    """Return what a page is made of."""
    return club


@cached_query(
    timeout=300,
    name="shop.page",
    namespace="club:{club}",
    depends_on=["auth.User", rows(Player, squad_id="{club}")],
    stale_if_error=60,
)
def page(club: int) -> list[object]:
    """Return what depends on a nested call, on a table and on rows of another one, with a row inside."""
    return [price(club), User(pk=club)]


@cached_query(timeout=300, name="shop.page_of_the_day", stale_while_revalidate=60)
def page_of_the_day() -> str:
    """Return what depends on what the setting says."""
    return "today"


@cached_query_many(over="ids", name="shop.pages", namespace="club:{each}", timeout=60)
def pages(ids: list[int]) -> dict[int, int]:
    """Return what depends on a namespace, for many ids."""
    return {each: price(each) for each in ids}


@cached_query(timeout=300, name="shop.page_async", namespace="club:{club}")
async def page_async(club: int) -> int:
    """Return what depends on a namespace."""
    return club


def lose(key: str) -> Callable[[], object]:
    """Return what has the cache lose a key."""
    return lambda: stored().delete(whole(f"cd:{key}"))


def spoil() -> None:
    """Put something else in the place of the entry."""
    stored().set(page.key_for(7), b"no entry")


INVALIDATIONS: dict[str, Callable[[], object]] = {
    "this call": lambda: page.invalidate(7),
    "the function": page.invalidate_all,
    "namespace club": Namespace("club").invalidate,
    "namespace club:7": Namespace("club", 7).invalidate,
    "table auth_user": Namespace.for_model(User).invalidate,
    "rows of tests_player with squad_id 7": Namespace.for_model(Player, squad_id=7).invalidate,
    "the nested call shop.price(club=7)": lambda: price.invalidate(7),
    "the nested function shop.price()": price.invalidate_all,
    "namespace price:7": Namespace("price", 7).invalidate,
}
LOST = {
    "this call": lose("t:shop.page(club=7)"),
    "the function": lose("f:shop.page()"),
    "namespace club:7": lose("n:club:7"),
    "the nested call shop.price(club=7)": lose("t:shop.price(club=7)"),
}
CAUSES: dict[str, Callable[[], object]] = {
    "absent": lambda: stored().delete(page.key_for(7)),
    "unreadable": spoil,
    **{f"invalidated: {each}": cause for each, cause in INVALIDATIONS.items()},
    **{f"lost token: {each}": cause for each, cause in LOST.items()},
}
# What holds while the second call looks.
SITUATIONS: dict[str, Callable[[], Any]] = {
    "cache not read": lambda: faulty("get_many", raises=ConnectionError),
    "other models": another_release,
}


def hashed(key: str, *_: object) -> str:
    """Make a key of which nothing can be read."""
    return sha256(key.encode()).hexdigest()


def reasons_of(call: Callable[[], object]) -> list[str]:
    """Return the reasons of the misses of a call."""
    events: list[Event] = []
    with listening(events.append):
        call()
    return [each.reason for each in events if each.kind == "miss" and each.function.startswith("shop.page")]


@pytest.mark.parametrize("reason", CAUSES)
def test_miss_says_what_has_ended_the_entry(reason: str) -> None:
    """What is lost, spoilt or invalidated is named, the tokens of nested calls too."""
    page(7)
    page(7)

    CAUSES[reason]()

    assert [reason] == reasons_of(lambda: page(7))


@pytest.mark.parametrize("call", [page, lambda number: asyncio.run(page_async(number)), lambda number: pages([number])])
@pytest.mark.parametrize("kind", ["locmem", "redis", "our redis", "memcached", "ours"])
@pytest.mark.parametrize("planted", ["text", 7, ["list"]], ids=repr)
def test_value_that_is_no_entry_is_not_absent(
    planted: object, kind: Kind, call: Callable[[int], object], cache_config: CacheConfig, use_caches: UseCaches
) -> None:
    """Something lies under the key, in a form that the backend has for other values: who looks for it finds it."""
    use_caches(default=cache_config(kind))
    for key in (page.key_for(7), page_async.key_for(7), pages.keys_for([7])[7]):
        stored().set(key, planted)
    with listening((events := []).append):
        call(7)
        call(7)

    looked = [event for event in events if event.kind in {"miss", "hit"} and event.function.startswith("shop.page")]
    assert [("miss", "unreadable"), ("hit", "")] == [(event.kind, event.reason) for event in looked]


def test_first_call_has_no_entry() -> None:
    """Nothing was stored: that is no invalidation."""
    assert (["absent"], []) == (reasons_of(lambda: page(7)), reasons_of(lambda: page(7)))


@pytest.mark.parametrize("reason", SITUATIONS)
def test_miss_says_why_an_entry_that_lives_is_not_for_this_process(reason: str) -> None:
    """The entry is as it was, and the process can't read it, or asks for other tokens."""
    page(7)
    page(7)

    with SITUATIONS[reason]():
        assert [reason] == reasons_of(lambda: page(7))


@pytest.mark.parametrize(("passed", "reason"), [(299, []), (301, ["expired"])])
def test_entry_that_is_kept_for_errors_only_has_expired(
    monkeypatch: pytest.MonkeyPatch, passed: int, reason: list[str]
) -> None:
    """It still lies in the cache past its timeout."""
    page(7)
    began = time()
    replace_time(monkeypatch, lambda: began + passed)

    assert reason == reasons_of(lambda: page(7))


def test_each_of_many_ids_says_why() -> None:
    """The reasons of one call over many ids are those of single calls."""
    pages([1, 2, 3])
    pages.invalidate([1])
    Namespace("club", 2).invalidate()

    reasons = reasons_of(lambda: pages([1, 2, 3, 4]))

    assert ["invalidated: this call", "invalidated: namespace club:2", "absent"] == reasons


def test_caller_that_refreshes_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entry is served to others meanwhile."""
    page_of_the_day()
    began = time()
    replace_time(monkeypatch, lambda: began + 301)

    assert ["refresh"] == reasons_of(page_of_the_day)


def test_entry_of_a_call_that_depended_on_less_is_not_for_this_process() -> None:
    """A setting, or a table that the function has read since, has added a token."""
    page_of_the_day()

    with override_settings(CACHEDECO={"DEPENDS_ON": ["auth.User"]}):
        assert ["other dependencies"] == reasons_of(page_of_the_day)


def test_token_of_a_key_that_says_nothing_is_named_by_the_key(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """A KEY_FUNCTION may hash; the call's own token and its function's are known by their places all the same."""
    use_caches(default=cache_config("locmem", KEY_FUNCTION=hashed))
    page(7)
    reasons = []

    for namespace in ("club", "price"):
        Namespace(namespace, 7).invalidate()
        reasons += reasons_of(lambda: page(7))

    page.invalidate(7)
    assert [f"invalidated: {hashed('cd:n:club:7')}", f"invalidated: {hashed('cd:n:price:7')}"] == reasons
    assert ["invalidated: this call"] == reasons_of(lambda: page(7))


def test_list_of_reasons_is_closed() -> None:
    """Each reason of the list has a test here, and no other reason comes."""
    known = {each.partition(":")[0] for each in (*CAUSES, *SITUATIONS, "expired", "other dependencies", "refresh")}

    assert known == {*get_args(MissReason)}


def test_each_reason_has_a_meaning() -> None:
    """Explanations and the page of the admin have the same words for it."""
    assert {*get_args(MissReason), *get_args(BypassReason)} == {*MEANINGS}
