"""The deliverer delivers what waits, each row once, however many deliver."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction
from pytest_django import Settings

from cachedeco import Namespace, outbox
from cachedeco.outbox import delivery
from cachedeco.outbox.delivery import Deliverer, Report
from cachedeco.outbox.models import Row, rows
from cachedeco.storage import breaker
from cachedeco.storage.store import Item, Store
from cachedeco.storage.writers import Acknowledged
from cachedeco.testing import capture_events
from tests.conftest import UseCaches
from tests.outbox.conftest import Clock
from tests.outbox.losing import lose, namespaces, tokens_sent
from tests.outbox.sites import ALIAS, all_rows, drop_table, make_table, name_of, refusing, rename, waiting_and_done
from tests.support.backends import Commands
from tests.support.faults import faulty
from tests.support.postgres import PostgreSQL
from tests.support.stored import whole
from tests.support.threads import Gate, started

pytestmark = pytest.mark.usefixtures("pk", "clock")

# --- what waits ---


def test_lost_invalidation_is_delivered_by_the_next_run(pk: int, clock: Clock) -> None:
    """The old value is served until then, and not after it; the row is acknowledged."""
    with faulty("set_many", unreachable=True), transaction.atomic(using=ALIAS):
        rename(pk, "new")
        name_of.invalidate(pk)
    breaker.reset()  # as another process, which does not know
    clock.pass_grace()
    before = name_of(pk)

    report = outbox.deliver()

    assert ("old", Report(delivered=1), "new", (0, 1)) == (before, report, name_of(pk), waiting_and_done())


@pytest.mark.parametrize(("seconds", "expected"), [(delivery.COMMIT_SECONDS, 0), (delivery.COMMIT_SECONDS + 0.001, 1)])
def test_row_is_left_to_the_committing_process_at_first(pk: int, clock: Clock, seconds: float, expected: int) -> None:
    """A row is taken once its own process has had its time, and not before."""
    lose(*namespaces(pk))
    clock.now += seconds

    assert expected == outbox.deliver().delivered


def test_row_of_a_process_whose_clock_is_ahead_does_not_wait_for_it(pk: int, clock: Clock) -> None:
    """Invalidations read no clock, and how far those of two hosts differ is unknown."""
    clock.now += 3600
    lose(*namespaces(pk))
    clock.now -= 3600

    assert 1 == outbox.deliver().delivered


def test_rows_are_delivered_in_batches(clock: Clock, commands: Commands) -> None:
    """Each batch is one command, and each row is tried once."""
    lose(*namespaces(*range(5)))
    clock.pass_grace()
    commands.clear()

    report = outbox.deliver(batch=2)

    assert (Report(delivered=5), [2, 2, 1], (0, 5)) == (report, tokens_sent(commands), waiting_and_done())


def test_rows_of_one_token_are_one_token(clock: Clock, commands: Commands) -> None:
    """What was invalidated twice is written once, and both rows are acknowledged, or neither."""
    lose(*namespaces(1, 1))
    clock.pass_grace()
    commands.clear()
    with refusing(whole("cd:n:n:1")):
        failed = Deliverer([ALIAS]).run(replay=False)

    report = outbox.deliver()

    assert (Report(waiting=2), Report(delivered=2)) == (failed, report)


def test_row_that_is_refused_keeps_none_from_delivery(clock: Clock) -> None:
    """A server of several that is away holds up only its own."""
    lose(*namespaces(*range(4)))
    clock.pass_grace()

    with refusing(whole("cd:n:n:0")):
        report = outbox.deliver(batch=1)

    assert (Report(delivered=3, waiting=1), (1, 3)) == (report, waiting_and_done())


def test_cache_that_can_not_be_reached_is_told_of_once(clock: Clock) -> None:
    """While a cache is away its rows are counted and left alone: no row is an event each time."""
    lose(*namespaces(*range(4)))
    clock.pass_grace()

    with capture_events() as events, faulty(unreachable=True):
        report = outbox.deliver()

    assert (Report(waiting=4), []) == (report, [event.kind for event in events])


def test_cache_that_raises_is_not_reached(clock: Clock) -> None:
    """Nor is one whose client raises, for reading or for writing."""
    lose(*namespaces(1))
    clock.pass_grace()

    with faulty(raises=OSError()):
        both = outbox.deliver()
    with faulty("get_many", raises=OSError()):
        reading = outbox.deliver()
    with faulty("set_many", raises=OSError()):
        writing = outbox.deliver()

    assert [Report(waiting=1)] * 3 == [both, reading, writing]


def test_cache_that_fails_within_a_run_is_left_alone(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the failures that open the breaker nothing is sent, deletions neither: each might take a timeout."""
    lose(*namespaces(*range(4)))
    clock.pass_grace()
    original, sent = Store.write_unguarded, []

    def write_unguarded(store: Store, items: Sequence[Item]) -> Acknowledged:
        if "cd:n:" not in items[0][0]:  # the heartbeat
            return original(store, items)
        sent.append([key for key, _, _ in items])
        raise OSError

    monkeypatch.setattr(Store, "write_unguarded", write_unguarded)
    report = outbox.deliver(batch=1)

    first, second = whole("cd:n:n:0"), whole("cd:n:n:1")
    assert (Report(waiting=4), [[first]] * 3 + [[second]]) == (report, sent)


