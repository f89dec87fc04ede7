"""What each method of a cache promises, and what it returns."""

from contextlib import suppress

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from tests.backends.contract import THEIRS, Place, promise, raises


@promise()
def get_of_a_missing_key_is_none(place: Place) -> None:
    """Nothing stored is `None`, or the default."""
    cache = place.cache()

    assert (None, "default", 0) == (cache.get("key"), cache.get("key", "default"), cache.get("key", default=0))


@promise()
def get_gives_what_was_set(place: Place) -> None:
    """A value stored is found, and the one stored last."""
    cache = place.cache()

    assert [None, None] == [cache.set("key", "first"), cache.set("key", "second")]
    assert "second" == cache.get("key", "default")


@promise()
def get_of_a_stored_none_is_no_default(place: Place) -> None:
    """`None` can be stored, and is told from nothing."""
    cache = place.cache()
    cache.set("key", None)

    assert cache.get("key", "default") is None
    assert cache.has_key("key")


@promise()
def add_stores_only_where_there_is_nothing(place: Place) -> None:
    """It says whether it did, and a deleted key is as good as new."""
    cache = place.cache()

    assert [True, False] == [cache.add("key", "first"), cache.add("key", "second")]
    assert "first" == cache.get("key")
    cache.delete("key")
    assert cache.add("key", None) is True
    assert cache.add("key", "third") is False


@promise()
def get_or_set_stores_what_is_missing(place: Place) -> None:
    """A value, or what a callable returns, which is called only then."""
    cache = place.cache()
    calls: list[int] = []

    def computed() -> str:
        calls.append(1)
        return "computed"

    assert ["given", "given"] == [cache.get_or_set("a", "given"), cache.get_or_set("a", "other")]
    assert ["computed", "computed"] == [cache.get_or_set("b", computed), cache.get_or_set("b", computed, timeout=60)]
    assert ("given", "computed", [1]) == (cache.get("a"), cache.get("b"), calls)


@promise()
def get_or_set_stores_none(place: Place) -> None:
    """`None`, given or computed, is a value as any other."""
    cache = place.cache()

    assert [None, None] == [cache.get_or_set("a", None), cache.get_or_set("b", lambda: None)]
    assert [None, None] == [cache.get("a", "missing"), cache.get("b", "missing")]


@promise()
def get_or_set_takes_timeout_and_version(place: Place) -> None:
    """What is stored for no time is returned all the same."""
    cache = place.cache()

    assert "gone" == cache.get_or_set("key", "gone", 0)
    assert "second" == cache.get_or_set("key", "second", 60, version=2)
    assert (None, "second") == (cache.get("key"), cache.get("key", version=2))


@promise()
def get_many_gives_what_is_there(place: Place) -> None:
    """A dict of the keys found, `None` among them; any iterable will do."""
    cache = place.cache()
    cache.set("a", 1)
    cache.set("b", None)

    assert {"a": 1, "b": None} == cache.get_many(["a", "b", "c"])
    assert {"a": 1} == cache.get_many(iter(["a", "c"]))
    assert {"a": 1} == cache.get_many({"a": 0})
    assert {} == cache.get_many(["c"])
    assert {} == cache.get_many([])


@promise()
def set_many_stores_all(place: Place) -> None:
    """It returns the keys that it failed to store: none."""
    cache = place.cache()

    assert [] == cache.set_many({"a": 1, "b": None, "c": "x"})
    assert [] == cache.set_many({"d": 1}, 60)
    assert [] == cache.set_many({"d": 2}, timeout=DEFAULT_TIMEOUT, version=2)
    assert [] == cache.set_many({})
    assert {"a": 1, "b": None, "c": "x", "d": 1} == cache.get_many("abcd")
    assert 2 == cache.get("d", version=2)


@promise(broken_by=["memcached"])
def set_many_names_what_was_not_stored(place: Place) -> None:
    """What is too large for the server is among the keys returned, and the others are stored."""
    cache = place.cache()
    values = {"before": 1, "large": "x" * 2**21, "after": 2}

    failed = cache.set_many(values)

    found = cache.get_many(values)
    assert set(values) - set(failed) == set(found)
    assert {"before", "after"} <= set(found)


@promise()
def set_of_what_is_too_large_leaves_nothing_old(place: Place) -> None:
    """Whether the server takes a value or not, the old one is gone: a session must not fall back."""
    cache = place.cache()
    cache.set("key", "old")
    large = "x" * 2**21

    with suppress(Exception):  # what is raised is up to the client
        cache.set("key", large)

    assert cache.get("key") in {None, large}
    cache.set("key", "new")
    assert "new" == cache.get("key")


