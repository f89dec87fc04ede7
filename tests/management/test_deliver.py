"""`manage.py cachedeco deliver`."""

import signal
from collections.abc import Callable
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections
from django.test import override_settings
from pytest_django import Settings

from cachedeco.outbox import delivery, models
from cachedeco.outbox.models import Row, rows
from tests.outbox.conftest import Clock
from tests.outbox.sites import ALIAS, drop_table, make_table, name_of, waiting_and_done
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
    """So that its exit status tells what runs it periodically."""
    with faulty(unreachable=True), pytest.raises(CommandError, match="Not everything could be delivered"):
        said()

    assert (2, 0) == waiting_and_done()


def test_command_without_the_app_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no outbox where the app is not installed."""
    monkeypatch.setattr(apps, "is_installed", lambda _: False)

    with pytest.raises(CommandError, match=r'add "cachedeco\.outbox" to INSTALLED_APPS'):
        said()


def test_database_without_outbox_is_refused() -> None:
    """Those that have one are named, and the exit code says that the arguments mean nothing."""
    with pytest.raises(CommandError, match="Database 'other' has no outbox; it is in outbox") as caught:
        said("--database", "other")

    assert 2 == caught.value.returncode


@pytest.mark.parametrize("options", [[], ["--loop"], ["--database", ALIAS]], ids=" ".join)
def test_database_without_the_table_is_refused(options: list[str]) -> None:
    """Nothing could be delivered, and nothing would say so: the error names the database, and what to run."""
    drop_table(Row)
    try:
        with pytest.raises(CommandError, match=f"Database '{ALIAS}' has no table .*migrate .* --database {ALIAS}"):
            said(*options)
    finally:
        make_table(Row)


def test_one_database_of_several_without_the_table_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others can be delivered by their names."""
    settings.DATABASE_ROUTERS = []
    monkeypatch.setattr(models, "has_table", lambda alias: alias != "other")

    with pytest.raises(CommandError, match=rf"'other' has no table.*the others with.* --database {ALIAS}"):
        said()


def test_router_that_refuses_the_table_everywhere_is_told(settings: Settings) -> None:
    """There is nothing to deliver from."""
    settings.DATABASE_ROUTERS = ["tests.outbox.sites.Nowhere"]

    with pytest.raises(CommandError, match="No database has an outbox"):
        said()


def test_database_without_settings_has_no_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where routers choose among other databases, "default" may be empty."""
    monkeypatch.setitem(connections.settings[ALIAS], "ENGINE", "django.db.backends.dummy")

    assert ALIAS not in models.outbox_databases()


def test_database_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that can't be read are not the same as no rows; the loop goes on, and tells once."""

    def fail(*_: object) -> None:
        raise OperationalError

    monkeypatch.setattr(delivery, "rows", fail)
    monkeypatch.setattr(models, "has_table", fail)

    with pytest.raises(CommandError, match="The outbox of 1 of the databases could not be delivered"):
        said()
    with faulty("get_many", before=stopping_at(3)):
        assert "0 delivered, 0 replayed, 0 waiting.\n" == said("--loop", "--every", "0.001")


def test_mode_in_which_nothing_is_delivered_is_told() -> None:
    """A deliverer with the settings of tests would do nothing, in silence."""
    err = StringIO()

    with override_settings(CACHEDECO={"MODE": "off"}):
        call_command("cachedeco", "deliver", stdout=StringIO(), stderr=err)

    assert "mode is 'off' in these settings: nothing is delivered" in err.getvalue()


@pytest.mark.parametrize(
    "options",
    [["--batch", "0"], ["--batch", "x"], ["--every", "0"], ["--every", "inf"], ["--every", "nan"], ["--every", "x"]],
    ids=" ".join,
)
def test_numbers_that_make_no_sense_are_refused(options: list[str]) -> None:
    """Batch and pause are numbers above 0."""
    with pytest.raises(CommandError, match=f"'{options[1]}' is no .*; it takes "):
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
