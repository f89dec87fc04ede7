"""A hit of async code: where it runs on the event loop alone, and what is asked in the thread of the connections."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, ThreadSensitiveContext, async_to_sync, sync_to_async
from django.db import connection, connections, transaction
from django.utils import translation
from django.utils.functional import SimpleLazyObject
from django.utils.timezone import get_current_timezone_name

from cachedeco import (
    AUTO,
    Event,
    Namespace,
    agather,
    bypass,
    cached_query,
    cached_query_many,
    listening,
    mode,
    remembered,
)
from cachedeco.invalidation import commits
from cachedeco.loading.computing import MOST_ON_LOOP
from cachedeco.storage.breaker import breakers, record_failure
from cachedeco.storage.connections import on_loops
from cachedeco.storage.store import Store
from cachedeco.testing import isolated
from cachedeco.tracking.watcher import watch
from tests.conftest import CacheConfig, UseCaches
from tests.models import Club, ClubClass
from tests.support.clubs import Undone
from tests.support.events import heard
from tests.support.hops import hops
from tests.support.threads import Gate, started

Call = Callable[[], Awaitable[object]]


def hops_of_hit(call: Call, around: Callable[[], Any] = nullcontext) -> int:
    """Return how often a call changes threads when its value is stored; *around* opens what it is called in."""

    async def scene() -> int:
        first = await call()
        with around(), hops() as counted:
            again = await call()
        assert first == again
        return len(counted)

    return asyncio.run(scene())


@cached_query(namespace="loop:{number}")
async def plain(number: int) -> list[int]:
    """Return a value."""
    return [number]


@cached_query
async def named(*, club: Any, page: int = 1) -> str:
    """Return the name of a row that is a part of the key."""
    return f"{club.pk} {page}"


@cached_query(key="{club.pk}", namespace="club:{club.pk}")
async def templated(club: Any) -> int:
    """Return a value for a row that a template reads."""
    return int(club.pk)


@cached_query_many(over="numbers", namespace="loop:{each}")
async def many(numbers: Iterable[int]) -> dict[int, list[int]]:
    """Return values by number."""
    return {number: [number] for number in numbers}


@cached_query
def sync(number: int) -> list[int]:
    """Return a value from sync code."""
    return [number]


@cached_query
async def outer(number: int) -> list[list[int]]:
    """Return what a cached function inside it returns."""
    return [await plain(number)]


@cached_query(vary=[translation.get_language, get_current_timezone_name])
async def in_language(number: int) -> str:
    """Return a value that differs by language."""
    return f"{translation.get_language()} {number}"


@cached_query(early=1.0, timeout=60)
async def early(number: int) -> int:
    """Return a value that may be refreshed early."""
    return number


@cached_query(cache_exceptions={LookupError: 60})
async def failing(number: int) -> int:
    """Raise what is stored."""
    raise LookupError(number)


class Counter:
    """A class with a cached method."""

    __cache_key__ = 7

    @cached_query(ignore=("self",))
    async def method(self, number: int) -> int:
        """Return a value."""
        return number

    @cached_query
    @classmethod
    async def of_class(cls, number: int) -> str:
        """Return a value."""
        return f"{cls.__name__} {number}"


CLUB = Club.from_db("default", ["id", "name"], [7, "chess"])


async def _failed() -> None:
    with suppress(LookupError):
        await failing(1)


ON_LOOP: dict[str, Call] = {
    "a function": lambda: plain(1),
    "a call": plain.call(1),
    "a row among the arguments": lambda: named(club=CLUB),
    "a template": lambda: templated(CLUB),
    "a method": lambda: Counter().method(1),
    "a classmethod": lambda: Counter.of_class(1),
    "by the language": lambda: in_language(1),
    "early refresh": lambda: early(1),
    "a stored exception": _failed,
    "with a call inside": lambda: outer(1),
    "many ids": lambda: many([1, 2]),
    "a call of many ids": many.call({1: 0, 2: 0}.keys()),
    "gathered": lambda: agather(plain.call(1), many.call([1, 2]), plain.call(1)),
    "gathered, of sync functions": lambda: agather(sync.call(1), plain.call(1)),
}


@pytest.mark.parametrize("call", ON_LOOP.values(), ids=ON_LOOP)
def test_hit_changes_no_thread(call: Call) -> None:
    """A key of arguments, and a cache that is read on the loop: a hit is served there."""
    assert hops_of_hit(call) == 0


@pytest.mark.parametrize("call", ON_LOOP.values(), ids=ON_LOOP)
def test_hit_in_a_block_of_remembered_changes_no_thread(call: Call) -> None:
    """The request's memory is that of the task; what it has not is read on the loop, too."""
    assert hops_of_hit(call, remembered) == 0


