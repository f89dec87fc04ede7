"""The outbox is examined: its table, what waits, and whether a deliverer runs."""

from collections.abc import Callable
from time import time

import pytest
from django.apps import apps
from django.db import OperationalError, connection
from pytest_django import Settings

from cachedeco.diagnosis.findings import Finding
from cachedeco.diagnosis.outboxes import examine_outboxes
from cachedeco.outbox import heartbeat, models
from cachedeco.outbox.delivery import Deliverer
from cachedeco.outbox.models import BY_TRIGGER, Row

pytestmark = pytest.mark.django_db(databases=["default", "other"])


@pytest.fixture(autouse=True)
def _in_default(settings: Settings) -> None:
    """Have the outbox in one database."""
    settings.DATABASE_ROUTERS = ["tests.diagnosis.test_outboxes.OnlyDefault"]


class OnlyDefault:
    """A router that has the outbox in one database."""

    def allow_migrate(self, db: str, app_label: str, **_: object) -> bool | None:
        """Refuse it elsewhere."""
        return db == "default" if app_label == "cachedeco_outbox" else None


def examined() -> dict[str, Finding]:
    """Return findings by question."""
    return {each.question: each for each in examine_outboxes(["default"])}


def row(*, created: float = 0, acknowledged: float | None = None, cache: str = "default") -> None:
    """Record an invalidation, as long ago as is said."""
    Row.objects.create(
        cache=cache,
        key="x",
        created=time() - created if created else 0,
        acknowledged=None if acknowledged is None else time() - acknowledged,
    )


def test_outbox_that_is_delivered_is_well() -> None:
    """A deliverer has just run, and has left nothing."""
    Deliverer().run()
    found = examined()

    assert dict.fromkeys(
        ["Is all delivered?", "Are old rows deleted?", "Can it be written?", "Does one run?"], "well"
    ) == {question: each.state for question, each in found.items()}
    assert "deliverer for cache default" == found["Does one run?"].subject
    assert found["Does one run?"].answer.startswith("the last one wrote ")


@pytest.mark.parametrize(
    ("rows", "question", "state", "answer"),
    [
        ([{"created": 30}], "Is all delivered?", "well", "not yet: 1 row, the oldest waits for 30 s"),
        ([{"created": 30}, {"created": 7200}], "Is all delivered?", "wrong", "no: 2 rows, the oldest waits for 2 h"),
        ([{"created": 7200, "cache": BY_TRIGGER}], "Is all delivered?", "wrong", "no: 1 row, the oldest waits for 2 h"),
        ([{"created": 0}], "Is all delivered?", "well", "not yet: 1 row, the oldest waits for 0 s"),
        ([{"created": 7200, "acknowledged": 7000}], "Are old rows deleted?", "wrong", "no, 1 rows are older than"),
        ([{"created": 7200, "acknowledged": 60}], "Are old rows deleted?", "well", "yes"),
    ],
    ids=["fresh", "late", "of a trigger", "just expanded", "never deleted", "in the window"],
)
def test_rows_tell_whether_a_deliverer_runs(
    rows: list[dict[str, float]], question: str, state: str, answer: str
) -> None:
    """A row that waits for minutes, or stays when it is acknowledged, is one that no deliverer has seen."""
    for each in rows:
        row(**each)  # type: ignore[arg-type] # by their names

    found = examined()[question]

    assert (state, True, state == "wrong") == (
        found.state,
        found.answer.startswith(answer),
        "deliver --loop" in found.advice,
    )


def test_deliverer_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """None has ever run; one has stopped long ago."""
    never = examined()["Does one run?"]
    with monkeypatch.context() as patch:
        patch.setattr(heartbeat, "time", lambda: time() - 3600)
        Deliverer().run()
    stopped = examined()["Does one run?"]

    assert ("wrong", "none has written to this cache within a day") == (never.state, never.answer)
    assert ("wrong", "the last one wrote 1 h ago") == (stopped.state, stopped.answer)


def test_outbox_without_a_table_is_told(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """It is not migrated, or no router takes it, or the database fails: each with what to do."""

    def fail(_: str) -> bool:
        raise OperationalError

    monkeypatch.setattr(models, "has_table", lambda _: False)
    missing = examined()["Has it a table?"]
    monkeypatch.setattr(models, "has_table", fail)
    failing = examined()["Can it be read?"]
    settings.DATABASE_ROUTERS = ["tests.outbox.sites.Nowhere"]
    nowhere = examined()["Has it a table?"]

    assert ["wrong"] * 3 == [each.state for each in (missing, failing, nowhere)]
    assert "Run manage.py migrate --database default" in missing.advice
    assert "no: OperationalError" in failing.answer
    assert "no database has one, by the routers" == nowhere.answer


def test_outbox_that_takes_no_row_is_told() -> None:
    """A role that may not write, or a replica: no invalidation is recorded; one that is well keeps nothing of it."""

    def refuse(execute: Callable[..., object], sql: str, *arguments: object) -> object:
        if sql.startswith("INSERT"):
            msg = "attempt to write a readonly database"
            raise OperationalError(msg)
        return execute(sql, *arguments)

    well = examined()["Can it be written?"]
    with connection.execute_wrapper(refuse):
        refused = examined()["Can it be written?"]
        looked = {each.question for each in examine_outboxes((), tries_to_write=False)}

    assert ("well", "yes", 0) == (well.state, well.answer, Row.objects.count())
    assert ("wrong", "no: OperationalError: attempt to write a readonly database") == (refused.state, refused.answer)
    assert "Permit the role to insert" in refused.advice
    assert {"Is all delivered?", "Are old rows deleted?"} == looked


def test_project_without_outbox_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is optional."""
    monkeypatch.setattr(apps, "is_installed", lambda _: False)

    assert {} == examined()
