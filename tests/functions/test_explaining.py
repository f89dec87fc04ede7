"""`explain()` says what a call would do, and why; the event of the call then says the same."""

import json
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from threading import RLock
from time import monotonic, time
from typing import Any, ClassVar

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import transaction
from django.test import override_settings

from cachedeco import (
    Event,
    Explanation,
    Namespace,
    bypass,
    cached_query,
    gather,
    listening,
    mode,
    remembered,
    statistics,
)
from cachedeco.functions.explaining import explain_calls
from cachedeco.loading import leases
from cachedeco.loading.load import Miss
from cachedeco.loading.lookup import look_up
from cachedeco.loading.unstored import MOST_CALLS, UnstoredReasons
from cachedeco.loading.writing import NOT_WANTED, UNSERIALIZABLE, WITH_CSRF
from cachedeco.storage.store import Store
from tests.conftest import CacheConfig, UseCaches
from tests.loading.test_reasons import CAUSES, SITUATIONS, page, page_of_the_day, pages, price
from tests.models import Club, ClubClass, Member
from tests.support.backends import Commands
from tests.support.clocks import replace_time
from tests.support.faults import faulty
from tests.support.threads import in_thread

pytestmark = pytest.mark.usefixtures("faulty_backend")

CSRF_FIELD = f'<input type="hidden" name="csrfmiddlewaretoken" value="{"a" * 64}">'
ASKS = {"miss", "bypassed", "hit", "stale"}


@cached_query(60, name="shop.search")
def search(text: object, password: str = "") -> object:
    """Return what an argument that can't be a key leads past the cache."""
    return [text, password]


def told(call: Callable[[], object], function: str = "shop.page") -> list[tuple[str, str]]:
    """Return the kinds and the reasons of the events that say how a call was answered."""
    events: list[Event] = []
    with listening(events.append):
        call()
    return [(each.kind, each.reason) for each in events if each.kind in ASKS and each.function == function]


def broken_key(*_: object) -> str:
    """Make no key."""
    raise ValueError


@contextmanager
def open_breaker() -> Generator[None]:
    """Fail so often that nothing is sent any more."""
    with faulty(raises=OSError()):
        for _ in range(4):
            price(1)
        yield


@contextmanager
def invalidated_here(invalidate: Callable[[], object]) -> Generator[None]:
    """Invalidate in a transaction that goes on."""
    with transaction.atomic():
        invalidate()
        yield


OUTCOMES: dict[str, tuple[Callable[[], Any], tuple[str, str]]] = {
    "bypass": (bypass, ("bypassed", "mode bypass")),
    "off": (lambda: mode("off"), ("bypassed", "mode off")),
    "breaker": (open_breaker, ("miss", "cache not read: the circuit breaker is open")),
    **{
        f"{what}, in its transaction": (
            lambda invalidate=CAUSES[f"invalidated: {what}"]: invalidated_here(invalidate),
            ("bypassed", f"invalidated in this transaction: {what}"),
        )
        for what in ("this call", "the function", "namespace club:7", "rows of tests_player with squad_id 7")
    },
    "a nested call, in its transaction": (
        lambda: invalidated_here(lambda: price.invalidate(7)),
        ("miss", "invalidated: the nested call shop.price(club=7)"),
    ),
}


@pytest.mark.parametrize("reason", CAUSES)
def test_explanation_and_miss_name_the_same_cause(reason: str) -> None:
    """What has ended the entry is planted; the token that is to blame has another state than the others."""
    page(7)
    page(7)
    CAUSES[reason]()

    explained = page.explain(7)

    assert ("miss", reason) == (explained.outcome, explained.reason)
    assert [("miss", reason)] == told(lambda: page(7))
    kind, _, blamed = reason.partition(": ")
    states = {each.name: each.state for each in explained.tokens}
    if blamed:
        assert {"invalidated": "changed", "lost token": "lost"}[kind] == states.pop(blamed)
        assert {"unchanged", "changed", "unread"} >= set(states.values())