def test_miss_in_a_block_of_remembered_is_computed_once() -> None:
    """A look-up that begins on the loop is ended in the thread: what is stored then is served from the memory."""

    async def scene() -> list[list[int]]:
        with remembered():
            return [await plain(1), await plain(1)]

    asyncio.run(_warm(lambda: plain(2)))
    with heard() as events:
        found = asyncio.run(scene())

    assert ([[1], [1]], ["miss", "computed", "stored", "hit"]) == (found, [each.kind for each in events])


BACKENDS = {
    "ours": "cachedeco.backends.memcached.MemcachedCache",
    "our redis": "cachedeco.backends.redis.RedisCache",
    "locmem": "django.core.cache.backends.locmem.LocMemCache",
}


@pytest.mark.parametrize("call", [ON_LOOP["a function"], ON_LOOP["many ids"], ON_LOOP["gathered"]])
@pytest.mark.parametrize("kind", BACKENDS)
def test_hit_on_each_cache_that_is_read_on_the_loop(
    kind: Any, call: Call, use_caches: UseCaches, cache_config: CacheConfig
) -> None:
    """Our two backends, and Django's own LocMemCache, of the class itself."""
    use_caches(default=cache_config(kind) | {"BACKEND": BACKENDS[kind]})

    assert hops_of_hit(call) == 0


@pytest.mark.parametrize("call", [ON_LOOP["a function"], ON_LOOP["many ids"], ON_LOOP["gathered"]])
def test_hit_in_isolated_caches_changes_no_thread(call: Call) -> None:
    """The test kit makes other keys, and tests run as production does."""
    with isolated():
        assert hops_of_hit(call) == 0


# --- what the thread is asked ---

here = threading.local()


def tenant() -> str:
    """Return the tenant of this thread."""
    return str(here.tenant)


def of_tenant(key: str, prefix: str, version: int) -> str:
    """Make a key of the tenant of this thread."""
    return f"{prefix}:{version}:{here.tenant}:{key}"


@cached_query(vary=tenant)
async def varied(number: int) -> str:
    """Return whose value it is."""
    return f"{await sync_to_async(tenant)()} {number}"


@cached_query(key=lambda number: f"{tenant()} {number}")
async def keyed(number: int) -> str:
    """Return whose value it is."""
    return f"{await sync_to_async(tenant)()} {number}"


@cached_query(namespace=lambda number: Namespace(tenant(), number))
async def spaced(number: int) -> int:
    """Return a value in a namespace of the tenant."""
    return number


@cached_query
async def who(number: int) -> str:
    """Return whose value it is."""
    return f"{await sync_to_async(tenant)()} {number}"


@cached_query_many(over="numbers")
async def whose(numbers: list[int]) -> dict[int, str]:
    """Return whose values these are."""
    return dict.fromkeys(numbers, await sync_to_async(tenant)())


