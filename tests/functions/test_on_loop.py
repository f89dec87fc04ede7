"""A hit of async code: where it runs on the event loop alone, and what is asked in the thread of the connections."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import pytest
from asgiref.sync import SyncToAsync, async_to_sync, sync_to_async
from django.db import connection, transaction
from django.utils import translation
from django.utils.timezone import get_current_timezone_name

from cachedeco import Event, Namespace, agather, bypass, cached_query, cached_query_many, listening, mode, remembered
from cachedeco.invalidation import commits
from cachedeco.storage.breaker import breakers, record_failure
from cachedeco.testing import isolated
from tests.conftest import CacheConfig, UseCaches
from tests.models import Club, ClubClass
from tests.support.backends import RawClient
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
    """A sync middleware sets the tenant of its thread: the loop, whose own thread has none, serves nobody's value."""
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


@pytest.mark.parametrize(("backend", "expected"), [("locmem", 2), ("faulty", 3)])
@pytest.mark.parametrize("call", [ON_LOOP["a function"], ON_LOOP["many ids"]])
def test_miss_changes_threads_before_and_after_the_computation(
    backend: Any, expected: int, call: Call, use_caches: UseCaches
) -> None:
    """Once each; where the loop can't look up, once more for that."""
    use_caches(default=backend)

    async def scene() -> int:
        await call()
        await plain.ainvalidate_all()
        await many.ainvalidate_all()
        with hops() as counted:
            await call()
        return len(counted)

    assert expected == asyncio.run(scene())


@pytest.mark.parametrize("call", [lambda: plain.arefresh(1), lambda: many.arefresh([1, 2])], ids=["one", "many"])
def test_refresh_changes_threads_as_a_miss(call: Call) -> None:
    """Once before the computation, once after it."""
    assert asyncio.run(_counted(call)) == 2


@pytest.mark.parametrize("verb", ["ainvalidate", "apeek", "akey_for", "ainvalidate_all"])
def test_verb_changes_threads_once(verb: str) -> None:
    """A verb asks which transaction is open, or what its key needs, in the thread of the connections."""
    arguments = () if verb == "ainvalidate_all" else (1,)

    async def scene() -> int:
        with hops() as counted:
            await getattr(plain, verb)(*arguments)
        return len(counted)

    assert asyncio.run(scene()) == 1


# --- what goes wrong ---


@pytest.mark.parametrize("call", [ON_LOOP["a function"], ON_LOOP["many ids"], ON_LOOP["gathered"]])
def test_read_that_fails_on_the_loop_breaks_no_call(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an event and a miss, as in sync code, and the breaker counts it."""

    async def fail(*_: object) -> list[bytes | None]:
        raise TimeoutError

    async def scene() -> tuple[object, object, bool, object]:
        first = await call()
        with monkeypatch.context() as patch, heard("error", "miss") as events:
            patch.setattr(RawClient, "aread", fail)
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
