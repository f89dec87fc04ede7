"""The tests' own tools do what the tests rely on: servers, recording backends, faults."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import BaseCache, cache, caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.db import connections, transaction

from tests.backends import COMMANDS, Command, Commands, Kind
from tests.conftest import CacheConfig, UseCaches
from tests.faults import FaultyCache, faulty
from tests.models import Club
from tests.servers import INSTALL, Memcached, Redis, Server, ServerError, free_port


@pytest.fixture(params=["memcached", "redis"])
def private_server(request: pytest.FixtureRequest) -> Server:
    """Run the test with a server of its own, once of each program."""
    server: Server = request.getfixturevalue(f"private_{request.param}")
    return server


@pytest.fixture
def private_cache(private_server: Server, cache_config: CacheConfig, use_caches: UseCaches) -> BaseCache:
    """Give a Django cache on the private server, which does not wait long for it nor try again."""
    if isinstance(private_server, Memcached):
        kind, options = "memcached", {"timeout": 0.2, "retry_attempts": 0, "dead_timeout": 0}
    else:
        kind, options = "redis", {"socket_timeout": 0.2, "retry": None}
    use_caches(default=cache_config(kind, server=private_server, OPTIONS=options))
    return caches["default"]


def in_thread(work: Callable[[], object]) -> None:
    """Do some work in another thread, and return when it is done."""

    def run() -> None:
        work()
        connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


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


def test_server_killed_refuses_connections(private_server: Server, private_cache: BaseCache) -> None:
    """A killed server is an error to a Django cache, not a miss."""
    private_server.kill()

    assert not private_server.is_running
    with pytest.raises(Exception, match="refused"):
        private_cache.get("key")


def test_server_paused_hangs_and_resumes(private_server: Server, private_cache: BaseCache) -> None:
    """A paused server lets a read time out, and after resume() has still what was stored."""
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
    monkeypatch.setattr("tests.servers.free_port", lambda: ports.pop(0))

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


def test_memcached_stats_count_commands(memcached_server: Memcached, use_caches: UseCaches) -> None:
    """A get_many of three keys of which one is there counts as three gets and a hit."""
    use_caches(default="memcached")
    cache.set("a", 1)
    before = memcached_server.stats()

    cache.get_many(["a", "b", "c"])

    after = memcached_server.stats()
    assert 3 == int(after["cmd_get"]) - int(before["cmd_get"])
    assert 1 == int(after["get_hits"]) - int(before["get_hits"])


def test_redis_info_counts_commands(redis_server: Redis, use_caches: UseCaches) -> None:
    """A get_many of three keys of which one is there counts as a hit and two misses."""
    use_caches(default="redis")
    cache.set("a", 1)
    before = redis_server.info()

    cache.get_many(["a", "b", "c"])

    after = redis_server.info()
    assert 1 == int(after["keyspace_hits"]) - int(before["keyspace_hits"])
    assert 2 == int(after["keyspace_misses"]) - int(before["keyspace_misses"])


def test_backend_keeps_what_it_is_given(backend: Kind) -> None:
    """Every backend of the fixture is a cache that works."""
    cache.set_many({"a": 1, "b": None})

    found = cache.get_many(["a", "b", "c"])

    assert {"a": 1, "b": None} == found, backend


def test_backend_is_fresh(backend: Kind, use_caches: UseCaches) -> None:
    """A second cache of a kind does not see the first one's keys, though one place holds both."""
    cache.set("key", "value")

    use_caches(default=backend)

    assert "key" not in cache


@pytest.mark.usefixtures("dummy_backend")
def test_dummy_backend_keeps_nothing() -> None:
    """The dummy backend acknowledges and forgets."""
    cache.set("key", "value")

    assert "key" not in cache


def test_commands_of_every_backend_are_the_outermost(backend: Kind, commands: Commands) -> None:
    """A command is recorded once, with its keys, whatever the backend makes of it."""
    cache.set_many({"a": 1, "b": 2}, timeout=30)
    cache.get_many(iter(["a", "b"]))
    cache.add("c", 3, 60)
    _ = "c" in cache
    cache.delete_many(["a", "b"])

    expected = [
        Command("set_many", ("a", "b"), 30),
        Command("get_many", ("a", "b")),
        Command("add", ("c",), 60),
        Command("has_key", ("c",)),
        Command("delete_many", ("a", "b")),
    ]
    assert expected == commands, backend


