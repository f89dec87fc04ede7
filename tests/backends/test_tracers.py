"""Tracers, which replace what a client's module names: the backends work as without them."""

from tests.house.test_public_names import output_of
from tests.support.servers import Memcached

TRACED = """
from pymemcache.client import base, hash

Client = base.Client

class Traced:  # what Datadog's tracer puts in its place: it has a client, and is none
    def __init__(self, *args, **options):
        self._client = Client(*args, **options)

    def __getattr__(self, name):
        return getattr(self._client, name)

base.Client = hash.Client = Traced
from django.conf import settings
backend = "cachedeco.backends.memcached.MemcachedCache"
settings.configure(CACHES={{"default": {{"BACKEND": backend, "LOCATION": {location!r}}}}})
from django.core.cache import cache
cache.set_many({{"a": 1, "b": [2]}})
print(cache.get_many("abc"), cache.incr("a"), cache.add("c", 3), cache.delete("b"), cache.get("b"))
"""


def test_tracer_that_replaces_the_client_of_pymemcache_is_no_base_of_ours() -> None:
    """Its wrapper is made before the backend is imported, and each command is answered as before."""
    with Memcached() as server:
        printed = output_of(TRACED.format(location=server.location))

    assert "{'a': 1, 'b': [2]} 2 True True None\n" == printed
