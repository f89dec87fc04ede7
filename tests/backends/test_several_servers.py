"""Two and three servers, of which one is stopped, hangs, is started again, and returns with what it held."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from django.core.cache.backends.memcached import PyMemcacheCache
from pymemcache.exceptions import MemcacheServerError

from cachedeco.backends.memcached import MemcachedCache, MemcachedError
from cachedeco.backends.memcached_exchanges import Lines, store_each
from cachedeco.backends.writes import FailedKeys
from cachedeco.storage.writers import Acknowledged
from tests.backends.caches import WAITS, cache_on, held_by, lost
from tests.backends.scripted import Scripted
from tests.support.backends import RecordingMemcached
from tests.support.servers import Memcached

KEYS = [f"key-{number}" for number in range(60)]

two = pytest.mark.parametrize("servers", [2], indirect=True, ids=["two"])
out_of_reach = pytest.mark.parametrize("way", ["kill", "pause"])


class ByLength:
    """A hasher of a project's own."""

    def __init__(self) -> None:
        """Know no server."""
        self.nodes: list[str] = []

    def add_node(self, node: str) -> None:
        """Know one more."""
        self.nodes.append(node)

    def get_node(self, key: str) -> str:
        """Choose by the key's length."""
        return sorted(self.nodes)[len(key) % len(self.nodes)]


@pytest.fixture(params=[2, 3], ids=["two", "three"])
def servers(request: pytest.FixtureRequest) -> Iterator[list[Memcached]]:
    """Give servers of this test's own."""
    with ExitStack() as stack:
        yield [stack.enter_context(Memcached()) for _ in range(request.param)]


@pytest.fixture
def djangos_on() -> Iterator[Callable[..., PyMemcacheCache]]:
    """Give the function that makes Django's own cache on some servers, with some options."""
    made: list[PyMemcacheCache] = []

    def cache(servers: list[Memcached], **options: Any) -> PyMemcacheCache:
        made.append(PyMemcacheCache([server.location for server in servers], {"OPTIONS": {**WAITS, **options}}))
        return made[-1]

    yield cache
    for each in made:
        RecordingMemcached.release(each)  # type: ignore[arg-type]  # it only looks at the client


def places(servers: list[Memcached], cache: MemcachedCache) -> list[set[str]]:
    """Return what each server holds."""
    return [held_by(server, cache, KEYS) for server in servers]


@pytest.mark.parametrize("hasher", [None, ByLength])
@pytest.mark.parametrize("is_first", [True, False])
def test_keys_are_where_pymemcache_has_them(
    servers: list[Memcached],
    djangos_on: Callable[..., PyMemcacheCache],
    hasher: type | None,
    is_first: bool,
) -> None:
    """A site that comes from PyMemcacheCache finds its keys, and one that goes back does, too."""
    options: dict[str, Any] = {} if hasher is None else {"hasher": hasher}
    ours = cache_on(*servers, **options)
    theirs = djangos_on(servers, **options)
    writer, reader = (ours, theirs) if is_first else (theirs, ours)

    writer.set_many(dict.fromkeys(KEYS, 1))

    assert dict.fromkeys(KEYS, 1) == reader.get_many(KEYS)
    assert [1] * len(KEYS) == [reader.get(key) for key in KEYS]


@out_of_reach
def test_no_key_moves_and_every_lost_write_is_reported(servers: list[Memcached], way: str) -> None:
    """What belongs to the server that is out of reach is on no other one, however often it is written."""
    cache = cache_on(*servers)
    cache.set_many(dict.fromkeys(KEYS, "old"))
    theirs, *others = places(servers, cache)

    getattr(servers[0], way)()

    assert all([theirs, *others])
    for operation, arguments in {"set": ["new"], "add": ["new"], "touch": [60], "delete": [], "incr": []}.items():
        for key in set(KEYS) - theirs:
            cache.set(key, 1)
        assert theirs == lost(cache, operation, KEYS, *arguments), operation
    assert theirs == set(cache.set_many(dict.fromkeys(KEYS, "new")))
    assert dict.fromkeys(set(KEYS) - theirs, "new") == cache.get_many(KEYS)
    assert others == places(servers[1:], cache)