def test_commands_carry_their_alias(use_caches: UseCaches, commands: Commands) -> None:
    """With two caches, a command tells which of them it reached."""
    use_caches(default="locmem", other="dummy")

    caches["other"].touch("key", 10)
    caches["default"].clear()

    assert [Command("touch", ("key",), 10, "other"), Command("clear")] == commands


def test_commands_of_other_threads_are_recorded(commands: Commands) -> None:
    """The list is the process's: what a thread sends is in it."""
    in_thread(lambda: cache.get("key"))

    assert ["get"] == commands.names


def test_commands_of_async_callers_are_those_that_reach_the_backend(commands: Commands) -> None:
    """An async method counts as what Django makes of it."""
    asyncio.run(cache.aget("key"))

    assert [Command("get", ("key",))] == commands


def test_commands_every_one_of_django_is_recorded() -> None:
    """No public sync method of BaseCache that names a key goes unrecorded."""
    plumbing = {"close", "get_backend_timeout", "make_and_validate_key", "make_key", "validate_key"}
    methods = {name for name in vars(BaseCache) if not name.startswith("_")}

    commands = {name for name in methods - plumbing if not (name[0] == "a" and name[1:] in methods)}

    assert set(COMMANDS) == commands


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_databases_show_threads_what_was_committed() -> None:
    """A thread sees a row when the transaction that made it has committed, in either database."""
    seen: list[bool] = []

    def look() -> None:
        seen.extend(Club.objects.using(alias).filter(name="Chess").exists() for alias in ("default", "other"))

    with transaction.atomic(using="default"), transaction.atomic(using="other"):
        Club.objects.create(name="Chess")
        Club.objects.using("other").create(name="Chess")
        in_thread(look)
    in_thread(look)

    assert [False, False, True, True] == seen


