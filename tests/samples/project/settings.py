"""Settings of the sample project: the cache's place and the runner of the tests come from the environment."""  # noqa: INP001 -- not a package

import os

LOCATION = os.environ.get("CACHE", "")
RUNNER = os.environ.get("RUNNER", "django.test.runner.DiscoverRunner")


def cache(**entry: object) -> dict[str, object]:
    """Return an entry of CACHES: on memcached, on redis, or in the memory of the process."""
    kind = "redis.RedisCache" if "redis" in LOCATION else "memcached.PyMemcacheCache" if LOCATION else ""
    backend = f"django.core.cache.backends.{kind or 'locmem.LocMemCache'}"
    return {"BACKEND": backend, "LOCATION": LOCATION, **entry}


def shelf_key(key: str, _prefix: str, _version: int) -> str:
    """Make the keys of the second cache as this site always has."""
    return f"shelf|{key}"


SECRET_KEY = "only for the tests"  # noqa: S105 -- it protects nothing
DEBUG = True
ALLOWED_HOSTS = ["*"]
USE_TZ = True
STATIC_URL = "static/"
ROOT_URLCONF = "clubs.urls"
INSTALLED_APPS = ["clubs"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
SESSION_ENGINE = "django.contrib.sessions.backends.cache"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CACHES = {
    "default": cache(KEY_PREFIX="site", VERSION=3),
    "shelf": cache(KEY_FUNCTION="settings.shelf_key"),
}
TEST_RUNNER = RUNNER
# Without the app nothing sees what is written: the views invalidate by hand.
CACHEDECO = {"DEPENDS_ON": ()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
