"""Keys fit memcached: 250 bytes, no spaces, no control characters, after Django has added its prefix and version."""

import string
from functools import partial
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache, memcache_key_warnings
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from cachedeco import CachedQuery, Namespace, cached_query
from cachedeco.storage.cache_keys import LONGEST_KEY
from cachedeco.storage.keyspace import keyspace
from tests.conftest import CacheConfig, UseCaches
from tests.support.backends import Commands
from tests.support.selection import of_length
from tests.support.stored import bare


def short_prefix(key: str, prefix: str, version: int) -> str:
    """Make a key as a project does that wants the version last."""
    return f"{prefix}/{key}/v{version}"


def hashed(key: str, prefix: str, version: int) -> str:
    """Make a key as a project does that wants no key of any other form."""
    return f"{prefix}-{version}-{abs(hash(key)):020d}"


ENTRIES: dict[str, dict[str, Any]] = {
    "plain": {"KEY_PREFIX": ""},
    "prefix": {"KEY_PREFIX": "www.example.org"},
    "version": {"VERSION": 1234567890},
    "long prefix": {"KEY_PREFIX": "p" * 180},
    "prefix of many bytes": {"KEY_PREFIX": "ü" * 90},
    "key function": {"KEY_FUNCTION": "tests.keys.test_limits.short_prefix", "KEY_PREFIX": "p" * 100},
    "hashing key function": {"KEY_FUNCTION": "tests.keys.test_limits.hashed"},
}


@pytest.fixture(params=ENTRIES)
def cache(request: pytest.FixtureRequest, cache_config: CacheConfig, use_caches: UseCaches) -> BaseCache:
    """Give a cache of each way in which Django makes the key that the server sees."""
    use_caches(default=cache_config("locmem", **ENTRIES[request.param]))
    return caches["default"]


@cached_query(
    vary=lambda: "de",
    version="2",
    namespace=["page of {text}:{text}", lambda text: [Namespace("text", text), Namespace("all texts")]],
)
def rows(text: object) -> list[object]:
    """Take a text, and put it wherever a text can be."""
    return [text]


TEXTS = [
    "",
    "short",
    "two words",
    "tab\tand\nline\r\x00\x7f",
    "Žluťoučký kůň",
    "\ud800",
    "\u2028",
    "x" * 120,
    "x" * 1000,
    "ü" * 100,
    string.printable,
]


def seen_by_server(cached: CachedQuery[..., Any], *args: object) -> list[str]:
    """Return every key of a call, and of its invalidation, as the server sees it."""
    spec = cached._spec
    return [*spec.resolve_call(args, {})[1], spec.own_token(args, {}).key, spec.function_token().key]


@pytest.mark.usefixtures("cache")
def test_keys_of_any_text_fit_memcached() -> None:
    """For any arguments, neither Django nor memcached finds fault with a key."""
    keys = [key for text in TEXTS for key in seen_by_server(rows, text)]

    # What Django's own prefix holds is the project's own affair.
    faults = [warning for key in keys for warning in memcache_key_warnings(key.replace("ü", "uu"))]
    assert [] == faults
    assert LONGEST_KEY >= max(len(key.encode()) for key in keys)


@pytest.mark.usefixtures("cache")
def test_keys_of_any_length_fit_memcached() -> None:
    """No length of a name or a text is forgotten between the short and the long ones."""
    for length in range(1, 260, 23):

        @cached_query(name="n" * length)
        def named(text: str) -> str:
            return text

        keys = [key for text in ("", "x" * length) for key in seen_by_server(named, text)]

        assert LONGEST_KEY >= max(len(key.encode()) for key in keys)
        assert 4 == len(set(keys)) - 1


@settings(max_examples=of_length(25, soak=1000))
@given(text=st.text(), name=st.text(min_size=1).filter(lambda name: "(" not in name))
def test_keys_of_any_text_and_name_fit_memcached(text: str, name: str) -> None:
    """Hypothesis finds no text and no name whose keys don't fit."""

    def named(text: str) -> str:
        return text

    cached = cached_query(name=f"limits {name}", namespace="{text}")(named)

    faults = [warning for key in seen_by_server(cached, text) for warning in memcache_key_warnings(key)]

    assert [] == faults


