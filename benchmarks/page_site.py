"""A site of one page, which bench_pages.py serves: the environment says how the page's five helpers are cached."""

import os
from time import process_time
from typing import Any, Final

import django
from bench_hit import OUR_REDIS, OURS, VALUE
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

MEMOIZE: Final = "django-cache-memoize, PyMemcacheCache"
GATHER: Final = f"{OURS}, gather"
WAY: Final = os.environ["PAGE_WAY"]
MEMCACHED, REDIS = os.environ["PAGE_MEMCACHED"], os.environ["PAGE_REDIS"]
CACHES: Final = {
    OURS: {"BACKEND": "cachedeco.backends.memcached.MemcachedCache", "LOCATION": MEMCACHED},
    OUR_REDIS: {"BACKEND": "cachedeco.backends.redis.RedisCache", "LOCATION": REDIS},
    "PyMemcacheCache": {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": MEMCACHED},
    "RedisCache": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS},
}
ALIAS: Final = "PyMemcacheCache" if WAY == MEMOIZE else WAY.partition(",")[0]

settings.configure(
    ALLOWED_HOSTS=["*"],
    CACHES={"default": CACHES[ALIAS]},
    CACHEDECO={"DEPENDS_ON": []},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["cachedeco"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="nothing here is secret",  # noqa: S106
)
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402 -- Django is set up by now
from django.core.wsgi import get_wsgi_application  # noqa: E402 -- as above

from cachedeco import cached_query, gather  # noqa: E402 -- as above


def helper(number: int, *, awaited: bool) -> Any:
    """Return one of the cached helpers."""

    def read(club: int) -> Any:  # noqa: ARG001 -- the key has it
        return VALUE

    async def aread(club: int) -> Any:  # noqa: ARG001 -- as above
        return VALUE

    if WAY == MEMOIZE:
        from cache_memoize import cache_memoize  # type: ignore[import-untyped] # ships no types

        return cache_memoize(600, prefix=f"helper{number}")(read)
    name = f"shop.views.helper{number}{'.awaited' if awaited else ''}"
    return cached_query(timeout=600, name=name, namespace="club:{club}")(aread if awaited else read)


HELPERS: Final = [helper(number, awaited=False) for number in range(5)]
AWAITED: Final = [] if WAY == MEMOIZE else [helper(number, awaited=True) for number in range(5)]


def page(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 -- Django gives it
    """Show what the helpers return."""
    found = gather(*[each.call(7) for each in HELPERS]) if WAY == GATHER else [each(7) for each in HELPERS]
    return shown(found)


async def apage(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 -- as above
    """Show the same, in async code."""
    return shown([await each(7) for each in AWAITED])


def shown(found: Any) -> HttpResponse:
    """Return the response."""
    return HttpResponse("".join(f"<li>{row.get('name')}" for rows in found for row in rows))


def spent(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 -- as above
    """Say how many seconds of CPU this process has spent."""
    return HttpResponse(str(process_time()))


urlpatterns = [path("page", page), path("apage", apage), path("spent", spent)]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