@pytest.mark.parametrize("reason", SITUATIONS)
def test_explanation_and_miss_agree_while_something_holds(reason: str) -> None:
    """The cache can't be read, or the entry is of another release."""
    page(7)
    page(7)

    with SITUATIONS[reason]():
        explained = page.explain(7)
        assert ("miss", reason) == (explained.outcome, explained.reason)
        assert [("miss", reason)] == told(lambda: page(7))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", OUTCOMES)
def test_explanation_and_event_agree_of_calls_that_the_cache_does_not_answer(name: str) -> None:
    """By a mode, by the breaker, or by what the transaction of the caller has invalidated."""
    page(7)
    page(7)
    situation, expected = OUTCOMES[name]

    with situation():
        explained = page.explain(7)
        assert expected == (explained.outcome, explained.reason)
        assert [expected] == told(lambda: page(7))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        (
            open_breaker,
            (
                "shop.page(7) would be a miss: the cache could not be read: the circuit breaker is open.\n"
                "manage.py cachedeco doctor says what is wrong with the cache.\n"
            ),
        ),
        (
            lambda: invalidated_here(lambda: page.invalidate(7)),
            (
                "shop.page(7) would bypass the cache: a transaction, or a block of deferred_invalidation(), that is "
                "open in this thread has invalidated it, for this thread alone until its end: this call.\n"
            ),
        ),
    ],
    ids=["not read", "invalidated here"],
)
def test_explanation_is_written_in_sentences(situation: Callable[[], Any], expected: str) -> None:
    """A reason and its detail are one sentence, and what to do is another one."""
    page(7)

    with situation():
        text = str(page.explain(7))

    assert expected == text[: len(expected)]


