"""The pause of the deliverer's loop: a trigger ends it, a signal does, and a server that is gone does not."""

from collections.abc import Iterator
from types import SimpleNamespace

import psycopg
import pytest
from django.db import connections

from cachedeco.outbox import listening
from cachedeco.outbox.listening import Listener, Stop
from cachedeco.testing import capture_events
from tests.outbox.sites import ALIAS
from tests.support.postgres import PostgreSQL
from tests.support.threads import PATIENCE_SECONDS, started

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture
def listener(database: str) -> Iterator[Listener]:
    """Give what listens to the database of the outbox, and to none that can't be listened to."""
    assert database
    listener = Listener([ALIAS, "default"])
    yield listener
    listener.close()


@pytest.fixture
def stop() -> Iterator[Stop]:
    """Give a flag."""
    stop = Stop()
    yield stop
    stop.close()


def notify(server: PostgreSQL) -> None:
    """Do as a trigger does."""
    with psycopg.connect(server.location, autocommit=True) as connection:
        connection.execute("NOTIFY cachedeco_outbox")


def test_notice_ends_the_pause(listener: Listener, stop: Stop, postgresql_server: PostgreSQL) -> None:
    """Whether it comes before or in it, and once: the next pause is a whole one."""
    listener.listen()
    listener.listen()
    notify(postgresql_server)
    before = listener.wait(PATIENCE_SECONDS, stop)

    with started(lambda: notify(postgresql_server)):
        during = listener.wait(PATIENCE_SECONDS, stop)

    assert (True, True, False) == (before, during, listener.wait(0.001, stop))


def test_flag_ends_the_pause(listener: Listener, stop: Stop) -> None:
    """However often it is set, and every pause from then on."""
    listener.listen()
    with started(lambda: (stop.set(), stop.set())):
        during = listener.wait(PATIENCE_SECONDS, stop)

    assert (True, True) == (during, listener.wait(PATIENCE_SECONDS, stop))


def test_server_that_is_gone_does_not_end_the_pause(
    listener: Listener, stop: Stop, postgresql_server: PostgreSQL
) -> None:
    """The loop polls meanwhile, at its own pace; that is one event, and it listens again when it can."""
    listener.listen()
    postgresql_server.stop()
    with capture_events() as events:
        ended = [listener.wait(0.001, stop)]
        for _ in range(2):
            listener.listen()
            ended.append(listener.wait(0.001, stop))
    postgresql_server.start()
    connections[ALIAS].close()
    listener.listen()
    notify(postgresql_server)

    assert ([False, False, False], True) == (ended, listener.wait(PATIENCE_SECONDS, stop))
    reason = "The outbox of database 'outbox' can't be listened to, and is polled"
    assert [("error", reason)] == [(event.kind, event.reason) for event in events]


@pytest.mark.usefixtures("database")
def test_notices_of_psycopg_2_do_not_pile_up() -> None:
    """It appends them to all that is there, which a loop of months must not fill."""
    driver = SimpleNamespace(notifies=[])

    listening._drop_notices(driver)
    for number in range(3):
        driver.notifies.append(number)

    assert 1 == len(driver.notifies)
