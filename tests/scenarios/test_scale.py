"""What grows: calls and commands with the work, not with its square; no state of the process with what is gone."""

import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import local
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction

from cachedeco import Namespace, cached_query, cached_query_many, rows
from cachedeco.functions import naming
from cachedeco.tracking import nested_names
from tests.conftest import CacheConfig, UseCaches
from tests.house.state import STATE
from tests.models import Squad
from tests.support.backends import Commands
from tests.support.clubs import Undone
from tests.support.counting import FEW, MANY, growth
from tests.support.servers import Redis
from tests.support.stored import stored

Work = Callable[[int], Any]

# So many names are kept here, where thousands are in production.
MOST = 5


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is bounded reach its bound after a few rounds."""
    monkeypatch.setattr(naming, "MOST_UNUSED", MOST)
    monkeypatch.setattr(nested_names, "MOST_ENTRIES", MOST)


# --- decorations ---


def name_in_a_loop(count: int) -> None:
    """Decorate a lambda under many names."""
    for number in range(count):
        cached_query(name=f"scale.report.{number}")(lambda each: each)(1)


def function_in_a_function(count: int) -> None:
    """Decorate in a view, at each request."""
    for number in range(count):

        @cached_query(vary=lambda number=number: number, namespace="scale:{each}", depends_on=[Squad])  # type: ignore[misc]
        def inside(each: int) -> int:
            return each

        inside(1)
        inside.invalidate(1)
        inside.invalidate_all()


def function_over_ids_in_a_function(count: int) -> None:
    """Decorate a function over many ids, under many names, with a stale window and a part of a model."""
    for number in range(count):

        @cached_query_many(
            over="pks",
            name=f"scale.many.{number}",
            stale_while_revalidate=60,
            depends_on=[rows(Squad, name="{each}")],
        )
        def inside(pks: list[int]) -> dict[int, int]:
            return dict.fromkeys(pks, 1)

        inside([1, 2])
        inside([2, 3])
        inside.invalidate([1])


def refused_in_a_loop(count: int) -> None:
    """Decorate what is refused, under many names."""
    for number in range(count):
        with suppress(TypeError):
            cached_query(name=f"scale.refused.{number}", key="{gone}")(lambda each: each)


def wrapped_in_a_loop(count: int) -> None:
    """Decorate one function under many names."""
    for number in range(count):
        cached_query(name=f"scale.wrapped.{number}")(one)(1)


def one(each: int) -> int:
    """Be decorated under many names."""
    return each


# --- calls ---


@cached_query(namespace="scale:{number}")
def inner(number: int) -> int:
    """Be called inside another computation."""
    return number


@cached_query
def outer(count: int) -> int:
    """Call many functions."""
    return sum(inner(number) for number in range(count))


def nested_calls(count: int) -> None:
    """Compute with nested calls that are stored already, those of one outer call."""
    outer.invalidate(count)
    outer(count)


def outer_calls(count: int) -> None:
    """Compute many outer calls, with one nested call each."""
    for number in range(count):
        few_inside(number)


@cached_query(ignore=("number",), vary=lambda number: number)
def few_inside(number: int) -> int:
    """Call another function."""
    return inner(0) + number


@cached_query(namespace="scale:row:{pk}", depends_on=[rows(Squad, id="{pk}")])
def row(pk: int) -> int:
    """Find nothing."""
    raise ObjectDoesNotExist(pk)


def unknown_rows(count: int) -> None:
    """Ask for many rows that do not exist."""
    for number in range(count):
        with suppress(ObjectDoesNotExist):
            row(number)


@cached_query(timeout=3600)
def user(pk: int) -> User:
    """Return a row, whose model is described."""
    return User(pk=pk)


def calls(count: int) -> None:
    """Make many calls, by several verbs."""
    for number in range(count):
        user(number)
        user.invalidate(number)
        user.refresh(number)
        user.call(number).set(User(pk=number))
        Namespace("scale", number).invalidate()


# --- transactions ---


@transaction.atomic
def savepoints(count: int) -> None:
    """Invalidate, read and store inside many savepoints, of which each second one is rolled back."""
    for number in range(count):
        with suppress(Undone), transaction.atomic():
            inner.invalidate(number)
            inner(number)
            transaction.on_commit(gc.isenabled)
            if number % 2:
                raise Undone


def transactions(count: int) -> None:
    """Do so in as many transactions, of which each second one is rolled back."""
    for number in range(count):
        with suppress(Undone), transaction.atomic():
            Squad.objects.create(name=f"club {number}")
            inner.invalidate(number)
            if number % 2:
                raise Undone


WORK: list[Work] = [
    name_in_a_loop,
    function_in_a_function,
    function_over_ids_in_a_function,
    refused_in_a_loop,
    wrapped_in_a_loop,
    nested_calls,
    outer_calls,
    unknown_rows,
    calls,
    savepoints,
    transactions,
]


def sizes() -> dict[str, int]:
    """Return how much each piece of the process's state holds; a cache that has a bound of its own counts nothing."""
    gc.collect()
    found: dict[str, int] = {}
    for place in STATE:
        module, _, name = place.rpartition(".")
        held: Any = getattr(sys.modules.get(f"cachedeco.{module}"), name, None)
        if hasattr(held, "cache_info"):
            info = held.cache_info()
            if info.maxsize is None:
                found[place] = info.currsize
        elif hasattr(held, "__len__"):
            found[place] = len(held)
    return found


