"""The wheel and the sdist: what is in them, and that they install where nothing else is."""

import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.distributions import Built, Environment, members_of

pytestmark = pytest.mark.slow

DIST_INFO = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}

# A project of the wheel alone: every app and every system check, and a function that is called twice.
USES = """
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "cachedeco", "cachedeco.outbox"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("check")
from cachedeco import cached_query, __version__

@cached_query(60, depends_on=())
def double(number):
    return 2 * number

print(double(4), double(4), double.stats().hits, __version__)
"""


def files_in(package: Path) -> set[str]:
    """Return the files of a package, by their paths from its parent."""
    files = (each for each in package.rglob("*") if each.is_file() and "__pycache__" not in each.parts)
    return {each.relative_to(package.parent).as_posix() for each in files}


def test_wheel_has_the_package_and_no_tests(built: Built) -> None:
    """The wheel, built from the sdist, has each file of the package, the marker for type checkers too, and no other."""
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
    metadata = {name for name in names if name.partition("/")[0].endswith(".dist-info")}

    assert files_in(ROOT / "cachedeco") == names - metadata
    assert DIST_INFO == {name.partition("/")[2] for name in metadata}
    assert {"cachedeco/py.typed", "cachedeco/outbox/migrations/0001_initial.py"} <= names


def test_sdist_is_the_repository(built: Built) -> None:
    """The sdist has pages, tests and what runs them, as the repository has, and nothing that tools leave behind."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    kept = {each.name for each in ROOT.iterdir() if not any(fnmatch(each.name, pattern) for pattern in ignored)}
    names = members_of(built.sdist)
    left = {name for name in names if name.endswith((".pyc", ".sqlite3", ".coverage"))}

    assert kept - {".git"} == {name.partition("/")[0] for name in names} - {"PKG-INFO"}
    assert set() == left


def test_wheel_works_where_only_django_is(installed: Environment, tmp_path: Path) -> None:
    """Each app, the migrations and the checks need nothing but Django, and warn of nothing."""
    printed = installed.run("-I", "-W", "error", "-c", USES, cwd=tmp_path)

    assert printed == "System check identified no issues (0 silenced).\n8 8 1 0.1.0\n"
