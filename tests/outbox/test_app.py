"""The app: what it switches on, what its checks tell, and that its migrations are complete."""

from typing import ClassVar

import pytest
from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Tags, run_checks
from django.core.management import call_command
from django.db import transaction
from django.db.models.signals import post_migrate, pre_migrate
from django.test import TestCase, override_settings
from pytest_django import Settings

from cachedeco.invalidation import delivery
from cachedeco.outbox.checks import check_tables
from cachedeco.outbox.models import Row, rows
from cachedeco.outbox.recording import begin_migrations, end_migrations, record
from tests.models import Club
from tests.outbox.sites import ALIAS, drop_table, make_table
from tests.support.clubs import assert_nothing_waits, name_of, rename


def test_app_that_is_ready_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """To install the app is all that it takes."""
    monkeypatch.setattr(delivery, "_recorder", None)

    app = AppConfig.create("cachedeco.outbox")
    app.ready()  # as Django does for each of INSTALLED_APPS

    assert record is delivery._recorder
    assert pre_migrate.disconnect(begin_migrations, sender=app)
    assert post_migrate.disconnect(end_migrations, sender=app)


@override_settings(INSTALLED_APPS=settings.INSTALLED_APPS)
def test_apps_that_are_ready_again_record_nothing_here() -> None:
    """A test that changes INSTALLED_APPS leaves the other tests as they were."""
    assert delivery._recorder is None


@pytest.mark.django_db
def test_migrations_are_complete() -> None:
    """The model has no change that a migration does not make."""
    call_command("makemigrations", "cachedeco_outbox", check_changes=True, dry_run=True, verbosity=0)


# --- checks ---


def warnings_of(databases: list[str] | None) -> list[CheckMessage]:
    """Return what the check of the table finds."""
    return [each for each in run_checks(tags=[Tags.database], databases=databases) if each.id == "cachedeco.W010"]


@pytest.mark.usefixtures("database")
def test_table_that_is_missing_is_w010() -> None:
    """`check --database` and `migrate` warn; once it is there, they don't."""
    there = warnings_of([ALIAS])
    drop_table(Row)
    try:
        [missing] = warnings_of([ALIAS])
    finally:
        make_table(Row)

    assert ([], "Database 'outbox' has no table 'cachedeco_outbox_row' yet: its invalidations are not recorded.") == (
        there,
        missing.msg,
    )


@pytest.mark.usefixtures("database")
def test_table_is_not_missed_where_it_is_not_wanted() -> None:
    """Databases that were not asked about, or whose router does not want the table, are left alone."""
    drop_table(Row)
    try:
        found = [*check_tables(), *check_tables(databases=["default", "other"])]
    finally:
        make_table(Row)

    assert [] == found


def errors_of(changed: Settings, **cachedeco: object) -> list[str]:
    """Return the ids of what is wrong with the settings of the outbox."""
    changed.CACHEDECO = cachedeco
    return [each.id or "" for each in run_checks(tags=["cachedeco"]) if each.id == "cachedeco.E007"]


@pytest.mark.parametrize(("installed", "expected"), [(True, []), (False, ["cachedeco.E007"])])
def test_setting_without_the_app_is_e007(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, expected: list[str], *, installed: bool
) -> None:
    """Who sets how long to keep rows relies on there being some."""
    monkeypatch.setattr(apps, "is_installed", lambda _: installed)

    assert expected == errors_of(settings, OUTBOX_SECONDS=60)
    assert [] == errors_of(settings)


def test_setting_that_is_no_dict_is_not_checked_further(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another check says what is wrong with it."""
    monkeypatch.setattr(apps, "is_installed", lambda _: False)
    settings.CACHEDECO = ["OUTBOX_SECONDS"]

    assert ["cachedeco.E001"] == [each.id for each in run_checks(tags=["cachedeco"]) if each.is_serious()]


# --- in a TestCase ---


class RowsInTestCase(TestCase):
    """In a `TestCase` rows are made as in production, and are gone with the test."""

    databases: ClassVar[set[str]] = {"default", "other"}
    pk: ClassVar[int]

    @classmethod
    def setUpTestData(cls) -> None:
        """Make a club."""
        cls.pk = Club.objects.create(name="old").pk

    def setUp(self) -> None:
        """Record, and begin without rows: what other tests have made was rolled back."""
        delivery.record_with(record)
        self.addCleanup(delivery.record_with, None)
        assert "old" == name_of(self.pk)
        assert [] == self.acknowledged()

    def tearDown(self) -> None:
        """Check that nothing waits for ever."""
        assert_nothing_waits()

    def acknowledged(self) -> list[bool]:
        """Tell of each row of a call whether it was acknowledged."""
        calls = rows("default").filter(key__contains=":t:").order_by("pk")
        return [row.acknowledged is not None for row in calls]

    def test_invalidation_outside_of_blocks_is_acknowledged_at_once(self) -> None:
        """The test's own transaction is none to wait for."""
        rename(self.pk, "new")
        name_of.invalidate(self.pk)

        assert ("new", [True]) == (name_of(self.pk), self.acknowledged())

    def test_invalidation_in_a_block_is_acknowledged_after_it(self) -> None:
        """A block of the test's own counts: what it left is delivered, and acknowledged, at the next question."""
        with transaction.atomic():
            rename(self.pk, "new")
            name_of.invalidate(self.pk)
            inside = self.acknowledged()

        assert ([False], "new", [True]) == (inside, name_of(self.pk), self.acknowledged())

    def test_hook_that_a_test_runs_acknowledges(self) -> None:
        """`captureOnCommitCallbacks()` finds one hook, which delivers and acknowledges."""
        with self.captureOnCommitCallbacks(execute=True) as callbacks, transaction.atomic():
            rename(self.pk, "new")
            name_of.invalidate(self.pk)

        assert (1, [True], "new") == (len(callbacks), self.acknowledged(), name_of(self.pk))
