"""Request memory: what is served without a command, what ends it, and what is never remembered."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar, copy_context
from os import urandom
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse

from cachedeco import (
    AUTO,
    MISSING,
    Namespace,
    agather,
    bypass,
    cached_query,
    cached_query_many,
    gather,
    mode,
    remembered,
)
from cachedeco.invalidation import epochs, retry_queue
from cachedeco.loading import refreshing, remembering
from cachedeco.middleware import RememberedMiddleware
from cachedeco.runtime import state
from cachedeco.storage.store import Store
from tests.conftest import CacheConfig, UseCaches
from tests.models import Club, ClubClass
from tests.support.backends import Commands
from tests.support.clocks import Clock, clock  # noqa: F401 -- a fixture
from tests.support.clubs import Undone
from tests.support.computing import computed, note, nothing_computed  # noqa: F401 -- a fixture
from tests.support.events import heard
from tests.support.faults import faulty
from tests.support.sides import Side, both
from tests.support.threads import in_thread

tenant = ContextVar("tenant", default="north")


@cached_query(timeout=100, namespace="numbers:{number}")
def listed(number: int) -> list[Any]:
    """Return a list of its own, and who asks."""
    return [note(number), tenant.get()]


@cached_query
def outer(number: int) -> list[Any]:
    """Have a call inside, twice."""
    return [*listed(number), *listed(number), note("outer")]


@cached_query
async def ainner(number: int) -> int:
    """Return a number."""
    return number


@cached_query
async def aouter(number: int) -> int:
    """Have a call inside, twice."""
    return await ainner(number) + await ainner(number)


@cached_query_many(over="numbers", serializer="json")
def many(numbers: list[int]) -> dict[int, list[int]]:
    """Be over many ids."""
    return {number: [note(number)] for number in numbers}


@pytest.fixture(params=["cold", "warm"])
def warmth(request: pytest.FixtureRequest) -> str:
    """Begin with nothing stored, or with everything."""
    if request.param == "warm":
        listed(1), outer(2), many([1, 2])
        computed.clear()
    return str(request.param)


def invalidate_elsewhere(*keys: str) -> None:
    """Invalidate tokens as another process does."""
    assert all(Store("default").set_each([(key, urandom(16), None) for key in keys]))


def own_token(number: int) -> str:
    """Return the key of the token of a call of `listed()`."""
    return listed._spec.own_token((number,), {}).key


@both
@pytest.mark.usefixtures("warmth")
def test_equal_calls_are_looked_up_once(side: Side, commands: Commands) -> None:
    """The second call of a block asks nothing, stored before or computed in it, and each caller has a copy."""

    @side.cached()
    def one(number: int) -> list[int]:
        return [number]

    side.call(one, 1)
    with remembered():
        side.call(one, 1).append("mine")
        commands.clear()
        found = [side.call(one, 1), side.call(one, number=1)]
        asked = commands.names

    side.call(one, 1)

    assert ([[1], [1]], [], ["get_many"]) == (found, asked, commands.names)


def test_what_is_gathered_on_a_loop_is_served_to_later_calls(commands: Commands) -> None:
    """What `agather()` has fetched there needs no command either."""
    listed(1), many([1, 2])

    async def scene() -> tuple[list[Any], list[str]]:
        with remembered():
            await agather(listed.call(1), many.call([1, 2]))
            commands.clear()
            return [*await agather(many.call([2]), listed.call(1))], commands.names

    assert ([{2: [2]}, [1, "north"]], []) == asyncio.run(scene())


@pytest.mark.usefixtures("warmth")
def test_what_is_gathered_is_served_to_later_calls(commands: Commands) -> None:
    """What `gather()` has fetched needs no command: alone, in other gathers, and by id in other collections."""
    with remembered():
        first = gather(listed.call(1), outer.call(2), many.call([1, 2]))
        commands.clear()

        found = listed(1), outer(2), many([2]), many([1, 2])
        again = gather(many.call([2, 1]), listed.call(1))

    assert ([1, "north"], {1: [1], 2: [2]}) == (first[0], first[2])
    assert ((*first[:2], {2: [2]}, first[2]), (first[2], first[0]), []) == (found, again, commands.names)


def test_ids_that_are_not_remembered_are_asked_for(commands: Commands) -> None:
    """Of several calls or ids the command names those that the block has not read."""
    many([1, 2, 3])
    with remembered():
        many([1, 3])
        commands.clear()

        found = many([1, 2, 3])

    [command] = commands
    assert ({1: [1], 2: [2], 3: [3]}, 1) == (found, sum(":e:" in key for key in command.keys))


ENDS: dict[str, Callable[[], object]] = {
    "call": lambda: listed.invalidate(1),
    "call as an object": lambda: listed.call(number=1).invalidate(),
    "all calls": listed.invalidate_all,
    "namespace": Namespace("numbers", 1).invalidate,
    "namespace above": Namespace("numbers").invalidate,
    "in another thread": lambda: in_thread(lambda: listed.invalidate(1)),
    "while bypassed": bypass()(lambda: listed.invalidate(1)),
}


@pytest.mark.usefixtures("warmth")
@pytest.mark.parametrize("name", ENDS)
def test_invalidation_of_this_process_ends_what_is_remembered(name: str) -> None:
    """After an invalidation by any caller in this process the next call computes, and so does one around it."""
    with remembered():
        listed(1), gather(outer.call(1), many.call([1]))
        before = len(computed)

        ENDS[name]()

        assert [1, "north"] == listed(1)
        assert [1, "north", 1, "north", "outer"] == outer(1)
        many([1])
    assert [1, "outer"] == computed[before:]


def test_refreshed_and_given_values_replace_what_is_remembered() -> None:
    """`refresh()` and `set()` are seen by the next call of the block."""
    with remembered():
        listed(1)
        listed.call(1).set(["given"])
        given = [listed(1), listed(1)]
        tenant_before = tenant.set("south")
        listed.refresh(1)
        tenant.reset(tenant_before)

        assert ([["given"]] * 2, [1, "south"]) == (given, listed(1))


@pytest.mark.django_db(transaction=True)
def test_written_table_ends_what_is_remembered() -> None:
    """Under AUTO a row that is saved in the block is seen by the next call."""

    @cached_query(depends_on=[AUTO])
    def names() -> list[str]:
        return list(Club.objects.values_list("name", flat=True))

    with remembered():
        before = [names(), names()]
        Club.objects.create(name="judo")

        assert ([[], []], ["judo"]) == (before, names())


def test_invalidation_of_another_process_is_seen_after_the_block_at_the_latest(
    clock: Clock,
) -> None:
    """Inside the block the value is served for a minute; after that, and after the block, the next one is computed."""
    with remembered():
        listed(1), listed(1)
        invalidate_elsewhere(own_token(1))
        clock.now += remembering.SECONDS - 1
        inside, computed_inside = listed(1), len(computed)
        clock.now += 2
        listed(1)
        computed_later = len(computed)
        invalidate_elsewhere(own_token(1))
    listed(1)

    assert ([1, "north"], 1, 2, 3) == (inside, computed_inside, computed_later, len(computed))


def test_value_that_was_computed_in_the_block_is_served_for_a_minute(clock: Clock) -> None:
    """A value that is first asked for again much later was stored then, and not read now."""
    with remembered():
        listed(1)
        invalidate_elsewhere(own_token(1))
        clock.now += remembering.SECONDS + 1
        listed(1)

    assert [1, 1] == computed


def test_value_is_served_until_its_own_timeout(clock: Clock) -> None:
    """A block serves no entry past its timeout."""
    listed(1)
    clock.now += 95
    with remembered():
        listed(1)
        clock.now += 10
        listed(1)

    assert [1, 1] == computed


@pytest.mark.usefixtures("faulty_backend")
@pytest.mark.parametrize("ask", [lambda: listed(1), lambda: gather(listed.call(1))[0]], ids=["call", "gather"])
def test_value_that_is_invalidated_while_it_is_read_is_not_remembered(ask: Callable[[], Any]) -> None:
    """The old value may be served, as the call has begun before; the next call has the new one."""
    ask()
    with remembered():
        with faulty("get_many", after=lambda: in_thread(lambda: listed.invalidate(1)), times=1):
            ask()
        ask()

    assert [1, 1] == computed


@pytest.mark.usefixtures("faulty_backend")
def test_value_that_is_read_while_an_invalidation_is_written_is_not_served_after_it() -> None:
    """What a block reads before the write has reached the cache ends when `invalidate()` returns."""
    listed(1)
    with remembered():
        with faulty("set_many", before=lambda: listed(1), times=1):
            listed.invalidate(1)
        listed(1)

    assert [1, 1] == computed


def test_value_that_is_invalidated_while_it_is_computed_is_not_remembered() -> None:
    """An entry that is dead when it is stored is computed again by the next call."""

    @cached_query
    def meanwhile(number: int) -> int:
        if not computed:
            in_thread(lambda: meanwhile.invalidate(number))
        return int(note(number))

    with remembered():
        meanwhile(1), meanwhile(1), meanwhile(1)

    assert [1, 1] == computed


@pytest.mark.usefixtures("faulty_backend")
def test_invalidation_that_is_not_acknowledged_ends_what_is_remembered() -> None:
    """An invalidation that waits in the retry queue counts: the next call computes."""
    with remembered():
        listed(1), listed(1)
        with faulty("set_many", raises=OSError()):
            listed.invalidate(1)
            listed(1)

    assert [1, 1] == computed


@pytest.mark.usefixtures("faulty_backend")
def test_entry_that_is_not_acknowledged_is_not_remembered(commands: Commands) -> None:
    """What the cache has not taken is computed again."""
    with remembered():
        with faulty("set_many", drops=True), faulty("set_many", returns=["none"]):
            listed(1)
        commands.clear()
        listed(1)

    assert ([1, 1], True) == (computed, "get_many" in commands.names)


def test_computations_ask_the_cache(commands: Commands) -> None:
    """A call inside a computation is looked up: its tokens must be as new as the outer entry."""
    with remembered():
        listed(1), listed(1)
        commands.clear()
        outer(1)

    # The outer call, twice the inner one, and what the miss of the outer one costs besides.
    assert 3 == sum(":e:" in key for command in commands if command.name == "get_many" for key in command.keys)


def test_async_computations_ask_the_cache(commands: Commands) -> None:
    """So does a call inside an async one, which is looked up on the event loop."""

    async def scene() -> int:
        with remembered():
            await ainner(1)
            await ainner(1)
            commands.clear()
            return await aouter(1)

    assert 2 == asyncio.run(scene())
    assert 3 == sum(":e:" in key for command in commands if command.name == "get_many" for key in command.keys)


def test_old_value_in_a_block_is_no_part_of_an_outer_entry() -> None:
    """Another process has invalidated the inner call: the outer entry has the new value, and stays."""
    with remembered():
        listed(1), listed(1)
        token = tenant.set("south")
        invalidate_elsewhere(own_token(1))
        found = outer(1)
        tenant.reset(token)

    assert ([1, "south", 1, "south", "outer"], found) == (found, outer(1))


@pytest.mark.usefixtures("faulty_backend")
def test_value_that_is_read_before_an_invalidation_waits_is_not_served_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is read after the failed write, and before the process bypasses the cache for it, is not served later."""
    enqueue = retry_queue.enqueue

    def read_first(*args: Any, **kwargs: Any) -> None:
        listed(1)
        enqueue(*args, **kwargs)

    monkeypatch.setattr(retry_queue, "enqueue", read_first)
    listed(1)
    with remembered(), faulty("set_many", raises=OSError()):
        listed.invalidate(1)
        listed(1)

    assert [1, 1] == computed