def test_cache_that_is_away_keeps_no_other_waiting(
    pk: int, clock: Clock, use_caches: UseCaches, settings: Settings
) -> None:
    """Of two caches the one that is there gets what it is to have."""
    use_caches(default="faulty", other="locmem")
    settings.CACHEDECO = {"ALIASES": ["default", "other"]}
    with transaction.atomic(using=ALIAS):
        Namespace("n", pk).invalidate(using=ALIAS)
    rows(ALIAS).update(acknowledged=None)
    clock.pass_grace()

    with faulty(unreachable=True):
        report = outbox.deliver()

    assert Report(delivered=1, waiting=1) == report
    assert ["default"] == [row.cache for row in all_rows() if row.acknowledged is None]


def test_nothing_is_sent_while_the_mode_is_off(pk: int, clock: Clock, commands: Commands, settings: Settings) -> None:
    """The mode "off" never touches a cache."""
    lose(*namespaces(pk))
    clock.pass_grace()
    settings.CACHEDECO = {"MODE": "off"}
    commands.clear()

    assert (Report(), []) == (outbox.deliver(), commands)


def test_database_that_fails_is_an_event(pk: int) -> None:
    """Nothing is raised, and what could not be replayed is replayed by the next run."""
    Namespace("n", pk).invalidate(using=ALIAS)
    deliverer = Deliverer([ALIAS])
    drop_table(Row)
    with capture_events() as events:
        failed = deliverer.run()
    make_table(Row)
    Namespace("n", pk).invalidate(using=ALIAS)

    report = deliverer.run()

    assert (Report(failed=1), Report(replayed=1)) == (failed, report)
    assert ["The outbox of database 'outbox' can't be delivered"] == [each.reason for each in events if each.reason]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_database_that_was_restarted_is_connected_to_again(
    pk: int, clock: Clock, postgresql_server: PostgreSQL
) -> None:
    """A loop lives longer than its connection: the run that finds it broken fails, and the next one does not."""
    lose(*namespaces(pk))
    clock.pass_grace()
    deliverer = Deliverer()
    connections[ALIAS].ensure_connection()
    postgresql_server.restart()

    with faulty(unreachable=True):  # so that no atomic() is begun, at whose end Django itself would notice
        reports = [deliverer.run(), deliverer.run()]

    assert [Report(failed=1), Report(waiting=1)] == reports


@pytest.mark.parametrize("replay", [False, True])
def test_run_stops_between_batches(clock: Clock, *, replay: bool) -> None:
    """A deliverer that is told to stop finishes the batch that it has in hand, and takes no other."""
    lose(*namespaces(*range(6)))
    clock.pass_grace()
    asked: list[int] = []
    deliverer = Deliverer([ALIAS], 2, lambda: asked.append(1) or len(asked) > 1)  # type: ignore[func-returns-value]

    report = deliverer.run(replay=replay)

    assert (Report(delivered=2), (4, 2)) == (report, waiting_and_done())


def test_replay_that_is_stopped_is_begun_again() -> None:
    """What a stopped replay has left out comes with the next."""
    for act in namespaces(*range(4)):
        act()
    answers = iter([False, False, True, True, *[False] * 20])
    deliverer = Deliverer([ALIAS], 2, lambda: next(answers))

    reports = [deliverer.run(), deliverer.run(), deliverer.run()]

    assert [Report(replayed=2), Report(replayed=4), Report()] == reports


# --- several deliverers ---


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_row_in_the_hand_of_one_deliverer_is_skipped_by_another(clock: Clock) -> None:
    """While one talks to the cache, another delivers the rest, and waits for nothing."""
    lose(*namespaces(*range(3)))
    clock.pass_grace()
    gate = Gate()
    first, second = Deliverer([ALIAS], 2), Deliverer([ALIAS], 2)
    waits = iter([False, True])

    def stop_at_the_tokens() -> None:
        if next(waits, False):
            gate.wait_to_pass()

    gate.shut()
    with (
        capture_events() as events,  # among which there would be the gate's, had it waited in vain
        faulty("set_many", before=stop_at_the_tokens),
        started(lambda: first.run(replay=False)) as running,
    ):
        gate.wait_reached()
        other = second.run(replay=False)
        gate.open()

    assert (Report(delivered=2), Report(delivered=1)) == (running.result(), other)
    assert {"invalidated"} == {event.kind for event in events}


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_each_row_is_delivered_by_exactly_one_of_several(clock: Clock) -> None:
    """Four deliverers at once come to as many deliveries as there are rows, and none is left."""
    rows(ALIAS).bulk_create([Row(cache="default", key=whole(f"cd:n:n:{n}"), created=clock.now) for n in range(400)])
    clock.pass_grace()

    def run(_: int) -> Report:
        try:
            return Deliverer([ALIAS], 5).run(replay=False)
        finally:
            connections.close_all()

    with capture_events() as events, ThreadPoolExecutor(4) as executor:
        reports = list(executor.map(run, range(4)))

    acknowledged = [event.key for event in events if event.kind == "invalidated"]
    assert (400, 400, 400) == (sum(each.delivered for each in reports), len(acknowledged), len(set(acknowledged)))
    assert (0, 400) == waiting_and_done()


def test_entry_that_was_not_invalidated_is_served_still(pk: int, clock: Clock) -> None:
    """A delivery reaches what it names and nothing else."""
    lose(*namespaces(pk))
    clock.pass_grace()

    outbox.deliver(replay=True)

    assert "old" == name_of.peek(pk)
