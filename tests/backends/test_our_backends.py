"""What all of our backends do alike: connections that are kept, servers out of reach, values that can't be read."""

import copy
import logging
import pickle
from typing import Any

import pytest
from django.core.cache import BaseCache, close_caches
from django.core.cache import cache as default_cache

from cachedeco.backends.server import UnreachableError
from cachedeco.runtime import state
from cachedeco.storage.breaker import is_outage, is_refused_at_once
from tests.backends.calls import READS, WRITES, called
from tests.backends.products import PRODUCTS, Product
from tests.conftest import CacheConfig, UseCaches
from tests.support.sides import Side, both
from tests.support.threads import in_thread

out_of_reach = pytest.mark.parametrize("way", ["kill", "pause"])


@pytest.fixture(params=PRODUCTS, ids=lambda product: product.program)
def product(request: pytest.FixtureRequest) -> Product:
    """Give one of our backends."""
    found: Product = request.param
    return found


@pytest.fixture
def server(product: Product, request: pytest.FixtureRequest) -> Any:
    """Give the server that the tests share."""
    return request.getfixturevalue(f"{product.program}_server")


@pytest.fixture
def private_server(product: Product, request: pytest.FixtureRequest) -> Any:
    """Give a server of this test's own."""
    return request.getfixturevalue(f"private_{product.program}")


@pytest.fixture
def lost_cache(product: Product, private_server: Any, request: pytest.FixtureRequest) -> BaseCache:
    """Give a cache whose server was used, and is out of reach."""
    cache: BaseCache = product.on(private_server, **getattr(request, "param", {}))
    cache.set_many({"key": 1, "other": 2})
    getattr(private_server, request.getfixturevalue("way"))()
    return cache


# --- connections ---


def test_connection_outlives_request_and_thread(
    product: Product, private_server: Any, use_caches: UseCaches, cache_config: CacheConfig
) -> None:
    """One caller after the other needs one connection, though Django closes caches between them."""
    use_caches(default=cache_config(product.backend, server=private_server))
    before = product.count(private_server)

    for number in range(3):
        default_cache.set(f"{number}", number)
        close_caches()
        in_thread(lambda: default_cache.get("1"))

    assert 1 == product.count(private_server) - before - 1


def test_forked_child_begins_without_connections(product: Product, server: Any) -> None:
    """The hook closes the parent's connections in the child, and a call opens one of the child's own."""
    cache = product.on(server)
    cache.set("key", 1)

    state.reset_in_child()

    assert [] == product.idle(cache)
    assert 1 == cache.get("key")


def test_settings_that_change_close_the_connections(
    product: Product, private_server: Any, use_caches: UseCaches
) -> None:
    """A test that overrides CACHES leaves no connection and no server behind."""
    cache = product.on(private_server)
    cache.set("key", 1)
    before = product.server_of(cache)

    use_caches(default="locmem")

    assert [] == product.idle(cache)
    assert before is not product.server_of(product.on(private_server))


# --- a server that is out of reach ---


@both
@out_of_reach
def test_server_out_of_reach_has_nothing_and_writes_raise(
    product: Product, lost_cache: BaseCache, side: Side, way: str
) -> None:
    """Reads are misses; what was to be written is raised, returned, or, by get_or_set, given back."""
    reads = {name: called(lost_cache, side, name, arguments) for name, (arguments, _) in READS.items()}
    writes = {name: called(lost_cache, side, name, arguments) for name, (arguments, _) in WRITES.items()}

    assert {name: expected for name, (_, expected) in READS.items()} == reads
    assert dict.fromkeys(WRITES, product.error(way)) == writes


@both
@out_of_reach
@pytest.mark.parametrize("lost_cache", [{"ignore_exc": True}], indirect=True, ids=["ignore_exc"])
def test_lost_writes_are_logged_with_ignore_exc(
    product: Product, lost_cache: BaseCache, side: Side, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of them is an error in the log, without its key, and gives what a write gives that has changed nothing."""
    caplog.set_level(logging.ERROR, "cachedeco")
    expected = {name: gives for name, (_, gives) in (READS | WRITES).items()} | {"clear": product.cleared}

    found = {name: called(lost_cache, side, name, arguments) for name, (arguments, _) in (READS | WRITES).items()}

    assert expected == found
    assert {f"A write to {product.name} was lost, and ignored because of ignore_exc "} == {
        record.getMessage().partition("(")[0] for record in caplog.records
    }
    assert all("key" not in record.getMessage() for record in caplog.records), way


@out_of_reach
def test_error_tells_the_breaker_what_happened(product: Product, lost_cache: BaseCache, way: str) -> None:
    """It is an outage, after which the server may be asked again at once if it has refused the connection."""
    with pytest.raises(product.error(way)) as caught:
        lost_cache.set("key", 1)

    assert isinstance(caught.value, ConnectionError if way == "kill" else TimeoutError)
    assert (True, way == "kill") == (is_outage(caught.value), is_refused_at_once(caught.value))


@out_of_reach
def test_error_can_be_copied_and_pickled(product: Product, lost_cache: BaseCache, way: str) -> None:
    """A test runner and a task queue do so, and the copy says which server and which operation have failed."""
    with pytest.raises(UnreachableError) as caught:
        lost_cache.set("key", 1)

    for error in (copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):  # noqa: S301 -- it is our own
        assert (product.error(way), str(caught.value)) == (type(error), str(error))
        assert ("set", caught.value.server) == (error.operation, error.server)


def test_restarted_server_is_used_at_once(product: Product, private_server: Any) -> None:
    """The first write that reaches it ends the outage."""
    cache = product.on(private_server)
    cache.set("key", 1)
    private_server.kill()
    lost = cache.get("key")
    private_server.restart()

    cache.set("key", 2)

    assert (None, 2) == (lost, cache.get("key"))


# --- keys and values ---


@both
@pytest.mark.parametrize("name", [name for name in READS | WRITES if name != "clear"])
def test_key_that_has_no_bytes_is_its_callers_fault(
    product: Product, server: Any, name: str, side: Side, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a surrogate pair, as any JSON may have it, raises as on Django's own, and the server counts as well."""
    cache = product.apart(server)
    _, *rest = (READS | WRITES)[name][0]
    first: object = {"\ud800": 1} if name.endswith("many") else "\ud800"

    found = called(cache, side, name, (first, *rest))

    assert (UnicodeEncodeError, []) == (found, caplog.records)
    assert cache.add("key", 1)


def test_value_that_cannot_be_read_is_missing(product: Product, server: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the other values of the same answer are found."""
    cache = product.apart(server)
    cache.set_many({"a": 1, "b": {"c": 2}})
    product.plant(server, cache.make_key("broken"), b"no pickle")

    found = cache.get_many(["a", "broken", "b"])

    assert ({"a": 1, "b": {"c": 2}}, "default") == (found, cache.get("broken", "default"))
    assert f"A value from {product.name} can't be read, and counts as missing: UnpicklingError" in caplog.text
    assert "Another program, or another serializer, has written it: give each a KEY_PREFIX" in caplog.text