def test_call_with_other_tokens_is_not_served_what_was_remembered() -> None:
    """A namespace that is another one now is compared, as by a look-up."""

    @cached_query(namespace=lambda number: Namespace(tenant.get(), number))
    def spaced(number: int) -> int:
        return int(note(number))

    with remembered():
        spaced(1), spaced(1)
        token = tenant.set("south")
        spaced(1), spaced(1)
        tenant.reset(token)

    assert [1, 1] == computed


@pytest.mark.django_db(transaction=True)
def test_invalidation_of_an_inner_call_counts_for_its_transaction_at_once() -> None:
    """A transaction that has invalidated what an entry depends on is not served it from the block."""
    with remembered():
        outer(1), outer(1)
        with suppress(Undone), transaction.atomic():
            token = tenant.set("uncommitted")
            listed.invalidate(1)
            inside = outer(1)
            tenant.reset(token)
            raise Undone

        assert ("uncommitted", "north") == (inside[1], outer(1)[1])


@pytest.mark.django_db(transaction=True)
def test_value_of_a_transaction_is_not_served_after_its_rollback(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a transaction waits with an invalidation, the block neither serves nor remembers."""
    monkeypatch.setattr(connection, "isolation_level", "read committed", raising=False)
    with remembered():
        with suppress(Undone), transaction.atomic():
            listed.invalidate(2)
            token = tenant.set("uncommitted")
            inside = [listed(1), listed(1)]
            tenant.reset(token)
            raise Undone
        outside = listed(1)

    assert ([[1, "uncommitted"]] * 2, [1, "north"]) == (inside, outside)


@pytest.mark.django_db(transaction=True)
def test_invalidation_inside_a_transaction_counts_for_this_thread_at_once() -> None:
    """The transaction computes; after a rollback what was remembered is served, and after a commit it is not."""
    with remembered():
        listed(1), listed(1)
        with suppress(Undone), transaction.atomic():
            listed.invalidate(1)
            listed(1)
            raise Undone
        listed(1)
        rolled_back = len(computed)
        with transaction.atomic():
            listed.invalidate(1)
        listed(1)

    assert (2, 3) == (rolled_back, len(computed))


def test_other_modes_are_as_without_a_block(commands: Commands) -> None:
    """Bypassed and off each call computes, and nothing of it is remembered."""
    with remembered():
        listed(1), listed(1)
        commands.clear()
        with bypass():
            listed(1)
        with mode("off"):
            listed(1)
        listed(1)

    assert ([1, 1, 1], []) == (computed, commands.names)


def tenant_key(key: str, prefix: str, version: int) -> str:
    """Name a key for the current tenant."""
    return f"{prefix}:{version}:{tenant.get()}:{key}"


def test_tenants_of_a_key_function_share_nothing(use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """What is remembered is named by the whole key."""
    use_caches(default=cache_config("locmem", KEY_FUNCTION=tenant_key))
    found = []

    with remembered():
        for name in ("north", "south", "north", "south"):
            token = tenant.set(name)
            found.append(listed(1)[1])
            tenant.reset(token)

    assert ["north", "south", "north", "south"] == found


@pytest.mark.parametrize("occasion", ["fork", "settings", "caches", "test"])
def test_other_process_or_settings_have_read_nothing(occasion: Any, commands: Commands) -> None:
    """A forked child asks the cache, and so does a call after a change of the settings."""
    with remembered():
        listed(1), listed(1)
        commands.clear()
        state.reset(occasion, [each for each in state.RESETS if each.module == "invalidation.epochs"])
        listed(1)

    assert ["get_many"] == commands.names


@pytest.mark.parametrize(("limit", "most"), [("MOST_ENTRIES", 3), ("MOST_BYTES", 600)])
def test_memory_is_bounded(limit: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is full, all is forgotten: each call gives what it should, and what is kept stays within the bound."""
    monkeypatch.setattr(remembering, limit, most)
    with remembered():
        found = [[listed(number)[0] for number in range(10)] for _ in range(3)]
        memory: Any = remembering.current.get()
        kept = [*(each.values[0] for each in memory.read.values()), *(each.data for each in memory.stored.values())]

    assert [list(range(10))] * 3 == found
    assert (len(kept) if limit == "MOST_ENTRIES" else sum(map(len, kept))) <= most
    assert 0 < len(kept)


def test_calls_that_are_never_stored_are_few_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a block notes of misses is bounded, too."""
    monkeypatch.setattr(remembering, "MOST_ENTRIES", 3)

    @cached_query(cache_if=lambda _: False)
    def unstored(number: int) -> int:
        return int(note(number))

    with remembered():
        found = [unstored(number) for number in range(10)]
        memory: Any = remembering.current.get()

        assert (list(range(10)), 3) == (found, len(memory.missed))


@pytest.mark.django_db(transaction=True)
def test_tables_that_a_function_is_found_to_read_later_end_what_it_has_stored() -> None:
    """Under AUTO an entry without the token of such a table is a miss, in a block as elsewhere."""

    @cached_query(depends_on=[AUTO])
    def either(model: str) -> int:
        return int(note((Club if model == "club" else ClubClass).objects.count()))

    with remembered():
        either("club")
        either("class")
        either("club")
        before = len(computed)
        ClubClass.objects.all().delete()
        Club.objects.create(name="judo")

        assert (3, 1) == (before, either("club"))


@pytest.mark.parametrize("is_stored", [True, False])
def test_value_that_is_too_large_is_not_remembered(
    *, is_stored: bool, monkeypatch: pytest.MonkeyPatch, commands: Commands
) -> None:
    """One value that is larger than all may be is read each time."""
    monkeypatch.setattr(remembering, "MOST_BYTES", 10)
    if is_stored:
        listed(1)
    with remembered():
        listed(1)
        commands.clear()
        listed(1), listed(1)

    assert ["get_many"] * 2 == commands.names


def test_blocks_nest_and_end(commands: Commands) -> None:
    """An inner block is a part of the outer one; what runs on with its context asks the cache when it has ended."""
    with remembered():
        listed(1), listed(1)
        commands.clear()
        with remembered():
            listed(1)
        listed(1)
        inside, context = commands.names, copy_context()

    context.run(lambda: (listed(1), listed(1), listed.refresh(1)))
    with remembered():
        context.run(listed, 1)

    assert ([], 4) == (inside, commands.names.count("get_many"))


def test_block_that_ends_in_another_context_is_over(commands: Commands) -> None:
    """A generator may be closed in any context: its block remembers nothing more."""

    def blocked() -> Iterator[None]:
        with remembered():
            yield

    block, context = blocked(), copy_context()
    context.run(next, block)
    context.run(listed, 1)
    block.close()
    commands.clear()

    context.run(listed, 1)
    context.run(listed, 1)

    assert ["get_many"] * 2 == commands.names


def test_hits_from_memory_are_hits() -> None:
    """They are events and counted, as any."""
    with remembered():
        listed(1), listed(1)
        with heard() as events:
            listed(1), gather(listed.call(1))

    assert [("hit", listed.key_for(1), "default")] * 2 == [(each.kind, each.key, each.cache) for each in events]


def test_hits_from_memory_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """An early refresh, by whichever hit of a block, replaces what is remembered."""
    monkeypatch.setattr(refreshing, "random", lambda: 1 - 1e-9)

    @cached_query(timeout=1e-3, early=1e12)
    def aging(number: int) -> int:
        return int(note(number))

    monkeypatch.setattr("cachedeco.loading.lookup.time", lambda: 0.0)
    monkeypatch.setattr("cachedeco.functions.single_serving.time", lambda: 0.0)
    monkeypatch.setattr("cachedeco.loading.remembering.time", lambda: 0.0)
    with remembered():
        aging(1), aging(1), aging(1)

    assert [1, 1, 1] == computed


def test_peek_asks_the_cache() -> None:
    """`peek()` tells what is stored: what another process has invalidated is missing."""
    with remembered():
        listed(1), listed(1)
        invalidate_elsewhere(own_token(1))

        assert (MISSING, [1, "north"]) == (listed.peek(1), listed(1))


def test_epochs_say_that_this_process_has_invalidated_a_token() -> None:
    """Of a token that was invalidated since, before or after its epochs were read, no value is served."""
    since = epochs.last()
    moment = epochs.moment_of(["a", "b"], since)
    assert moment is not None
    before = moment.is_now()

    epochs.advance(["b"])

    assert (True, False, None) == (before, moment.is_now(), epochs.moment_of(["a", "b"], since))


@both
def test_request_is_a_block(side: Side, commands: Commands) -> None:
    """Inside the middleware equal calls are looked up once, and the next request asks again."""
    listed(1)

    def view(_request: HttpRequest) -> HttpResponse:
        return HttpResponse([str(listed(1)), str(listed(1))])

    middleware = RememberedMiddleware(side.of(view))
    commands.clear()

    answers = [side.call(middleware, HttpRequest()).content for _ in range(2)]

    assert ([b"[1, 'north'][1, 'north']"] * 2, ["get_many"] * 2) == (answers, commands.names)
    assert side.is_async == iscoroutinefunction(middleware)
