"""The smallest Django project that can hold the tests: two SQLite files, one local cache."""

from typing import Any


def _sqlite() -> dict[str, Any]:
    """
    Return the settings of a database whose place conftest.py chooses.

    In WAL mode a reader keeps its snapshot while a writer commits, as in the databases of production.
    """
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "OPTIONS": {
            # So long do two threads wait for each other before the test fails.
            "timeout": 5,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
        },
    }


SECRET_KEY = "only for the tests"  # noqa: S105  it protects nothing
USE_TZ = True
# Some models mix rows that Django deletes with rows that the database deletes, which Django 6.1 calls an error.
SILENCED_SYSTEM_CHECKS = ["fields.E323", "models.E050"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "cachedeco",
    "tests.outbox.apps.QuietOutboxConfig",
    "tests",
]
DATABASES = {"default": _sqlite(), "other": _sqlite()}
# conftest.py puts a fresh cache in its place for every test.
CACHES = {"default": {"BACKEND": "tests.support.backends.RecordingLocMem", "LOCATION": "settings"}}
