"""The number of cache commands on each path: what a library costs, and what the next change must not make dearer."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.db import DatabaseCache
from django.db import transaction

from cachedeco import Namespace, cached_query
from tests.conftest import CacheConfig, UseCaches
from tests.support.backends import Commands, Kind
from tests.support.servers import Memcached
from tests.support.sides import Side, both
from tests.support.stored import stored

NAMESPACES: dict[int, tuple[str, ...]] = {
    0: (),
    1: ("numbers",),
    2: ("numbers:{number}",),
    6: ("numbers:{number}:of:many", "other", "others"),
}
namespaces = pytest.mark.parametrize("spaces", NAMESPACES.values(), ids=NAMESPACES)


def doubling(side: Side, spaces: tuple[str, ...], **options: Any) -> Any:
    """Return a cached function that depends on some namespaces."""

    @side.cached(namespace=spaces, **options)
    def double(number: int) -> int:
        return 2 * number

    return double


# Django's DatabaseCache does not say whether a write succeeded, so that a read has to follow.
LOOKS_AGAIN = {"database": ["get_many"]}


@pytest.mark.covering(2)
@both
@namespaces
@pytest.mark.usefixtures("backend")
def test_hit_is_one_command(side: Side, spaces: tuple[str, ...], commands: Commands) -> None:
    """A hit is one `get_many`, for any number of namespaces; other libraries ask again for each version."""
    double = doubling(side, spaces)
    side.call(double, 4)
    commands.clear()

    side.call(double, 4)

    assert ["get_many"] == commands.names


# How many tokens an entry depends on in so many namespaces: its own, its function's, and one for each level.
TOKENS = {(): 2, ("numbers",): 3, ("numbers:{number}",): 4, NAMESPACES[6]: 8}


def without_proofs(commands: Commands) -> list[str]:
    """Return the names of the commands, without the reads by which a write to the database cache is proved."""
    names = commands.names
    proofs = isinstance(caches["default"], DatabaseCache)
    return [
        name for n, name in enumerate(names) if not (proofs and n and (names[n - 1], name) == ("set_many", "get_many"))
    ]


# What a computation costs besides: the lease is taken; the entry is stored, and the lease is marked as landed.
LEASED = ["add", "set_many", "set_many"]


@pytest.mark.covering(2)
@both
@namespaces
@pytest.mark.usefixtures("backend")
def test_miss_on_an_empty_server_is_a_command_for_each_token_more(
    side: Side, spaces: tuple[str, ...], commands: Commands
) -> None:
    """The first call of all mints each token with a command of its own, so that callers who race agree on it."""
    double = doubling(side, spaces)
    commands.clear()

    side.call(double, 4)

    assert ["get_many", *["add"] * TOKENS[spaces], *LEASED] == without_proofs(commands)


@pytest.mark.covering(2)
@both
@namespaces
@pytest.mark.usefixtures("backend")
def test_miss_under_living_namespaces_is_five_commands(side: Side, spaces: tuple[str, ...], commands: Commands) -> None:
    """A call's first time, where the function and its namespaces are known, costs one `add` for its own token."""
    double = doubling(side, spaces)
    side.call(double, 4)
    side.call(double, 5)
    side.call(double.invalidate_all)
    stored().delete(double._spec.own_token((5,), {}).key)
    commands.clear()

    side.call(double, 5)

    assert ["get_many", "add", *LEASED] == without_proofs(commands)


@pytest.mark.covering(2)
@both
@namespaces
@pytest.mark.usefixtures("backend")
def test_miss_after_an_invalidation_is_four_commands(side: Side, spaces: tuple[str, ...], commands: Commands) -> None:
    """Where all tokens are there, a miss reads once, and then takes the lease, stores, and marks the lease."""
    double = doubling(side, spaces)
    side.call(double, 4)
    side.call(double.invalidate, 4)
    commands.clear()

    side.call(double, 4)

    assert ["get_many", *LEASED] == without_proofs(commands)


@pytest.mark.covering(2)
@both
@namespaces
@pytest.mark.usefixtures("backend")
def test_miss_without_wait_is_two_commands(side: Side, spaces: tuple[str, ...], commands: Commands) -> None:
    """With `wait=0` there is no lease: a miss reads once and writes once."""
    double = doubling(side, spaces, wait=0)
    side.call(double, 4)
    side.call(double.invalidate, 4)
    commands.clear()

    side.call(double, 4)

    assert ["get_many", "set_many"] == without_proofs(commands)


