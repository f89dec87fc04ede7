"""The heartbeat tells whether a cache has what it acknowledged."""

from errno import ENOSPC
from pathlib import Path

import pytest
from django.core.cache import caches
from django.core.cache.backends.filebased import FileBasedCache
from pytest_django import Settings

from cachedeco.outbox.heartbeat import Heartbeat
from cachedeco.storage.cache_keys import LONGEST_KEY, SMALLEST_KEY_BUDGET
from cachedeco.storage.store import Store
from tests.conftest import CacheConfig, UseCaches
from tests.support.backends import Commands
from tests.support.faults import faulty


@pytest.fixture
def heart(use_caches: UseCaches) -> Heartbeat:
    """Give the heartbeat of a cache that can misbehave."""
    use_caches(default="faulty")
    return Heartbeat("default")


def test_cache_is_forgetful_until_it_was_heard_twice(heart: Heartbeat) -> None:
    """Who has not been watched may have forgotten anything."""
    assert ["forgetful", "well", "well"] == [heart.beat() for _ in range(3)]


def test_beat_is_two_commands(heart: Heartbeat, commands: Commands) -> None:
    """The old value is read, and a new one written."""
    heart.beat()

    assert ["get_many", "set_many"] == commands.names


def test_cache_that_failed_once_is_asked_as_ever(heart: Heartbeat, commands: Commands) -> None:
    """Where the breaker is closed there is no pause to end, and nothing to probe."""
    with faulty("get_many", raises=OSError(), times=1):
        Store("default").get_many(["key"])
    commands.clear()

    heart.beat()

    assert ["get_many", "set_many"] == commands.names


def test_value_that_is_absent_tells(heart: Heartbeat) -> None:
    """A server that lost its memory is forgetful once."""
    heart.beat()
    caches["default"].clear()

    assert ["forgetful", "well"] == [heart.beat() for _ in range(2)]


def test_value_of_an_earlier_beat_tells(heart: Heartbeat) -> None:
    """A server that returns to the past is forgetful once, however little it forgot."""
    heart.beat()
    with faulty("set_many", drops=True):
        well = heart.beat()

    assert ("well", ["forgetful", "well"]) == (well, [heart.beat() for _ in range(2)])


@pytest.mark.parametrize("fault", [{"unreachable": True}, {"raises": OSError()}], ids=["quiet", "raising"])
def test_cache_that_was_away_is_forgetful_when_it_returns(heart: Heartbeat, fault: dict[str, object]) -> None:
    """What happened to a server that could not be asked is unknown."""
    heart.beat()
    with faulty(**fault):  # type: ignore[arg-type]
        away = [heart.beat() for _ in range(2)]

    assert (["unreachable"] * 2, ["forgetful", "well"]) == (away, [heart.beat() for _ in range(2)])


def test_cache_that_was_doubted_is_forgetful(heart: Heartbeat) -> None:
    """A replay that did not arrive is repeated."""
    heart.beat()
    heart.written = None

    assert ["forgetful", "well"] == [heart.beat() for _ in range(2)]


def test_two_deliverers_hear_hearts_of_their_own(use_caches: UseCaches) -> None:
    """What one writes does not look to another like forgetting."""
    use_caches(default="locmem")
    one, other = Heartbeat("default"), Heartbeat("default")

    heard = [[each.beat() for each in (one, other)] for _ in range(3)]

    assert [["forgetful"] * 2, ["well"] * 2, ["well"] * 2] == heard


@pytest.mark.parametrize(
    ("location", "expected"),
    [("a:1", 1), (["a:1"], 1), (["a:1", "b:1"], 64), ("a:1;b:1,c:1", 96), ([], 1)],
    ids=["text", "one", "two", "three in a text", "none"],
)
def test_each_server_has_keys(
    use_caches: UseCaches, cache_config: CacheConfig, commands: Commands, location: object, expected: int
) -> None:
    """With several servers there are so many keys that each has some; one more tells when a deliverer ran."""
    use_caches(default={**cache_config("dummy"), "LOCATION": location})

    Heartbeat("default").beat()

    assert [expected, expected + 1] == [len(each.keys) for each in commands]


def test_keys_fit_where_others_do(settings: Settings, use_caches: UseCaches, cache_config: CacheConfig) -> None:
    """With the longest prefixes that the checks allow a cache is not taken for unreachable."""
    settings.CACHEDECO = {"KEY_PREFIX": "x" * 50}
    use_caches(default=cache_config("locmem", KEY_PREFIX="y" * (LONGEST_KEY - len(":1:") - SMALLEST_KEY_BUDGET)))

    assert "forgetful" == Heartbeat("default").beat()


def test_keys_begin_with_the_prefix_of_the_settings(heart: Heartbeat, commands: Commands, settings: Settings) -> None:
    """Two projects on one server stay apart, as with all keys."""
    settings.CACHEDECO = {"KEY_PREFIX": "mine"}
    Heartbeat("default").beat()
    heart.beat()

    assert ["mine:h:", "cd:h:"] == [each.keys[0][:-18].split(":1:")[1] for each in commands if each.name == "get_many"]


def test_full_disk_takes_deletions(use_caches: UseCaches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its invalidations are delivered, as those of a server without memory: an entry that waits for room is old."""
    use_caches(default={"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": tmp_path})
    heart = Heartbeat("default")

    def fail(*_: object) -> None:
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(FileBasedCache, "_write_content", fail)

    assert ["limping", "limping"] == [heart.beat(), heart.beat()]
