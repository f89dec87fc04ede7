"""`manage.py cachedeco deliver`."""

import signal
from collections.abc import Callable
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command

from cachedeco.outbox.models import Row, rows
from tests.outbox.conftest import Clock
from tests.outbox.sites import ALIAS, name_of, waiting_and_done
from tests.support.backends import Commands
from tests.support.faults import faulty
from tests.support.stored import whole

pytestmark = pytest.mark.usefixtures("pk", "clock")


def said(*options: str) -> str:
    """Return what the command says."""
    out = StringIO()
    call_command("cachedeco", "deliver", *options, stdout=out)
    return out.getvalue()


@pytest.fixture
def _two_rows(pk: int, clock: Clock) -> None:
    """Make two rows that wait."""
    assert pk
    rows(ALIAS).bulk_create([Row(cache="default", key=whole(f"cd:n:n:{n}"), created=clock.now) for n in range(2)])
    clock.pass_grace()


@pytest.mark.usefixtures("_two_rows")
def test_command_delivers_once() -> None:
    """It says what it did, and the second time there is nothing to do."""
    assert ["2 delivered, 0 replayed, 0 waiting.\n", "0 delivered, 0 replayed, 0 waiting.\n"] == [said(), said()]


@pytest.mark.usefixtures("_two_rows")
def test_command_takes_batch_and_database(commands: Commands) -> None:
    """Each batch is a command, after that of the heartbeat."""
    commands.clear()

    told = said("--batch", "1", "--database", ALIAS)

    assert ("2 delivered, 0 replayed, 0 waiting.\n", 3) == (told, commands.names.count("set_many"))


def test_command_replays_on_demand(pk: int) -> None:
    """What was acknowledged is delivered again."""
    name_of.invalidate(pk)

    assert "0 delivered, 1 replayed, 0 waiting.\n" == said("--replay")


@pytest.mark.usefixtures("_two_rows")
def test_command_that_leaves_something_fails() -> None:
    """So that whoever runs it periodically is told by its exit status."""
    with faulty(unreachable=True), pytest.raises(CommandError, match="Not everything could be delivered"):
        said()

    assert (2, 0) == waiting_and_done()


def test_command_without_the_app_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no outbox where the app is not installed."""
    monkeypatch.setattr(apps, "is_installed", lambda _: False)

    with pytest.raises(CommandError, match=r'add "cachedeco\.outbox" to INSTALLED_APPS'):
        said()


def test_database_without_outbox_is_refused() -> None:
    """Those that have one are named."""
    with pytest.raises(CommandError, match="Database 'other' has no outbox; it is in outbox"):
        said("--database", "other")


@pytest.mark.parametrize(
    "options",
    [["--batch", "0"], ["--batch", "x"], ["--every", "0"], ["--every", "inf"], ["--every", "nan"], ["--every", "x"]],
    ids=" ".join,
)
def test_numbers_that_make_no_sense_are_refused(options: list[str]) -> None:
    """Batch and pause are numbers above 0."""
    with pytest.raises(CommandError, match="invalid"):
        said(*options)


def stopping_at(number: int) -> Callable[[], None]:
    """Return what sends this process SIGTERM when it is called for the time of that number."""
    left = iter(range(number - 1, -1, -1))
    return lambda: None if next(left) else signal.raise_signal(signal.SIGTERM)


@pytest.mark.usefixtures("_two_rows")
def test_loop_ends_between_batches() -> None:
    """At the signal the batch in hand is finished, and no other begun; the handlers are as they were."""
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]

    with faulty("set_many", after=stopping_at(2)):
        told = said("--loop", "--batch", "1")

    assert ("1 delivered, 0 replayed, 0 waiting.\n", (1, 1)) == (told, waiting_and_done())
    assert before == [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]


@pytest.mark.usefixtures("_two_rows")
def test_loop_tells_once_of_what_waits() -> None:
    """A cache that is away for long does not fill the log, and one that returns is told of."""
    with faulty(unreachable=True, times=6), faulty("get_many", before=stopping_at(6)):
        told = said("--loop", "--every", "0.001")

    assert "0 delivered, 0 replayed, 2 waiting.\n" == told


def test_loop_replays_first_where_told() -> None:
    """`--replay` with `--loop` concerns the first run, which replays anyway."""
    rows(ALIAS).create(cache="default", key=whole("cd:n:n:1"), created=0.0, acknowledged=10.0**6)

    with faulty("get_many", before=stopping_at(2)):
        told = said("--loop", "--replay", "--every", "0.001")

    assert "0 delivered, 1 replayed, 0 waiting.\n" == told