@pytest.mark.parametrize("isolation", [nullcontext, isolated])
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: who(1), id="one"),
        pytest.param(lambda: whose([1]), id="many"),
        pytest.param(lambda: agather(who.call(1)), id="gathered"),
        pytest.param(lambda: who.call(1).apeek(), id="peek"),
    ],
)
def test_tenant_of_a_key_function_is_that_of_the_thread(
    isolation: Any, call: Call, use_caches: UseCaches, cache_config: CacheConfig
) -> None:
    """A sync middleware sets the tenant of its thread: the loop, whose thread has none, serves no tenant's value."""
    use_caches(default=cache_config("locmem", KEY_FUNCTION=f"{__name__}.of_tenant"))

    async def as_tenant(name: str) -> str:
        await sync_to_async(setattr)(here, "tenant", name)
        await who(1)
        await whose([1])
        return str(await call())

    async def scene() -> list[str]:
        here.tenant = "public"  # that of the loop's thread
        return [await as_tenant(name) for name in ("public", "bob", "public", "bob")]

    with isolation():
        found = asyncio.run(scene())

    assert [True] * 4 == [name in text for name, text in zip(("public", "bob") * 2, found, strict=True)]


@pytest.mark.parametrize("function", [varied, keyed, spaced], ids=["vary", "key", "namespace"])
def test_callable_of_the_user_is_asked_in_the_thread(function: Any) -> None:
    """It may look at what belongs to its thread, as the connection of a tenant does."""
    here.tenant = "loop"

    def of(name: str) -> tuple[object, int]:
        SyncToAsync.single_thread_executor.submit(setattr, here, "tenant", name).result()
        return asyncio.run(function(1)), hops_of_hit(lambda: function(1))

    found = [of(name) for name in ("ann", "bob", "ann")]

    assert found in ([(1, 1)] * 3, [("ann 1", 1), ("bob 1", 1), ("ann 1", 1)])


@pytest.mark.django_db(transaction=True)
def test_key_that_asks_the_database_is_made_in_the_thread() -> None:
    """Django refuses a query on the loop; the call is not broken by it, and its key is the right one."""
    club = Club.objects.create(name="chess")
    row = ClubClass.objects.create(club=club, name="a", start_time="2026-01-01T00:00Z")

    @cached_query(key="{row.club.name}")
    async def described(row: ClubClass) -> int:
        return int(row.pk)

    async def fresh() -> object:
        return await described(await ClubClass.objects.aget(pk=row.pk))

    assert hops_of_hit(fresh) == 2  # aget() is one
    assert "chess" in described.key_for(row)


@pytest.mark.django_db(transaction=True)
def test_ids_that_come_from_the_database_are_read_in_the_thread() -> None:
    """A QuerySet, and a generator over one, which would be spent if the loop began it."""
    club = Club.objects.create(name="chess")

    async def of(ids: Any) -> object:
        return [await many(ids), await many.call(ids)()]

    def one_by_one() -> Iterator[int]:
        for each in Club.objects.all():
            yield each.pk

    async def scene() -> list[object]:
        return [
            await of(Club.objects.values_list("pk", flat=True)),
            [await many(one_by_one())],
            [*await agather(many.call(one_by_one()))],
        ]

    values = {club.pk: [club.pk]}

    assert [[values, values], [values], [values]] == asyncio.run(scene())


class Asking:
    """A value that asks the database where it is unpickled."""

    def __init__(self, count: int) -> None:
        """Keep what the database has told."""
        self.count = count

    def __reduce__(self) -> tuple[Any, ...]:
        """Ask again."""
        return type(self).now, ()

    @classmethod
    def now(cls) -> "Asking":
        """Return how many clubs there are."""
        return cls(Club.objects.count())


@cached_query
async def asking() -> Asking:
    """Return a value that asks."""
    return Asking(-1)


@cached_query_many(over="ids")
async def asking_many(ids: list[int]) -> dict[int, Asking]:
    """Return values that ask."""
    return dict.fromkeys(ids, Asking(-1))


@pytest.mark.django_db(transaction=True)
def test_value_that_asks_the_database_is_unpickled_in_the_thread() -> None:
    """It is a hit, as in sync code, and no error."""

    async def counts() -> list[int]:
        return [(await asking()).count, (await asking_many([1]))[1].count, (await agather(asking.call()))[0].count]

    async def scene() -> list[list[int]]:
        await asking()
        await asking_many([1])
        return [await counts()]

    with heard("error") as events:
        found = asyncio.run(scene())

    assert ([[0, 0, 0]], []) == (found, events)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("block", [nullcontext, remembered])
