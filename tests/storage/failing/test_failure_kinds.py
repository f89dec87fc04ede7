"""What counts as a failure of the server, and what does not."""

from errno import EDQUOT, ENOSPC
from gzip import BadGzipFile

import pymemcache.exceptions
import pytest
import redis.exceptions
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.db.transaction import TransactionManagementError

from cachedeco.storage import breaker
from cachedeco.testing import capture_events
from tests.storage.failing.calls import HIT, double, sent
from tests.storage.failing.clocks import Clock
from tests.support.backends import Commands
from tests.support.cases import in_one_test
from tests.support.faults import faulty

pytestmark = pytest.mark.usefixtures("faulty_backend", "clock")


OUTAGES = [
    ConnectionRefusedError(),
    TimeoutError(),
    OSError(),
    OperationalError(),
    InterfaceError(),
    pymemcache.exceptions.MemcacheError(),
    pymemcache.exceptions.MemcacheUnknownError(),
    pymemcache.exceptions.MemcacheUnexpectedCloseError(),
    redis.exceptions.ConnectionError(),
    redis.exceptions.TimeoutError(),
    redis.exceptions.BusyLoadingError(),
    redis.exceptions.AuthenticationError(),
    redis.exceptions.MovedError("1 127.0.0.1:7001"),
    redis.exceptions.AskError("1 127.0.0.1:7001"),
    redis.exceptions.ClusterCrossSlotError(),
    redis.exceptions.RedisClusterException(),
]
# A file-based cache whose disk is full still reads and deletes.
# Django unpickles inside get_many: what a class does there says nothing of the server.
OTHERS = [
    AttributeError(), EOFError(), ImportError(), KeyError(), ValueError(), ModuleNotFoundError(), ProgrammingError(),
    TransactionManagementError(), BadGzipFile(), OSError(ENOSPC, "No space left"), OSError(EDQUOT, "Quota exceeded"),
]  # fmt: skip
REFUSALS = [
    pymemcache.exceptions.MemcacheClientError(),
    pymemcache.exceptions.MemcacheIllegalInputError(),
    pymemcache.exceptions.MemcacheServerError(),
    redis.exceptions.ResponseError(),
    redis.exceptions.OutOfMemoryError(),
    redis.exceptions.ReadOnlyError(),
]


def name_of(error: object) -> str:
    """Name a parameter."""
    return f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}"


@in_one_test(
    [
        *[(error, reading, True) for error in OUTAGES for reading in (True, False)],
        *[(error, reading, False) for error in OTHERS for reading in (True, False)],
        *[(error, reading, reading) for error in REFUSALS for reading in (True, False)],
    ]
)
def test_class_of_the_exception_says_whether_the_server_is_out(
    error: Exception,
    reading: bool,
    expected: bool,
) -> None:
    """What the connection or the client raises counts; a failed unpickling, or a refused write, does not."""
    assert expected is breaker.is_outage(error, reading=reading)


@pytest.mark.parametrize(("operation", "expected"), [("get_many", []), ("set_many", HIT)])
def test_refusal_counts_where_something_is_read(operation: str, expected: list[str], commands: Commands) -> None:
    """Values too large to be stored open nothing; a proxy that refuses every read, for its dead server, does."""
    double(4)

    with faulty(operation, raises=pymemcache.exceptions.MemcacheServerError):
        for number in (4, 5, 6, 7, 8):
            double(number)
    double(4)

    assert expected == sent(commands, lambda: double(4))


CLUSTERS = [
    redis.exceptions.MovedError("1 127.0.0.1:7001"),
    redis.exceptions.AskError("1 127.0.0.1:7001"),
    redis.exceptions.ClusterCrossSlotError("CROSSSLOT Keys in request don't hash to the same slot"),
    redis.exceptions.RedisClusterException("MGET - all keys must map to the same key slot"),
]


@pytest.mark.parametrize("error", CLUSTERS, ids=name_of)
def test_node_of_a_cluster_is_told_once_and_left_alone(
    error: Exception, clock: Clock, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error says what it is and what to do, though a node takes what names one key; when it answers, it is used."""
    with capture_events() as events, faulty(raises=error) as fault:
        monkeypatch.setattr(fault, "meet", lambda command: len(command.keys) > 1)
        for number in range(50):
            assert 2 * number == double(number)
            clock.advance(10)
        double.invalidate_all()

    [told] = [event.reason for event in events if event.kind == "error"]
    assert "this is a node of a Redis cluster" in told
    assert "Point LOCATION at a Redis without cluster mode" in told
    assert ["breaker_opened"] == [event.kind for event in events if event.kind.startswith("breaker")]
    clock.advance(60)
    double(4)
    assert HIT == sent(commands, lambda: double(4))


def test_nonsense_read_opens_the_breaker(commands: Commands) -> None:
    """A cache that answers what no cache should is left alone as one that fails."""
    double(4)

    with faulty("get_many", returns="nonsense"):
        for _ in range(3):
            double(4)

    assert [] == sent(commands, lambda: double(4))