@promise()
def delete_tells_whether_there_was_something(place: Place) -> None:
    """And removes it."""
    cache = place.cache()
    cache.set("key", 1)

    assert [True, False, False] == [cache.delete("key"), cache.delete("key"), cache.delete("other")]
    assert not cache.has_key("key")


@promise()
def delete_many_removes_all(place: Place) -> None:
    """Those that are there, of any iterable; what is not named stays."""
    cache = place.cache()
    cache.set_many({"a": 1, "b": 2, "c": 3, "d": 4})

    assert [None] * 3 == [cache.delete_many(["a", "x"]), cache.delete_many(iter("b")), cache.delete_many([])]
    assert {"c": 3, "d": 4} == cache.get_many("abcd")


@promise()
def has_key_tells_whether_there_is_something(place: Place) -> None:
    """Also of what is false; `in` says the same."""
    cache = place.cache()
    cache.set("key", 0)

    assert [True, False] == [cache.has_key("key"), cache.has_key("other")]
    assert [True, False] == ["key" in cache.cache, "other" in cache.cache]


@promise()
def touch_tells_whether_there_is_something(place: Place) -> None:
    """And gives it another timeout."""
    cache = place.cache()
    cache.set_many({"a": 1, "b": 2, "c": 3})

    assert [True, True, True, False] == [
        cache.touch("a", 0),
        cache.touch("b", None),
        cache.touch("c"),
        cache.touch("other", 60),
    ]
    assert {"b": 2, "c": 3} == cache.get_many("abc")


@promise()
def incr_and_decr_count(place: Place) -> None:
    """By one, or by so much, also by less than nothing; they return the number, which is an int."""
    cache = place.cache()
    cache.set("key", 41)

    assert [42, 52, 51, 41, 40, 42] == [
        cache.incr("key"),
        cache.incr("key", 10),
        cache.decr("key"),
        cache.decr("key", 10),
        cache.incr("key", -1),
        cache.decr("key", -2),
    ]
    assert 42 == cache.get("key")


@promise()
def incr_of_a_missing_key_is_a_value_error(place: Place) -> None:
    """Of either, and nothing is stored."""
    cache = place.cache()

    raises(ValueError, lambda: cache.incr("key"))
    raises(ValueError, lambda: cache.decr("key"))
    raises(ValueError, lambda: cache.incr("key", -1))
    assert not cache.has_key("key")


@promise(by_old_twins=THEIRS)
def incr_loses_no_count(place: Place) -> None:
    """Where the server counts, callers at the same time are counted each."""
    cache = place.cache()
    cache.set("key", 0)

    cache.together("incr", [("key",), ("key", 2)] * 5)

    assert 15 == cache.get("key")


@promise(by_old_twins=THEIRS)
def incr_keeps_the_timeout(place: Place) -> None:
    """To count is not to store anew: what lives for ever still does where the default is no time at all."""
    cache = place.cache(TIMEOUT=0)
    cache.set("key", 1, None)

    cache.incr("key")

    assert 2 == cache.get("key")


@promise(empties=True)
def clear_removes_everything(place: Place) -> None:
    """Of every version."""
    cache = place.cache()
    cache.set("a", 1)
    cache.set("a", 1, version=2)

    cache.clear()

    assert [None, None] == [cache.get("a"), cache.get("a", version=2)]


@promise()
def close_is_no_end(place: Place) -> None:
    """A cache that was closed, as at the end of each request, can be used, and closed again."""
    cache = place.cache()
    cache.set("key", 1)

    cache.close()

    assert 1 == cache.get("key")
    cache.close()
    cache.close()


@promise()
def incr_version_moves_a_value(place: Place) -> None:
    """It returns the new version; nothing is left of the old one."""
    cache = place.cache()
    cache.set_many({"a": "x", "b": None})

    assert [2, 12, 11, 2] == [
        cache.incr_version("a"),
        cache.incr_version("a", 10, version=2),
        cache.decr_version("a", version=12),
        cache.incr_version("b"),
    ]
    assert [None, None, None, "x"] == [cache.get("a", version=version) for version in (1, 2, 12, 11)]
    assert cache.get("b", "missing", version=2) is None


@promise()
def incr_version_of_a_missing_key_is_a_value_error(place: Place) -> None:
    """Of either."""
    cache = place.cache()

    raises(ValueError, lambda: cache.incr_version("key"))
    raises(ValueError, lambda: cache.decr_version("key", version=2))