@both
def test_miss_after_the_timeout_is_four_commands(
    side: Side, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that is due is computed anew under the tokens that it had."""

    @side.cached(timeout=60)
    def answer() -> int:
        return 1

    monkeypatch.setattr("cachedeco.loading.writing.time", lambda: 1_000.0)
    side.call(answer)
    commands.clear()

    side.call(answer)

    assert ["get_many", *LEASED] == without_proofs(commands)


@pytest.mark.covering(2)
@both
@namespaces
@pytest.mark.parametrize("verb", ["invalidate", "invalidate_all"])
def test_invalidation_is_one_command(
    side: Side, spaces: tuple[str, ...], verb: str, backend: str, commands: Commands
) -> None:
    """To invalidate a call, or all calls, is one `set_many`: nothing is read or deleted."""
    double = doubling(side, spaces)
    side.call(double, 4)
    commands.clear()

    side.call(getattr(double, verb), *([4] if verb == "invalidate" else []))

    assert ["set_many", *LOOKS_AGAIN.get(backend, [])] == commands.names


@both
def test_namespace_is_invalidated_by_one_command(side: Side, backend: str, commands: Commands) -> None:
    """To invalidate a namespace is one `set_many`, for any number of entries in it."""
    commands.clear()

    side.call(Namespace("club", 7).invalidate)

    assert ["set_many", *LOOKS_AGAIN.get(backend, [])] == commands.names


@both
def test_namespace_is_invalidated_by_one_command_for_each_alias(
    side: Side,
    commands: Commands,
    use_caches: UseCaches,
    settings: Any,
) -> None:
    """A namespace lives in every cache of the setting."""
    use_caches(default="locmem", other="locmem", unused="locmem")
    settings.CACHEDECO = {"ALIASES": ["default", "other"]}

    side.call(Namespace("club", 7).invalidate)

    assert [("set_many", "default"), ("set_many", "other")] == [(each.name, each.alias) for each in commands]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("whole", "expected"), [(False, ["set_many"]), (True, ["set_many"] * 2)], ids=["calls", "all"])
def test_invalidations_of_one_transaction_are_delivered_together(
    commands: Commands, *, whole: bool, expected: list[str]
) -> None:
    """At the commit, and not before: one command for tokens of calls, and one more for those that live for ever."""

    @cached_query(namespace="numbers")
    def double(number: int) -> int:
        return 2 * number

    with transaction.atomic():
        for number in range(5):
            double.invalidate(number)
        if whole:
            double.invalidate_all()
            Namespace("numbers").invalidate()
        before = list(commands.names)

    assert ([], expected, 7 if whole else 5) == (before, commands.names, sum(len(each.keys) for each in commands))


@pytest.mark.covering(2)
@both
@namespaces
@pytest.mark.parametrize("stored", [False, True], ids=["absent", "stored"])
def test_peek_is_one_command(side: Side, spaces: tuple[str, ...], commands: Commands, *, stored: bool) -> None:
    """To look is one `get_many`, and mints no token."""
    double = doubling(side, spaces)
    if stored:
        side.call(double, 4)
    commands.clear()

    side.call(double.peek, 4)

    assert ["get_many"] == commands.names


@pytest.mark.covering(2)
@both
@namespaces
@pytest.mark.parametrize("known", [False, True], ids=["on an empty server", "where the tokens are"])
@pytest.mark.parametrize("verb", ["set", "refresh"])
def test_storing_verb_is_a_miss_without_its_hit(
    side: Side, spaces: tuple[str, ...], verb: str, commands: Commands, *, known: bool
) -> None:
    """`set` and `refresh` read the tokens, mint what is absent, and write; they take no lease."""
    double = doubling(side, spaces)
    if known:
        side.call(double, 4)
    commands.clear()

    side.call(double.call(4).set, 8) if verb == "set" else side.call(double.refresh, 4)

    assert ["get_many", *([] if known else ["add"] * TOKENS[spaces]), "set_many"] == commands.names
    assert double.key_for(4) not in commands[0].keys


def test_decorating_is_no_command(commands: Commands) -> None:
    """To decorate a function, and to ask for its key, touches no cache."""

    @cached_query(namespace="numbers", timeout=60)
    def double(number: int) -> int:
        return 2 * number

    double.key_for(4)

    assert [] == commands


@both
@pytest.mark.parametrize("kind", ["memcached", "ours"])
@pytest.mark.parametrize(("spaces", "keys", "cold"), [((), 3, 5), (("numbers:{number}",), 5, 7)], ids=["no", "two"])
def test_memcached_itself_counts_as_many(  # noqa: PLR0913, PLR0917 -- it sets up a server of its own
    side: Side,
    spaces: tuple[str, ...],
    keys: int,
    cold: int,
    kind: Kind,
    private_memcached: Memcached,
    use_caches: UseCaches,
    cache_config: CacheConfig,
) -> None:
    """By memcached's own statistics a hit reads each key once and writes nothing, and an invalidation writes one."""
    use_caches(default=cache_config(kind, server=private_memcached))

    def spent(work: Callable[..., object], *args: object) -> tuple[int, int]:
        before = private_memcached.stats()
        side.call(work, *args)
        after = private_memcached.stats()
        gets, sets = (int(after[name]) - int(before[name]) for name in ("cmd_get", "cmd_set"))
        return gets, sets

    double = doubling(side, spaces)
    costs = [spent(double, 4), spent(double, 4), spent(double.invalidate, 4), spent(double, 4), spent(double.peek, 4)]

    assert [(keys, cold), (keys, 0), (0, 1), (keys, 3), (keys, 0)] == costs