def growth_of_state(work: Work) -> dict[str, int]:
    """Return what holds more after many rounds than after a few, by more than what is kept up to a bound."""
    work(FEW)
    before = sizes()
    work(MANY)
    return {name: size - before[name] for name, size in sizes().items() if size > before[name] + MOST}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("work", WORK)
def test_no_state_grows_with_what_is_gone(work: Work) -> None:
    """After many rounds the process holds what it held after a few, but for what is kept up to a bound."""
    assert {} == growth_of_state(work)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("work", WORK)
def test_calls_grow_with_the_rounds(work: Work) -> None:
    """One more of two hundred rounds costs what one more of twenty does."""
    assert growth(work) < 1.15


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("work", WORK)
def test_commands_grow_with_the_rounds(work: Work, commands: Commands) -> None:
    """So do the commands to the cache."""
    sent = []
    work(1)
    for count in (FEW, 2 * FEW, 3 * FEW):
        stored().clear()
        commands.clear()
        work(count)
        sent.append(len(commands))

    assert sent[2] - sent[1] <= sent[1] - sent[0]


def test_hit_of_a_call_with_many_nested_ones_is_one_command(commands: Commands) -> None:
    """However many tokens an entry depends on."""
    outer(MANY)
    commands.clear()

    outer(MANY)

    assert ["get_many"] == commands.names


# --- tenants ---


class Tenant(local):
    """The tenant of a thread."""

    number = 0


here = Tenant()


def of_tenant(key: str, prefix: str, version: int) -> str:
    """Make a key of the tenant of this thread."""
    return f"{prefix}:{version}:{here.number}:{key}"


def many_tenants(count: int) -> None:
    """Call, invalidate, and ask for what does not exist, as many tenants."""
    for here.number in range(count):
        user(1)
        user(1)
        few_inside(1)
        inner.invalidate(0)
        with suppress(ObjectDoesNotExist):
            row(1)


def test_tenants_grow_nothing_but_their_keys(
    use_caches: UseCaches, cache_config: CacheConfig, commands: Commands
) -> None:
    """Calls and commands grow with the number of tenants, and no state of the process does."""
    use_caches(default=cache_config("locmem", KEY_FUNCTION=f"{__name__}.of_tenant"))

    assert {} == growth_of_state(many_tenants)
    assert growth(many_tenants) < 1.15
    sent = []
    for count in (FEW, 2 * FEW):
        stored().clear()
        commands.clear()
        many_tenants(count)
        sent.append(len(commands))
    assert sent[1] <= 2 * sent[0]


# --- the cache ---


def everlasting(redis: Any) -> int:
    """Return how many keys a Redis holds that never end."""
    return sum(redis.ttl(key) == -1 for key in redis.scan_iter())


@pytest.mark.parametrize("tenants", [False, True], ids=["one tenant", "tenants"])
def test_what_does_not_exist_leaves_nothing_that_never_ends(
    private_redis: Redis, use_caches: UseCaches, cache_config: CacheConfig, *, tenants: bool
) -> None:
    """
    Each primary key that is asked for leaves tokens, which end: those that never do are one for each function.

    The defect: the token of each `club:{pk}` stayed for ever in a Redis that evicts nothing.
    """
    options = {"KEY_FUNCTION": f"{__name__}.of_tenant"} if tenants else {}
    use_caches(default=cache_config("redis", server=private_redis, **options))
    redis: Any = stored()._cache.get_client()  # type: ignore[attr-defined] # Django's
    lasting, held = [], []
    for count in (1, FEW):
        (many_tenants if tenants else unknown_rows)(count)
        Namespace("scale", "row", count).invalidate()
        Namespace.for_model(Squad, id=count).invalidate()
        lasting.append(everlasting(redis))
        held.append(redis.dbsize())

    functions = len((row, user, few_inside, inner)) if tenants else 1
    assert held[1] - held[0] >= FEW - 1
    assert [functions, functions * FEW if tenants else 1] == lasting
