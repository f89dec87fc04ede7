"""Two releases of a project, whose models have other fields, keep their own entries side by side."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import transaction

from cachedeco import MISSING, Namespace, cached_query, cached_query_many
from cachedeco.loading import flights
from cachedeco.storage.cache_keys import LONGEST_KEY, key_for_models
from tests.support.backends import Commands
from tests.support.clocks import replace_time
from tests.support.releases import another_release
from tests.support.sides import Side, both
from tests.support.stored import stored
from tests.support.threads import Gate, started

RELEASES = (nullcontext, another_release)


class Computed(list[object]):
    """What was computed, in order."""

    def user(self, pk: int) -> User:
        """Compute a row."""
        self.append(pk)
        return User(pk=pk, username=f"user {len(self)}")


@pytest.fixture
def computed() -> Computed:
    """Give a list without anything computed."""
    return Computed()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the time of this library, to be set."""
    now = [1_000_000.0]
    replace_time(monkeypatch, lambda: now[0])
    return now


@both
@pytest.mark.usefixtures("backend")
def test_each_release_computes_once_in_many_calls_in_turn(side: Side, computed: Computed) -> None:
    """Two releases that call in turn compute twice in all, and each is served what it has computed."""

    @side.cached(ignore=("computed",))
    def user(pk: int) -> User:
        return computed.user(pk)

    served = []
    for _ in range(10):
        for release in RELEASES:
            with release():
                served.append(side.call(user, 1).username)

    assert ([1, 1], ["user 1", "user 2"] * 10) == (computed, served)


@pytest.mark.usefixtures("backend")
def test_each_release_computes_each_id_once(computed: Computed) -> None:
    """So do calls over many ids, of which each release has stored others."""

    @cached_query_many(over="pks", ignore=("computed",))
    def users(pks: list[int]) -> dict[int, User]:
        return {pk: computed.user(pk) for pk in pks}

    users([1, 2])
    with another_release():
        users([2, 3])
    for _ in range(3):
        for release in RELEASES:
            with release():
                assert [1, 2, 3] == list(users([1, 2, 3]))

    # 1 and 2 of the first, 2 and 3 of the other, 3 of the first, 1 of the other.
    assert [1, 2, 2, 3, 3, 1] == computed


def invalidations(user: Any) -> dict[str, Callable[[], object]]:
    """Return the ways to invalidate a call."""
    return {
        "call": lambda: user.invalidate(1),
        "function": user.invalidate_all,
        "namespace": Namespace("users").invalidate,
    }


@pytest.mark.parametrize("invalidating", RELEASES)
@pytest.mark.parametrize("way", ["call", "function", "namespace"])
def test_invalidation_by_either_release_reaches_both(computed: Computed, way: str, invalidating: Any) -> None:
    """Tokens belong to no release."""

    @cached_query(ignore=("computed",), namespace="users:{pk}")
    def user(pk: int) -> User:
        return computed.user(pk)

    for release in RELEASES:
        with release():
            user(1)

    with invalidating():
        invalidations(user)[way]()

    for release in RELEASES:
        with release():
            assert MISSING is user.peek(1)


@both
def test_second_read_is_for_the_release_that_came_later_alone(
    side: Side, computed: Computed, commands: Commands
) -> None:
    """A hit is one read; only where another release's entry lives under the key there is a second one."""

    @side.cached(ignore=("computed",))
    def user(pk: int) -> User:
        return computed.user(pk)

    reads = []
    for release in (*RELEASES, *RELEASES):
        with release():
            side.call(user, 1)
            commands.clear()
            side.call(user, 1)
            reads.append(commands.names)

    assert [["get_many"], ["get_many"] * 2] * 2 == reads
    assert commands[0].keys[1:] == commands[1].keys[1:]


def test_miss_of_an_invalidated_entry_reads_no_more_than_one_without_models(commands: Commands) -> None:
    """An entry that is dead has nothing beside it."""

    @cached_query
    def user(pk: int, *, with_models: bool) -> object:
        return User(pk=pk) if with_models else pk

    sent = []
    for with_models in (True, False):
        user(1, with_models=with_models)
        user.invalidate(1, with_models=with_models)
        with another_release():
            commands.clear()
            user(1, with_models=with_models)
            sent.append(commands.names)

    assert sent[0] == sent[1]
    assert 1 == sent[0].count("get_many")


