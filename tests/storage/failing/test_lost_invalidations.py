"""The setting ON_LOST_INVALIDATION says whether the caller is told of an invalidation that was not acknowledged."""

import pickle
from typing import Any

import pytest
from django.db import transaction

from cachedeco import LostInvalidation, Namespace, cached_query
from cachedeco.invalidation.delivery import Invalidation
from cachedeco.storage.store import Store
from tests.conftest import UseCaches
from tests.models import Club
from tests.storage.failing.clocks import queue
from tests.support.faults import faulty
from tests.support.sides import Side, both

pytestmark = pytest.mark.usefixtures("faulty_backend", "clock")


@pytest.fixture
def _raising(settings: Any, use_caches: UseCaches) -> None:
    """Have the caller be told."""
    settings.CACHEDECO = {"ON_LOST_INVALIDATION": "raise"}
    use_caches(default="faulty")


raising = pytest.mark.usefixtures("_raising")


@cached_query(name="telling.double")
def double(number: int) -> int:
    """Return twice a number."""
    return 2 * number


@both
@raising
def test_verb_raises_where_the_project_wants_to_know(side: Side) -> None:
    """Each verb that invalidates raises; it names the keys, and has noted them."""

    @side.cached(namespace="numbers")
    def triple(number: int) -> int:
        return 3 * number

    told: list[str] = []
    with faulty("set_many", raises=TimeoutError):
        for act in (lambda: side.call(triple.invalidate, 4), lambda: side.call(Namespace("numbers").invalidate)):
            with pytest.raises(LostInvalidation, match=r"cache 'default': .*It is noted, and will be") as failure:
                act()
            told.extend(failure.value.keys)

    assert (2, told) == (len(told), queue())


def test_exception_survives_its_way_between_processes() -> None:
    """A test that fails in a worker is reported by another process."""
    error = LostInvalidation([Invalidation(Store("default"), "cd:n:numbers")])

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 -- just pickled

    assert (str(error), ("cd:n:numbers",)) == (str(copy), copy.keys)


@pytest.mark.parametrize("cachedeco", [{}, {"ON_LOST_INVALIDATION": "log"}], ids=["default", "log"])
def test_verb_raises_nothing_where_the_project_has_a_log(cachedeco: dict[str, Any], settings: Any) -> None:
    """Unless the project says otherwise, no failure of the cache reaches the caller."""
    settings.CACHEDECO = cachedeco

    with faulty("set_many", raises=TimeoutError):
        double.invalidate(4)

    assert 1 == len(queue())


@raising
def test_invalidation_that_is_acknowledged_raises_nothing() -> None:
    """The second attempt may be the one that arrives."""
    with faulty("set_many", raises=TimeoutError, times=1):
        double.invalidate(4)

    assert [] == queue()


@raising
def test_call_raises_nothing_whatever_the_setting_says() -> None:
    """The setting is about invalidations: a call has its value."""
    with faulty(raises=TimeoutError):
        found = [double(4) for _ in range(5)]

    assert [8] * 5 == found


@raising
@pytest.mark.django_db(transaction=True)
def test_raising_at_the_commit_reaches_the_caller_and_the_row_is_there() -> None:
    """The transaction is committed when its invalidations go out: what they raise undoes nothing."""

    def write() -> None:
        with transaction.atomic():
            Club.objects.create(name="North")
            double.invalidate(4)

    with faulty("set_many", raises=TimeoutError), pytest.raises(LostInvalidation):
        write()

    assert Club.objects.filter(name="North").exists()


@pytest.mark.django_db(transaction=True)
def test_commit_raises_nothing_where_the_project_has_a_log() -> None:
    """The commit hooks behind ours run whatever the cache does."""
    ran = []

    with faulty("set_many", raises=TimeoutError), transaction.atomic():
        double.invalidate(4)
        transaction.on_commit(lambda: ran.append(1))

    assert ([1], 1) == (ran, len(queue()))


@raising
@pytest.mark.django_db(transaction=True)
def test_transaction_by_hand_that_raises_still_delivers_at_the_commit() -> None:
    """Where autocommit is off it goes out at once, and once more at the commit, though the first time raised."""
    transaction.set_autocommit(False)
    try:
        with faulty("set_many", raises=TimeoutError), pytest.raises(LostInvalidation):
            double.invalidate(4)
        waiting = len(transaction.get_connection().run_on_commit)
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)

    assert 1 == waiting