@pytest.mark.parametrize("is_back", [True, False], ids=["back", "away"])
@pytest.mark.parametrize("is_owed", [True, False], ids=["an invalidation is owed", "nothing is owed"])
def test_explanation_reads_a_cache_whose_next_command_would_probe(
    is_back: bool, is_owed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause of its circuit breaker is over. Not if an invalidation is owed: the entry may be that of before."""
    page(7)
    page(7)
    with open_breaker():
        if is_owed:
            page.invalidate(7)
    monkeypatch.setattr("cachedeco.storage.breaker.monotonic", lambda: monotonic() + 60)

    with nullcontext() if is_back else faulty(raises=OSError()):
        explained = page.explain(7)
        is_open = Store("default").is_breaker_open()
        called = told(lambda: page(7))

    closed = ("miss", "cache not read: the circuit breaker is open")
    assert is_open
    assert (closed if is_owed or not is_back else ("hit", "")) == (explained.outcome, explained.reason)
    assert [("miss", "invalidated: this call") if is_back and is_owed else ("hit", "") if is_back else closed] == called


@pytest.mark.django_db
@pytest.mark.usefixtures("isolated_caches")
def test_explanation_knows_what_a_block_inside_a_test_case_has_invalidated() -> None:
    """The block has ended, and Django calls no hook: the explanation delivers first, as a call does."""
    page(7)
    with transaction.atomic():
        page.invalidate(7)

    explained = page.explain(7)

    assert ("miss", "invalidated: this call") == (explained.outcome, explained.reason)


class Shop:
    """What has a method of each kind."""

    @cached_query(60, name="shop.of_class")
    @classmethod
    def of_class(cls, number: int) -> int:
        """Return the number."""
        return number

    @cached_query(60, name="shop.static")
    @staticmethod
    def static(number: int) -> int:
        """Return the number."""
        return number

    @cached_query(60, name="shop.of_object", ignore=("self",))
    def of_object(self, number: int) -> int:
        """Return the number."""
        return number


class Branch(Shop):
    """A subclass, whose class is another argument."""


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("shop.of_class", [lambda: Shop.of_class.call(1), lambda: Branch.of_class.call(1)]),
        ("shop.of_class", [lambda: Shop().of_class.call(2), lambda: Branch().of_class.call(2)]),
        ("shop.static", [lambda: Shop.static.call(1), lambda: Branch().static.call(2)]),
        ("shop.of_object", [lambda: Shop().of_object.call(1), lambda: Shop.of_object.call(Shop(), 2)]),
    ],
    ids=["class", "class of an object", "static", "object"],
)
def test_explanation_and_event_agree_of_methods(name: str, calls: list[Callable[[], Any]]) -> None:
    """Called on the class, on a subclass, or on an object, and gathered: none is taken for another one."""
    explained, events = [], []

    for call in (calls[0], calls[0], calls[1], calls[1]):
        explained.append(call().explain().outcome)
        events += [kind for kind, _ in told(lambda call=call: gather(call()), name)]

    assert ["miss", "hit", "miss", "hit"] == explained == events


def test_call_whose_key_cannot_be_made_is_explained() -> None:
    """By the setting it bypasses the cache, and else it raises, as the call does."""
    with override_settings(CACHEDECO={"KEY_ERRORS": "bypass"}):
        explained = search.explain(iter(()))
        assert [("bypassed", "no key")] == told(lambda: search(iter(())), "shop.search")
        assert ("bypassed", "no key", "") == (explained.outcome, explained.reason, explained.key)
        assert "iterator" in str(explained)
        with pytest.raises(TypeError):
            search.explain()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        search.explain(iter(()))
    with bypass():
        assert "mode bypass" == search.explain(iter(())).reason


def test_call_whose_key_function_raises_is_explained(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """The whole key is what is missing."""
    use_caches(default=cache_config("locmem", KEY_FUNCTION=broken_key))

    explained = search.explain("judo")

    assert ("bypassed", "key function failed") == (explained.outcome, explained.reason)
    assert [("bypassed", "key function failed")] == told(lambda: search("judo"), "shop.search")


SENTENCES = {"hit": "fresh", "stale": "while one caller refreshes", "miss": "past its timeout, and past"}


@pytest.mark.django_db
def test_entry_that_is_none_is_unreadable_in_a_transaction_too() -> None:
    """What the transaction has invalidated is something else."""
    page(7)
    CAUSES["unreadable"]()

    with transaction.atomic():
        Namespace("another").invalidate()
        explained = page.explain(7)

    assert "unreadable" == explained.reason


@pytest.mark.parametrize(("passed", "expected"), [(299, ("hit", "")), (301, ("stale", "")), (365, ("miss", "expired"))])
def test_time_decides_between_hit_stale_value_and_miss(
    monkeypatch: pytest.MonkeyPatch, passed: int, expected: tuple[str, str]
) -> None:
    """The entry says when it was due."""
    page_of_the_day()
    began = time()
    replace_time(monkeypatch, lambda: began + passed)

    explained = page_of_the_day.explain()

    assert expected == (explained.outcome, explained.reason)
    assert SENTENCES[expected[0]] in explained.why
    assert explained.entry is not None
    assert explained.entry.left is not None
    assert (300 - passed, passed, 60) == (
        round(explained.entry.left),
        round(explained.entry.age),
        explained.entry.stale,
    )


def test_token_tells_when_it_was_invalidated(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its birth time, also in the event of the miss; the others are as old as the entry."""
    now = [time()]
    replace_time(monkeypatch, lambda: now[0])
    page(7)
    now[0] += 100
    Namespace("club", 7).invalidate()
    now[0] += 60

    explained = page.explain(7)

    ages = {each.name: each.age for each in explained.tokens}
    assert (60, 160) == (round(ages["namespace club:7"] or 0), round(ages["this call"] or 0))
    assert "it was invalidated 1 min ago: namespace club:7" == explained.why
    events: list[Event] = []
    with listening(events.append):
        page(7)
    assert [60] == [round(each.seconds) for each in events if each.kind == "miss"]


def test_another_version_or_argument_is_named_as_a_cause() -> None:
    """Where nothing lies under the key, what is stored under another one may be what the caller looks for."""
    first, second = (cached_query(3600, name="shop.sale", version=n)(lambda number: number) for n in (1, 2))
    first(7)

    explained = [first.explain(7), first.explain("7"), second.explain(7)]

    assert ["hit", "miss", "miss"] == [each.outcome for each in explained]
    assert all("with these arguments and this version" in each.why for each in explained[1:])


def test_explaining_changes_and_counts_nothing(commands: Commands) -> None:
    """It reads; in the mode "off" it does not even do that. A cache that fails is no event, and opens no breaker."""
    page(7)
    page(7)
    before, events = statistics(), list[Event]()
    commands.clear()

    with listening(events.append):
        page.explain(7)
        page.call(8).explain()
        pages.explain([1, 2])
        with faulty(raises=OSError()):
            found = [page.explain(7) for _ in range(5)]
        asked = set(commands.names)
        commands.clear()
        with mode("off"):
            page.explain(7)

    assert ({}, [], {"get_many"}, []) == ((statistics() - before).functions, events, asked, commands.names)
    assert {("cache not read", "OSError")} == {(each.reason, each.error) for each in found}
    assert not Store("default").is_breaker_open()


@pytest.mark.parametrize(
    ("backend", "location", "error"),
    [
        ("memcached.MemcachedCache", "127.0.0.1:1", "MemcachedConnectionError"),
        ("redis.RedisCache", "redis://127.0.0.1:1", "RedisCacheConnectionError"),
    ],
)
def test_explanation_names_a_server_that_is_out_of_reach(
    backend: str, location: str, error: str, use_caches: UseCaches
) -> None:
    """Although the reads of our own backends find nothing there, and raise nothing."""
    use_caches(default={"BACKEND": f"cachedeco.backends.{backend}", "LOCATION": location})

    explained = [page.explain(7), pages.explain([*range(1000)])[7]]

    assert {("miss", "cache not read")} == {(each.outcome, each.reason) for each in explained}
    assert all(each.error.startswith(f"{error}: get failed, as ") for each in explained)
    assert all(each.why.endswith("Start it, or repair the network") for each in explained)


@pytest.mark.parametrize("text", [str, repr])
def test_explanation_shows_no_secret(text: Callable[[object], str]) -> None:
    """It may be pasted into a ticket, as JSON too."""
    search("judo", "hunter2")

    explained = search.explain("judo", password="hunter2")  # noqa: S106 -- of a test

    assert "hunter2" not in text(explained)
    assert explained.as_dict() == json.loads(json.dumps(explained.as_dict()))
    assert "hunter2" not in json.dumps(explained.as_dict())


@cached_query(60, name="shop.account", namespace="token:{token}")
def account(token: str, password: str) -> str:
    """Return what a token of the cache has a secret in its name for, twice."""
    return token + password


@cached_query(60, name="shop.overview")
def overview() -> list[str]:
    """Return what nests such a call."""
    return [account("tok3n", password="hunter2")]  # noqa: S106 -- of a test


@pytest.mark.parametrize("is_open", [False, True], ids=["committed", "in a transaction"])
@pytest.mark.parametrize(
    ("end", "named"),
    [
        (lambda: account.invalidate("tok3n", password="hunter2"), "the nested call shop.account(token=***"),  # noqa: S106
        (Namespace("token", "tok3n").invalidate, "namespace token:***"),
    ],
    ids=["nested call", "namespace"],
)
@pytest.mark.django_db(transaction=True)
def test_reason_shows_no_secret(end: Callable[[], object], named: str, *, is_open: bool) -> None:
    """A token that ends an entry is named in the reason as in the list of tokens, and its age is told."""
    overview()
    with transaction.atomic() if is_open else nullcontext():
        end()

        explained = overview.explain()

    assert f"invalidated: {named}" == explained.reason
    assert not {"tok3n", "hunter2"} & {*re.findall(r"\w+", json.dumps(explained.as_dict()) + str(explained))}
    assert is_open or f" ago: {named}" in explained.why


def test_each_of_many_ids_is_explained(commands: Commands) -> None:
    """By one read for all, or two where nested tokens are not known yet."""
    pages([1, 2])
    pages.invalidate([2])
    commands.clear()

    explained = pages.explain([1, 2, 3])

    assert {1: "", 2: "invalidated: this call", 3: "absent"} == {
        each: found.reason for each, found in explained.items()
    }
    assert "shop.pages([3])" == explained[3].call
    assert len(commands.names) <= 2
    assert {} == pages.explain([])
    assert {} == explain_calls(pages._spec, {}, {})


def test_async_code_explains() -> None:
    """By the twins, of functions and of calls, one and many."""

    async def explain() -> tuple[list[Explanation], list[dict[int, Explanation]]]:
        return (
            [await page.aexplain(9), await page.call(9).aexplain()],
            [await pages.aexplain([9]), await pages.call([9]).aexplain()],
        )

    explained, several = async_to_sync(explain)()

    assert ["absent", "absent"] == [each.reason for each in explained]
    assert [["absent"], ["absent"]] == [[each.reason for each in some.values()] for some in several]


@pytest.mark.django_db
def test_value_of_another_release_of_the_block_is_a_hit_by_its_memory() -> None:
    """What the block has read is served from it, while another process may have invalidated it."""
    search("judo")

    with remembered():
        search("judo")
        in_thread(lambda: Store("default").delete(search.key_for("judo")))
        explained = search.explain("judo")

    assert ("hit", True) == (explained.outcome, explained.is_remembered)
    assert "has read it before" in explained.why
    assert "absent" == search.explain("judo").reason


def test_stored_exception_and_no_timeout_are_told() -> None:
    """An entry without a timeout ends when it is invalidated, and may be an exception."""

    @cached_query(timeout=None, name="shop.missing", cache_exceptions={LookupError: None})
    def missing() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        missing()

    explained = missing.explain()

    assert explained.entry is not None
    assert (True, None, "hit") == (explained.entry.is_error, explained.entry.left, explained.outcome)
    assert "an exception, " in str(explained)
    assert "none: until it is invalidated" in str(explained)


def test_miss_that_would_wait_for_a_caller_of_this_process_says_so() -> None:
    """It would be given the value that is being computed."""
    explained: list[Explanation] = []

    @cached_query(60, name="shop.slow", ignore=("explained",))
    def slow(number: int) -> int:
        in_thread(lambda: explained.append(slow.explain(number)))
        return number

    slow(1)

    assert "another caller of this process" == explained[0].waits_for
    assert "It would wait for another caller of this process" in str(explained[0])


@pytest.mark.parametrize("invalidate", ["invalidate", "invalidate_all"])
def test_miss_does_not_wait_for_a_computation_that_was_invalidated(invalidate: str) -> None:
    """The first one of its function, which has made its tokens: a call now computes by itself."""
    explained: list[Explanation] = []

    @cached_query(60, name=f"shop.first.{invalidate}", ignore=("explained", "invalidate"))
    def first() -> None:
        in_thread(getattr(first, invalidate))
        explained.append(in_thread(first.explain))

    first()

    assert [("miss", "")] == [(each.outcome, each.waits_for) for each in explained]


def test_miss_that_would_wait_for_another_process_says_so() -> None:
    """The lease is in the cache, and a tombstone is none."""
    price.refresh(3)
    Store("default").delete(price.key_for(3))
    policy, keys = price._spec.resolve_call((3,), {})
    miss = Miss(None, look_up(policy, [keys])[0])
    miss.stamp = miss.tokens
    lease = leases.lease_of(policy, [miss])
    waits = [price.explain(3).waits_for]

    lease.take()
    waits.append(price.explain(3).waits_for)
    lease.end(leases.STORED)
    waits.append(price.explain(3).waits_for)

    assert ["", "another process", ""] == waits


@pytest.mark.django_db(transaction=True)
def test_tables_of_a_process_that_has_not_called_yet_are_known() -> None:
    """A command explains what other processes have stored under AUTO; and learns nothing for the calls of its own."""

    @cached_query(60, name="shop.clubs", depends_on=["auto"])
    def clubs() -> list[str]:
        return [club.name for club in Club.objects.all()]

    clubs()
    clubs._spec._resolved = None  # as in a process that begins

    explained = clubs.explain()

    assert "hit" == explained.outcome
    assert "table tests_club" in [each.name for each in explained.tokens]
    tables: Any = clubs._spec.resolve().policy.tables
    assert frozenset() == tables.names


@cached_query(60, name="shop.users", depends_on=["auto"])
def users() -> list[str]:
    """Return what is read inside another computation."""
    return [user.username for user in User.objects.all()]


@cached_query(60, name="shop.lesson_names", namespace="club:{club.pk}", depends_on=["auto", "tests.Member"])
def lesson_names(club: Club) -> list[str]:
    """Return what depends on a namespace, a model, a row among its arguments, statements, and a nested call."""
    return [*users(), club.name, *[each.name for each in ClubClass.objects.filter(club=club.pk)]]


@pytest.mark.django_db(transaction=True)
def test_explanation_says_what_has_brought_each_token() -> None:
    """Who asks why a write has ended an entry learns whether an option, a row, the function or a nested call did it."""
    club = Club.objects.create(name="North")
    lesson_names(club)

    tokens = lesson_names.explain(club).tokens

    assert [
        ("this call", "itself", ""),
        ("the function", "itself", ""),
        ("namespace club", "options", ""),
        (f"namespace club:{club.pk}", "options", ""),
        ("table tests_member", "options", ""),
        ("table tests_clubclass", "AUTO", ""),
        ("table tests_club", "arguments", ""),
        ("the nested call shop.users()", "nested", "shop.users"),
        ("the nested function shop.users()", "nested", "shop.users"),
        ("table auth_user", "nested", "shop.users"),
    ] == [(each.name, each.source, each.nested) for each in tokens]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("write", "line", "clause"),
    [
        (User.objects.create, "              changed   table auth_user", ", on which shop.users() inside it depends."),
        (Club.objects.create, "  arguments   changed   table tests_club", ", of a row among its arguments."),
        (Member.objects.create, "              changed   table tests_member", "table tests_member."),
        (users.invalidate, "  inside      changed   the nested call shop.users()", "the nested call shop.users()."),
    ],
)
def test_text_of_an_explanation_says_what_has_brought_the_token_to_blame(
    write: Callable[[], object], line: str, clause: str
) -> None:
    """In the first line, and before the tokens of each source."""
    club = Club.objects.create(name="North")
    lesson_names(club)
    write()

    first, *others = str(lesson_names.explain(club)).splitlines()

    assert first.endswith(clause)
    assert next(each for each in others if " changed " in each).startswith(line)


