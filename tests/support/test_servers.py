"""The servers of the tests do what the tests rely on."""

import pytest
import redis
from django.core.cache import BaseCache, caches

from tests.conftest import CacheConfig, UseCaches
from tests.support.servers import INSTALL, Memcached, Redis, Server, ServerError, free_port


@pytest.fixture(params=["memcached", "redis"])
def private_server(request: pytest.FixtureRequest) -> Server:
    """Run the test with a server of its own, once of each program."""
    server: Server = request.getfixturevalue(f"private_{request.param}")
    return server


@pytest.fixture
def private_cache(private_server: Server, cache_config: CacheConfig, use_caches: UseCaches) -> BaseCache:
    """Give a Django cache on the private server, which does not try again."""
    if isinstance(private_server, Memcached):
        kind, options = "memcached", {"retry_attempts": 0, "dead_timeout": 0}
    else:
        kind, options = "redis", {"retry": None}
    use_caches(default=cache_config(kind, server=private_server, OPTIONS=options))
    return caches["default"]


def test_server_started_answers_on_loopback(private_cache: BaseCache) -> None:
    """A started server keeps what a Django cache stores in it."""
    private_cache.set("key", "value")

    value = private_cache.get("key")

    assert "value" == value


def test_server_restarted_is_empty_on_the_same_port(private_server: Server, private_cache: BaseCache) -> None:
    """A restarted server has its port again and none of its keys."""
    port = private_server.port
    private_cache.set("key", "value")

    private_server.restart()

    assert port == private_server.port
    private_cache.close()
    assert "key" not in caches["default"]


def test_redis_starts_without_what_another_one_has_saved() -> None:
    """A replica saves what its primary sends, and so would give its keys to each test behind it."""
    with Redis() as first, redis.Redis.from_url(first.location) as keys:
        keys.set("key", "value")
        keys.save()
        with Redis() as second, redis.Redis.from_url(second.location) as others:
            found = others.exists("key")
        keys.close()
        first.restart()

        assert (0, 0) == (found, keys.exists("key"))


def test_server_killed_refuses_connections(private_server: Server, private_cache: BaseCache) -> None:
    """A killed server is an error to a Django cache, not a miss."""
    private_server.kill()

    assert not private_server.is_running
    with pytest.raises(Exception, match="refused"):
        private_cache.get("key")


def test_server_paused_hangs_and_resumes(private_server: Server, private_cache: BaseCache) -> None:
    """A paused server lets a read time out, soon, and after resume() has still what was stored."""
    private_cache.set("key", "value")

    private_server.pause()

    with pytest.raises(Exception, match=r"(?i)time"):
        private_cache.get("key")
    private_server.resume()
    private_cache.close()
    assert "value" == private_cache.get("key")


def test_server_stopped_paused_ends(private_server: Server) -> None:
    """A paused server can be stopped: no test leaves a process behind."""
    private_server.pause()

    private_server.stop()

    assert not private_server.is_running


def test_server_stopped_twice_is_stopped(private_server: Server) -> None:
    """To stop a server that is gone does nothing, so that a fixture may stop what its test has killed."""
    private_server.kill()

    private_server.stop()

    assert not private_server.is_running


def test_server_not_running_cannot_be_paused(private_server: Server) -> None:
    """A test that pauses a server that is gone is told so."""
    private_server.stop()

    with pytest.raises(ServerError, match=r"not running; start\(\) it first"):
        private_server.pause()


def test_server_started_twice_is_refused(private_server: Server) -> None:
    """A second start() would leave the first process behind."""
    with pytest.raises(ServerError, match=r"running already; stop\(\) it first"):
        private_server.start()


def test_server_never_started_has_no_port() -> None:
    """The port is known from the first start on."""
    server = Memcached()

    with pytest.raises(ServerError, match="no port"):
        _ = server.port


def test_server_port_taken_takes_another(private_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that another server takes between the look and the start costs another try, no more."""
    ports = [private_server.port, free_port()]
    monkeypatch.setattr("tests.support.servers.free_port", lambda: ports.pop(0))

    with type(private_server)() as second:
        assert second.port != private_server.port

    assert [] == ports


def test_server_that_never_starts_tells_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that cannot start says why, in its own words."""
    server = Memcached()
    monkeypatch.setattr(server, "_arguments", lambda port: ["--no-such-option", str(port)])

    with pytest.raises(ServerError, match=r"did not start in 5 attempts: (.|\n)*no-such-option"):
        server.start()


@pytest.mark.parametrize("server", [Memcached(), Redis()])
def test_server_program_missing_tells_how_to_install_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing program is an error with the command that installs it, never a skipped test."""
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(ServerError, match=f"{server.program} is not on PATH.*{INSTALL}"):
        server.start()
