"""What else of Django uses a cache: sessions, template fragments, pages; with the server there, and without it."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.cached_db import SessionStore as CachedStore
from django.core.cache import caches
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.middleware.cache import FetchFromCacheMiddleware, UpdateCacheMiddleware
from django.template import Context, Engine
from django.test import RequestFactory

from cachedeco.backends.memcached import MemcachedConnectionError
from tests.conftest import CacheConfig, UseCaches
from tests.support.servers import Memcached

FRAGMENT = Engine(libraries={"cache": "django.templatetags.cache"}).from_string(
    "{% load cache %}{% cache 60 part club %}{{ count }}{% endcache %}"
)


@pytest.fixture
def server(private_memcached: Memcached, use_caches: UseCaches, cache_config: CacheConfig) -> Memcached:
    """Give the server behind the default cache, and behind one for what may be lost."""
    entry = cache_config("ours", server=private_memcached)
    ignoring = {**entry, "OPTIONS": {**entry["OPTIONS"], "ignore_exc": True}}
    use_caches(default=entry, template_fragments=ignoring)
    return private_memcached


@pytest.fixture
def sessions_table(settings: Any, transactional_db: None) -> Iterator[None]:  # noqa: ARG001 -- it makes the database
    """Make the table of the sessions, which the settings of the tests do without."""
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.sessions"]
    model = CachedStore.get_model_class()
    with connection.schema_editor() as editor:
        editor.create_model(model)
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(model)


def saved(session: SessionBase) -> str:
    """Save a session with something in it, and return its key."""
    session["cart"] = [1, 2]
    session.save()
    return str(session.session_key)


def test_session_in_the_cache(server: Memcached) -> None:
    """It is found by its key, changed, and deleted; without its server it is empty, and to save it raises."""
    key = saved(CacheStore())
    found = CacheStore(key)
    found["cart"].append(3)
    found.save()

    assert [1, 2, 3] == CacheStore(key)["cart"]
    assert CacheStore(key).exists(key)
    server.kill()
    assert {} == dict(CacheStore(key).items())
    with pytest.raises(MemcachedConnectionError):
        saved(CacheStore())
    server.restart()
    key = saved(CacheStore())
    CacheStore(key).delete()
    assert not CacheStore().exists(key)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("sessions_table")
def test_session_in_cache_and_database_needs_no_server(server: Memcached, settings: Any) -> None:
    """It is read from, and written to, the database where its cache ignores failures; elsewhere to read it raises."""
    key = saved(CachedStore())
    server.kill()

    with pytest.raises(MemcachedConnectionError):
        CachedStore(key)["cart"]
    settings.SESSION_CACHE_ALIAS = "template_fragments"

    assert [1, 2] == CachedStore(key)["cart"]
    assert [1, 2] == CachedStore(saved(CachedStore()))["cart"]


def test_fragment_of_a_template(server: Memcached) -> None:
    """It is rendered once; where its cache ignores failures, a page needs no server."""
    first = FRAGMENT.render(Context({"count": 1, "club": 7}))
    second = FRAGMENT.render(Context({"count": 2, "club": 7}))
    server.kill()

    third = FRAGMENT.render(Context({"count": 3, "club": 7}))

    assert ["1", "1", "3"] == [first, second, third]


@pytest.mark.parametrize("alias", ["default", "template_fragments"])
def test_page(server: Memcached, alias: str, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It is computed once; without the server it is served where its cache ignores failures, and raises elsewhere."""
    caplog.set_level(logging.ERROR, "cachedeco")
    settings.CACHE_MIDDLEWARE_ALIAS = alias
    computed = []

    def view(_request: HttpRequest) -> HttpResponse:
        computed.append(1)
        return HttpResponse(f"{len(computed)}")

    def page() -> str:
        ask = FetchFromCacheMiddleware(view)
        return UpdateCacheMiddleware(ask)(RequestFactory().get("/classes/")).content.decode()

    pages = [page(), page()]
    server.kill()

    assert ["1", "1"] == pages
    if alias == "default":
        with pytest.raises(MemcachedConnectionError):
            page()
    else:
        assert "2" == page()
        assert {"ERROR"} == {record.levelname for record in caplog.records}


def test_aliases_share_what_they_store(server: Memcached) -> None:
    """What one alias has stored another with the same prefix finds, with any options."""
    caches["default"].set("key", 1)

    found = caches["template_fragments"].get("key")

    assert 1 == found
    assert server.is_running