@pytest.mark.usefixtures("faulty_backend")
class TestFaultyCache:
    """FaultyCache misbehaves as told, as often as told, and is a cache otherwise."""

    def test_without_a_fault_it_is_a_cache(self) -> None:
        """What is stored is there."""
        cache.set("key", "value")

        assert "value" == cache.get("key")

    def test_raises_the_exception_of_the_operation(self) -> None:
        """The operation named raises, the others do not."""
        with faulty("get_many", raises=TimeoutError("slow")):
            cache.set("key", "value")

            with pytest.raises(TimeoutError, match="slow"):
                cache.get_many(["key"])

    def test_concerns_the_outermost_operation_only(self) -> None:
        """A fault of `get` leaves alone the `get_many` that calls it."""
        cache.set("key", "value")

        with faulty("get", raises=OSError):
            found = cache.get_many(["key"])

        assert {"key": "value"} == found

    @pytest.mark.parametrize("nonsense", [None, [], "text", {"other": object}])
    def test_returns_nonsense(self, nonsense: object) -> None:
        """An operation returns whatever a test wants it to."""
        with faulty("get_many", returns=nonsense):
            assert nonsense is cache.get_many(["key"])

    @pytest.mark.parametrize(
        ("call", "expected"),
        [
            (lambda: cache.get("a"), None),
            (lambda: cache.get("a", "default"), "default"),
            (lambda: cache.get_many(["a"]), {}),
            (lambda: cache.add("a", 1), False),
            (lambda: cache.set("a", 1), None),
            (lambda: cache.set_many({"a": 1, "b": 2}), ["a", "b"]),
            (lambda: cache.touch("a"), False),
            (lambda: cache.delete("a"), False),
            (lambda: cache.delete_many(["a"]), None),
        ],
    )
    def test_unreachable_says_what_hash_client_says(
        self,
        call: Callable[[], Any],
        expected: object,
        use_caches: UseCaches,
        cache_config: CacheConfig,
        private_memcached: Memcached,
    ) -> None:
        """The silence is that of pymemcache's HashClient until it tries a dead server again."""
        with faulty(unreachable=True):
            pretended = call()
        config = cache_config("memcached", server=private_memcached, OPTIONS={"retry_timeout": 60})
        use_caches(default=config)
        private_memcached.kill()
        with pytest.raises(OSError, match="refused"):
            cache.get("a")

        real = call()

        assert expected == pretended == real

    def test_drops_writes_and_calls_them_done(self) -> None:
        """A dropped write is acknowledged, and not there."""
        with faulty(drops=True):
            acknowledged = [cache.set_many({"a": 1}), cache.add("b", 1), cache.delete("a"), cache.set("a", 1)]

            assert [[], True, True, None] == acknowledged
            assert {} == cache.get_many(["a", "b"])

    @pytest.mark.parametrize("evicted", [["a"], lambda key: key != "b"])
    def test_evicts_before_the_operation(self, evicted: Any) -> None:  # noqa: ANN401  either form
        """A fault can drop keys, given or told by a callable, from under an operation."""
        cache.set_many({"a": 1, "b": 2})

        with faulty("get_many", evicts=evicted):
            found = cache.get_many(["a", "b"])

        assert {"b": 2} == found

    def test_after_hook_meets_no_fault_and_is_recorded(self, commands: Commands) -> None:
        """What a test lets happen just after an operation goes on as if from elsewhere."""
        cache.set("key", "old")
        commands.clear()

        with faulty(after=lambda: cache.set("key", "new")):
            value = cache.get("key")

        assert "old" == value
        assert "new" == cache.get("key")
        assert ["get", "set", "get"] == commands.names

    def test_before_hook_comes_before_the_operation(self) -> None:
        """What a test lets happen just before an operation is seen by it."""
        with faulty("get", before=lambda: cache.set("key", "new")):
            assert "new" == cache.get("key")

    def test_times_used_up_is_a_cache_again(self) -> None:
        """A fault of two times meets a third command, and lets it through."""
        cache.set("key", "value")

        with faulty("get", returns="wrong", times=2) as fault:
            values = [cache.get("key") for _ in range(3)]

        assert ["wrong", "wrong", "value"] == values
        assert [Command("get", ("key",))] * 3 == fault.met

    def test_nested_the_innermost_takes_it(self) -> None:
        """Of two faults that concern an operation, the inner one has it, until its block ends."""
        with faulty("get", returns="outer"):
            with faulty("get", returns="inner"):
                inner = cache.get("key")
            outer = cache.get("key")

        assert ("inner", "outer") == (inner, outer)

    def test_concerns_other_threads_too(self) -> None:
        """A fault is the process's: a thread meets it."""
        with faulty("get", returns="wrong") as fault:
            in_thread(lambda: cache.get("key"))

        assert 1 == len(fault.met)

    def test_evict_is_no_command(self, commands: Commands) -> None:
        """A test can drop keys itself, and what it counts does not change."""
        cache.set("key", "value")
        faulty_cache = caches["default"]
        assert isinstance(faulty_cache, FaultyCache)

        faulty_cache.evict(["key"])

        assert ["set"] == commands.names
        assert "key" not in cache


def test_faulty_without_exactly_one_way_is_refused() -> None:
    """A fault that does nothing, or two things, is a mistake in the test."""
    with pytest.raises(TypeError, match="got 0"), faulty("get"):
        pass
    with pytest.raises(TypeError, match="got 2"), faulty("get", raises=OSError, drops=True):
        pass


def test_faulty_of_unknown_operation_is_refused() -> None:
    """A misspelt operation would never misbehave, and its test pass for nothing."""
    with (
        pytest.raises(ValueError, match=r"getmany; the operations are add, .*get_many"),
        faulty("getmany", drops=True),
    ):
        pass


def test_settings_caches_default_timeout_is_recorded_as_not_given(commands: Commands) -> None:
    """A write without a timeout is told apart from one for ever."""
    cache.set("a", 1)
    cache.set("a", 1, None)

    assert [DEFAULT_TIMEOUT, None] == [command.timeout for command in commands]