def test_hash_client_moves_keys(servers: list[Memcached], djangos_on: Callable[..., PyMemcacheCache]) -> None:
    """The control: what pymemcache's own client does there is seen."""
    theirs = djangos_on(servers, retry_attempts=0, ignore_exc=True)
    theirs.set_many(dict.fromkeys(KEYS, "old"))
    before = places(servers, cache_on(*servers))
    servers[0].kill()

    for key in KEYS * 2:
        theirs.set(key, "new")

    assert set(KEYS) == set().union(*places(servers[1:], cache_on(*servers)))
    assert set(KEYS) != set().union(*before[1:])


def test_server_that_was_started_again_is_written_to_at_once(servers: list[Memcached]) -> None:
    """No pause keeps a write from it, and after that it is read from again."""
    cache = cache_on(*servers)
    cache.set_many(dict.fromkeys(KEYS, "old"))
    theirs = held_by(servers[0], cache, KEYS)
    servers[0].kill()
    missing = set(KEYS) - set(cache.get_many(KEYS))
    servers[0].restart()

    failed = lost(cache, "set", KEYS, "new")

    assert (theirs, set()) == (missing, failed)
    assert dict.fromkeys(KEYS, "new") == cache.get_many(KEYS)


def test_server_that_returns_with_old_memory_has_only_what_was_reported(
    servers: list[Memcached], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is old on it is what was said to have failed; the rest was written where it belongs, and nowhere else."""
    now = [0.0]
    monkeypatch.setattr("cachedeco.backends.server.monotonic", lambda: now[0])
    cache = cache_on(*servers)
    cache.set_many(dict.fromkeys(KEYS, "old"))
    before = places(servers, cache)
    servers[0].pause()
    # Where the first one was only late, the server takes it when it goes on: failed is not the same as undone.
    late, *failed = [key for key in KEYS if lost(cache, "set", [key], "new")]
    servers[0].resume()
    now[0] += 60

    found = cache.get_many(KEYS)

    assert before[0] == {late, *failed}
    assert before == places(servers, cache)
    assert dict.fromkeys(failed, "old") == {
        key: value for key, value in found.items() if value == "old" and key != late
    }
    assert set(KEYS) == set(found)


@out_of_reach
def test_delete_many_goes_on_with_the_other_servers(servers: list[Memcached], way: str) -> None:
    """It raises in the end, and what could be deleted is."""
    cache = cache_on(*servers)
    cache.set_many(dict.fromkeys(KEYS, 1))
    getattr(servers[0], way)()

    with pytest.raises(MemcachedError, match=f"delete_many .*{servers[0].location}") as caught:
        cache.delete_many(KEYS)

    assert (servers[0].location, "delete_many") == (caught.value.server, caught.value.operation)
    assert [set()] * len(servers[1:]) == places(servers[1:], cache)


@two
@pytest.mark.parametrize("operation", ["clear", "delete_many"])
def test_server_that_refuses_keeps_nothing_from_the_others(servers: list[Memcached], operation: str) -> None:
    """As a proxy does whose server is gone, and a memcached that is not to be emptied."""
    arguments = {"clear": [], "delete_many": [KEYS]}[operation]
    with Scripted([b"SERVER_ERROR no backend\r\n"]) as refusing:
        cache = cache_on(refusing, *servers)
        ring = cache._cache
        others = [key for key in KEYS if ring._server_of(cache.make_key(key)).name != refusing.location]
        cache.set_many(dict.fromkeys(others, 1))

        with pytest.raises(MemcacheServerError, match="no backend"):
            getattr(cache, operation)(*arguments)

    assert [set(), set()] == places(servers, cache)


def test_clear_names_every_server_that_was_not_emptied(servers: list[Memcached]) -> None:
    """The first is what is raised, the others are its notes, and the rest is empty."""
    cache = cache_on(*servers)
    cache.set_many(dict.fromkeys(KEYS, 1))
    *dead, living = servers
    for server in dead:
        server.kill()

    with pytest.raises(MemcachedError, match=f"clear .*{dead[0].location}") as caught:
        cache.clear()

    notes = getattr(caught.value, "__notes__", [])
    assert [server.location for server in dead[1:]] == [note.split("server ")[1].split(" ")[0] for note in notes]
    assert set() == held_by(living, cache, KEYS)


@two
def test_set_many_tells_why(servers: list[Memcached]) -> None:
    """Beside the keys that failed there is the error, or what the server has answered where it refused a value."""
    cache = cache_on(*servers)
    refused = cache.set_many({"large": "x" * 2**21, "small": 1})
    servers[0].kill()

    failed = cache.set_many(dict.fromkeys(KEYS, 1))

    assert isinstance(refused, FailedKeys)
    assert isinstance(failed, FailedKeys)
    assert (["large"], "SERVER_ERROR object too large for cache") == (refused, str(refused.error))
    assert isinstance(failed.error, ConnectionRefusedError.__mro__[1])


@two
def test_many_keys_are_written_in_parts(servers: list[Memcached], monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are sent before an answer is read; together they are all."""
    monkeypatch.setattr("cachedeco.backends.writes.MOST_AT_ONCE", 7)
    cache = cache_on(*servers)

    failed = cache.set_many(dict.fromkeys(KEYS, 1))
    found = cache.get_many(KEYS)
    cache.delete_many(KEYS)

    assert ([], dict.fromkeys(KEYS, 1), {}) == (failed, found, cache.get_many(KEYS))


@two
@pytest.mark.parametrize(("size", "parts"), [(9, [60]), (500, [10] * 6)])
def test_large_values_are_written_in_parts(
    servers: list[Memcached], size: int, parts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part ends with the value that fills it, so that none needs longer than the client waits."""
    sent: list[int] = []

    def counted(commands: Sequence[bytes]) -> Lines[Acknowledged]:
        sent.append(len(commands))
        return store_each(commands)

    monkeypatch.setattr("cachedeco.backends.memcached_exchanges.store_each", counted)
    monkeypatch.setattr("cachedeco.backends.writes.MOST_BYTES_AT_ONCE", 5001)
    cache = cache_on(servers[0])

    failed = cache.set_many(dict.fromkeys(KEYS, "x" * size))

    assert ([], parts) == (failed, sent)
    assert dict.fromkeys(KEYS, "x" * size) == cache.get_many(KEYS)


@two
def test_server_of_a_key_is_remembered(servers: list[Memcached]) -> None:
    """By all caches of the same servers, those of other threads and tasks among them: to find it takes long."""
    asked: list[str] = []

    class Counting(ByLength):
        """A hasher that knows how often it is asked."""

        def get_node(self, key: str) -> str:
            """Choose by the key's length."""
            asked.append(key)
            return super().get_node(key)

    for _ in range(3):
        cache_on(*servers, hasher=Counting).get_many(["a", "bb", "a"])
    other = cache_on(servers[0], servers[0], hasher=Counting)
    other.get("a")

    assert [other.make_key(key) for key in ("a", "bb")] == asked


@two
def test_location_is_read_as_django_reads_it(servers: list[Memcached]) -> None:
    """A text with commas or semicolons, spaces or not, or a list; one server named twice is one."""
    first, second = (server.location for server in servers[:2])
    cache = cache_on(*servers[:2])
    cache.set_many(dict.fromkeys(KEYS, 1))

    for location in (f"{first};{second}", f"{first}, {second}", (second, first, first)):
        assert len(KEYS) == len(MemcachedCache(location, {"OPTIONS": WAITS}).get_many(KEYS)), location
