"""What is invalidated together, or by one transaction, is delivered or noted whole, though one part fails."""

from collections.abc import Callable, Iterator

import pytest
from django.db import connection, transaction
from pytest_django import Settings

from cachedeco import Namespace, cached_query, cached_query_many
from cachedeco.invalidation import delivery
from cachedeco.outbox import recording
from cachedeco.storage.breaker import breakers
from cachedeco.testing import capture_events
from tests.conftest import UseCaches
from tests.invalidation.dependencies.roster import made_squad, players_of, squads
from tests.models import Club, Player
from tests.support.backends import Commands
from tests.support.faults import faulty
from tests.support.stored import bare, stored, whole

real = pytest.mark.django_db(transaction=True)


class Interrupted(BaseException):
    """What is raised into a thread, and is none of the cache's errors: gevent's Timeout, or Ctrl-C."""


@pytest.fixture
def _faulty(use_caches: UseCaches) -> None:
    """Give a cache that can misbehave."""
    use_caches(default="faulty")


@pytest.fixture(params=[False, True], ids=["alone", "outbox"])
def _recorded(request: pytest.FixtureRequest) -> Iterator[None]:
    """Go on without an outbox, and with one whose table is missing."""
    delivery.record_with(recording.record if request.param else None)
    yield
    delivery.record_with(None)


both_ways = pytest.mark.usefixtures("_faulty", "_recorded")


@cached_query(name="together.double")
def double(number: int) -> int:
    """Return twice a number."""
    return 2 * number


@cached_query_many(over="numbers", name="together.triples")
def triples(numbers: list[int]) -> dict[int, int]:
    """Return thrice each number."""
    return {number: 3 * number for number in numbers}


@cached_query(name="together.named")
def named(club: Club) -> str:
    """Return the name of a club."""
    return club.name


def queue(alias: str = "default") -> list[str]:
    """Return what is noted, without what all keys begin with."""
    return sorted(bare(key).removeprefix("cd:n:") for key in breakers[alias].queue) if alias in breakers else []


SEVERAL: dict[str, Callable[[], object]] = {
    "for_model": Namespace.for_model(Player).invalidate,
    "bulk_create": lambda: Player.objects.bulk_create([Player(name="Ann")]),
    "save": lambda: Player.objects.create(name="Ann"),
    "many ids": lambda: triples.invalidate([1, 2]),
}


@both_ways
@real
@pytest.mark.parametrize("act", SEVERAL.values(), ids=SEVERAL)
def test_all_of_one_write_is_noted(act: Callable[[], object]) -> None:
    """Of several tokens none is forgotten because the cache did not acknowledge the first."""
    with faulty("set_many", raises=TimeoutError), capture_events() as events:
        act()

    delayed = [bare(event.key).removeprefix("cd:n:") for event in events if event.kind == "invalidation_delayed"]
    assert len(queue()) > 1
    assert queue() == sorted(delayed)


@both_ways
def test_every_cache_is_told_though_the_first_fails(use_caches: UseCaches, settings: Settings) -> None:
    """A namespace lives in each cache: that one of them is gone keeps nothing from the others."""
    use_caches(default="faulty", other="locmem")
    settings.CACHEDECO = {"ALIASES": ["default", "other"]}

    with faulty("set_many", raises=TimeoutError):
        Namespace("club", 7).invalidate()

    assert (["club:7"], []) == (queue("default"), queue("other"))
    assert stored("other").get(whole("cd:n:club:7", "other")) is not None


@both_ways
@real
def test_all_of_one_transaction_is_noted_though_the_first_fails() -> None:
    """What waits under a savepoint, and what is delivered otherwise, is tried too, and what was undone is not."""

    @transaction.atomic
    def write() -> None:
        Namespace("outermost").invalidate()
        double(4)
        with transaction.atomic():
            Namespace("nested").invalidate()
        with transaction.atomic():
            Namespace("undone").invalidate()
            transaction.set_rollback(True)
        Namespace("last").invalidate()

    with faulty("set_many", raises=TimeoutError):
        write()

    assert ["last", "nested", "outermost"] == queue()


@real
@pytest.mark.usefixtures("_recorded")
def test_interrupted_delivery_is_noted(use_caches: UseCaches) -> None:
    """What is interrupted between the commit and the acknowledgement is delivered before the cache is trusted again."""
    use_caches(default="faulty")

    @transaction.atomic
    def write() -> None:
        Namespace("club", 7).invalidate()
        with transaction.atomic():
            Namespace("club", 8).invalidate()

    with faulty("set_many", raises=Interrupted), pytest.raises(Interrupted):
        write()

    assert ["club:7", "club:8"] == queue()


@both_ways
@real
def test_all_that_could_not_be_replaced_is_invalidated(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What `set()` was to replace, for several calls by one transaction, is invalidated by the keys of that time.

    The defect: the key of a call was computed at the commit, when its row had none.
    """
    monkeypatch.setattr(connection, "isolation_level", "read committed", raising=False)
    club, other = Club.objects.create(name="North"), Club.objects.create(name="South")

    @transaction.atomic
    def write() -> None:
        named.call(club).set("")
        named.call(other).set("")
        triples.call([1]).set({1: 0})
        triples.call([2]).set({2: 0})
        club.delete()  # without its pk it has no key any more when the transaction commits

    with faulty("set_many", raises=TimeoutError):
        write()

    assert (2, 2) == tuple(
        len([key for key in queue() if name in key]) for name in ("together.named", "together.triples")
    )


@real
def test_save_is_one_command(commands: Commands) -> None:
    """The model and its parts are told together, outside `atomic()` too."""
    squad = made_squad()
    (squads(), players_of(squad.pk))
    commands.clear()

    Player.objects.create(name="Ann", squad=squad)

    assert ["set_many"] == commands.names
