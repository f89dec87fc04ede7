"""Settings of the club site; a few environment variables change what a reader may want to change."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from clubsite.cache_url import cache_from_url
from clubsite.database_url import database_from_url

BASE_DIR = Path(__file__).resolve().parent.parent

# For development only: it is in the repository, so it protects nothing.
SECRET_KEY = "clubsite-development-key-which-everyone-can-read"  # noqa: S105
DEBUG = os.environ.get("CLUBSITE_DEBUG", "1") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

INSTALLED_APPS = [
    "clubs",  # before the admin, whose base template it extends
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "cachedeco",
    "cachedeco.contrib.admin",
]

MIDDLEWARE = [
    "clubs.tally.tally_middleware",  # outermost, so that it also sees what the others do
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

# The toolbar, with cachedeco's panel. `make serve` installs it; it refuses to run in tests, and the site does without.
IS_TEST = "test" in sys.argv or "PYTEST_VERSION" in os.environ
if DEBUG and not IS_TEST and find_spec("debug_toolbar"):
    from debug_toolbar.settings import PANELS_DEFAULTS

    INSTALLED_APPS += ["debug_toolbar"]
    MIDDLEWARE.insert(1, "debug_toolbar.middleware.DebugToolbarMiddleware")
    DEBUG_TOOLBAR_PANELS = ["cachedeco.contrib.debug_toolbar.CachedecoPanel", *PANELS_DEFAULTS]
    DEBUG_TOOLBAR_CONFIG = {"SHOW_COLLAPSED": True}  # or it covers the page that it is to explain
    INTERNAL_IPS = ["127.0.0.1"]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "clubs.tally.tally_of_this_request",
            ],
        },
    },
]

ROOT_URLCONF = "clubsite.urls"
WSGI_APPLICATION = "clubsite.wsgi.application"

# No ATOMIC_REQUESTS: what is computed inside a SQLite transaction is read from its snapshot, which
# may be older than the last invalidation, so cachedeco would return it and never store it.
DATABASES = {"default": database_from_url(os.environ.get("CLUBSITE_DB", BASE_DIR / "db.sqlite3"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # Writes of other programs are recorded by triggers; `manage.py cachedeco deliver --loop` delivers them.
    INSTALLED_APPS += ["cachedeco.outbox", "triggers"]

# A folder, since all processes of the site must share one cache: the server, a worker, `manage.py cachedeco`.
CACHES = {
    "default": cache_from_url(
        os.environ.get("CACHE_URL", f"file://{BASE_DIR}/cache"),
        key_prefix=os.environ.get("CLUBSITE_KEY_PREFIX", "clubsite"),
    ),
}

# "off" is the site without a cache: CLUBSITE_CACHE_MODE=off shows what the caching is worth.
# A stale entry is refreshed by a thread: no visitor waits for it.
CACHEDECO = {"MODE": os.environ.get("CLUBSITE_CACHE_MODE", "on"), "REFRESH": "thread"}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {
        # A cache that fails breaks no page: the log is where it is seen.
        "cachedeco": {"handlers": ["stderr"]},
        # Without DEBUG, Django would mail the traceback of a broken page, and print nothing.
        "django.request": {"handlers": [] if DEBUG else ["stderr"], "level": "ERROR"},
    },
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
LOGIN_URL = "admin:login"