def test_long_texts_that_differ_at_the_end_differ() -> None:
    """A key too long to be read tells calls apart to the last character."""
    texts = ["x" * 1000, "x" * 999, "x" * 999 + "y", "y" + "x" * 999, "x" * 499 + "y" + "x" * 500]

    keys = {rows.key_for(text) for text in texts}

    assert len(texts) == len(keys)


def test_key_with_a_space_is_no_key_with_a_mark_in_its_place() -> None:
    """What memcached refuses is replaced for the eye only: "a b" is not "a_b"."""
    keys = {rows.key_for(text) for text in ("a b", "a_b", "a\tb", "a\nb", "aüb", "a#b")}

    assert 6 == len(keys)


def test_long_key_begins_as_a_short_one() -> None:
    """A developer who looks into the cache still sees of which function a key is."""
    key = rows.key_for("x" * 1000)

    assert bare(key).startswith("cd:e:tests.keys.test_limits.rows(text=")
    assert 80 == len(bare(key))


def test_key_is_read_as_long_as_it_fits() -> None:
    """On either side of the limit: the longest key that fits is as it is, the next is a digest."""
    keys = keyspace("default")

    def length(count: int) -> int:
        return len(keys.whole_key("x" * count)) - len(keys.start)

    assert (keys.key_budget, 80) == (length(keys.key_budget), length(keys.key_budget + 1))


def test_digest_cannot_be_written_as_an_argument() -> None:
    """A text that looks like another call's digest makes another key."""
    digest = rows.key_for("x" * 1000)

    keys = {rows.key_for(digest), rows.key_for(digest.partition("#")[2]), digest}

    assert 3 == len(keys)


@pytest.mark.usefixtures("cache")
def test_invalidation_finds_keys_of_any_text() -> None:
    """A key that was shortened is the same for reads and for invalidations."""
    for text in TEXTS:
        found = []
        for invalidate in (
            partial(rows.invalidate, text),
            Namespace("text", text).invalidate,
            rows.invalidate_all,
        ):
            rows(text)
            found.append(repr(rows.peek(text)))
            invalidate()
            found.append(repr(rows.peek(text)))

        assert [repr([text]), "cachedeco.MISSING"] * 3 == found


@pytest.mark.slow  # it needs a server
def test_memcached_takes_every_key(commands: Commands, use_caches: UseCaches) -> None:
    """A memcached that runs keeps entries of any text, and forgets them when told."""
    use_caches(default="memcached")
    texts = [text for text in TEXTS if text.isascii()] + ["ü" * 100]

    computed = [rows(text) for text in texts]
    served = [rows.peek(text) for text in texts]
    Namespace("all texts").invalidate()
    after = {repr(rows.peek(text)) for text in texts}

    assert [[text] for text in texts] == computed == served
    assert {"cachedeco.MISSING"} == after
    assert commands


def test_own_prefix_begins_every_key(settings: Settings) -> None:
    """`KEY_PREFIX` of `CACHEDECO` takes effect at once, for entries and tokens alike."""
    before = rows._spec.resolve_call(("a",), {})[1]
    settings.CACHEDECO = {"KEY_PREFIX": "{p}'\"\\#:"}

    after = rows._spec.resolve_call(("a",), {})[1]
    tokens = [rows._spec.own_token(("a",), {}).key, rows._spec.function_token().key]

    start = keyspace("default").start
    assert all(key.startswith(f"{start}cd:") for key in before)
    assert [f"{start}{{p}}'\"\\#:" + key.removeprefix(f"{start}cd") for key in before] == after
    assert after[1:3] == tokens


@pytest.mark.usefixtures("cache")
def test_own_prefix_of_greatest_length_leaves_room(settings: Settings) -> None:
    """Fifty characters of our prefix beside Django's: the keys still fit."""
    settings.CACHEDECO = {"KEY_PREFIX": "p" * 50}

    keys = seen_by_server(rows, "x" * 1000)

    assert LONGEST_KEY >= max(len(key.encode()) for key in keys)
    assert 6 <= len(set(keys))
