"""No failure of a cache reaches the code that invalidates: it is an event and a line in the log."""

import pytest
from django.db import transaction

from cachedeco import cached_query
from tests.models import Club
from tests.storage.failing.clocks import queue
from tests.support.faults import faulty

pytestmark = pytest.mark.usefixtures("faulty_backend", "clock")


@cached_query(name="telling.double")
def double(number: int) -> int:
    """Return twice a number."""
    return 2 * number


def test_verb_raises_nothing_when_the_cache_does_not_acknowledge(caplog: pytest.LogCaptureFixture) -> None:
    """A lost acknowledgement is logged at ERROR and queued; the caller goes on."""
    with faulty("set_many", raises=TimeoutError):
        double.invalidate(4)

    assert (1, 1) == (len(queue()), len([each for each in caplog.records if each.levelname == "ERROR"]))


@pytest.mark.django_db(transaction=True)
def test_commit_raises_nothing_when_the_cache_does_not_acknowledge() -> None:
    """The row is committed, and the commit hooks behind ours run though the cache fails."""
    ran = []

    with faulty("set_many", raises=TimeoutError), transaction.atomic():
        Club.objects.create(name="North")
        double.invalidate(4)
        transaction.on_commit(lambda: ran.append(1))

    assert ([1], 1) == (ran, len([key for key in queue() if "double" in key]))
    assert Club.objects.filter(name="North").exists()
