"""What can be a key, and what prefix, version and key function make of it."""

from collections.abc import Callable

from django.core.cache.backends.base import CacheKeyWarning, InvalidCacheKey

from tests.backends.contract import Face, Place, promise, raises

KEYS = [
    "a",
    "x" * 200,
    "ä",
    "鍵",
    "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~",
    "0",
    "None",
    "a:1:b",
    "\N{NO-BREAK SPACE}",
    "\x85",
]
INVALID = ["a b", "a\nb", "a\x00b", "a\x7fb", " a", "x" * 251]


def made(key: str, key_prefix: str, version: int) -> str:
    """Make a key as a project's own KEY_FUNCTION might."""
    return f"{key_prefix}.{version}.{key[::-1]}"


def keyed(function: Callable[[Face, str], object]) -> Callable[[Face], dict[str, object]]:
    """Return the function that does something with each of the keys."""
    return lambda cache: {key: function(cache, key) for key in KEYS}


@promise()
def any_usual_key_will_do(place: Place) -> None:
    """One by one, and many at once; each is its own."""
    cache = place.cache()

    assert dict.fromkeys(KEYS, True) == keyed(lambda cache, key: cache.add(key, key.encode()))(cache)
    assert {key: key.encode() for key in KEYS} == keyed(lambda cache, key: cache.get(key))(cache)
    assert [] == cache.set_many({key: f"{key}!" for key in KEYS})
    assert {key: f"{key}!" for key in KEYS} == cache.get_many(KEYS)
    assert dict.fromkeys(KEYS, True) == keyed(lambda cache, key: cache.touch(key, 60))(cache)
    cache.delete_many(KEYS[:4])
    assert set(KEYS[4:]) == set(cache.get_many(KEYS))
    assert [True] * 3 == [cache.delete(key) for key in KEYS[4:7]]


@promise()
def key_that_is_no_text_is_its_text(place: Place) -> None:
    """Also of what a template has made of it."""
    cache = place.cache()
    cache.set(7, "seven")

    assert ["seven", "seven"] == [cache.get(7), cache.get("7")]
    assert {7: "seven"} == cache.get_many([7])


@promise()
def key_of_the_greatest_length_will_do(place: Place) -> None:
    """250 characters, prefix and version included; one more is too long."""
    cache = place.cache()
    room = 250 - len(cache.cache.make_key(""))
    cache.set("x" * room, 1)

    assert 1 == cache.get("x" * room)
    raises((InvalidCacheKey, CacheKeyWarning), lambda: cache.get("x" * (room + 1)))


@promise()
def key_that_memcached_refuses_is_refused_or_warned_of(place: Place) -> None:
    """By every method, before anything is sent."""
    cache = place.cache()
    refused = (InvalidCacheKey, CacheKeyWarning)

    for key in INVALID:
        raises(refused, lambda key=key: cache.get(key))
        raises(refused, lambda key=key: cache.set(key, 1))
        raises(refused, lambda key=key: cache.add(key, 1))
        raises(refused, lambda key=key: cache.touch(key))
        raises(refused, lambda key=key: cache.delete(key))
        raises(refused, lambda key=key: cache.incr(key))
        raises(refused, lambda key=key: cache.decr(key))
        raises(refused, lambda key=key: cache.has_key(key))
        raises(refused, lambda key=key: cache.incr_version(key))
        raises(refused, lambda key=key: cache.get_or_set(key, 1))
        raises(refused, lambda key=key: cache.get_many(["a", key]))
        raises(refused, lambda key=key: cache.set_many({key: 1}))
        raises(refused, lambda key=key: cache.delete_many([key]))


@promise()
def versions_are_apart(place: Place) -> None:
    """Each method takes one, and reaches no other."""
    cache = place.cache()
    cache.set("key", "one")
    cache.set("key", "two", version=2)

    assert ["one", "two", None] == [cache.get("key", version=version) for version in (1, 2, 3)]
    assert [False, True] == [cache.add("key", "x", version=2), cache.add("key", 3, version=3)]
    assert [True, False] == [cache.has_key("key", version=3), cache.has_key("key", version=4)]
    assert [4, 3] == [cache.incr("key", version=3), cache.decr("key", version=3)]
    assert [True, False] == [cache.touch("key", 0, version=3), cache.touch("key", version=3)]
    assert {"key": "two"} == cache.get_many(["key"], version=2)
    cache.delete_many(["key"], version=2)
    assert [False, True, None] == [
        cache.delete("key", version=2),
        cache.delete("key", version=1),
        cache.get("key"),
    ]


@promise()
def version_of_the_settings_is_the_default(place: Place) -> None:
    """Two caches of two versions in one place."""
    first, second = place.cache(KEY_PREFIX="v"), place.cache(KEY_PREFIX="v", VERSION=2)
    first.set("key", "one")

    assert [None, "one"] == [second.get("key"), second.get("key", version=1)]
    assert 2 == first.incr_version("key")
    assert ["one", None] == [second.get("key"), first.get("key")]


@promise()
def prefix_keeps_sites_apart(place: Place) -> None:
    """What one stores the other does not see."""
    here, there = place.cache(KEY_PREFIX="here"), place.cache(KEY_PREFIX="there")
    here.set("key", "here")

    assert [True, "here", "there"] == [there.add("key", "there"), here.get("key"), there.get("key")]


@promise()
def key_function_makes_the_key(place: Place) -> None:
    """Given as it is, or by its name; get_many and set_many speak of the keys that they were given."""
    plain = place.cache(KEY_PREFIX="p")
    for function in (made, f"{__name__}.made"):
        cache = place.cache(KEY_PREFIX="p", KEY_FUNCTION=function)
        cache.set("key", 1)

        assert [None, 1] == [plain.get("key"), cache.get("key")]
        assert [] == cache.set_many({"key": 2, "other": 3})
        assert {"key": 2, "other": 3} == cache.get_many(["key", "other"])