@pytest.mark.django_db(transaction=True)
def test_argument_that_cannot_be_looked_through_does_not_stop_an_explanation() -> None:
    """What its class raises is no answer to who asks why nothing is stored."""

    class Broken(dict[str, object]):
        def values(self) -> Any:
            raise ValueError

    @cached_query(60, name="shop.clubs_by_options", depends_on=["auto"], ignore=("options",))
    def clubs(options: object) -> list[str]:  # noqa: ARG001 -- looked through for rows
        return [club.name for club in Club.objects.all()]

    clubs(None)

    assert "hit" == clubs.explain(Broken()).outcome


class Results:
    """What a function returns, by the name of the call."""

    values: ClassVar[dict[str, Any]] = {"plain": 1, "unwanted": None, "lock": RLock(), "form": CSRF_FIELD}


@cached_query(60, name="shop.result", cache_if=lambda value: value is not None)
def result(name: str) -> object:
    """Return what is stored, or is not."""
    return Results.values[name]


@pytest.mark.parametrize(("name", "reason"), [("unwanted", NOT_WANTED), ("lock", UNSERIALIZABLE), ("form", WITH_CSRF)])
def test_explanation_says_why_the_last_value_was_not_stored(name: str, reason: str) -> None:
    """From the first call on, as the event does."""
    result("plain")
    for _ in range(2):
        result(name)

        explained = result.explain(name)

        assert ("miss", reason) == (explained.outcome, explained.unstored)
        assert reason in str(explained)
        assert reason == explained.as_dict()["unstored"]
    assert "" == result.explain("plain").unstored


def test_explanation_of_a_value_that_is_stored_by_now_says_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier value was is forgotten, also once the entry has ended."""
    result("unwanted")
    monkeypatch.setitem(Results.values, "unwanted", 7)
    result("unwanted")
    result.invalidate("unwanted")

    explained = result.explain("unwanted")

    assert ("miss", "") == (explained.outcome, explained.unstored)


def test_reasons_are_remembered_of_a_bounded_number_of_calls() -> None:
    """Those of the last ones."""
    reasons = UnstoredReasons()
    for n in range(MOST_CALLS + 1):
        reasons.add(f"key {n}", "why")
    reasons.add("key 1", "another")
    reasons.add("new", "why")

    assert ["", "another", "", "why"] == [reasons.get(f"key {n}") for n in range(4)]
