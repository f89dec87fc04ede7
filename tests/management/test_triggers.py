"""`manage.py cachedeco triggers`."""

import sysconfig
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from pytest_django import DjangoDbBlocker, Settings

from cachedeco.outbox.models import BY_TRIGGER, Row
from tests.outbox.sites import ALIAS
from tests.support.databases import connected, postgresql_on
from tests.support.postgres import PostgreSQL


@pytest.fixture(scope="session")
def first_migration(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> str:
    """Give the text of the first migration of the tests' models."""
    path = package(tmp_path_factory.mktemp("first"), "first_migrations")
    with pytest.MonkeyPatch.context() as patch, django_db_blocker.unblock():
        patch.syspath_prepend(path.parent)
        patch.setattr("django.conf.settings.MIGRATION_MODULES", {"tests": path.name})
        call_command("makemigrations", "tests", verbosity=0)
    return (path / "0001_initial.py").read_text()


def package(parent: Path, name: str) -> Path:
    """Make a package."""
    (parent / name).mkdir()
    (parent / name / "__init__.py").touch()
    return parent / name


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings, first_migration: str) -> Path:
    """Give the folder of the migrations of an app."""
    path = package(tmp_path, f"migrations_{tmp_path.name}")
    (path / "0001_initial.py").write_text(first_migration)
    monkeypatch.syspath_prepend(tmp_path)
    settings.MIGRATION_MODULES = {"tests": path.name}
    settings.DATABASE_ROUTERS = ["tests.outbox.sites.OnlyThere"]
    return path


@pytest.fixture
def migrations(project: Path) -> Iterator[Path]:
    """Give the same, in a project with a PostgreSQL that is not asked."""
    with connected(ALIAS, postgresql_on(1)):
        yield project


def said(*options: str) -> str:
    """Return what the command says."""
    out = StringIO()
    call_command("cachedeco", "triggers", *options, stdout=out)
    return out.getvalue()


def tables_in(path: Path) -> list[str]:
    """Return the tables that a migration names."""
    return [line.strip(" ',") for line in path.read_text().splitlines() if line.startswith(" " * 16 + "'")]


def test_command_writes_the_difference_once(migrations: Path) -> None:
    """A migration with a trigger for each watched table of the project's apps; then there is nothing to do."""
    first = said()
    path = migrations / "0002_cachedeco_triggers.py"
    text = path.read_text()

    second = said()

    assert (f"Wrote {path}\n", "Nothing to do: the migrations have a trigger for each of these tables.\n") == (
        first,
        second,
    )
    assert {"tests_club", "tests_member_clubs", "tests_sportsclub"} <= set(tables_in(path))
    assert [] == [table for table in tables_in(path) if not table.startswith("tests_")]
    assert "('cachedeco_outbox', '0001_initial'),\n        ('tests', '0001_initial')," in text
    assert 1 == text.count("cachedeco.outbox.triggers.AddTriggers")


def test_command_that_only_shows_writes_nothing(migrations: Path) -> None:
    """What it shows is what it would write, the same each time."""
    shown = [said("--dry-run") for _ in range(2)]
    files = [path.name for path in migrations.glob("0002*")]
    said()
    path = migrations / "0002_cachedeco_triggers.py"

    assert ([f"{path}\n{path.read_text()}"] * 2, []) == (shown, files)


def test_command_takes_models_and_apps(migrations: Path) -> None:
    """A model comes with its many-to-many tables; what there is already is not written again."""
    said("tests.Member")
    said("tests.Member", "tests.ProxyClub")
    said("tests")

    first, second, third = (migrations / f"000{number}_cachedeco_triggers.py" for number in (2, 3, 4))
    assert (["tests_member", "tests_member_clubs"], ["tests_club"]) == (tables_in(first), tables_in(second))
    assert set(tables_in(third)).isdisjoint({"tests_member", "tests_club"})
    assert "tests_squad" in tables_in(third)


def test_command_removes_what_is_ignored_by_now(migrations: Path, settings: Settings) -> None:
    """Of all tables; a run for some models removes nothing."""
    said()
    settings.CACHEDECO = {"IGNORED_TABLES": ["tests.Club"]}
    some = said("tests.Member")

    said()

    path = migrations / "0003_cachedeco_triggers.py"
    assert ("Nothing to do", ["tests_club"]) == (some.partition(":")[0], tables_in(path))
    assert "RemoveTriggers" in path.read_text()
    assert "Nothing to do" in said()


def test_command_puts_triggers_of_packages_into_an_app_of_the_project(migrations: Path) -> None:
    """`--all` takes their models, and the migration depends on theirs; a plain run does not remove them."""
    said("--all", "--app", "tests")

    text = (migrations / "0002_cachedeco_triggers.py").read_text()
    assert "'auth_user'" in text
    assert "('auth', '0012_" in text
    assert "django_session" not in text
    assert "Nothing to do" in said()