def test_value_that_is_unpickled_in_the_thread_is_read_once(
    block: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread ends the look-up with what was read on the loop, in a block of remembered(), too."""
    asyncio.run(_warm(asking))
    reads: list[object] = []
    monkeypatch.setattr(Store, "read", lambda _, keys: reads.append(keys))

    async def scene() -> int:
        with block():
            return (await asking()).count

    assert (0, []) == (asyncio.run(scene()), reads)


def test_hooks_of_users_run_where_they_may_use_the_database() -> None:
    """Every event of an async call, hit or miss, is told in the thread of the connections."""
    told: list[tuple[str, int]] = []

    def hook(event: Event) -> None:
        told.append((event.kind, threading.get_ident()))

    async def scene() -> tuple[int, int]:
        thread = await sync_to_async(threading.get_ident)()
        with listening(hook):
            await plain(1)
            await plain(1)
            await many([1])
            await agather(many.call([1]), plain.call(2))
        return thread, threading.get_ident()

    thread, loop = asyncio.run(scene())

    assert {thread} == {each for _, each in told} != {loop}
    assert {"hit", "miss", "computed", "stored"} == {kind for kind, _ in told}


def test_language_of_the_task_is_that_of_the_thread() -> None:
    """What a sync middleware has activated, or the task itself, is in the key that either makes."""

    async def scene() -> list[object]:
        await sync_to_async(translation.activate)("fr")
        found: list[object] = [await in_language(1), await in_language.apeek(1)]
        with translation.override("de"):
            found += [await in_language(1), await in_language.apeek(1)]
        with hops() as counted:
            return [*found, await in_language(1), len(counted)]

    with translation.override("en"):
        assert ["fr 1", "fr 1", "de 1", "de 1", "fr 1", 0] == asyncio.run(scene())


@contextmanager
def failed() -> Iterator[None]:
    """Have the cache fail once."""
    record_failure("default", OSError())
    yield


THREAD: dict[str, Callable[[], Any]] = {
    "a hook": lambda: listening(lambda event: event),
    "bypass": bypass,
    "mode off": lambda: mode("off"),
    "a failure of the cache": failed,
}


@pytest.mark.parametrize("around", THREAD.values(), ids=THREAD)
@pytest.mark.parametrize("call", [ON_LOOP["a function"], ON_LOOP["many ids"], ON_LOOP["gathered"]])
def test_what_sends_a_hit_to_the_thread(call: Call, around: Callable[[], Any]) -> None:
    """A hook of the user's, another mode, a cache that has failed: the thread does what it did for sync code."""
    assert hops_of_hit(call, around) >= 1


def test_unsafe_django_sends_a_hit_to_the_thread(monkeypatch: pytest.MonkeyPatch, use_caches: UseCaches) -> None:
    """Where Django is told to query on a loop, nothing would tell that a key asks the wrong connection."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    use_caches(default="locmem")

    assert hops_of_hit(ON_LOOP["a function"]) == 1
    assert asyncio.run(_hops_of_miss(ON_LOOP["a function"])) == 3  # and so would a value that is serialized


def test_cache_that_is_not_read_on_the_loop_goes_by_the_thread(use_caches: UseCaches) -> None:
    """Any other cache: one change of threads for a hit."""
    use_caches(default="faulty")

    assert [1] * 3 == [hops_of_hit(ON_LOOP[name]) for name in ("a function", "many ids", "gathered")]


def test_cache_that_recovers_is_read_on_the_loop_again() -> None:
    """One read that succeeds in the thread takes the failure back."""
    record_failure("default", OSError())
    assert "default" in breakers

    assert hops_of_hit(ON_LOOP["a function"]) == 0


# --- transactions ---


@pytest.mark.django_db(transaction=True)
def test_transaction_of_the_thread_sees_its_own_invalidation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Async code inside a transaction of its thread computes what this has invalidated, and no more."""
    monkeypatch.setattr(connection, "isolation_level", "read committed", raising=False)
    calls: list[int] = []

    @cached_query(namespace="loop:{number}", ignore=("calls",))
    async def counted(number: int) -> int:
        calls.append(number)
        return len(calls)

    async def get(number: int) -> tuple[int, int]:
        with hops() as counted_hops:
            return await counted(number), len(counted_hops)

    for number in (1, 2):
        async_to_sync(counted)(number)
    with suppress(Undone), transaction.atomic():
        counted.invalidate(1)
        inside = async_to_sync(get)(1)
        beside = async_to_sync(get)(2)
        raise Undone
    after = async_to_sync(get)(1)

    assert (3, (2, 0), (1, 0)) == (inside[0], beside, after)
    assert inside[1] > 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("call", [ON_LOOP["a function"], ON_LOOP["many ids"], ON_LOOP["gathered"]])
def test_transaction_of_another_request_sends_only_its_own_calls_to_the_thread(call: Call) -> None:
    """What waits for a commit somewhere concerns the calls that it has invalidated."""
    gate = Gate()
    asyncio.run(_warm(call))

    def wait(function: Any, argument: Any) -> None:
        with transaction.atomic():
            function.invalidate(argument)
            gate.wait_to_pass()

    counts = []
    for function, argument in ((plain, 1), (many, [1]), (plain, 3), (many, [3])):
        gate.shut()
        with started(lambda f=function, a=argument: wait(f, a)):  # type: ignore[misc]
            gate.wait_reached()
            counts.append(asyncio.run(_counted(call)))
            gate.open()
        asyncio.run(_warm(call))

    assert [0, 0] == counts[2:]
    assert any(counts[:2])
    assert not commits.waiting


async def _warm(call: Call) -> None:
    await call()


async def _counted(call: Call) -> int:
    with hops() as counted:
        await call()
    return len(counted)


# --- misses ---


async def _hops_of_miss(call: Call) -> int:
    """Return how often a call changes threads when its entry was invalidated, and see that the next one is a hit."""
    await call()
    await _invalidate()
    count = await _counted(call)
    assert await _counted(call) <= 1
    return count


async def _invalidate() -> None:
    for each in (plain, many, returning, failing, chosen, timed):
        await each.ainvalidate_all()


MISSES = {name: ON_LOOP[name] for name in ("a function", "a call", "many ids")}


@pytest.mark.parametrize("call", MISSES.values(), ids=MISSES)
def test_miss_changes_threads_once(call: Call) -> None:
    """Before the computation, for all that is asked; the loop stores what is computed."""
    assert asyncio.run(_hops_of_miss(call)) == 1


@pytest.mark.parametrize("kind", BACKENDS)
def test_miss_on_each_cache_that_is_written_on_the_loop(
    kind: Any, use_caches: UseCaches, cache_config: CacheConfig
) -> None:
    """Our two backends, and Django's own LocMemCache, of the class itself."""
    use_caches(default=cache_config(kind) | {"BACKEND": BACKENDS[kind]})

    async def scene() -> list[int]:
        return [await _hops_of_miss(call) for call in MISSES.values()]

    assert [1] * len(MISSES) == asyncio.run(scene())


def test_miss_on_a_cache_that_is_not_read_on_the_loop(use_caches: UseCaches) -> None:
    """To look up, before the computation, and after it."""
    use_caches(default="faulty")

    assert [3] * 2 == [asyncio.run(_hops_of_miss(MISSES[name])) for name in ("a function", "many ids")]


def test_gather_of_misses_changes_threads_once_and_once_for_each() -> None:
    """The first change ends the look-up of all."""
    assert asyncio.run(_counted(lambda: agather(plain.call(1), plain.call(2), many.call([1, 2])))) == 4


@pytest.mark.parametrize("call", [lambda: plain.arefresh(1), lambda: many.arefresh([1, 2])], ids=["one", "many"])
def test_refresh_changes_threads_as_a_miss(call: Call) -> None:
    """Once before the computation."""
    assert asyncio.run(_counted(call)) == 1


def test_follower_changes_threads_once() -> None:
    """Tasks that miss the same entry ask once each, and load their copies of the leader's value on the loop."""
    go_on = asyncio.Event()

    @cached_query(ignore=("event",))
    async def slow(event: asyncio.Event) -> list[int]:
        await event.wait()
        return [7]

    async def scene() -> tuple[list[list[int]], int]:
        with heard("shared") as shared:
            go_on.set()
            await slow(go_on)
            await slow.ainvalidate(go_on)
            go_on.clear()
            with hops() as counted:
                tasks = [asyncio.ensure_future(slow(go_on)) for _ in range(5)]
                for _ in range(20):  # turns of the loop: each task reads, and waits for the thread
                    await asyncio.sleep(0)
                await sync_to_async(int)()  # behind those of the tasks
                go_on.set()
                values = await asyncio.gather(*tasks)
            assert len(shared) == 4
        return values, len(counted) - 1

    values, count = asyncio.run(scene())

    assert ([[7]] * 5, 5) == (values, count)
    assert len({id(value) for value in values}) == 5


@cached_query(ignore=("make",), name="returning")
async def returning(make: Callable[[], Any]) -> Any:
    """Return what a callable makes, on the loop."""
    return make()


@cached_query(cache_if=bool)
async def chosen(number: int) -> int:
    """Return what the thread decides about."""
    return number


@cached_query(timeout=lambda number: 60 + number)
async def timed(number: int) -> int:
    """Return a value with a timeout of its own."""
    return number


AFTER_IN_THREAD: dict[str, Call] = {
    "cache_if": lambda: chosen(1),
    "a timeout of the value": lambda: timed(1),
    "a QuerySet": lambda: returning(Club.objects.all),
    "a QuerySet in a lazy object": lambda: returning(lambda: SimpleLazyObject(Club.objects.first)),
    "a QuerySet in a list": lambda: returning(lambda: [Club.objects.all()]),
    "what raises": _failed,
    "values of many ids": lambda: many(range(MOST_ON_LOOP + 1)),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("call", AFTER_IN_THREAD.values(), ids=AFTER_IN_THREAD)
def test_what_changes_threads_after_the_computation_too(call: Call) -> None:
    """Code of users that may look at its thread, a query, and what follows an exception."""
    Club.objects.create(name="chess")

    with heard("error") as errors:
        found = asyncio.run(_hops_of_miss(call))

    assert (2, []) == (found, errors)


@pytest.mark.django_db(transaction=True)
def test_value_for_one_use_is_refused_though_its_making_queries() -> None:
    """The loop refuses no value whose class it can't know; the thread does."""
    Club.objects.create(name="chess")

    with pytest.raises(TypeError, match="only once"):
        asyncio.run(_warm(lambda: returning(lambda: SimpleLazyObject(lambda: iter([*Club.objects.all()])))))


@pytest.mark.parametrize("around", [THREAD["a hook"], bypass], ids=["a hook", "bypass"])
def test_miss_under_a_hook_ends_in_the_thread(around: Callable[[], Any]) -> None:
    """All events are told there; and a call that bypasses the cache, as it emits some."""

    async def scene() -> int:
        with around():
            return await _counted(MISSES["a function"])

    assert asyncio.run(scene()) == 3


@pytest.mark.django_db(transaction=True)
def test_miss_under_auto_changes_threads_once_when_its_tables_are_known() -> None:
    """What a function reads is learned in the thread, as this asks the cache; each query is a change of its own."""

    @cached_query(depends_on=[AUTO])
    async def count() -> int:
        return await Club.objects.acount()

    async def scene() -> list[int]:
        first = await _counted(count)
        await Club.objects.acreate(name="chess")
        again = await _counted(count)
        return [first, again, await count()]

    assert [4, 2, 1] == asyncio.run(scene())


@pytest.mark.django_db(transaction=True)
def test_connection_that_the_computation_takes_from_the_watcher_is_found_by_the_thread() -> None:
    """Its queries are not seen, so that the value depends on nothing, and is not stored."""

    @cached_query(depends_on=[AUTO])
    async def count(*, unwatch: bool) -> int:
        if unwatch:
            await sync_to_async(lambda: connection.execute_wrappers.remove(watch))()
        return await Club.objects.acount()

    async def scene() -> list[str]:
        await count(unwatch=False)
        with heard("unwatched", "unstored", "stored") as events:
            await count(unwatch=True)
        return [each.kind for each in events]

    assert ["unwatched", "unstored"] == asyncio.run(scene())


@cached_query(ignore=("block",))
async def created(block: transaction.Atomic) -> int:
    """Begin a transaction, and return what it has written."""
    await sync_to_async(block.__enter__)()
    await Club.objects.acreate(name="chess")
    return await Club.objects.acount()


@pytest.mark.django_db(transaction=True)
def test_value_waits_for_the_commit_of_a_transaction_that_the_computation_has_begun() -> None:
    """It may be uncommitted: the thread, whose transaction it is, is asked after the computation."""
    block = transaction.atomic()

    async def scene() -> list[int]:
        with heard("stored") as stored:
            counts = [await created(block), len(stored)]
            await sync_to_async(block.__exit__)(None, None, None)
            return [*counts, len(stored)]

    assert [1, 0, 1] == asyncio.run(scene())


@pytest.mark.django_db(transaction=True)
def test_transaction_that_a_nested_computation_has_begun_counts_for_the_one_around_it() -> None:
    """What it used, the computation around it has used."""
    block = transaction.atomic()

    @cached_query(nested=False, ignore=("block",))
    async def around(block: transaction.Atomic) -> int:
        return await created(block)

    async def scene() -> list[int]:
        async with ThreadSensitiveContext():  # a thread that has no connection yet
            with heard("stored") as stored:
                counts = [await around(block), len(stored)]
                await sync_to_async(block.__exit__)(None, None, None)
                await sync_to_async(connections.close_all)()
                return [*counts, len(stored)]

    assert [1, 0, 2] == asyncio.run(scene())


def _raising(error: Exception) -> Callable[..., Any]:
    async def fail(*_: object) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("call", MISSES.values(), ids=MISSES)
def test_write_that_fails_on_the_loop_breaks_no_call(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an event, as in sync code, the breaker counts it, and no lease is left: the next call computes."""

    async def scene() -> tuple[object, object, bool, int]:
        with monkeypatch.context() as patched, hops() as counted:
            patched.setattr(on_loops("default"), "awrite", _raising(TimeoutError()))
            first = await call()
            is_counted = "default" in breakers
        return first, await call(), is_counted, len(counted)

    asyncio.run(_warm(call))
    asyncio.run(_invalidate())
    with heard("error", "computed") as events:
        first, again, is_counted, count = asyncio.run(scene())

    assert (first, True, 2) == (again, is_counted, count)  # the lease is deleted in the thread
    assert ["computed", "Writing failed", "computed"] == [each.reason or each.kind for each in events]


def test_refresh_whose_write_fails_on_the_loop_invalidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old entry must not be served after a refresh."""
    values = iter([1, 2, 3])

    async def scene() -> list[object]:
        first = await returning(lambda: next(values))
        with monkeypatch.context() as patched:
            patched.setattr(on_loops("default"), "awrite", _raising(TimeoutError()))
            second = await returning.arefresh(lambda: next(values))
        return [first, second, await returning(lambda: next(values))]

    assert [1, 2, 3] == asyncio.run(scene())


@pytest.mark.parametrize("times", [1, 2])
def test_task_cancelled_while_the_loop_writes_stores_its_value(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the end of the write, as of a step in the thread, and leaves no lease: the next call is a hit."""
    reached = asyncio.Event()
    store: Any = on_loops("default").awrite

    async def slow(*args: Any) -> Any:
        reached.set()
        for _ in range(3):
            await asyncio.sleep(0)
        return await store(*args)

    async def scene() -> tuple[bool, int]:
        with monkeypatch.context() as patched:
            patched.setattr(on_loops("default"), "awrite", slow)
            task = asyncio.ensure_future(plain(1))
            await reached.wait()
            for _ in range(times):
                task.cancel()
                await asyncio.sleep(0)
            await asyncio.wait([task])
        return task.cancelled(), await _counted(lambda: plain(1))

    assert (True, 0) == asyncio.run(scene())


VERBS: dict[str, Call] = {
    "ainvalidate": lambda: plain.ainvalidate(1),
    "ainvalidate_all": plain.ainvalidate_all,
    "apeek": lambda: plain.apeek(1),
    "aexplain": lambda: plain.aexplain(1),
    "akey_for": lambda: plain.akey_for(1),
    "aset": lambda: plain.call(1).aset([2]),
    "ainvalidate of many": lambda: many.ainvalidate([1, 2]),
    "apeek of many": lambda: many.apeek([1, 2]),
    "aexplain of many": lambda: many.aexplain([1, 2]),
    "akeys_for": lambda: many.akeys_for([1, 2]),
    "aset of many": lambda: many.call([1, 2]).aset({1: [1], 2: [2]}),
    "arefresh of a sync function": lambda: sync.arefresh(1),
    "of a namespace": lambda: Namespace("loop", 1).ainvalidate(),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_verb_changes_threads_once(verb: Call) -> None:
    """A verb asks which transaction is open, or what its key needs, in the thread of the connections."""
    assert asyncio.run(_counted(verb)) == 1


# --- what goes wrong ---


@pytest.mark.parametrize("call", [ON_LOOP["a function"], ON_LOOP["many ids"], ON_LOOP["gathered"]])
def test_read_that_fails_on_the_loop_breaks_no_call(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an event and a miss, as in sync code, and the breaker counts it."""

    async def scene() -> tuple[object, object, bool, object]:
        first = await call()
        with monkeypatch.context() as patch, heard("error", "miss") as events:
            patch.setattr(on_loops("default"), "aread", _raising(TimeoutError()))
            again = await call()
            told = [(each.kind, each.reason) for each in events][:2]
        return first, again, "default" in breakers, told

    first, again, is_counted, told = asyncio.run(scene())

    assert (first, True) == (again, is_counted)
    assert [("error", "Reading failed"), ("miss", "cache not read")] == told


@pytest.mark.parametrize("call", [ON_LOOP["a function"], ON_LOOP["many ids"], ON_LOOP["gathered"]])
@pytest.mark.parametrize("times", [1, 2])
def test_task_cancelled_while_the_loop_reads_leaves_no_trace(call: Call, times: int) -> None:
    """It ends at once; the next call is the hit that it would have been."""

    async def scene() -> tuple[bool, bool, int]:
        first = await call()
        task = asyncio.ensure_future(call())
        await asyncio.sleep(0)
        for _ in range(times):
            task.cancel()
        await asyncio.wait([task])
        with hops() as counted:
            return task.cancelled(), await call() == first, len(counted)

    assert (True, True, 0) == asyncio.run(scene())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("call", [ON_LOOP["a function"], ON_LOOP["many ids"], ON_LOOP["gathered"]])
def test_request_memory_is_asked_in_the_thread_while_a_transaction_waits(call: Call) -> None:
    """Whose transaction it is decides whether the memory may be used."""
    gate = Gate()
    gate.shut()
    asyncio.run(_warm(call))

    def wait() -> None:
        with transaction.atomic():
            plain.invalidate(99)
            gate.wait_to_pass()

    async def scene() -> int:
        with remembered():
            await call()
            return await _counted(call)

    with started(wait):
        gate.wait_reached()
        count = asyncio.run(scene())
        gate.open()

    assert (1, 0) == (count, asyncio.run(_counted(call)))
