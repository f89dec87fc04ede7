"""The cache that misbehaves does so as the tests rely on."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache, caches

from tests.conftest import CacheConfig, UseCaches
from tests.support.backends import Command, Commands
from tests.support.faults import FaultyCache, faulty
from tests.support.servers import Memcached
from tests.support.threads import in_thread


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
        """An operation returns what a test wants it to."""
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
    def test_evicts_before_the_operation(self, evicted: Any) -> None:
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
