"""The deliverer keeps what has arrived for a while, replays what a server forgot, and deletes what is old."""

import pytest
from django.db import transaction

from cachedeco import Namespace, outbox
from cachedeco.outbox.delivery import Deliverer, Report
from tests.conftest import UseCaches
from tests.outbox.conftest import Clock
from tests.outbox.losing import lose, namespaces, tokens_sent
from tests.outbox.sites import ALIAS, all_rows, name_of, refusing, rename
from tests.support.backends import Commands
from tests.support.faults import faulty

pytestmark = pytest.mark.usefixtures("pk", "clock")

# --- the window ---


@pytest.mark.parametrize(("seconds", "kept"), [(600, 1), (600.001, 0)])
def test_row_is_kept_for_the_window(pk: int, clock: Clock, seconds: float, kept: int) -> None:
    """What was acknowledged longer ago than OUTBOX_SECONDS is deleted."""
    name_of.invalidate(pk)
    clock.now += seconds

    outbox.deliver()

    assert kept == len(all_rows())


def test_old_rows_are_deleted_in_batches(clock: Clock) -> None:
    """As many as there are, some with each statement."""
    with transaction.atomic(using=ALIAS):
        for act in namespaces(*range(5)):
            act()
    clock.now += 601

    outbox.deliver(batch=2)

    assert [] == all_rows()


def test_row_that_waits_is_never_too_old(pk: int, clock: Clock) -> None:
    """What no cache has acknowledged is kept, however long that takes."""
    lose(*namespaces(pk))
    clock.now += 1_000_000
    with faulty(unreachable=True):
        outbox.deliver()

    assert Report(delivered=1) == outbox.deliver()


def test_row_of_a_cache_that_is_away_is_kept_past_the_window(pk: int, clock: Clock) -> None:
    """When the cache returns with old memory, it is told what it had acknowledged before it went."""
    name_of.invalidate(pk)
    clock.now += 601

    with faulty(unreachable=True):
        outbox.deliver()
    assert 1 == len(all_rows())

    assert Report(replayed=1) == outbox.deliver(replay=True)


def test_row_that_could_not_be_replayed_is_kept_past_the_window(pk: int, clock: Clock) -> None:
    """A cache that returns, and is gone again in the middle of the replay, is told the rest when it can be."""
    name_of.invalidate(pk)
    name_of.invalidate_all()
    clock.now += 601
    refused = [row.key for row in all_rows()][:1]

    with refusing(*refused):
        Deliverer().run()

    assert 2 == len(all_rows())


# --- replay ---


def test_replay_delivers_what_was_acknowledged(pk: int) -> None:
    """A value that a server brings back with its old memory is dead after a replay."""
    with faulty("set_many", drops=True), transaction.atomic(using=ALIAS):  # it says that it has it, and forgets it
        rename(pk, "new")
        name_of.invalidate(pk)
    before = name_of(pk)

    report = outbox.deliver(replay=True)

    assert ("old", Report(replayed=1), "new") == (before, report, name_of(pk))


def test_ordinary_run_replays_nothing(pk: int, commands: Commands) -> None:
    """A single run can't know what was forgotten, and replays on demand only."""
    name_of.invalidate(pk)
    commands.clear()

    assert (Report(), []) == (outbox.deliver(), tokens_sent(commands))


def test_first_run_of_a_loop_replays(pk: int, commands: Commands) -> None:
    """The cache was not watched until now, so it may have forgotten something; a second run knows better."""
    name_of.invalidate(pk)
    deliverer = Deliverer()
    commands.clear()

    assert [Report(replayed=1), Report()] == [deliverer.run(), deliverer.run()]
    assert [1] == tokens_sent(commands)


def test_replay_takes_each_token_once_in_a_batch(pk: int, commands: Commands) -> None:
    """However often something was invalidated, one token is enough."""
    for _ in range(3):
        name_of.invalidate(pk)
    name_of.invalidate_all()
    commands.clear()

    report = outbox.deliver(replay=True)

    # Two commands, as some tokens live for ever and some do not.
    assert (Report(replayed=2), [1, 1]) == (report, sorted(tokens_sent(commands)))


def test_replay_that_does_not_arrive_is_repeated(pk: int) -> None:
    """The next run replays again, until all of it was acknowledged."""
    name_of.invalidate(pk)
    name_of.invalidate_all()
    deliverer = Deliverer()
    refused = [row.key for row in all_rows()][:1]

    with refusing(*refused):
        failed = deliverer.run()

    assert [Report(replayed=1), Report(replayed=2), Report()] == [failed, deliverer.run(), deliverer.run()]


@pytest.mark.parametrize("replay", [None, True])
def test_cache_of_which_a_part_is_away_gets_what_it_can(
    clock: Clock, use_caches: UseCaches, *, replay: bool | None
) -> None:
    """With one of two servers away rows are delivered, but nothing is replayed by itself or deleted."""
    use_caches(default="faulty")
    Namespace("n", 1).invalidate(using=ALIAS)
    deliverer = Deliverer()
    deliverer._hearts["default"]._keys = ["cd:h:0", "cd:h:1"]
    clock.now += 601

    with refusing("cd:h:1"):
        limping = [deliverer.run(replay=replay) for _ in range(2)]
    whole = [deliverer.run() for _ in range(2)]

    assert [Report(replayed=int(bool(replay)))] * 2 == limping
    assert [Report(replayed=1), Report()] == whole
    assert [] == all_rows()