def test_first_migration_of_an_app_may_be_one_of_triggers(migrations: Path) -> None:
    """An app whose package of migrations is still empty takes triggers of other apps."""
    (migrations / "0001_initial.py").unlink()

    said("auth.Group", "--app", "tests")

    path = migrations / "0001_cachedeco_triggers.py"
    assert {"auth_group", "auth_group_permissions"} == set(tables_in(path))
    assert "('tests', " not in path.read_text()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--all"], "App 'auth' is an installed package: name an app of the project for its triggers by --app"),
        (["nothing.Club"], "There is no 'nothing.Club'"),
        (["tests.Nothing"], "There is no 'tests.Nothing'"),
        (["cachedeco_outbox.Row"], "cachedeco_outbox.Row is in the setting IGNORED_TABLES: nothing depends on it"),
        (["tests.Club", "--app", "nothing"], "App 'nothing' has no migrations"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
@pytest.mark.usefixtures("migrations")
def test_command_says_what_it_can_not_do(options: list[str], expected: str) -> None:
    """And what to do instead; the exit code is 2 for names that mean nothing."""
    with pytest.raises(CommandError) as caught:
        said(*options)

    code = 2 if expected.startswith("There is no") else 1
    assert (True, code) == (expected in str(caught.value), caught.value.returncode)


@pytest.mark.usefixtures("project")
def test_command_needs_postgresql(settings: Settings) -> None:
    """It names the databases that have the outbox."""
    settings.DATABASE_ROUTERS = []

    with pytest.raises(CommandError, match=r"Triggers need a database on PostgreSQL .* default \(sqlite\), other"):
        said()


@pytest.mark.usefixtures("migrations")
def test_command_needs_the_outbox_there(settings: Settings) -> None:
    """A router that has it nowhere leaves no database."""
    settings.DATABASE_ROUTERS = ["tests.outbox.sites.Nowhere"]

    with pytest.raises(CommandError, match="those that have it: none"):
        said()


@pytest.mark.usefixtures("migrations")
def test_model_of_no_database_with_the_outbox_is_refused(settings: Settings) -> None:
    """A router may have it elsewhere."""
    settings.DATABASE_ROUTERS = ["tests.outbox.sites.Elsewhere"]

    with pytest.raises(CommandError, match=r"tests\.Club is in no database on PostgreSQL that has the outbox"):
        said("tests.Club")


def test_model_without_a_migration_is_refused(migrations: Path) -> None:
    """Its table would not be there."""
    path = migrations / "0001_initial.py"
    path.write_text(path.read_text().replace("name='League'", "name='Other'").replace("tests.league", "tests.other"))

    with pytest.raises(CommandError, match=r"No migration makes 'tests_league', the table of tests\.League"):
        said("tests.League")


def test_branches_of_migrations_are_refused(migrations: Path) -> None:
    """They have to be merged first."""
    said("tests.Club")
    path = migrations / "0002_cachedeco_triggers.py"
    path.with_name("0002_other.py").write_text(path.read_text())

    with pytest.raises(CommandError, match=r"several last migrations, .*0002_other.*: run manage.py makem"):
        said("tests.Member")


def test_migrations_that_are_written_run(
    project: Path, postgresql_server: PostgreSQL, django_db_blocker: DjangoDbBlocker
) -> None:
    """`migrate` adds the triggers, and a step back removes them."""
    assert project
    with psycopg.connect(postgresql_server.location, autocommit=True) as psql:
        psql.execute("DROP DATABASE IF EXISTS scratch")
        psql.execute("CREATE DATABASE scratch")
    recorded = []
    database = {**postgresql_on(postgresql_server.port), "NAME": "scratch"}
    location = f"{postgresql_server.location.rpartition('/')[0]}/scratch"
    with django_db_blocker.unblock(), connected(ALIAS, database), psycopg.connect(location, autocommit=True) as psql:
        said()
        for target in ("0002", "0001", "0002"):
            call_command("migrate", "tests", target, database=ALIAS, verbosity=0)
            psql.execute("INSERT INTO tests_league (name) VALUES ('new')")
            recorded.append(Row.objects.using(ALIAS).filter(cache=BY_TRIGGER).count())

    assert [1, 1, 2] == recorded


def test_app_of_the_project_is_not_installed_as_a_package() -> None:
    """A project's own app lies outside of the folder that pip installs packages into."""
    folder = sysconfig.get_path("purelib")

    assert [False, True] == [apps.get_app_config(label).path.startswith(folder) for label in ("tests", "auth")]