@pytest.mark.parametrize(("seconds", "is_left_alone"), [(99, True), (101, True), (111, False)])
def test_entry_is_left_alone_to_the_end_of_its_stale_window(
    computed: Computed, now: list[float], seconds: int, *, is_left_alone: bool
) -> None:
    """While the other release may serve its entry, stale too, it is not overwritten; afterwards it is."""

    @cached_query(ignore=("computed",), timeout=100, jitter=0, stale_while_revalidate=10)
    def user(pk: int) -> User:
        return computed.user(pk)

    user(1)
    now[0] += seconds
    with another_release():
        user(1)

    data = stored().get(user.key_for(1))
    assert (is_left_alone, not is_left_alone) == (b"user 1" in data, b"user 2" in data)


def test_outer_and_nested_entries_lie_beside_those_of_the_other_release(computed: Computed) -> None:
    """Tokens of nested calls are those of the entry that is served, in both releases."""

    @cached_query(ignore=("computed",))
    def user(pk: int) -> User:
        return computed.user(pk)

    @cached_query(ignore=("computed", "user"))
    def name(pk: int) -> tuple[str, User]:
        computed.append("name")
        found = user(pk)
        return found.username, found

    served = []
    for _ in range(3):
        for release in RELEASES:
            with release():
                served.append(name(1)[0])
    assert ["name", 1, "name", 1] == computed
    assert ["user 2", "user 4"] * 3 == served

    user.invalidate(1)

    for release in RELEASES:
        with release():
            assert MISSING is name.peek(1)


def test_callers_of_one_release_share_a_computation_beside_the_other(computed: Computed) -> None:
    """A flight is named by the key of the entry that it will store."""
    gate = Gate()

    @cached_query(ignore=("computed", "gate"))
    def user(pk: int) -> User:
        gate.wait_to_pass()
        return computed.user(pk)

    user(1)
    with another_release():
        gate.shut()
        with started(partial(user, 1)) as first:
            gate.wait_reached()
            [(_, key, _)] = [name for name in flights._flights if name[2]]
            gate.open()
            served = [first.result().username, user(1).username]

    assert key != user.key_for(1)
    assert ["user 2", "user 2"] == served


@pytest.mark.django_db(transaction=True)
def test_what_a_transaction_stores_at_its_commit_is_found_in_it(
    computed: Computed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside `atomic()`, an entry beside another one is served to its own thread before the commit."""
    monkeypatch.setattr(transaction.get_connection(), "isolation_level", "read committed", raising=False)

    @cached_query(ignore=("computed",))
    def user(pk: int) -> User:
        return computed.user(pk)

    user(1)
    with another_release(), transaction.atomic():
        Group.objects.create(name="written")
        user(1)
        inside = user(1).username

    assert ("user 2", [1, 1]) == (inside, computed)


@contextmanager
def without(model: str) -> Iterator[None]:
    """Be a process of a release that has no model of this name."""
    get_model = apps.get_model

    def find(name: str, *more: Any, **options: Any) -> Any:
        if name == model:
            raise LookupError(name)
        return get_model(name, *more, **options)

    with pytest.MonkeyPatch.context() as patch, another_release():
        patch.setattr(apps, "get_model", find)
        yield


def test_release_without_the_model_has_an_entry_of_its_own(computed: Computed) -> None:
    """A model that is gone has no fields; what this release computes lies beside the other's."""

    @cached_query(ignore=("computed",))
    def first() -> object:
        computed.append(1)
        return User(pk=1) if len(computed) == 1 else "plain"

    served = []
    for _ in range(2):
        for release in (nullcontext, lambda: without("auth.User")):
            with release():
                served.append(first())

    assert ([User(pk=1), "plain"] * 2, [1, 1]) == (served, computed)


@pytest.mark.parametrize("length", [1, 233, 234, LONGEST_KEY])
def test_key_for_models_is_valid_and_differs_by_key_and_digest(length: int) -> None:
    """It is short enough, however long the other key is."""
    digest = "0123456789abcdef"
    several = {
        key_for_models(key, each) for key in ("a" * length, "a" * (length - 1) + "b") for each in (digest, "0" * 16)
    }

    assert 4 == len(several)
    assert all(len(key) <= LONGEST_KEY and key.isprintable() for key in several)
